"""A cache that forgets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.ttl_cache import TtlCache


class TtlCacheTests(SynchronousTestCase):
    """Values are there for their time, and no longer."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.cache: TtlCache[str, int] = TtlCache(3, 10.0, self.clock.seconds)

    def test_lifetime(self) -> None:
        """A value is there until its time is over, which a newer one begins anew; a lifetime of none keeps nothing."""
        self.cache.put("a", 1)
        self.cache.put("b", 2, lifetime=1.0)
        self.cache.put("c", 3, lifetime=0.0)
        self.clock.advance(1.0)
        self.assertEqual([self.cache.get(key) for key in "abc"], [1, None, None])
        self.cache.put("a", 4)
        self.clock.advance(9.9)
        self.assertEqual(self.cache.get("a"), 4)
        self.clock.advance(0.1)
        self.assertIsNone(self.cache.get("a"))
        self.assertEqual(len(self.cache), 0)

    def test_bound(self) -> None:
        """The one that was put in first goes when there are too many."""
        for number, key in enumerate("abcb"):
            self.cache.put(key, number)
        self.cache.put("d", 9)
        self.assertEqual([self.cache.get(key) for key in "abcd"], [None, 3, 2, 9])

    def test_forgetting(self) -> None:
        """What is no longer so is forgotten by hand."""
        self.cache.put("a", 1)
        self.cache.put("b", 2)
        self.cache.forget("a")
        self.cache.forget("never there")
        self.assertEqual([self.cache.get("a"), self.cache.get("b")], [None, 2])
        self.cache.clear()
        self.assertEqual(len(self.cache), 0)

    def test_sizes_that_make_no_sense(self) -> None:
        """A cache that keeps nothing is a mistake of its author's."""
        for maximum, lifetime in ((0, 1.0), (1, 0.0), (1, float("nan"))):
            self.assertRaises(ValueError, TtlCache, maximum, lifetime, self.clock.seconds)

    @given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(-1, 20, allow_nan=False), st.floats(0, 5))))
    def test_never_late_and_never_too_many(self, puts: list[tuple[str, float, float]]) -> None:
        """Whatever is put in, nothing comes out after its time, and there are never more than there may be."""
        clock = Clock()
        cache: TtlCache[str, int] = TtlCache(3, 10.0, clock.seconds)
        ends: dict[str, tuple[int, float]] = {}
        for number, (key, lifetime, wait) in enumerate(puts):
            cache.put(key, number, lifetime)
            ends[key] = (number, clock.seconds() + lifetime)
            clock.advance(wait)
            self.assertLessEqual(len(cache), 3)
            for each, (value, end) in ends.items():
                found = cache.get(each)
                self.assertIn(found, (None, value))
                if found is not None:
                    self.assertLess(clock.seconds(), end)
