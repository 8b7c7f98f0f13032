"""Tests for mqttsecure.lab.tls.keylog."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.limits import Budget, Limits
from mqttsecure.lab.tls.keylog import KeyLog, read_key_log

_RANDOM, _SECRET = "ab" * 32, "cd" * 48


def read(text: str) -> KeyLog:
    return read_key_log([text.encode()], Budget())


class KeyLogTests(SynchronousTestCase):
    """Secrets, as programs write them."""

    def test_each_kind_of_line(self) -> None:
        """TLS 1.2, TLS 1.3, premaster secrets, session ids; comments and empty lines, any line end."""
        log = read(
            f"# a comment\r\nCLIENT_RANDOM {_RANDOM} {_SECRET}\r\n\n"
            f"CLIENT_TRAFFIC_SECRET_0 {_RANDOM.upper()} {_SECRET}\nCLIENT_TRAFFIC_SECRET_1 {_RANDOM} {_SECRET}\n"
            f"PMS_CLIENT_RANDOM {_RANDOM} {_SECRET}\nRSA 0011223344556677 {_SECRET}\n"
            f"RSA Session-ID:{'ee' * 32} Master-Key:{_SECRET}\n"
        )
        self.assertEqual((log.lines, log.ignored), (6, 0))
        random, secret = bytes.fromhex(_RANDOM), bytes.fromhex(_SECRET)
        for label in ("CLIENT_RANDOM", "CLIENT_TRAFFIC_SECRET_0", "CLIENT_TRAFFIC_SECRET_1", "PMS_CLIENT_RANDOM"):
            self.assertEqual(log.secret(random, label), secret)
        self.assertEqual(log.by_encrypted_premaster, {bytes.fromhex("0011223344556677"): secret})
        self.assertEqual(log.by_session, {b"\xee" * 32: secret})
        self.assertIsNone(log.secret(b"", "CLIENT_RANDOM"))

    def test_other_lines_are_counted(self) -> None:
        """Damaged or unknown ones do no harm."""
        log = read(
            f"CLIENT_RANDOM {_RANDOM}\nCLIENT_RANDOM {_RANDOM[:-2]} {_SECRET}\nCLIENT_RANDOM {_RANDOM} xyz\n"
            f"SOMETHING {_RANDOM} {_SECRET}\nRSA Session-ID:x Master-Key:y\nRSA 00 {_SECRET}\n\xff \xff \xff\n"
            f"CLIENT_RANDOM {_RANDOM} {'00' * 2000}\n"
        )
        self.assertEqual((log.lines, log.ignored), (0, 8))

    def test_bounded(self) -> None:
        """A file of endless lines is refused."""
        self.assertRaises(CaptureError, read_key_log, [b"a\n" * 20], Budget(Limits(secrets=10)))
