"""TLS as the broker offers it: what is refused, what is told of a handshake, and that records come through whole."""

from __future__ import annotations

import inspect
import ssl
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.trial import unittest
from zope.interface import implementer

from mqttsecure.transport import tls
from mqttsecure.transport.tls import ServerContext, TlsTransport, tls_factory, tls_facts, tls_problem
from tests.support.transport import tls_files


@implementer(IHandshakeListener)
class Recorder(Protocol):
    """Writes down what a transport tells its protocol."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.is_up = False
        self.ends: list[Failure | None] = []
        self.drained = 0
        self.lost = 0
        self.on_data: Any = None

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    def handshakeCompleted(self) -> None:
        self.is_up = True

    def dataReceived(self, data: bytes) -> None:
        self.chunks.append(data)
        if self.on_data is not None:
            self.on_data()

    def tls_ended(self, failure: Failure | None) -> None:
        self.ends.append(failure)

    def resumeProducing(self) -> None:
        self.drained += 1

    def connectionLost(self, reason: Any = None) -> None:
        self.lost += 1


class Pair:
    """A :class:`TlsTransport` in memory, and the standard library's TLS as its client."""

    def __init__(self, server: ServerContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        self.recorder = Recorder()
        self.tcp = StringTransport()
        self.transport = TlsTransport(tls_factory(server, Clock()), self.recorder)
        self.transport.makeConnection(self.tcp)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost", session=session)
        self.received = b""

    def shake(self) -> Pair:
        """Run the handshake to its end on both sides, or raise the client's error."""
        for _ in range(6):
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                pass
            finally:
                self.to_server(self.outgoing.read())
                self.incoming.write(self.from_server())
        self.read()
        return self

    def from_server(self) -> bytes:
        data = self.tcp.value()
        self.tcp.clear()
        return data

    def to_server(self, data: bytes) -> None:
        if data:
            self.transport.dataReceived(data)

    def seal(self, data: bytes) -> bytes:
        """What the client sends for ``data``."""
        view = data
        while view:
            view = view[self.client.write(view) :]
        return self.outgoing.read()

    def read(self) -> bytes:
        """What the client has received by now; raises its error."""
        self.incoming.write(self.from_server())
        try:
            while data := self.client.read(65_536):
                self.received += data
        except ssl.SSLWantReadError:
            pass
        return self.received


def records(ciphertext: bytes) -> list[bytes]:
    """The TLS records of ``ciphertext``."""
    found = []
    while ciphertext:
        size = 5 + int.from_bytes(ciphertext[3:5], "big")
        found.append(ciphertext[:size])
        ciphertext = ciphertext[size:]
    return found


class TlsCase(unittest.SynchronousTestCase):
    """Has a CA."""

    def setUp(self) -> None:
        self.files = tls_files()

    def pair(self, version: ssl.TLSVersion | None = None, leaf: Any = None, ciphers: str = "", **server: Any) -> Pair:
        return Pair(self.files.server(**server), self.files.client(leaf, version=version, ciphers=ciphers))

    def assert_refused(self, pair: Pair, alert: str) -> None:
        """The handshake fails; the client is told ``alert``, and the protocol that it is over."""
        # In TLS 1.3 the client is done first, and hears of its certificate's fate with the first data.
        with self.assertRaisesRegex(ssl.SSLError, alert):
            pair.shake()
        self.assertFalse(pair.recorder.is_up)
        self.assertEqual(len(pair.recorder.ends), 1)
        self.assertTrue(pair.tcp.disconnecting)


class HandshakeTests(TlsCase):
    """Who gets through, and what is known of them afterwards."""

    def test_facts(self) -> None:
        """Policies see version, cipher suite, server name, protocol and the client's verified chain."""
        leaf = self.files.ca.issue_cert("device-1")
        context = self.files.client(leaf)
        context.set_alpn_protocols(["mqtt"])
        server = self.files.server(client_certificate="required", anchors=[self.files.anchor])
        facts = tls_facts(Pair(server, context).shake().transport)
        self.assertEqual(
            (facts.version, facts.server_name, facts.application_protocol), ("TLSv1.3", "localhost", "mqtt")
        )
        self.assertRegex(facts.cipher, "^TLS_AES_")
        expected = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
        self.assertEqual(facts.peer_certificate, expected)
        self.assertEqual(facts.verified_chain, (expected, self.files.anchor))
        self.assertNotIn("channel_binding", repr(facts))

    def test_channel_binding(self) -> None:
        """Each connection of TLS 1.3 has one of its own, and TLS 1.2 none that could be relied on."""
        bindings = [tls_facts(self.pair().shake().transport).channel_binding for _ in range(2)]
        self.assertEqual([len(each or b"") for each in bindings], [32, 32])
        self.assertNotEqual(*bindings)
        self.assertIsNone(tls_facts(self.pair(ssl.TLSVersion.TLSv1_2).shake().transport).channel_binding)

    def test_facts_without_a_certificate(self) -> None:
        """A client that shows none has none, be it asked or not."""
        for server in ({}, {"client_certificate": "optional", "anchors": [self.files.anchor]}):
            facts = tls_facts(self.pair(ssl.TLSVersion.TLSv1_2, **server).shake().transport)
            self.assertEqual((facts.version, facts.peer_certificate, facts.verified_chain), ("TLSv1.2", None, ()))
            self.assertIsNone(facts.application_protocol)

    def test_other_application_protocol(self) -> None:
        """A client that offers other names only is served without one, as clients did before there were any."""
        context = self.files.client()
        context.set_alpn_protocols(["x-amzn-mqtt-ca", "http/1.1"])
        self.assertIsNone(tls_facts(Pair(self.files.server(), context).shake().transport).application_protocol)

    def test_required_certificate(self) -> None:
        """Without one there is no connection, in either version."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            pair = self.pair(version, client_certificate="required", anchors=[self.files.anchor])
            self.assert_refused(pair, "(?i)certificate required|handshake failure|ALERT")

    def test_certificate_of_a_stranger(self) -> None:
        """One that leads to no anchor is refused, also where none is needed."""
        stranger = trustme.CA().issue_cert("device-1")
        for mode in ("optional", "required"):
            pair = self.pair(leaf=stranger, client_certificate=mode, anchors=[self.files.anchor])
            self.assert_refused(pair, "(?i)unknown ca")
            self.assertIn("certificate verify failed", str(tls_problem(pair.recorder.ends[0])))

    def test_certificate_of_a_server(self) -> None:
        """A key that may only serve does not prove a client, though the same CA signed it."""
        issued = self.files.ca.issue_cert("device-1")
        own = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
        ca = x509.load_pem_x509_certificate(self.files.ca.cert_pem.bytes())
        ca_key: Any = serialization.load_pem_private_key(self.files.ca.private_key_pem.bytes(), None)
        builder = (
            x509.CertificateBuilder(ca.subject, own.subject, own.public_key(), own.serial_number + 1)
            .not_valid_before(own.not_valid_before_utc)
            .not_valid_after(own.not_valid_after_utc)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
        )
        certificate = builder.sign(ca_key, hashes.SHA256())
        path = self.files.directory / "server-only.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + issued.private_key_pem.bytes())
        context = self.files.client()
        context.load_cert_chain(str(path))
        server = self.files.server(client_certificate="optional", anchors=[self.files.anchor])
        self.assert_refused(Pair(server, context), "(?i)unsupported certificate|ALERT")

    def test_intermediate_as_anchor(self) -> None:
        """An authority may be an intermediate CA alone: its sisters' certificates do not pass."""
        mine, sister = self.files.ca.create_child_ca(), self.files.ca.create_child_ca()
        anchor = ssl.PEM_cert_to_DER_cert(mine.cert_pem.bytes().decode())
        pair = self.pair(leaf=mine.issue_cert("device-1"), client_certificate="required", anchors=[anchor]).shake()
        self.assertEqual(tls_facts(pair.transport).verified_chain[-1], anchor)
        pair = self.pair(leaf=sister.issue_cert("device-1"), client_certificate="required", anchors=[anchor])
        self.assert_refused(pair, "(?i)unknown ca")

    def test_old_versions(self) -> None:
        """TLS 1.0 and 1.1 are refused with an alert that says why; so is 1.2 where 1.3 is the lowest."""
        versions = [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]
        for version in versions:
            self.assert_refused(self.pair(version, ciphers="ALL:@SECLEVEL=0"), "(?i)protocol version")
        self.assert_refused(self.pair(ssl.TLSVersion.TLSv1_2, minimum_version="TLSv1.3"), "(?i)protocol version")

    def test_weak_suites(self) -> None:
        """No suite without forward secrecy, none with CBC, unless the listener says so."""
        weak = (
            "AES128-SHA",
            "AES128-SHA256",
            "AES256-GCM-SHA384",
            "ECDHE-RSA-AES128-SHA256",
            "DHE-RSA-AES128-GCM-SHA256",
        )
        for suite in weak:
            self.assert_refused(self.pair(ssl.TLSVersion.TLSv1_2, ciphers=suite), "(?i)handshake failure")
        for suite in ("AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA256"):
            pair = self.pair(ssl.TLSVersion.TLSv1_2, ciphers=suite, legacy_ciphers=True).shake()
            self.assertEqual(tls_facts(pair.transport).cipher, suite)
        self.assert_refused(
            self.pair(ssl.TLSVersion.TLSv1_2, ciphers="AES128-SHA", legacy_ciphers=True), "(?i)handshake failure"
        )

    def test_names_its_suites_in_its_own_order(self) -> None:
        """The server's preference holds, not the client's."""
        ciphers = "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256"
        pair = self.pair(ssl.TLSVersion.TLSv1_2, ciphers=ciphers).shake()
        self.assertEqual(tls_facts(pair.transport).cipher, "ECDHE-RSA-AES128-GCM-SHA256")

    def test_no_tls_at_all(self) -> None:
        """MQTT or HTTP to a TLS port is the end of the connection."""
        for data in (b"\x10\x0c\x00\x04MQTT\x05\x02\x00\x3c\x00", b"GET / HTTP/1.1\r\n\r\n"):
            pair = self.pair()
            pair.to_server(data)
            self.assertTrue(pair.tcp.disconnecting)
            self.assertIsNotNone(tls_problem(pair.recorder.ends[0]))

    def test_long_certificate_chain(self) -> None:
        """A chain larger than one read of what OpenSSL has to send is sent whole."""
        text = self.files.certificate.read_text()
        path = self.files.directory / "long.pem"
        path.write_text(text + self.files.ca.cert_pem.bytes().decode() * 40)
        pair = Pair(ServerContext.load(path, self.files.key), self.files.client()).shake()
        self.assertTrue(pair.recorder.is_up)

    def test_byte_by_byte(self) -> None:
        """A handshake that arrives in single bytes succeeds."""
        pair = self.pair()
        for _ in range(4):
            try:
                pair.client.do_handshake()
            except ssl.SSLWantReadError:
                pass
            for byte in pair.outgoing.read():
                pair.transport.dataReceived(bytes((byte,)))
            pair.incoming.write(pair.from_server())
        self.assertTrue(pair.recorder.is_up)
        for byte in pair.seal(b"hello"):
            pair.transport.dataReceived(bytes((byte,)))
        self.assertEqual(pair.recorder.data, b"hello")


class ContextTests(TlsCase):
    """Contexts that cannot be made."""

    def test_no_certificate_in_the_file(self) -> None:
        """The error says so."""
        path = self.files.directory / "empty.pem"
        path.write_text("nothing\n")
        self.assertRaisesRegex(ValueError, "no certificate", ServerContext.load, path, self.files.key)

    def test_missing_file(self) -> None:
        """An error of the operating system, with the name."""
        self.assertRaises(OSError, ServerContext.load, self.files.directory / "none.pem", self.files.key)

    def test_no_store(self) -> None:
        """Without a place for the anchors no client could be verified, so there is no context."""
        context = SSL.Context(SSL.TLS_METHOD)
        self.patch(context, "get_cert_store", lambda: None)
        self.assertRaises(ValueError, tls._ask_for_certificates, context, [self.files.anchor], True)


class ResumptionTests(TlsCase):
    """A resumed session runs no verification, so there is none."""

    VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)

    def resumes(self, server: ServerContext, version: ssl.TLSVersion) -> bool:
        """Whether a client that closed in good order gets in again without a handshake of its own."""
        context = self.files.client(version=version)
        first = Pair(server, context).shake()
        first.transport.write(b"x")
        self.assertEqual(first.read(), b"x")
        session = first.client.session
        try:
            first.client.unwrap()  # without a good end OpenSSL forgets the session
        except ssl.SSLError:
            pass
        first.to_server(first.outgoing.read())
        second = Pair(server, context, session).shake()
        self.assertTrue(second.recorder.is_up)
        return bool(second.client.session_reused)

    def test_is_off(self) -> None:
        """In 1.2 and 1.3."""
        server = self.files.server()
        for version in self.VERSIONS:
            self.assertFalse(self.resumes(server, version), version)

    def test_control(self) -> None:
        """With a context that has tickets the same client does resume; else the test above would show nothing."""
        context = SSL.Context(SSL.TLS_METHOD)
        context.use_certificate_file(str(self.files.certificate))
        context.use_privatekey_file(str(self.files.key))
        context.set_session_id(b"tests")
        for version in self.VERSIONS:
            self.assertTrue(self.resumes(ServerContext(context), version), version)


