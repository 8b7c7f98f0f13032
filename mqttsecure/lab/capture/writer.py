# -*- test-case-name: tests.lab.capture.test_writer -*-
"""Writes captures: pcapng with the secrets that open it inside, and pcap.

Frames go to the file as they come, so that a capture that was ended by force can still be read. Wireshark opens the
file decrypted, with no setting, by the secrets in it.
"""

from __future__ import annotations

import struct
from types import TracebackType
from typing import BinaryIO, Final, Self

from mqttsecure.lab.capture.link import ETHERNET
from mqttsecure.lab.capture.pcapng import SECTION_HEADER, TLS_KEY_LOG

__all__ = ["PcapWriter", "PcapngWriter"]

_SNAP_LENGTH: Final = 262144
"""What tcpdump keeps of a frame by default: all."""
_OPTION_END: Final = 0
_OPTION_COMMENT: Final = 1
_OPTION_INTERFACE_NAME: Final = 2
_OPTION_APPLICATION: Final = 4
_OPTION_RESOLUTION: Final = 9
_NANOSECONDS: Final = 9
"""The exponent that times are written with: 10 to the minus ninth."""


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


class PcapngWriter:
    """One section of one or more interfaces.

    Args:
        file: opened for writing in binary; it is flushed, and closed by whoever opened it.
        application: who captured, told in the header.
        comment: told in the header.
    """

    def __init__(self, file: BinaryIO, *, application: str = "mqttsecure", comment: str = "") -> None:
        self._file = file
        self._interfaces = 0
        options = _option(_OPTION_COMMENT, comment.encode()) if comment else b""
        options += _option(_OPTION_APPLICATION, application.encode()) + _option(_OPTION_END, b"")
        # A length of -1: the section's end is the file's.
        self._block(SECTION_HEADER, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()

    def add_interface(self, link_type: int = ETHERNET, name: str = "") -> int:
        """Describe an interface before the first frame that was captured on it; gives its number."""
        options = _option(_OPTION_INTERFACE_NAME, name.encode()) if name else b""
        options += _option(_OPTION_RESOLUTION, bytes((_NANOSECONDS,))) + _option(_OPTION_END, b"")
        self._block(1, struct.pack("<HHI", link_type, 0, _SNAP_LENGTH) + options)
        self._interfaces += 1
        return self._interfaces - 1

    def write_frame(self, data: bytes, time_ns: int, *, interface: int = 0, length: int | None = None) -> None:
        """Write one frame.

        Args:
            data: as captured.
            time_ns: nanoseconds since 1970.
            interface: the number that :meth:`add_interface` gave.
            length: bytes on the wire, where the capture cut the frame.
        """
        if not 0 <= interface < self._interfaces:
            raise ValueError(f"no interface {interface} was added")
        head = struct.pack(
            "<IIIII", interface, time_ns >> 32 & 0xFFFFFFFF, time_ns & 0xFFFFFFFF, len(data), length or len(data)
        )
        self._block(6, head + _padded(data))

    def write_secrets(self, key_log: bytes) -> None:
        """Write lines of an NSS key log as a Decryption Secrets Block. Whoever has the file can then read it all."""
        self._block(10, struct.pack("<II", TLS_KEY_LOG, len(key_log)) + _padded(key_log))

    def flush(self) -> None:
        """Give to the system what was written so far."""
        self._file.flush()

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack("<I", len(body) + 12)
        self._file.write(struct.pack("<I", kind) + length + body + length)


class PcapWriter:
    """A pcap file of one link type, times in microseconds. It has no place for secrets; keep the key log beside it."""

    def __init__(self, file: BinaryIO, link_type: int = ETHERNET) -> None:
        self._file = file
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAP_LENGTH, link_type))

    def write_frame(self, data: bytes, time_ns: int, *, length: int | None = None) -> None:
        """Write one frame that was captured at ``time_ns`` nanoseconds since 1970."""
        seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
        self._file.write(struct.pack("<IIII", seconds, nanoseconds // 1000, len(data), length or len(data)) + data)
