# -*- test-case-name: tests.wire.test_primitives -*-
"""Integers, strings and binary data."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import EncodeError, MalformedPacket
from mqttsecure.wire import primitives
from tests.wire.strategies import text

SETTINGS = settings(max_examples=150, deadline=None)


class ReadTests(SynchronousTestCase):
    """What is on the wire is read as it stands, or refused."""

    def test_truncated(self) -> None:
        """Bytes that stop too early are refused by every reader, wherever they stop."""
        whole = {
            primitives.read_byte: b"\1",
            primitives.read_two_byte_integer: b"\1\2",
            primitives.read_four_byte_integer: b"\1\2\3\4",
            primitives.read_variable_byte_integer: b"\x81\x82\x83\4",
            primitives.read_string: b"\0\3abc",
            primitives.read_binary: b"\0\3abc",
        }
        for read, data in whole.items():
            self.assertEqual(read(b"..." + data + b"...", 3)[1], 3 + len(data))
            for length in range(len(data)):
                with self.assertRaises(MalformedPacket, msg=read.__name__):
                    read(data[:length], 0)

    def test_variable_byte_integer_borders(self) -> None:
        """The borders of the four lengths are those of the standard's table."""
        for value, data in (
            (0, "00"),
            (127, "7f"),
            (128, "8001"),
            (16383, "ff7f"),
            (16384, "808001"),
            (2097151, "ffff7f"),
            (2097152, "80808001"),
            (268435455, "ffffff7f"),
        ):
            self.assertEqual(primitives.encode_variable_byte_integer(value).hex(), data)
            self.assertEqual(primitives.read_variable_byte_integer(bytes.fromhex(data), 0)[0], value)

    def test_variable_byte_integer_refusals(self) -> None:
        """Five bytes, and bytes that add nothing, are refused."""
        for data in ("8080808001", "ffffffff", "8000", "ff8000", "80808000"):
            with self.assertRaises(MalformedPacket, msg=data):
                primitives.read_variable_byte_integer(bytes.fromhex(data), 0)

    def test_string_refusals(self) -> None:
        """NUL, surrogates, overlong forms and stray bytes are no text."""
        for data in (
            b"\0",
            b"a\0b",
            b"\xed\xa0\x80",
            b"\xed\xbf\xbf",
            b"\xc0\x80",
            b"\xe0\x80\xaf",
            b"\xff",
            b"\xf4\x90\x80\x80",
        ):
            with self.assertRaises(MalformedPacket, msg=data):
                primitives.read_string(len(data).to_bytes(2, "big") + data, 0)

    def test_string_tolerance(self) -> None:
        """Control and non-characters may be sent, and a leading U+FEFF stays."""
        for value in ("\x01", "\x1f", "\x7f\x9f", "\ufffe\uffff", "\ufeffa", "\U0010ffff"):
            self.assertEqual(primitives.read_string(primitives.encode_string(value), 0)[0], value)


class EncodeTests(SynchronousTestCase):
    """What does not fit is not sent."""

    def test_out_of_range(self) -> None:
        """A number outside its field is my error, told at once."""
        for encode, values in (
            (primitives.encode_two_byte_integer, (-1, 65536)),
            (primitives.encode_four_byte_integer, (-1, 2**32)),
            (primitives.encode_variable_byte_integer, (-1, 2**28)),
        ):
            for value in values:
                with self.assertRaises(EncodeError):
                    encode(value)

    def test_texts(self) -> None:
        """Text that the wire has no form for is my error too."""
        for value in ("\0", "\ud800", "a" * 65536, "é" * 32768):
            with self.assertRaises(EncodeError):
                primitives.encode_string(value)
        with self.assertRaises(EncodeError):
            primitives.encode_binary(bytes(65536))

    @given(text, st.binary(max_size=20), st.integers(0, 65535), st.integers(0, 2**32 - 1), st.integers(0, 2**28 - 1))
    @SETTINGS
    def test_round_trip(self, words: str, data: bytes, two: int, four: int, variable: int) -> None:
        """What is written is read back."""
        self.assertEqual(primitives.read_string(primitives.encode_string(words), 0)[0], words)
        self.assertEqual(primitives.read_binary(primitives.encode_binary(data), 0)[0], data)
        self.assertEqual(primitives.read_two_byte_integer(primitives.encode_two_byte_integer(two), 0)[0], two)
        self.assertEqual(primitives.read_four_byte_integer(primitives.encode_four_byte_integer(four), 0)[0], four)
        encoded = primitives.encode_variable_byte_integer(variable)
        self.assertEqual(primitives.read_variable_byte_integer(encoded, 0), (variable, len(encoded)))
