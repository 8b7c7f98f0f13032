# -*- test-case-name: tests.lab.capture.test_files -*-
"""Reads pcapng: sections of either byte order, several interfaces, Decryption Secrets Blocks with TLS key logs."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.frames import CaptureFile, Frame
from mqttsecure.lab.capture.limits import Budget

__all__ = ["SECTION_HEADER", "TLS_KEY_LOG", "read_pcapng"]

SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE: Final = 0x00000001
_PACKET: Final = 0x00000002
_SIMPLE_PACKET: Final = 0x00000003
_ENHANCED_PACKET: Final = 0x00000006
_SECRETS: Final = 0x0000000A
_BYTE_ORDER: Final = 0x1A2B3C4D

TLS_KEY_LOG: Final = 0x544C534B
"""The type of secrets that a TLS key log is: "TLSK"."""

_OPTION_TIME_RESOLUTION: Final = 9
_OPTION_TIME_OFFSET: Final = 14
_MAX_INTERFACES: Final = 1024
"""A machine has tens; each costs memory."""


@dataclass(frozen=True, slots=True)
class _Interface:
    link_type: int
    snap_length: int
    parts: float
    offset: int


class _Reader:
    def __init__(self, data: bytes, budget: Budget) -> None:
        self.data = data
        self.budget = budget
        self.capture = CaptureFile("pcapng")
        self.order = "<"
        self.interfaces: list[_Interface] = []

    def read(self) -> CaptureFile:
        position = 0
        while position < len(self.data):
            block = self._next_block(position)
            if block is None:
                frames = len(self.capture.frames)
                self.capture.notes.append(f"the file ends within the block after frame {frames}; it was cut")
                break
            kind, body, length = block
            self.budget.check_time()
            self._block(kind, body)
            position += length
        return self.capture

    def _next_block(self, position: int) -> tuple[int, bytes, int] | None:
        """Type, body and whole length of the block at ``position``; None where the file ends within it."""
        data = self.data
        if len(data) - position < 12:
            return None
        if data[position : position + 4] == b"\x0a\x0d\x0d\x0a":
            self._section(data[position + 8 : position + 12])
        kind, length = struct.unpack_from(self.order + "II", data, position)
        if length < 12 or length % 4:
            raise CaptureError(f"the block at byte {position} says it has {length} bytes; the file is damaged")
        if len(data) - position < length:
            return None
        (again,) = struct.unpack_from(self.order + "I", data, position + length - 4)
        if again != length:
            raise CaptureError(f"the block at byte {position} tells two lengths; the file is damaged")
        return kind, data[position + 8 : position + length - 4], length

    def _section(self, magic: bytes) -> None:
        for order in "<>":
            if magic == struct.pack(order + "I", _BYTE_ORDER):
                self.order = order
                self.interfaces = []
                return
        raise CaptureError("a section of the file tells no byte order; the file is damaged")

    def _block(self, kind: int, body: bytes) -> None:
        try:
            if kind == SECTION_HEADER:
                self._section_version(body)
            elif kind == _INTERFACE:
                self._interface(body)
            elif kind == _ENHANCED_PACKET:
                self._enhanced_packet(body)
            elif kind == _SIMPLE_PACKET:
                self._simple_packet(body)
            elif kind == _PACKET:
                self._old_packet(body)
            elif kind == _SECRETS:
                self._secrets(body)
        except struct.error:
            raise CaptureError(f"a block of type {kind:#x} is too short for what it is; the file is damaged") from None

    def _section_version(self, body: bytes) -> None:
        _magic, major, minor = struct.unpack_from(self.order + "IHH", body)
        if major != 1:
            raise CaptureError(f"pcapng version {major}.{minor} is unknown; save it as pcapng 1.0")

    def _interface(self, body: bytes) -> None:
        link_type, _reserved, snap_length = struct.unpack_from(self.order + "HHI", body)
        if len(self.interfaces) >= _MAX_INTERFACES:
            raise CaptureError(f"more than {_MAX_INTERFACES} interfaces; the file is damaged")
        parts, offset = 1e6, 0
        for code, value in self._options(body[8:]):
            if code == _OPTION_TIME_RESOLUTION and value:
                parts = float(2 ** (value[0] & 0x7F)) if value[0] & 0x80 else 10.0 ** min(value[0], 20)
            elif code == _OPTION_TIME_OFFSET and len(value) == 8:
                (offset,) = struct.unpack(self.order + "q", value)
        self.interfaces.append(_Interface(link_type, snap_length, parts, offset))

    def _options(self, data: bytes) -> list[tuple[int, bytes]]:
        options = []
        position = 0
        while len(data) - position >= 4:
            code, length = struct.unpack_from(self.order + "HH", data, position)
            if code == 0:
                break
            options.append((code, data[position + 4 : position + 4 + length]))
            position += 4 + (length + 3) // 4 * 4
        return options

    def _which(self, number: int) -> _Interface:
        if number >= len(self.interfaces):
            raise CaptureError(f"a frame was captured on interface {number}, which the file does not describe")
        return self.interfaces[number]

    def _enhanced_packet(self, body: bytes) -> None:
        number, high, low, kept, length = struct.unpack_from(self.order + "IIIII", body)
        self._frame(self._which(number), high << 32 | low, body[20:], kept, length)

    def _old_packet(self, body: bytes) -> None:
        number, _drops, high, low, kept, length = struct.unpack_from(self.order + "HHIIII", body)
        self._frame(self._which(number), high << 32 | low, body[20:], kept, length)

    def _simple_packet(self, body: bytes) -> None:
        (length,) = struct.unpack_from(self.order + "I", body)
        interface = self._which(0)
        kept = min(length, interface.snap_length or length, len(body) - 4)
        self._frame(interface, None, body[4:], kept, length)

    def _frame(self, interface: _Interface, ticks: int | None, data: bytes, kept: int, length: int) -> None:
        number = len(self.capture.frames) + 1
        limits = self.budget.limits
        if kept > len(data) or kept > limits.frame_bytes:
            raise CaptureError(f"frame {number} claims {kept} bytes and its block has {len(data)}; the file is damaged")
        if number > limits.frames:
            raise CaptureError(f"more than {limits.frames} frames; cut the capture down with a filter")
        time = 0.0 if ticks is None else ticks / interface.parts + interface.offset
        self.capture.frames.append(Frame(number, time, data[:kept], length, interface.link_type))

    def _secrets(self, body: bytes) -> None:
        kind, length = struct.unpack_from(self.order + "II", body)
        if length > len(body) - 8:
            raise CaptureError("a Decryption Secrets Block is shorter than it says; the file is damaged")
        if kind == TLS_KEY_LOG:
            self.capture.secrets.append(body[8 : 8 + length])
        else:
            self.capture.notes.append(f"secrets of type {kind:#x} are not for TLS and were not used")


def read_pcapng(data: bytes, budget: Budget) -> CaptureFile:
    """Read all frames and secrets; a file that was cut gives what stands before the cut, and a note.

    Raises:
        CaptureError: it cannot be read as pcapng.
    """
    return _Reader(data, budget).read()
