# -*- test-case-name: tests.policy.test_obligations -*-
"""Obligations: which are valid, and which of several wins."""

from __future__ import annotations

import math
from collections.abc import Iterable

from mqttsecure.core.decisions import (
    CapKeepAlive,
    CapQos,
    CapSessionExpiry,
    Disconnect,
    Obligation,
    Strike,
    Throttle,
)

__all__ = ["merge_obligations", "obligations_fault"]

MAXIMUM_OBLIGATIONS = 16
"""Of one decision; there are six kinds, so more are a policy's mistake."""


def obligations_fault(obligations: object) -> str | None:
    """What is wrong with the obligations of one decision, None if nothing is.

    An obligation that the broker does not know cannot be met, so it must not be passed over.
    """
    if not isinstance(obligations, tuple):
        return f"obligations must be a tuple, not {type(obligations).__name__}"
    if len(obligations) > MAXIMUM_OBLIGATIONS:
        return f"{len(obligations)} obligations in one decision, at most {MAXIMUM_OBLIGATIONS} make sense"
    for obligation in obligations:
        if not _is_valid(obligation):
            return f"unknown or invalid obligation {obligation!r:.200}"
    return None


def _is_valid(obligation: object) -> bool:
    match obligation:
        case Throttle(seconds=float() | int() as seconds):
            return math.isfinite(seconds) and seconds >= 0
        case CapQos(qos=qos):
            return type(qos) is int and 0 <= qos <= 2
        case CapKeepAlive(seconds=seconds):
            return type(seconds) is int and 1 <= seconds <= 0xFFFF  # 0 would turn Keep Alive off, the loosest of all
        case CapSessionExpiry(seconds=seconds):
            return type(seconds) is int and 0 <= seconds <= 0xFFFFFFFF
        case Strike(weight=weight, why=why):
            return type(weight) is int and weight >= 0 and isinstance(why, str)
        case _:
            return isinstance(obligation, Disconnect)


def merge_obligations(obligations: Iterable[Obligation], *, strikes: bool = True) -> tuple[Obligation, ...]:
    """At most one obligation of each kind, the strictest: the longest pause, the lowest cap, all strikes together.

    Args:
        obligations: valid ones, in the order of the chain.
        strikes: whether strikes count; they do not where nobody really acts (RECHECK, SHADOW).
    """
    strictest: dict[type[Obligation], Obligation] = {}
    for new in obligations:
        if isinstance(new, Strike) and not strikes:
            continue
        old = strictest.get(type(new))
        strictest[type(new)] = new if old is None else _stricter(old, new)
    return tuple(strictest.values())


def _stricter(old: Obligation, new: Obligation) -> Obligation:
    match old, new:
        case Throttle(), Throttle():
            return max(old, new, key=lambda each: each.seconds)
        case CapQos(), CapQos():
            return min(old, new, key=lambda each: each.qos)
        case CapKeepAlive(), CapKeepAlive():
            return min(old, new, key=lambda each: each.seconds)
        case CapSessionExpiry(), CapSessionExpiry():
            return min(old, new, key=lambda each: each.seconds)
        case Strike(), Strike():
            why = "; ".join(text for text in (old.why, new.why) if text)
            return Strike(old.weight + new.weight, why)
        case _:
            return old  # Disconnect says it all the first time
