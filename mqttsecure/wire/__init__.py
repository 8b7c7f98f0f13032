"""Bytes to packets and back: sans-IO, standard library only.

constants    numbers of the standard: packet types, Reason Codes, property identifiers, limits
packets      one plain class per packet type
primitives   integers, strings, binary data and variable byte integers
topics       Topic Names and Topic Filters: validity, matching, containment, intersection
properties   the MQTT 5.0 property table, decoded and encoded
rules        what each packet type may carry: flags, senders, Reason Codes
connect      CONNECT, decoded and encoded
bodies       all other packet types, decoded
decoder      bytes to packets, one packet or a stream
encoder      packets to bytes
scram        the messages, keys and both ends of SCRAM-SHA-256
"""
