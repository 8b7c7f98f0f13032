# -*- test-case-name: tests.lab.tls.test_extensions -*-
"""Reads the fields of a message one after another, and remembers where each stands."""

from __future__ import annotations

from mqttsecure.errors import CaptureError
from mqttsecure.lab.model import Field, Json

__all__ = ["Cursor", "Malformed"]


class Malformed(CaptureError):
    """The bytes are not what they claim to be. The message that they belong to is told as malformed, no more."""


class Cursor:
    """A position within bytes, and an end that nothing is read beyond.

    Args:
        data: the message.
        start: where to begin.
        end: where to stop; the end of ``data`` unless told otherwise.
    """

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = start
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return self.end - self.position

    def take(self, count: int, what: str = "a field") -> bytes:
        """The next ``count`` bytes.

        Raises:
            Malformed: there are not as many.
        """
        if count > self.left:
            raise Malformed(f"{what} should have {count} bytes and only {self.left} are left")
        taken = self.data[self.position : self.position + count]
        self.position += count
        return taken

    def number(self, size: int, what: str = "a number") -> int:
        """The next number of ``size`` bytes."""
        return int.from_bytes(self.take(size, what), "big")

    def vector(self, size: int, what: str = "a list") -> bytes:
        """Bytes behind their length, which has ``size`` bytes."""
        return self.take(self.number(size, what), what)

    def inside(self, size: int, what: str = "a list") -> Cursor:
        """A cursor over the bytes behind a length of ``size`` bytes; this one goes on behind them."""
        length = self.number(size, what)
        if length > self.left:
            raise Malformed(f"{what} should have {length} bytes and only {self.left} are left")
        inner = Cursor(self.data, self.position, self.position + length)
        self.position += length
        return inner

    def numbers(self, length_size: int, size: int, what: str = "a list") -> list[int]:
        """A list of numbers behind its length."""
        inner = self.inside(length_size, what)
        if inner.left % size:
            raise Malformed(f"{what} has {inner.left} bytes, which is no multiple of {size}")
        return [inner.number(size) for _each in range(inner.left // size)]

    def field(
        self, name: str, start: int, value: Json, text: str, meaning: str = "", fields: tuple[Field, ...] = ()
    ) -> Field:
        """A field that began at ``start`` and ends here."""
        return Field(name, value, text, meaning, fields, start, self.position - start)

    def finish(self, what: str) -> None:
        """Raises:
        Malformed: something is left that nobody asked for.
        """
        if self.left:
            raise Malformed(f"{what} has {self.left} bytes more than it should")
