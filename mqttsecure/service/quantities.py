# -*- test-case-name: tests.service.test_quantities -*-
"""Sizes and times as people write them: ``"256KiB"``, ``"7d"``, ``"1.5s"``; a bare number is bytes or seconds."""

from __future__ import annotations

import math
import re
from typing import Final

__all__ = ["format_duration", "format_size", "parse_duration", "parse_size"]

_SIZES: Final = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_DURATIONS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_QUANTITY: Final = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([A-Za-z]+)\s*")


def _parse(value: object, units: dict[str, float] | dict[str, int], example: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a number, or a string with a unit such as {example}")
    if isinstance(value, int | float):
        if not math.isfinite(value):
            raise ValueError("must be finite")
        return value
    match = _QUANTITY.fullmatch(value)
    if match is None or match[2] not in units:
        raise ValueError(f"must be a number and one of the units {', '.join(units)}, such as {example}")
    return float(match[1]) * units[match[2]]


def parse_size(value: object) -> int:
    """Bytes of ``262144`` or ``"256KiB"``.

    Raises:
        ValueError: neither a whole number nor one with a unit.
    """
    size = _parse(value, _SIZES, '"256KiB"')
    if size != int(size):
        raise ValueError('must be a whole number of bytes, such as "256KiB"')
    return int(size)


def parse_duration(value: object) -> float:
    """Seconds of ``90``, ``1.5`` or ``"7d"``.

    Raises:
        ValueError: neither a number nor one with a unit.
    """
    return _parse(value, _DURATIONS, '"10s" or "7d"')


def format_size(size: int) -> str:
    """``"256KiB"`` for 262144: the largest unit that divides it."""
    for unit, factor in reversed(_SIZES.items()):
        if size and size % factor == 0 and factor > 1:
            return f"{size // factor}{unit}"
    return str(size)


def format_duration(seconds: float) -> str:
    """``"7d"`` for 604800: the largest unit that divides it."""
    for unit in ("d", "h", "m"):
        factor = _DURATIONS[unit]
        if seconds and seconds % factor == 0:
            return f"{int(seconds // factor)}{unit}"
    return f"{seconds:g}s"