class RenegotiationTests(TlsCase):
    """A client cannot ask for a second handshake."""

    def test_is_refused(self) -> None:
        """In TLS 1.2, where there is such a thing, the client is told no and none takes place."""
        recorder, tcp = Recorder(), StringTransport()
        transport = TlsTransport(tls_factory(self.files.server(), Clock()), recorder)
        transport.makeConnection(tcp)
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_max_proto_version(SSL.TLS1_2_VERSION)
        client = SSL.Connection(context, None)
        client.set_connect_state()

        def exchange() -> None:
            for _ in range(6):
                try:
                    client.do_handshake()
                except SSL.WantReadError:
                    pass
                try:
                    transport.dataReceived(client.bio_read(65_536))
                except SSL.WantReadError:
                    pass
                if tcp.value():
                    client.bio_write(tcp.value())
                    tcp.clear()

        exchange()
        self.assertTrue(recorder.is_up)
        client.send(b"before")
        transport.dataReceived(client.bio_read(65_536))
        self.assertEqual(recorder.data, b"before")
        client.renegotiate()
        with self.assertRaisesRegex(SSL.Error, "no renegotiation|no_renegotiation"):
            exchange()
        self.assertEqual(transport.getHandle().total_renegotiations(), 0)


class ReceivingTests(TlsCase):
    """However the network cuts what a client sends, it comes out whole and at once."""

    MESSAGES = [b"a", b"b" * 100, b"c" * 20_000, b"d", b"e" * 16_384, b"f" * 3]

    @settings(max_examples=40, deadline=None)
    @given(
        order=st.lists(st.integers(0, 5), min_size=1, max_size=8),
        cuts=st.lists(st.floats(0, 1), max_size=12),
        is_old=st.booleans(),
    )
    def test_any_segmentation(self, order: list[int], cuts: list[float], is_old: bool) -> None:
        """After each segment all whole records have come out: nothing waits for the next one."""
        pair = self.pair(ssl.TLSVersion.TLSv1_2 if is_old else None).shake()
        plain, boundaries, ciphertext = b"", [], b""
        for number in order:
            message = self.MESSAGES[number]
            for start in range(0, len(message), 16_384):
                part = message[start : start + 16_384]
                ciphertext += pair.seal(part)
                plain += part
                boundaries.append((len(ciphertext), len(plain)))
        # Half of the cuts fall on ends of records, and next to them.
        at = sorted({round(cut * len(ciphertext)) for cut in cuts} | {boundaries[0][0], boundaries[-1][0] - 3})
        start = 0
        for end in [*at, len(ciphertext)]:
            if end > start:
                pair.transport.dataReceived(ciphertext[start:end])
                start = end
            due = max((whole for sealed, whole in boundaries if sealed <= end), default=0)
            self.assertEqual(pair.recorder.data, plain[:due])

    def test_every_cut_in_two(self) -> None:
        """Two small records, cut at every place."""
        for cut in range(1, 54):
            with self.subTest(cut=cut):
                pair = self.pair().shake()
                sealed = pair.seal(b"hello") + pair.seal(b"world")
                self.assertEqual(len(sealed), 54)
                pair.transport.dataReceived(sealed[:cut])
                pair.transport.dataReceived(sealed[cut:])
                self.assertEqual(pair.recorder.data, b"helloworld")
                # And the short way is found again.
                pair.transport.dataReceived(pair.seal(b"!"))
                self.assertEqual(pair.recorder.chunks[-1], b"!")

    def test_largest_record(self) -> None:
        """One of 16 KiB comes out as one."""
        pair = self.pair().shake()
        sealed = pair.seal(b"x" * 16_384)
        self.assertEqual(len(records(sealed)), 1)
        pair.transport.dataReceived(sealed)
        self.assertEqual(pair.recorder.chunks, [b"x" * 16_384])

    def test_with_the_end_of_the_handshake(self) -> None:
        """What a client sends right behind its Finished is not left behind."""
        pair = self.pair()
        for _ in range(3):
            try:
                pair.client.do_handshake()
                break
            except ssl.SSLWantReadError:
                pair.to_server(pair.outgoing.read())
                pair.incoming.write(pair.from_server())
        pair.to_server(pair.outgoing.read() + pair.seal(b"at once"))
        self.assertTrue(pair.recorder.is_up)
        self.assertEqual(pair.recorder.data, b"at once")

    def test_changed_bytes(self) -> None:
        """A record that was tampered with ends the connection, with the reason, and delivers nothing."""
        for shape in ("whole", "cut"):
            with self.subTest(shape=shape):
                pair = self.pair().shake()
                sealed = bytearray(pair.seal(b"hello"))
                sealed[-1] ^= 1
                cut = len(sealed) if shape == "whole" else 7
                pair.transport.dataReceived(bytes(sealed[:cut]))
                pair.to_server(bytes(sealed[cut:]))
                self.assertEqual(pair.recorder.data, b"")
                self.assertEqual(len(pair.recorder.ends), 1)
                self.assertIn("bad record mac", str(tls_problem(pair.recorder.ends[0])))
                self.assertTrue(pair.tcp.disconnecting)
                self.assertRaisesRegex(ssl.SSLError, "(?i)bad record mac", pair.read)

    def test_nothing_after_an_abort(self) -> None:
        """Records that were read already are not delivered to who has aborted, nor the one behind."""
        pair = self.pair().shake()
        pair.recorder.on_data = pair.transport.abortConnection
        pair.transport.dataReceived(pair.seal(b"one") + pair.seal(b"two"))
        self.assertEqual(pair.recorder.data, b"one")
        pair.transport.dataReceived(pair.seal(b"three"))
        self.assertEqual(pair.recorder.data, b"one")


