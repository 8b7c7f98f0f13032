# -*- test-case-name: tests.lab.report.test_ladder -*-
"""One connection as a ladder: who sent what, when, in which frame, and from where on each direction is encrypted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mqttsecure.lab.model import Connection, Sender
from mqttsecure.lab.report.html import Markup, tag

__all__ = ["Rung", "draw", "left_out", "rungs_of"]

_MOST: Final = 60
"""Rungs of a picture: a handshake has 25; of a long conversation the first ones tell the story."""

_STEP: Final = 34
_TOP: Final = 44


@dataclass(frozen=True, slots=True)
class Rung:
    """One arrow. ``note`` is what stands small beside the rails: time, frame, bytes."""

    sender: Sender
    name: str
    encrypted: bool
    time: str = ""
    note: str = ""
    starts_encryption: bool = False


def rungs_of(connection: Connection) -> list[Rung]:
    """The rungs of a connection: each message, but those of one kind that follow each other in one frame, together."""
    started: set[Sender] = set()
    starts = set(connection.tls.encryption_starts.values()) if connection.tls is not None else set()
    rungs: list[Rung] = []
    for message in connection.messages[:_MOST]:
        begins = message.index in starts and message.sender not in started
        if begins:
            started.add(message.sender)
        frame = f"#{message.frame}" if message.frames else ""
        size = f"{message.length} B" if message.length else ""
        rungs.append(
            Rung(
                message.sender,
                message.name,
                message.encrypted,
                f"{(message.time - connection.start) * 1000:.1f} ms",
                " · ".join(each for each in (frame, size) if each),
                begins,
            )
        )
    return rungs


def draw(rungs: Sequence[Rung], *, client: str, server: str, title: str, width: int = 720) -> Markup:
    """The picture.

    Args:
        rungs: from the top down.
        client, server: who stands above the rails.
        title: for those who cannot see it.
        width: of the drawing; narrow ones have no times.
    """
    narrow = width < 500
    left, right = (54, width - 54) if narrow else (150, width - 150)
    height = _TOP + _STEP * len(rungs) + 16
    parts: list[Markup] = [*_shades(rungs, left, right, width), *_rails(left, right, height, client, server)]
    for number, rung in enumerate(rungs):
        parts.append(_rung(rung, _TOP + _STEP * number + 20, left, right, width, narrow=narrow))
    return tag(
        "svg",
        tag("title", title),
        *parts,
        viewBox=f"0 0 {width} {height}",
        role="img",
        xmlns="http://www.w3.org/2000/svg",
    )


def _rails(left: int, right: int, height: int, client: str, server: str) -> list[Markup]:
    return [
        tag("text", client, x=left, y=18, class_="head", text_anchor="middle"),
        tag("text", server, x=right, y=18, class_="head", text_anchor="middle"),
        tag("line", class_="rail", x1=left, y1=28, x2=left, y2=height),
        tag("line", class_="rail", x1=right, y1=28, x2=right, y2=height),
    ]


def _shades(rungs: Sequence[Rung], left: int, right: int, width: int) -> list[Markup]:
    """Behind the half of each direction that is encrypted: the client's on the left, the server's on the right."""
    parts = []
    bottom = _TOP + _STEP * len(rungs) + 10
    middle = (left + right) / 2
    for sender, x, breadth in (("client", left, middle - left), ("server", middle, right - middle)):
        start = next((number for number, each in enumerate(rungs) if each.starts_encryption and each.sender == sender), None)
        if start is not None:
            y = _TOP + _STEP * start + 1
            parts.append(tag("rect", class_="shade", x=x, y=y, width=breadth, height=max(0, bottom - y)))
            parts.append(tag("line", class_="start", x1=x, y1=y, x2=x + breadth, y2=y))
    return parts


def _rung(rung: Rung, y: int, left: int, right: int, width: int, *, narrow: bool) -> Markup:
    from_client = rung.sender == "client"
    start, end = (left, right) if from_client else (right, left)
    back = -9 if from_client else 9
    name = f"🔒 {rung.name}" if rung.encrypted else rung.name
    parts = [
        tag("line", class_=rung.sender, x1=start, y1=y, x2=end, y2=y, stroke_width=1.6),
        tag("path", class_=f"tip-{rung.sender}", d=f"M {end} {y} l {back} -4.5 l 0 9 z"),
        tag("text", name, x=(left + right) / 2, y=y - 5, text_anchor="middle"),
    ]
    if not narrow:
        outside, anchor = (left - 8, "end") if from_client else (right + 8, "start")
        parts.append(tag("text", rung.time, x=outside, y=y + 1, class_="small", text_anchor=anchor))
        parts.append(tag("text", rung.note, x=outside, y=y + 13, class_="small", text_anchor=anchor))
    return tag("g", *parts)


def left_out(connection: Connection) -> int:
    """How many messages the picture does not have."""
    return max(0, len(connection.messages) - _MOST)


