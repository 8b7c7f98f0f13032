"""Tests for mqttsecure.core.verdict_cache."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import EVERY_TOPIC, Effect, Stage, Verdict
from mqttsecure.core.verdict_cache import VerdictCache, cache_weight


def verdict(scope: str | None = None, *, version: int = 1, valid_until: float | None = None) -> Verdict:
    return Verdict(Effect.PERMIT, Stage.PUBLISH, policy_version=version, valid_until=valid_until, scope=scope)


class VerdictCacheTests(SynchronousTestCase):
    """What is remembered, and until when."""

    def setUp(self) -> None:
        self.cache = VerdictCache()

    def get(self, topic: str, qos: int = 0, retain: bool = False, version: int = 1, now: float = 0.0) -> Verdict | None:
        return self.cache.get(topic, qos, retain, version, now)

    def put(self, topic: str, given: Verdict, maximum: int = 100) -> Verdict:
        self.cache.put(topic, 0, False, given, maximum)
        return given

    def test_by_topic(self) -> None:
        """A verdict without a scope is for its Topic Name, QoS and RETAIN alone."""
        given = self.put("a/b", verdict())
        self.assertIs(self.get("a/b"), given)
        self.assertIsNone(self.get("a/c"))
        self.assertIsNone(self.get("a/b", qos=1))
        self.assertIsNone(self.get("a/b", retain=True))

    def test_by_scope(self) -> None:
        """One with a scope is for all topics in it, at the same QoS and RETAIN."""
        given = self.put("a/b", verdict("a/#"))
        self.assertIs(self.get("a/x/y"), given)
        self.assertIsNone(self.get("b"))
        self.assertIsNone(self.get("a/x", qos=2))
        everywhere = self.put("c", verdict(EVERY_TOPIC))
        self.assertIs(self.get("$SYS/x"), everywhere)

    def test_holds_no_longer_than_it_says(self) -> None:
        """A newer policy version and the end of validity make it as if it had never been."""
        for scope in (None, "a/#"):
            self.put("a/b", verdict(scope, valid_until=5.0))
            self.assertIsNotNone(self.get("a/b", now=4.9))
            self.assertIsNone(self.get("a/b", now=5.0))
            self.assertIsNone(self.get("a/b", version=2))

    def test_bounded_by_topics(self) -> None:
        """Topics without end, or of great length, cost no more memory than allowed."""
        for number in range(1000):
            self.put(f"t/{number}", verdict(), maximum=10)
        self.assertLessEqual(sum(self.get(f"t/{number}") is not None for number in range(1000)), 10)
        self.assertEqual(cache_weight("x" * 640), 11)

    def test_bounded_by_scopes(self) -> None:
        """The newest scopes are kept, each once."""
        for number in range(100):
            for _ in range(3):
                self.put("x", verdict(f"s{number}/#"))
        kept = [number for number in range(100) if self.get(f"s{number}/x") is not None]
        self.assertEqual(kept, list(range(84, 100)))

    def test_clear(self) -> None:
        """A session that gets a new connection starts with nothing remembered."""
        self.put("a", verdict())
        self.put("b", verdict("b/#"))
        self.cache.clear()
        self.assertIsNone(self.get("a"))
        self.assertIsNone(self.get("b/c"))