class EndTests(TlsCase):
    """How TLS ends."""

    def test_peer_says_goodbye(self) -> None:
        """close_notify is answered, told to the protocol at once, and ends the TCP connection."""
        for prefix in (b"", b"last words"):
            pair = self.pair().shake()
            sealed = pair.seal(prefix) if prefix else b""
            self.assertRaises(ssl.SSLWantReadError, pair.client.unwrap)
            pair.transport.dataReceived(sealed + pair.outgoing.read())
            self.assertEqual(pair.recorder.data, prefix)
            self.assertEqual(pair.recorder.ends, [None])
            self.assertTrue(pair.tcp.disconnecting)
            pair.incoming.write(pair.from_server())
            pair.client.unwrap()  # does not raise: the goodbye was answered

    def test_we_say_goodbye(self) -> None:
        """The client is told, and the TCP connection waits for its answer."""
        pair = self.pair().shake()
        pair.transport.write(b"last words")
        pair.transport.loseConnection()
        self.assertEqual(pair.read(), b"last words")
        self.assertFalse(pair.tcp.disconnecting)
        pair.transport.write(b"nothing follows")
        pair.client.unwrap()
        pair.to_server(pair.outgoing.read())
        self.assertTrue(pair.tcp.disconnecting)
        self.assertEqual(pair.received, b"last words")

    def test_close_within_the_handshake(self) -> None:
        """There is no goodbye to say yet, so the connection is aborted."""
        pair = self.pair()
        pair.transport.loseConnection()
        self.assertTrue(pair.tcp.disconnecting)

    def test_connection_lost_without_goodbye(self) -> None:
        """The protocol hears once, and no error is made of it: peers go away like that."""
        pair = self.pair().shake()
        pair.transport.connectionLost(Failure(ConnectionResetError()))
        self.assertEqual(pair.recorder.lost, 1)
        self.assertIsNone(tls_problem(pair.recorder.ends[0]))

    def test_writing_fails(self) -> None:
        """An error of OpenSSL while writing ends the connection like one while reading."""

        class Broken:
            def __init__(self, real: SSL.Connection, error: Exception) -> None:
                self.real = real
                self.error = error

            def send(self, data: bytes) -> int:
                raise self.error

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

        for error, problem in ((SSL.WantReadError(), None), (SSL.Error([("ssl", "", "bad length")]), "bad length")):
            with self.subTest(error=error):
                pair = self.pair().shake()
                pair.transport._tlsConnection = Broken(pair.transport._tlsConnection, error)
                pair.transport.write(b"x")
                self.assertEqual([tls_problem(each) for each in pair.recorder.ends], [problem])
                self.assertTrue(pair.tcp.disconnecting)
                pair.transport.write(b"y")  # goes nowhere, and raises nothing

    def test_problem_in_words(self) -> None:
        """A failure that is none of TLS has no words."""
        self.assertIsNone(tls_problem(None))
        self.assertIsNone(tls_problem(Failure(OSError("reset"))))
        self.assertIsNone(tls_problem(Failure(SSL.SysCallError(-1, "Unexpected EOF"))))
        self.assertIsNone(tls_problem(Failure(SSL.Error([]))))
        self.assertIsNone(tls_problem(Failure(SSL.Error())))


