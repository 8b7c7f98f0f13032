# -*- test-case-name: tests.cli.test_handshake -*-
"""Reads a capture: the way in for everybody who wants a :class:`~mqttsecure.lab.model.Reading`.

reading = read_capture(Path("lab.pcapng"), keys=Path("lab.keys"), authorities=Path("ca.pem"))
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.files import parse_capture, read_file
from mqttsecure.lab.capture.frames import CaptureFile
from mqttsecure.lab.capture.limits import Budget, Limits
from mqttsecure.lab.capture.reader import read_traffic
from mqttsecure.lab.capture.wireguard import Tunnel
from mqttsecure.lab.conversation import read_connection
from mqttsecure.lab.model import Reading, TunnelFacts
from mqttsecure.lab.tls.certificates import load_authorities
from mqttsecure.lab.tls.keylog import read_key_log

__all__ = ["load_trusted", "read_capture", "read_capture_bytes"]

_MAX_KEYS: Final = 64 * 1024 * 1024
"""Bytes of a key log: a line has some 200, so 300,000 sessions."""
_MAX_AUTHORITIES: Final = 16 * 1024 * 1024
"""Bytes of a file of CAs: a system's whole store has 200 KB."""


def read_capture(
    file: Path, *, keys: Path | None = None, authorities: Path | None = None, limits: Limits | None = None
) -> Reading:
    """Read a capture file, with a key log and with CAs that are trusted.

    Raises:
        CaptureError: one of the files cannot be used; the text names it and the mend.
    """
    budget = Budget(limits)
    data = read_file(file, budget.limits.file_bytes, "capture")
    key_log = read_file(keys, _MAX_KEYS, "key log") if keys is not None else None
    trusted = load_trusted(authorities)
    try:
        return read_capture_bytes(data, source=str(file), key_log=key_log, authorities=trusted, budget=budget)
    except CaptureError as error:
        raise CaptureError(f"{file}: {error}") from None


def load_trusted(file: Path | None) -> list[x509.Certificate]:
    """The CAs in a file; none where there is no file.

    Raises:
        CaptureError: it cannot be used.
    """
    if file is None:
        return []
    return load_authorities(read_file(file, _MAX_AUTHORITIES, "certificate of the CA"), str(file))


def read_capture_bytes(
    data: bytes,
    *,
    source: str,
    key_log: bytes | None = None,
    authorities: list[x509.Certificate] | None = None,
    budget: Budget | None = None,
    wanted_name: str | None = None,
) -> Reading:
    """Read a capture that is in memory.

    Args:
        data: pcap or pcapng.
        source: what to call it.
        key_log: secrets beside those that the capture itself carries.
        authorities: CAs that are trusted.
        budget: how much of it to look at.
        wanted_name: whom the client wanted to reach, where its ClientHello does not say so.

    Raises:
        CaptureError: it cannot be read.
    """
    budget = Budget() if budget is None else budget
    capture = parse_capture(data, budget)
    if not capture.frames:
        raise CaptureError(
            "the capture is empty: no frame was captured; start it before the traffic, on the right interface"
        )
    traffic = read_traffic(capture, budget)
    log = read_key_log([*capture.secrets, *([key_log] if key_log is not None else [])], budget)
    notes = list(traffic.notes)
    if key_log is not None and not log.lines:
        notes.append("the key log holds no secret; each line should read LABEL CLIENT-RANDOM SECRET, in hexadecimal")
    elif log.ignored:
        notes.append(f"{log.ignored} lines of the key log say nothing that is known here")
    connections = [
        read_connection(each, capture, log, authorities or [], budget, wanted_name) for each in traffic.connections
    ]
    return Reading(
        source=source,
        format=capture.format,
        frames=len(capture.frames),
        start=_first_time(capture),
        end=capture.frames[-1].time,
        connections=connections,
        tunnels=[_tunnel(each) for each in traffic.tunnels],
        notes=notes,
    )


def _first_time(capture: CaptureFile) -> float:
    return capture.frames[0].time


def _tunnel(tunnel: Tunnel) -> TunnelFacts:
    text = (
        f"WireGuard between {tunnel.ends[0]} and {tunnel.ends[1]}: {tunnel.initiations} Handshake Initiation, "
        f"{tunnel.responses} Response, {tunnel.data} Transport Data; nothing of what is inside can be seen"
    )
    return TunnelFacts(
        tunnel.ends, tunnel.initiations, tunnel.responses, tunnel.cookies, tunnel.data, tunnel.bytes, text
    )
