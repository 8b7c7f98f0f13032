# -*- test-case-name: tests.system.attacks.test_tls -*-
"""Weak TLS: rows A27 to A30, and handshakes that are no handshakes."""

from __future__ import annotations

import os
import socket
import ssl
import time
from pathlib import Path

from OpenSSL import SSL

from mqttsecure.lab.attacks.hello import alert_of, client_hello
from tests.support.config import BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections
from tests.system.attacks.client import HOST, AttackClient, open_socket, reset

_WEAK_SUITES = (
    "AES128-SHA",
    "AES128-SHA256",
    "AES256-SHA256",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-ECDSA-AES128-SHA256",
    "DHE-RSA-AES128-GCM-SHA256",
    "ADH-AES128-GCM-SHA256",
    "NULL-SHA256",
    "DES-CBC3-SHA",
)
_HANDSHAKE_FAILURE = 40
_PROTOCOL_VERSION = 70


class TlsTests(AttackCase):
    """A broker whose listener has the TLS settings that a listener has by default."""

    listeners = 1

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return allow_many_connections(write_config(directory))

    def _answer(self, data: bytes, seconds: float = 5.0) -> bytes:
        """What the broker says to ``data`` until it closes."""
        sock = open_socket(self.broker.ports["tls"])
        sock.settimeout(seconds)
        answer = b""
        try:
            sock.sendall(data)
            while piece := sock.recv(65536):
                answer += piece
        except ConnectionError:
            pass
        except TimeoutError:
            self.fail(f"still open after {seconds} s, having answered {answer!r}")
        finally:
            reset(sock)
        return answer

    def _offer(self, method: int, ciphers: str, minimum: int, maximum: int) -> SSL.Connection:
        context = SSL.Context(method)
        context.set_cipher_list(f"{ciphers}:@SECLEVEL=0".encode())
        context.set_min_proto_version(minimum)
        context.set_max_proto_version(maximum)
        connection = SSL.Connection(context, open_socket(self.broker.ports["tls"]))
        self.addCleanup(connection.close)
        connection.set_connect_state()
        connection.setblocking(True)
        return connection

    def test_old_versions(self) -> None:
        """A27: SSL 3.0, TLS 1.0 and TLS 1.1 are refused by our own minimum, and told so: protocol_version."""
        for version in ((3, 0), (3, 1), (3, 2)):
            self.assertEqual(_PROTOCOL_VERSION, alert_of(self._answer(client_hello(version))), version)

    def test_suites_without_forward_secrecy_or_aead(self) -> None:
        """A28: no suite of TLS 1.2 is taken that a later theft of the key would open, or that uses CBC.

        A29 follows: a recorded session can only be read with the server's key if the key exchange was RSA, and here
        no such session comes about.
        """
        tried = 0
        for suite in _WEAK_SUITES:
            try:
                connection = self._offer(SSL.TLS_CLIENT_METHOD, suite, SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
            except SSL.Error:
                continue  # this OpenSSL does not even know it
            with self.assertRaises(SSL.Error, msg=suite) as caught:
                connection.do_handshake()
            self.assertIn("handshake failure", str(caught.exception), suite)
            tried += 1
        self.assertGreaterEqual(tried, 8)

    def test_weak_suites_by_hand(self) -> None:
        """A28 with a ClientHello of our own: RSA key exchange and CBC only, in TLS 1.2."""
        suites = (0x002F, 0x003C, 0x009D, 0x009C, 0x000A, 0xC013, 0xC027)
        self.assertEqual(_HANDSHAKE_FAILURE, alert_of(self._answer(client_hello((3, 3), suites))))

    def test_good_suites_are_taken(self) -> None:
        """The refusals above are no accident: TLS 1.2 with ECDHE and AEAD, and TLS 1.3, go through."""
        good = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            self._offer(SSL.TLS_CLIENT_METHOD, good, version, version).do_handshake()

    def test_renegotiation_started_by_the_client(self) -> None:
        """A30: a client's TLS 1.2 renegotiation is refused, and nobody can have the broker compute without end."""
        good = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
        connection = self._offer(SSL.TLS_CLIENT_METHOD, good, SSL.TLS1_2_VERSION, SSL.TLS1_2_VERSION)
        connection.do_handshake()
        self.assertTrue(connection.renegotiate())
        with self.assertRaises(SSL.Error) as caught:
            connection.do_handshake()
        self.assertIn("no renegotiation", str(caught.exception))

    def test_no_session_is_resumed(self) -> None:
        """A resumed session would skip the verification of certificates: neither ticket nor session works."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = self.files.client_context()
            context.minimum_version = context.maximum_version = version
            with AttackClient(self.broker.ports["tls"], context=context) as client:
                self.assertNotEqual(0, client.connect("x"))
                assert isinstance(client.socket, ssl.SSLSocket)
                session = client.socket.session
            if session is None:
                continue
            raw = socket.create_connection((HOST, self.broker.ports["tls"]))
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as again:
                self.assertFalse(again.session_reused)

    def test_no_compression(self) -> None:
        """TLS compression, which betrays secrets by length, is off."""
        with AttackClient(self.broker.ports["tls"], context=self.files.client_context()) as client:
            assert isinstance(client.socket, ssl.SSLSocket)
            self.assertIsNone(client.socket.compression())

    def test_garbage_in_place_of_a_handshake(self) -> None:
        """Plain MQTT, HTTP and noise on the TLS port are closed at once, with one line in the log and no traceback."""
        noise = [b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc", b"GET / HTTP/1.1\r\n\r\n", os.urandom(3000)]
        noise += [b"\x16\x03\x01\xff\xff" + os.urandom(70_000), b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"]
        noise += [b"\x80\x2e\x01\x00\x02" + bytes(41), b"\x15\x03\x01\x00\x02\x02\x28", bytes(500)]
        for data in noise:
            started = time.monotonic()
            self._answer(data)
            self.assertLess(time.monotonic() - started, 3, data[:20])
        self.assert_logged("the TLS handshake failed")
        self.assertLessEqual(self.new_log.count("the TLS handshake failed"), len(noise))

    def test_untrusted_client_certificate(self) -> None:
        """A client certificate of a CA that nobody named: the handshake fails, and the log says why in one line."""
        other = write_config(self._directory())
        context = self.files.client_context(other.issue("alice"))
        with AttackClient(self.broker.ports["tls"], context=context) as client:
            client.send(b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc")
            self.assertEqual([], client.remaining())
        line = self.assert_logged("the TLS handshake failed", "certificate verify failed")
        self.assertIn("127.0.0.1", line)

    def _directory(self) -> Path:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        return directory

    def test_log_is_not_noisy(self) -> None:
        """A connection that comes and goes leaves no lines about factories and protocols."""
        reset(open_socket(self.broker.ports["tls"]))
        self.assert_serves()
        for noise in ("Starting factory", "Stopping factory", "ListenerFactory", "starting on"):
            self.assertNotIn(noise, self.broker.log)
