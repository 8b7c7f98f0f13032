# -*- test-case-name: tests.lab.test_explain -*-
"""TLS messages explained. A key ``kind.1_3`` is the same message as TLS 1.3 has it."""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.model import Explanation

__all__ = ["TLS"]

TLS: Final = {
    "client_hello": Explanation(
        "The client's offer: the versions, cipher suites, groups and signatures that it takes, a random, and whom it "
        "wants to reach.",
        "All that is agreed later is chosen from this list, so a weak entry here can become the weak connection. Its "
        "random goes into the keys. The version in its record header and in legacy_version is not the offer: "
        "supported_versions is.",
        "RFC 8446, section 4.1.2; RFC 5246, section 7.4.1.2",
        "All of it, and it tells programs apart by it (a fingerprint of the client), and the server's name. It "
        "cannot change a byte of it without Finished telling.",
    ),
    "server_hello": Explanation(
        "The server's choice: one version, one cipher suite, its own random, and the extensions that it takes up.",
        "From here on it is settled how strong the connection is. In TLS 1.2 the version stands in its version "
        "field; where nothing offered is acceptable there is no ServerHello at all but an alert.",
        "RFC 5246, section 7.4.1.3",
        "All of it. Its random is no date: programs that show one show an old custom. Both randoms go into the keys, "
        "but without the secret they give nothing away.",
    ),
    "server_hello.1_3": Explanation(
        "The server's choice: a cipher suite, its own random, and its one-time public key. The version stands in "
        "supported_versions; the version field says TLS 1.2 for the sake of old boxes on the way.",
        "With both one-time keys on the table the two ends have a shared secret, and all that follows is encrypted: "
        "this is the last message that can be read on the wire.",
        "RFC 8446, section 4.1.3",
        "All of this one, and nothing of what follows: not even the certificate.",
    ),
    "hello_retry_request": Explanation(
        "No ServerHello, although it has the same number on the wire: the server asks for another ClientHello, with "
        "a key for a group that it names. A fixed value in place of the random marks it.",
        "The client had guessed a group that the server does not take. It costs a round trip; a client that knows "
        "its server avoids it.",
        "RFC 8446, section 4.1.4",
        "All of it. The first ClientHello still counts in Finished, so that nobody can force a retry unseen.",
    ),
    "encrypted_extensions": Explanation(
        "Answers to extensions that are nobody else's business, among them the application protocol (ALPN).",
        "In TLS 1.2 they stood readable in ServerHello; here they are the first thing that is encrypted.",
        "RFC 8446, section 4.3.1",
        "A record of a few bytes.",
    ),
    "certificate": Explanation(
        "The server's certificate and those of the authorities above it.",
        "It says whose key the server has, in the word of an authority. It proves nothing yet: anybody can send a "
        "copy of it. Only a signature (or, with RSA key exchange, the ability to decrypt) shows that the sender has "
        "its key.",
        "RFC 5246, section 7.4.2; RFC 5280",
        "All of it in TLS 1.2: the server's names, its authority, its lifetime.",
    ),
    "certificate.1_3": Explanation(
        "The server's certificate and those of the authorities above it, encrypted.",
        "It says whose key the server has, in the word of an authority. It proves nothing yet: CertificateVerify, "
        "which follows, shows that the sender has its key.",
        "RFC 8446, section 4.4.2; RFC 5280",
        "Its size alone. An attacker who connects by himself gets to see it, of course.",
    ),
    "certificate.client": Explanation(
        "The client's certificate, which the server has asked for. It may be empty: then the client has none to "
        "show, and the server decides what that means.",
        "With it a device is known before its first byte of MQTT, and no password can be stolen.",
        "RFC 5246, section 7.4.6",
        "All of it in TLS 1.2: which device this is.",
    ),
    "certificate.client.1_3": Explanation(
        "The client's certificate, which the server has asked for, encrypted. It may be empty.",
        "With it a device is known before its first byte of MQTT, and no password can be stolen. The client holds "
        "the handshake for done when it sends this; a server that refuses it says so by an alert afterwards.",
        "RFC 8446, section 4.4.2",
        "Its size alone: TLS 1.3 hides which device this is.",
    ),
    "server_key_exchange": Explanation(
        "The server's one-time public key for the key exchange, signed by the key of its certificate together with "
        "both randoms.",
        "This key is made for this connection and forgotten afterwards, which is what forward secrecy means. It is "
        "not the key in the certificate: that one only signs. The signature keeps anybody in the middle from putting "
        "in a key of his own.",
        "RFC 5246, section 7.4.3; RFC 8422, section 5.4",
        "Both public parts. To compute the shared secret from them is what nobody can do.",
    ),
    "certificate_request": Explanation(
        "The server asks the client for a certificate, and says which authorities and signatures are welcome.",
        "Mutual authentication: both ends prove who they are.",
        "RFC 5246, section 7.4.4",
        "All of it in TLS 1.2: which authority this server trusts for its devices.",
    ),
    "certificate_request.1_3": Explanation(
        "The server asks the client for a certificate, and says which signatures and authorities are welcome.",
        "Mutual authentication: both ends prove who they are.",
        "RFC 8446, section 4.3.2",
        "A record of some size.",
    ),
    "server_hello_done": Explanation(
        "Four bytes and no content: the server has said all, it is the client's turn.",
        "The client can now check the certificate and the signature before it sends anything of its own.",
        "RFC 5246, section 7.4.5",
        "That the first half is over.",
    ),
    "client_key_exchange": Explanation(
        "The client's one-time public key for the key exchange.",
        "Now both ends can compute the same secret, each from its own private part and the other's public part. The "
        "secret itself never goes over the wire.",
        "RFC 5246, section 7.4.7; RFC 8422, section 5.7",
        "The public part. Not even the certificate's private key, stolen later, makes the secret of it.",
    ),
    "client_key_exchange.rsa": Explanation(
        "A secret that the client alone has chosen, encrypted for the public key of the certificate. There is no "
        "ServerKeyExchange with it: the certificate's key does all.",
        "Whoever gets the server's private key, even years later, decrypts this message and with it everything that "
        "was ever recorded. That is why no good server agrees to it any more.",
        "RFC 5246, section 7.4.7.1",
        "256 bytes or so that are worthless until the private key leaks, and worth everything from then on.",
    ),
    "certificate_verify": Explanation(
        "The client signs all handshake messages so far with the key of its certificate.",
        "It proves that the client has that key, in this very handshake: a recorded one cannot be used again.",
        "RFC 5246, section 7.4.8",
        "The signature, which is of no use anywhere else.",
    ),
    "certificate_verify.1_3": Explanation(
        "The sender signs the hash of all handshake messages so far with the key of its certificate.",
        "It proves that the sender has that key, in this very handshake. It takes the place of the signature in "
        "ServerKeyExchange, and covers everything instead of one key.",
        "RFC 8446, section 4.4.3",
        "A record of some size, which hints at the kind of key.",
    ),
    "change_cipher_spec": Explanation(
        "One byte: from here on this end encrypts. It is no handshake message and in no hash.",
        "The line in the picture where the conversation goes dark, for this direction.",
        "RFC 5246, section 7.1",
        "The place where it can read no further.",
    ),
    "change_cipher_spec.1_3": Explanation(
        "A courtesy without meaning: it makes TLS 1.3 look like TLS 1.2 to boxes on the way that would stumble "
        "otherwise.",
        "Nothing begins here: in TLS 1.3 the handshake is encrypted from ServerHello on.",
        "RFC 8446, appendix D.4",
        "One byte that says nothing.",
    ),
    "finished": Explanation(
        "The first encrypted message: twelve bytes, computed from the master secret and the hash of all handshake "
        "messages so far.",
        "Both ends compare: if anybody changed a single byte on the way (a weaker suite, another version) the two "
        "hashes differ and the handshake ends. No random and no public key is in it: it is under the session key.",
        "RFC 5246, section 7.4.9",
        "An encrypted record of 40 bytes or so. Without the master secret it can be neither read nor forged.",
    ),
    "finished.resumed": Explanation(
        "The server's twelve bytes, computed from the master secret of the earlier session and the hash of this "
        "handshake.",
        "In a resumed session the server finishes first: no certificate and no key exchange is needed, as both ends "
        "still have the secret. That saves a round trip.",
        "RFC 5246, sections 7.3 and 7.4.9",
        "An encrypted record, and that this client was here before.",
    ),
    "finished.1_3": Explanation(
        "A MAC over the hash of all handshake messages so far, under a key that only the two ends have.",
        "Both ends compare: if anybody changed a single byte on the way, the hashes differ and the handshake ends. "
        "After it the keys change once more, for the application's data.",
        "RFC 8446, section 4.4.4",
        "An encrypted record of 53 or 69 bytes.",
    ),
    "new_session_ticket": Explanation(
        "The session, encrypted for the server's own later use: the client keeps it and shows it the next time.",
        "The next handshake saves a round trip and all signatures. Whoever steals the server's ticket key reads all "
        "sessions that were resumed by it, so that key has to change often.",
        "RFC 5077, section 3.3",
        "The ticket, in TLS 1.2: it is readable here and again in the next ClientHello, so both connections are one "
        "client's.",
    ),
    "new_session_ticket.1_3": Explanation(
        "A key for a later session, to be used once; servers send two at a time.",
        "The next handshake needs no certificate. With a fresh key exchange beside it, forward secrecy stays.",
        "RFC 8446, section 4.6.1",
        "A record of some size, encrypted.",
    ),
    "certificate_status": Explanation(
        "The authority's own word (OCSP) that the certificate is not revoked, brought by the server.",
        "The client need not ask the authority, which would tell it who talks to whom.",
        "RFC 6066, section 8",
        "All of it in TLS 1.2.",
    ),
    "hello_request": Explanation(
        "The server asks the client to begin a new handshake in the middle of the connection.",
        "Renegotiation, which TLS 1.3 has done away with; it was the door of an attack (RFC 5746).",
        "RFC 5246, section 7.4.1.1",
        "Nothing: it is encrypted.",
    ),
    "key_update": Explanation(
        "The sender changes its key now; the new one is computed from the old one, which is forgotten.",
        "A key that was used for very much data wears out, and an old key that leaks opens only what came before... "
        "of this step.",
        "RFC 8446, section 4.6.3",
        "A record of 22 bytes.",
    ),
    "end_of_early_data": Explanation(
        "The data that the client sent before the handshake was done ends here.",
        "What came before it could have been replayed by an attacker; what comes after cannot.",
        "RFC 8446, section 4.5",
        "An encrypted record.",
    ),
    "alert": Explanation(
        "A complaint (fatal: the connection ends) or the orderly end of the conversation (close_notify).",
        "The one place where TLS says why something failed. Some programs leave without it; then only the order of "
        "messages tells a refusal from a success.",
        "RFC 8446, section 6; RFC 5246, section 7.2",
        "Before encryption starts, the reason. Afterwards a short record, which its size gives away as an alert.",
    ),
    "application_data": Explanation(
        "What TLS is there for: bytes of the application, encrypted. Here that is MQTT, not HTTP.",
        "Read by the two ends alone; every record is numbered and authenticated, so none can be changed, dropped or "
        "repeated unseen.",
        "RFC 5246, section 10; RFC 8446, section 5",
        "How much, when, and in which direction. Not what.",
    ),
    "encrypted_record": Explanation(
        "A record whose very kind is encrypted: it may hold handshake messages, an alert or application data.",
        "TLS 1.3 hides what it can. With a key log it can be opened.",
        "RFC 8446, section 5.2",
        "Its size, its time and its direction.",
    ),
    "encrypted_handshake": Explanation(
        "A handshake message under the session key, after the handshake: most often an attempt to renegotiate.",
        "Renegotiation can be used to wear a server out; good servers refuse it.",
        "RFC 5246, section 7.4",
        "That a handshake message went by.",
    ),
}
