# -*- test-case-name: tests.policy.builtin.test_option_lints -*-
"""Patterns and addresses that do nothing, or more than they look like."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.client_id import Pattern
from mqttsecure.policy.builtin.option_lints import (
    covered_addresses,
    covered_patterns,
    patterns_meet,
    widening_patterns,
)

WORDS = ["".join(letters) for length in range(5) for letters in itertools.product("ab", repeat=length)]
some_pattern = st.text("ab*", min_size=1, max_size=4)


class PatternTests(SynchronousTestCase):
    """Client Identifiers."""

    def test_covered(self) -> None:
        """A pattern within another is not needed; of two that are equal one is not."""
        self.assertEqual([index for index, _, _ in covered_patterns(["{user}-*", "*", "{user}-a"])], [0, 2])
        self.assertEqual([index for index, _, _ in covered_patterns(["a*", "a*"])], [1])
        self.assertEqual(covered_patterns(["{user}", "{user}-*"]), [])

    def test_widening(self) -> None:
        """{user}* lets al be alice."""
        self.assertEqual(
            [index for index, _, _ in widening_patterns(["{user}", "{user}*", "*{user}", "{user}-*"])], [1, 2]
        )

    def test_meeting(self) -> None:
        """Is there an identifier for both."""
        for one, other, meet in (
            ("a-*", "b-*", False),
            ("*-a", "b-*", True),
            ("{user}", "sensor-*", True),
            ("ab", "a*b", True),
            ("a", "aa", False),
            ("*", "", True),
        ):
            self.assertEqual(patterns_meet(one, other), meet, (one, other))

    @settings(max_examples=300, deadline=None)
    @given(some_pattern, some_pattern)
    def test_against_all_words(self, one: str, other: str) -> None:
        """What is said of all identifiers is true of each."""
        fits = [{word for word in WORDS if Pattern(text).matches(word, None)} for text in (one, other)]
        if fits[0] & fits[1]:
            self.assertTrue(patterns_meet(one, other))
        if not patterns_meet(one, other):
            self.assertFalse(fits[0] & fits[1])
        if any(index == 1 for index, _, _ in covered_patterns([one, other])):
            self.assertLessEqual(fits[1], fits[0])


class AddressTests(SynchronousTestCase):
    """Lists of addresses."""

    def found(self, permit: list[str], deny: list[str]) -> list[tuple[str, int]]:
        return [(name, finding[0]) for name, finding in covered_addresses(permit, deny)]

    def test_covered(self) -> None:
        """A prefix within another, and a permit that is denied as a whole."""
        for permit, deny, expected in (
            (["10.0.0.0/8", "10.1.0.0/16"], [], [("permit", 1)]),
            (["everywhere", "10.0.0.0/8"], [], [("permit", 1)]),
            (["10.0.0.0/8", "10.0.0.0/8"], [], [("permit", 1)]),
            (["unix", "10.0.0.0/8"], [], []),
            (["10.1.0.0/16"], ["10.0.0.0/8"], [("permit", 0)]),
            (["10.0.0.0/8"], ["10.1.0.0/16"], []),
            (["10.0.0.0/8"], ["192.0.2.1"], [("deny", 0)]),
            (["10.0.0.0/8"], ["unix"], [("deny", 0)]),
            (["::/0", "0.0.0.0/0"], ["everywhere"], [("permit", 0), ("permit", 1)]),
            ([], ["10.0.0.1"], []),
            (["::1", "127.0.0.0/8"], [], []),
        ):
            self.assertEqual(self.found(permit, deny), expected, (permit, deny))
