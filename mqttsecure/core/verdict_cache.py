# -*- test-case-name: tests.core.test_verdict_cache -*-
"""Verdicts remembered for one connection or session: by Topic Name, and by the scope within which they hold.

On the path of each message whose route is not known.
"""

from __future__ import annotations

from typing import Final

from mqttsecure.core.decisions import EVERY_TOPIC, Verdict
from mqttsecure.wire.topics import matches

__all__ = ["VerdictCache", "cache_weight"]

_MAXIMUM_SCOPES: Final = 16
"""Scopes kept for each QoS and RETAIN. They are looked through one by one; a client has few trees of its own."""


def cache_weight(topic: str) -> int:
    """How much of ``Limits.maximum_cached_decisions`` one entry takes: long topics count for several."""
    return 1 + len(topic) // 64


class VerdictCache:
    """What the chain said at one stage, as long as it holds. What is not found is asked again."""

    __slots__ = ("_scopes", "_topics", "_weight")

    def __init__(self) -> None:
        self._topics: dict[tuple[str, int, bool], Verdict] = {}
        self._scopes: dict[tuple[int, bool], list[Verdict]] = {}
        self._weight = 0

    def get(self, topic: str, qos: int, retain: bool, policy_version: int, now: float) -> Verdict | None:
        """The verdict for a message, None where it was not asked for or holds no more."""
        found = self._topics.get((topic, qos, retain))
        if found is not None:
            return found if _holds(found, policy_version, now) else None
        for verdict in self._scopes.get((qos, retain), ()):
            scope = verdict.scope
            if scope is not None and (scope == EVERY_TOPIC or matches(scope, topic)):
                return verdict if _holds(verdict, policy_version, now) else None
        return None

    def put(self, topic: str, qos: int, retain: bool, verdict: Verdict, maximum: int) -> None:
        """Remember a verdict; beyond ``maximum`` (in the sum of :func:`cache_weight`) the cache starts anew."""
        if verdict.scope is not None:
            self._put_scope(qos, retain, verdict)
            return
        weight = cache_weight(topic)
        self._weight += weight
        if self._weight > maximum:
            self._topics.clear()
            self._weight = weight
        self._topics[topic, qos, retain] = verdict

    def _put_scope(self, qos: int, retain: bool, verdict: Verdict) -> None:
        kept = [each for each in self._scopes.get((qos, retain), ()) if each.scope != verdict.scope]
        # The newest first: it is what the client does now.
        self._scopes[qos, retain] = [verdict, *kept[: _MAXIMUM_SCOPES - 1]]

    def clear(self) -> None:
        """Forget all."""
        self._topics.clear()
        self._scopes.clear()
        self._weight = 0


def _holds(verdict: Verdict, policy_version: int, now: float) -> bool:
    return verdict.policy_version == policy_version and (verdict.valid_until is None or now < verdict.valid_until)
