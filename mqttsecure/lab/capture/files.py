# -*- test-case-name: tests.lab.capture.test_files -*-
"""Tells the formats of capture files apart, and what else a file may be that is none."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.frames import CaptureFile
from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.capture.pcap import MAGICS, read_pcap
from mqttsecure.lab.capture.pcapng import read_pcapng

__all__ = ["parse_capture", "read_file"]

_PCAPNG: Final = b"\x0a\x0d\x0d\x0a"
_OTHERS: Final = (
    (b"\x1f\x8b", "it is compressed by gzip; unpack it first: gunzip FILE"),
    (b"\x28\xb5\x2f\xfd", "it is compressed by zstd; unpack it first: unzstd FILE"),
    (b"PK\x03\x04", "it is a zip archive; unpack it first"),
    (b"\xa1\xb2\xcd\x34", "it is a patched pcap of an old libpcap; save it anew: editcap -F pcapng FILE NEW"),
    (b"\x34\xcd\xb2\xa1", "it is a patched pcap of an old libpcap; save it anew: editcap -F pcapng FILE NEW"),
    (b"snoop\0\0\0", "it is a snoop capture of Solaris; save it anew: editcap -F pcapng FILE NEW"),
    (b"CLIENT_RANDOM", "it is a key log; give it by --keys, and a capture as the file"),
    (b"CLIENT_HANDSHAKE", "it is a key log; give it by --keys, and a capture as the file"),
    (b"SERVER_HANDSHAKE", "it is a key log; give it by --keys, and a capture as the file"),
    (b"# SSL", "it is a key log; give it by --keys, and a capture as the file"),
    (b"-----BEGIN", "it is a PEM file; give certificates by --ca, and a capture as the file"),
)


def parse_capture(data: bytes, budget: Budget) -> CaptureFile:
    """Read a capture of any known format.

    Raises:
        CaptureError: it is none, or damaged beyond reading.
    """
    if not data:
        raise CaptureError("the file is empty; was it copied before the capture was ended?")
    if data[:4] in MAGICS:
        return read_pcap(data, budget)
    if data[:4] == _PCAPNG:
        return read_pcapng(data, budget)
    for magic, text in _OTHERS:
        if data.startswith(magic):
            raise CaptureError(f"no capture: {text}")
    raise CaptureError("no capture: it begins neither like pcap nor like pcapng; save it as one of these")


def read_file(file: Path, limit: int, what: str) -> bytes:
    """The bytes of a file that somebody named.

    Raises:
        CaptureError: it is not there, cannot be read, or is larger than ``limit``.
    """
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CaptureError(f"{file}: not a file; name the {what}")
        if status.st_size > limit:
            raise CaptureError(f"{file}: {status.st_size} bytes, more than {limit}; cut it down to what you mean")
        return file.read_bytes()
    except FileNotFoundError:
        raise CaptureError(f"{file}: there is no such file; check the name of the {what}") from None
    except OSError as error:
        raise CaptureError(f"{file}: cannot be read: {error.strerror}; check its owner and mode") from None
