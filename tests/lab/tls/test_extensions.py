"""Tests for mqttsecure.lab.tls.extensions, cursor and name_lists."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.tls.cursor import Cursor, Malformed
from mqttsecure.lab.tls.extensions import find, read_extensions
from mqttsecure.lab.tls.name_lists import distinguished_names
from tests.lab.authority import root


def extension(number: int, content: bytes) -> bytes:
    return number.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


def read(content: bytes, message: str = "client_hello") -> Any:
    return read_extensions(Cursor(len(content).to_bytes(2, "big") + content), message)


class ExtensionTests(SynchronousTestCase):
    """Each extension by name, with what it says here."""

    def test_values(self) -> None:
        """What each of them holds in a ClientHello, or in what answers it."""
        for number, content, message, value, text in (
            (0, b"\0\6\0\0\3a.b", "client_hello", "a.b", "a.b"),
            (0, b"", "server_hello", None, "acknowledged"),
            (1, b"\1", "client_hello", 1, "512 bytes"),
            (1, b"\x09", "client_hello", 9, "unknown code 9"),
            (10, b"\0\4\0\x1d\x11\xec", "client_hello", [29, 4588], "x25519, X25519MLKEM768"),
            (11, b"\1\0", "client_hello", [0], "uncompressed"),
            (13, b"\0\2\x08\x04", "client_hello", [0x804], "rsa_pss_rsae_sha256"),
            (16, b"\0\5\4mqtt", "client_hello", ["mqtt"], "mqtt"),
            (22, b"", "server_hello", None, "present"),
            (28, b"\x40\x01", "client_hello", 16385, "16385 bytes"),
            (35, b"", "client_hello", "", "empty"),
            (35, b"xyz", "client_hello", "78797a", "a ticket of 3 bytes"),
            (35, b"", "server_hello", None, "present"),
            (41, b"\0\1", "server_hello", 1, "number 1"),
            (42, b"\0\0\1\0", "new_session_ticket", 256, "at most 256 bytes"),
            (42, b"", "encrypted_extensions", None, "present"),
            (43, b"\4\3\4\3\3", "client_hello", [0x304, 0x303], "TLS 1.3, TLS 1.2"),
            (43, b"\3\4", "server_hello", 0x304, "TLS 1.3 (0x0304)"),
            (44, b"\0\2ab", "hello_retry_request", "6162", "2 bytes"),
            (45, b"\2\0\1", "client_hello", [0, 1], "psk_ke (no forward secrecy), psk_dhe_ke"),
            (51, b"\0\x17", "hello_retry_request", 23, "secp256r1"),
            (65281, b"\0", "client_hello", "", "empty"),
            (65281, b"\2ab", "client_hello", "6162", "2 bytes"),
            (0x1A1A, b"?", "client_hello", None, "nothing"),
            (999, b"ab", "client_hello", "6162", "2 bytes"),
            (49, b"", "client_hello", None, "present"),
        ):
            (found,) = read(extension(number, content), message)
            self.assertEqual((found.value, found.text), (value, text), number)
            self.assertTrue(found.meaning)
            self.assertEqual(found.fields[0].value, number)

    def test_key_shares_and_pre_shared_keys(self) -> None:
        """What has parts of its own."""
        (shares,) = read(extension(51, b"\0\x0e\0\x1d\0\2ab\0\x17\0\4cdef"))
        self.assertEqual([each["name"] for each in shares.value], ["x25519", "secp256r1"])
        offered = b"\0\x09\0\3tkt\0\0\0\7" + b"\0\5\4bind"
        (keys,) = read(extension(41, offered))
        self.assertEqual(keys.value["identities"], [{"identity": b"tkt".hex(), "obfuscated_ticket_age": 7}])
        self.assertEqual(keys.value["binders"], [b"bind".hex()])

    def test_places(self) -> None:
        """Each tells where its bytes are."""
        first, second = read(extension(22, b"") + extension(16, b"\0\5\4mqtt"))
        self.assertEqual((first.start, first.length, second.start, second.length), (2, 4, 6, 11))
        self.assertIs(find((first, second), 16), second)
        self.assertIsNone(find((first, second), 17))

    def test_malformed_content_is_told_and_the_rest_read(self) -> None:
        """One damaged extension does not hide the others."""
        for number, content in ((0, b"\0\x99"), (10, b"\0\3abc"), (51, b"\0"), (22, b"x"), (43, b""), (41, b"\0\0")):
            found = read(extension(number, content) + extension(23, b""))
            self.assertIn("malformed", found[0].text, number)
            self.assertEqual(found[1].text, "present")

    def test_a_malformed_list_is_none(self) -> None:
        """Lengths that reach too far, or far too many."""
        self.assertRaises(Malformed, read_extensions, Cursor(b"\0\x09abc"), "client_hello")
        self.assertRaises(Malformed, read, extension(22, b"")[:3])
        self.assertRaises(Malformed, read, extension(22, b"") * 300)
        self.assertEqual(read_extensions(Cursor(b""), "server_hello"), ())


class NameListTests(SynchronousTestCase):
    """Authorities in a certificate request."""

    def names(self, *ders: bytes) -> list[str]:
        content = b"".join(len(der).to_bytes(2, "big") + der for der in ders)
        return distinguished_names(Cursor(len(content).to_bytes(2, "big") + content))

    def test_names_are_written_as_certificates_write_them(self) -> None:
        """With commas escaped, the last part first."""
        name = root().certificate.subject
        self.assertEqual(self.names(name.public_bytes()), [name.rfc4514_string()])

    def test_what_cannot_be_read_stays(self) -> None:
        """As hexadecimal."""
        for bad in (b"", b"\x30", b"\x30\x82\xff\xff", b"\x31\0", b"\x30\x02\x31\x01"):
            self.assertEqual(self.names(bad), [f"#{bad.hex()}"])
        text = self.names(bytes.fromhex("300d310b3009060355040a1e0200e9"))
        self.assertEqual(text, ["O=\u00e9"])
        self.assertRaises(Malformed, self.names, *[b""] * 1025)
