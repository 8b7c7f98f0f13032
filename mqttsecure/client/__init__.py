"""An MQTT client for Twisted: 3.1.1 and 5.0, TLS that verifies, Deferreds that can be awaited.

client          ``connect`` and ``Client``: what an application uses
options         what a client is told: who it is, whom it trusts, how patient it is
failures        every error, with its cause and what helps
reasons         Reason Codes in words
address         ``mqtts://host:port``
trust           TLS: the context of a connection, and what it refuses
pins            fingerprints of certificates
certificate_words  why a certificate is refused, in one line
session         what outlives a Network Connection. Sans-IO
machine         one client's side of the protocol. Sans-IO, as are its parts:
                handshake, inbound, outbound, subscribing, liveness on one ``channel``; ``events`` is what they tell
scram           a password that is proved and not sent
consuming       messages handed to the application one by one, with back-pressure
protocol        the machine on a Twisted transport
dialling        name, TCP and TLS of one attempt
backoff         how long to wait before the next attempt
"""
