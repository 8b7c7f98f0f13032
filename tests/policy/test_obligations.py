"""Tests of obligations."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import CapKeepAlive, CapQos, CapSessionExpiry, Disconnect, Strike, Throttle
from mqttsecure.policy.obligations import merge_obligations, obligations_fault

OBLIGATIONS = st.one_of(
    st.builds(Throttle, st.floats(0, 100)),
    st.builds(CapQos, st.integers(0, 2)),
    st.builds(CapKeepAlive, st.integers(1, 0xFFFF)),
    st.builds(CapSessionExpiry, st.integers(0, 0xFFFFFFFF)),
    st.builds(Strike, st.integers(0, 9), st.sampled_from(["", "a", "b"])),
    st.just(Disconnect()),
)


class ObligationsTests(SynchronousTestCase):
    """What a decision may demand, and which demand wins."""

    def test_invalid_ones(self) -> None:
        """An obligation that cannot be met is a fault, never passed over."""
        bad: list[Any] = [
            "log", None, Throttle, Throttle(-1.0), Throttle(float("inf")), Throttle(float("nan")), Throttle("1"),
            CapQos(3), CapQos(-1), CapQos(True), CapKeepAlive(0), CapKeepAlive(65536), CapKeepAlive(1.5),
            CapSessionExpiry(-1), CapSessionExpiry(2**32), Strike(-1), Strike(1.5), Strike(1, None),
        ]  # fmt: skip
        for obligation in bad:
            self.assertIsNotNone(obligations_fault((obligation,)), obligation)

    def test_too_many(self) -> None:
        """A policy cannot make the broker carry a heap of them."""
        self.assertIn("17 obligations", obligations_fault((Strike(),) * 17) or "")

    @settings(max_examples=100, deadline=None)
    @given(st.lists(OBLIGATIONS, max_size=12))
    def test_strictest_wins(self, obligations: list[Any]) -> None:
        """In whatever order they come: the longest pause, the lowest caps, the sum of strikes, one disconnect."""
        merged = {type(each): each for each in merge_obligations(obligations)}
        self.assertEqual(len(merge_obligations(obligations)), len(merged))
        by_kind = {kind: [each for each in obligations if type(each) is kind] for kind in map(type, obligations)}
        self.assertEqual(set(by_kind), set(merged))
        for kind, several in by_kind.items():
            if kind is Throttle:
                self.assertEqual(merged[kind].seconds, max(each.seconds for each in several))
            elif kind is Strike:
                self.assertEqual(merged[kind].weight, sum(each.weight for each in several))
            elif kind is not Disconnect:
                name = "qos" if kind is CapQos else "seconds"
                self.assertEqual(getattr(merged[kind], name), min(getattr(each, name) for each in several))

    def test_all_valid_kinds_are_accepted(self) -> None:
        """Each of the six kinds can be used."""
        several = (Throttle(1), CapQos(0), CapKeepAlive(1), CapSessionExpiry(0), Strike(2, "x"), Disconnect())
        self.assertIsNone(obligations_fault(several))
        self.assertEqual(merge_obligations(several, strikes=False), several[:4] + several[5:])

    def test_strikes_say_why(self) -> None:
        """The reasons of several strikes are all told."""
        self.assertEqual(merge_obligations([Strike(1, "a"), Strike(2), Strike(3, "c")]), (Strike(6, "a; c"),))
