"""Where the broker is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.address import Address, parse_address
from mqttsecure.client.failures import AddressInvalid


class ParseTests(SynchronousTestCase):
    """Someone says where the broker is."""

    def test_forms(self) -> None:
        """A host is enough; TLS and its port are the default; other people's words for it are known."""
        for text, expected in {
            "mqtts://broker.example": Address("broker.example", 8883, True),
            "mqtts://broker.example:8884/": Address("broker.example", 8884, True),
            "broker.example": Address("broker.example", 8883, True),
            "MQTTS://192.0.2.7:1": Address("192.0.2.7", 1, True),
            "mqtts://[2001:db8::1]": Address("2001:db8::1", 8883, True),
            "[::1]:8884": Address("::1", 8884, True),
            "mqtt://localhost": Address("localhost", 1883, False),
            "tcp://127.0.0.1:1884": Address("127.0.0.1", 1884, False),
            "ssl://under_score.local": Address("under_score.local", 8883, True),
        }.items():
            self.assertEqual(parse_address(text), expected, text)

    def test_refused(self) -> None:
        """What is no address is refused with an example."""
        for text in (
            "",
            "mqtts://",
            "http://x",
            "mqtts://a:0",
            "a:65536",
            "::1",
            "a b",
            "mqtts://x/path",
            "-x",
            "a..b",
        ):
            error = self.assertRaises(AddressInvalid, parse_address, text)
            self.assertIn(";", str(error))

    def test_password_is_not_repeated(self) -> None:
        """I put my password into the URL out of habit: I am told where it belongs, and it is not shown again."""
        error = self.assertRaises(AddressInvalid, parse_address, "mqtts://alice:s3cret@broker.example")
        self.assertNotIn("s3cret", str(error))
        self.assertIn("options", str(error))

    def test_loopback(self) -> None:
        """Plaintext stays on this machine only where the address says so."""
        for host, expected in {
            "localhost": True,
            "127.8.8.8": True,
            "::1": True,
            "10.0.0.1": False,
            "x": False,
        }.items():
            self.assertEqual(Address(host, 1, False).is_loopback, expected, host)

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever is typed is an address or an error that says what to write; what is one reads back as itself."""
        try:
            address = parse_address(text)
        except AddressInvalid:
            return
        self.assertEqual(parse_address(str(address)), address)
