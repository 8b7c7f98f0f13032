"""Tests for mqttsecure.policy.builtin.token_bucket."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Throttle
from mqttsecure.policy.builtin.token_bucket import BucketTable, RefusingMeter, ThrottlingMeter, TokenBucket

_REFUSAL = Decision.deny("rate")
_GAPS = st.lists(st.floats(0, 2, allow_nan=False), max_size=60)


class TokenBucketTests(SynchronousTestCase):
    """One bucket."""

    def test_lets_the_burst_through_and_then_the_rate(self) -> None:
        """Exactly the burst passes at once, and one more each time one has come back."""
        bucket = TokenBucket(rate=10, burst=5)
        self.assertEqual([bucket.take(0.0) for _ in range(7)], [True] * 5 + [False] * 2)
        self.assertFalse(bucket.has(0.05))
        self.assertTrue(bucket.take(0.1))
        self.assertFalse(bucket.take(0.1))
        self.assertEqual([bucket.take(9.0) for _ in range(6)], [True] * 5 + [False])

    def test_is_full_when_forgetting_loses_nothing(self) -> None:
        """A bucket may be forgotten only when all has come back."""
        bucket = TokenBucket(rate=10, burst=5)
        self.assertTrue(bucket.is_full(0.0))
        for _ in range(5):
            bucket.take(0.0)
        self.assertFalse(bucket.is_full(0.4))
        self.assertTrue(bucket.is_full(0.51))

    @settings(max_examples=100, deadline=None)
    @given(_GAPS, st.integers(1, 5), st.integers(1, 20))
    def test_never_lets_more_through_than_burst_and_rate(self, gaps: list[float], rate: int, burst: int) -> None:
        """In any stretch of time no more passes than the burst and what came back meanwhile."""
        bucket = TokenBucket(rate, burst)
        now = 0.0
        taken = []
        for gap in gaps:
            now += gap
            if bucket.take(now):
                taken.append(now)
        for first in range(len(taken)):
            for last in range(first, len(taken)):
                self.assertLessEqual(last - first + 1, burst + rate * (taken[last] - taken[first]) + 1e-6)


class MeterTests(SynchronousTestCase):
    """The meters of the hot path."""

    def test_throttling_meter_asks_for_the_time_of_its_debt(self) -> None:
        """Above the rate the answer is how long to rest; nothing is refused."""
        meter = ThrottlingMeter(0.01, 0.0, 1.0, "messages")
        self.assertTrue(meter.batchable)
        self.assertIsNone(meter.spend(100, 0, 0.0))
        decision = meter.spend(50, 0, 0.0)
        assert decision is not None
        (obligation,) = decision.obligations
        assert isinstance(obligation, Throttle)
        self.assertAlmostEqual(obligation.seconds, 0.5)
        self.assertIsNone(meter.spend(1, 0, 0.52))

    def test_refusing_meter_refuses_each_message_above(self) -> None:
        """Above the rate each message is refused, and the refused ones do not make it worse."""
        meter = RefusingMeter(0.01, 0.0, 0.03, _REFUSAL)
        self.assertFalse(meter.batchable)
        answers = [meter.spend(1, 64, 0.0) for _ in range(5)]
        self.assertEqual(answers, [None, None, None, _REFUSAL, _REFUSAL])
        self.assertIsNone(meter.spend(1, 64, 0.01))
        self.assertIs(meter.spend(1, 64, 0.01), _REFUSAL)

    def test_bytes_are_counted_apart(self) -> None:
        """A byte meter does not care how many messages the bytes are in, and a large one passes once."""
        meter = RefusingMeter(0.0, 0.001, 1.0, _REFUSAL)
        self.assertIsNone(meter.spend(1, 5000, 0.0))
        self.assertIs(meter.spend(1, 1, 3.9), _REFUSAL)
        self.assertIsNone(meter.spend(1, 1, 4.1))
        self.assertFalse(meter.is_full(4.2))
        self.assertTrue(meter.is_full(9.0))


class BucketTableTests(SynchronousTestCase):
    """The bounded table."""

    def _table(self, maximum: int) -> BucketTable[TokenBucket]:
        return BucketTable(lambda: TokenBucket(1.0, 2.0), maximum)

    def test_gives_each_key_its_own(self) -> None:
        """The same key finds the same bucket, another key another."""
        table = self._table(10)
        self.assertIs(table.get("a", 0.0), table.get("a", 0.0))
        self.assertIsNot(table.get("a", 0.0), table.get("b", 0.0))
        self.assertIsNone(table.find("c"))
        self.assertEqual(len(table), 2)

    def test_forgets_only_full_buckets(self) -> None:
        """Filling the table with strangers does not free anybody of a debt; they share one bucket."""
        table = self._table(2)
        for key in ("a", "b", "a", "b"):
            table.get(key, 0.0).take(0.0)
        stranger, other = table.get("c", 0.0), table.get("d", 0.0)
        self.assertIs(stranger, other)
        self.assertEqual(len(table), 2)
        self.assertFalse(table.get("a", 0.0).take(0.0))
        self.assertIsNot(table.get("c", 5.0), stranger)
        self.assertEqual(len(table), 2)

    def test_finds_a_dropped_bucket_that_is_still_held(self) -> None:
        """A bucket in a cached decision stays the only one of its key, however many others come."""
        table = self._table(1)
        held = table.get("a", 0.0)
        table.get("b", 0.0)
        self.assertIsNone(table.find("a"))
        self.assertIs(table.get("a", 0.0), held)

    def test_looks_at_few_old_entries(self) -> None:
        """However full the table, a newcomer costs a bounded search."""
        table = self._table(100)
        for key in range(100):
            table.get(key, 0.0).take(0.0)
        table.get("new", 0.0)
        self.assertEqual(len(table), 100)

    def test_empty_table_shares(self) -> None:
        """With no room at all everybody shares."""
        table = self._table(0)
        self.assertIs(table.get("a", 0.0), table.get("b", 0.0))

    def test_full_throttling_meter_is_forgotten(self) -> None:
        """Meters of the hot path are kept by the same rule."""
        table = BucketTable(lambda: ThrottlingMeter(1.0, 0.0, 1.0), 1)
        table.get("a", 0.0).spend(1, 0, 0.0)
        self.assertIsNone(table.get("b", 0.5) and table.find("b"))
        table.get("b", 1.0)
        self.assertIsNotNone(table.find("b"))