class WritingTests(TlsCase):
    """What is written arrives, whatever its size."""

    def test_sizes(self) -> None:
        """From one byte to many records, in one piece to the socket each time."""
        pair = self.pair().shake()
        sent = b""
        for size in (1, 1000, 16_384, 16_385, 65_536, 300_000):
            data = bytes(range(256)) * (size // 256 + 1)
            pair.transport.write(data[:size])
            sent += data[:size]
        self.assertEqual(pair.read(), sent)

    def test_drained(self) -> None:
        """Room on the socket is told to the protocol, once the handshake is done and unless it has aborted."""
        pair = self.pair()
        pair.transport._drained()
        self.assertEqual(pair.recorder.drained, 0)
        pair.shake()
        pair.transport._drained()
        self.assertEqual(pair.recorder.drained, 1)
        pair.transport.abortConnection()
        pair.transport._drained()
        self.assertEqual(pair.recorder.drained, 1)


class TwistedTests(TlsCase):
    """:class:`TlsTransport` uses what Twisted keeps private; here a release that changes it is noticed."""

    def assert_there(self, condition: object, what: str) -> None:
        self.assertTrue(
            condition,
            f"this release of Twisted has changed TLSMemoryBIOProtocol: {what}. mqttsecure.transport.tls.TlsTransport "
            "relies on it and must be adapted before this release can be used.",
        )

    def test_private_parts(self) -> None:
        """Names and meanings of the attributes and methods."""
        for name in ("_handshakeDone", "_lostTLSConnection", "_aborted"):
            self.assert_there(getattr(TLSMemoryBIOProtocol, name, None) is False, f"{name} does not begin as False")
        for name in ("_flushReceiveBIO", "_flushSendBIO", "_tlsShutdownFinished", "_write"):
            self.assert_there(callable(getattr(TLSMemoryBIOProtocol, name, None)), f"it has no method {name}")
        source = inspect.getsource(TLSMemoryBIOProtocol)
        self.assert_there(source.count("self.transport.write(") == 1, "it writes elsewhere than in _flushSendBIO")
        pair = self.pair()
        transport: Any = pair.transport
        self.assert_there(getattr(transport, "_appSendBuffer", None) == [], "_appSendBuffer is no empty list")
        connection = getattr(transport, "_tlsConnection", None)
        self.assert_there(isinstance(connection, SSL.Connection), "_tlsConnection is no OpenSSL connection")
        pair.shake()
        self.assert_there(transport._handshakeDone is True, "_handshakeDone does not tell of a finished handshake")
        self.assert_there(transport._lostTLSConnection is False, "_lostTLSConnection is set while TLS is up")
        transport._tlsShutdownFinished(None)
        self.assert_there(transport._lostTLSConnection is True, "_tlsShutdownFinished sets no _lostTLSConnection")
        transport.abortConnection()
        self.assert_there(transport._aborted is True, "abortConnection sets no _aborted")
        transport.connectionLost(Failure(ConnectionResetError()))
        self.assert_there(transport._tlsConnection is None, "the connection is kept after its end")

    def test_certificate_types(self) -> None:
        """pyOpenSSL gives certificates that can be written as DER without being parsed."""
        leaf = self.files.ca.issue_cert("device-1")
        pair = self.pair(leaf=leaf, client_certificate="required", anchors=[self.files.anchor]).shake()
        self.assertIsInstance(pair.transport.getHandle().get_peer_certificate(), crypto.X509)
