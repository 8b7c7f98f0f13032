# -*- test-case-name: tests.lab.report.test_ladder -*-
"""One connection as a ladder: who sent what, when, in which frame, and from where on each direction is encrypted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mqttsecure.lab.model import Connection, Sender
from mqttsecure.lab.report.html import Markup, in_picture, tag

__all__ = ["NARROW", "Rung", "draw", "left_out", "rungs_of"]

_MOST: Final = 60
"""Rungs of a picture: a handshake has 25; of a long conversation the first ones tell the story."""
_LONGEST_NAME: Final = 30
"""Characters that fit between the rails of a narrow picture; the longest name of a message we know has 19."""

_STEP: Final = 36
_TOP: Final = 44
_WIDE: Final = 720
NARROW: Final = 340
"""Units of the narrow picture, for a telephone."""

_CLIENT: Final = ("client", "客户端")
_SERVER: Final = ("server", "服务器")


@dataclass(frozen=True, slots=True)
class Rung:
    """One arrow. ``time`` and ``note`` (frame, bytes) stand small beside it."""

    sender: Sender
    name: str
    encrypted: bool
    time: str = ""
    note: str = ""
    starts_encryption: bool = False


def rungs_of(connection: Connection) -> list[Rung]:
    """The rungs of a connection, a message each."""
    starts = connection.tls.encryption_starts if connection.tls is not None else {}
    rungs: list[Rung] = []
    for message in connection.messages[:_MOST]:
        frame = f"#{message.frame}" if message.frames else ""
        size = f"{message.length} B" if message.length else ""
        rungs.append(
            Rung(
                message.sender,
                message.name,
                message.encrypted,
                f"{(message.time - connection.start) * 1000:.1f} ms",
                " · ".join(each for each in (frame, size) if each),
                starts.get(message.sender) == message.index,
            )
        )
    return rungs


def left_out(connection: Connection) -> int:
    """How many messages the picture does not have."""
    return max(0, len(connection.messages) - _MOST)


def draw(rungs: Sequence[Rung], *, title: str, narrow: bool = False) -> Markup:
    """The picture.

    Args:
        rungs: from the top down.
        title: for those who cannot see it.
        narrow: with the small texts below the arrows in place of beside them.
    """
    width, margin = (NARROW, 34) if narrow else (_WIDE, 150)
    left, right = margin, width - margin
    height = _TOP + _STEP * len(rungs) + 12
    parts: list[Markup] = [*_shades(rungs, left, right), *_rails(left, right, height)]
    for number, rung in enumerate(rungs):
        parts.append(_rung(rung, _TOP + _STEP * number + 18, left, right, narrow=narrow))
    return tag(
        "svg",
        tag("title", title),
        *parts,
        viewBox=f"0 0 {width} {height}",
        role="img",
        class_="narrow" if narrow else "broad",
    )


def _rails(left: int, right: int, height: int) -> list[Markup]:
    return [
        *(
            tag("text", in_picture(who), x=x, y=18, class_="head", text_anchor="middle")
            for who, x in ((_CLIENT, left), (_SERVER, right))
        ),
        *(tag("line", class_="rail", x1=x, y1=28, x2=x, y2=height) for x in (left, right)),
    ]


def _shades(rungs: Sequence[Rung], left: int, right: int) -> list[Markup]:
    """Behind the half of each direction that is encrypted: the client's on the left, the server's on the right."""
    parts = []
    bottom = _TOP + _STEP * len(rungs) + 8
    middle = (left + right) // 2
    for sender, x, breadth in (("client", left, middle - left), ("server", middle, right - middle)):
        for number, rung in enumerate(rungs):
            if rung.starts_encryption and rung.sender == sender:
                y = _TOP + _STEP * number - 3
                parts.append(tag("rect", class_="shade", x=x, y=y, width=breadth, height=bottom - y))
                parts.append(tag("line", class_="start", x1=x, y1=y, x2=x + breadth, y2=y))
    return parts


def _rung(rung: Rung, y: int, left: int, right: int, *, narrow: bool) -> Markup:
    from_client = rung.sender == "client"
    start, end = (left, right) if from_client else (right, left)
    back = -9 if from_client else 9
    middle = (left + right) // 2
    name = rung.name if len(rung.name) <= _LONGEST_NAME else f"{rung.name[: _LONGEST_NAME - 1]}…"
    parts = [
        tag("line", class_=rung.sender, x1=start, y1=y, x2=end, y2=y),
        tag("path", class_=f"tip-{rung.sender}", d=f"M {end} {y} l {back} -4.5 l 0 9 z"),
        tag("text", name, x=middle, y=y - 5, text_anchor="middle"),
    ]
    if rung.encrypted:
        parts.append(_lock(start, y))
    small = " · ".join(each for each in (rung.note, rung.time) if each)
    if narrow and small:
        parts.append(tag("text", small, x=middle, y=y + 11, class_="small", text_anchor="middle"))
    elif small:
        outside, anchor = (left - 10, "end") if from_client else (right + 10, "start")
        parts.append(tag("text", rung.time, x=outside, y=y - 1, class_="small", text_anchor=anchor))
        parts.append(tag("text", rung.note, x=outside, y=y + 12, class_="small", text_anchor=anchor))
    return tag("g", *parts)


def _lock(x: int, y: int) -> Markup:
    """A padlock on the sender's rail; no font is needed for it."""
    return tag("path", class_="lock", d=f"M {x - 5} {y - 1} h 10 v 8 h -10 z m 2 0 v -3 a 3 3 0 0 1 6 0 v 3")
