# -*- test-case-name: tests.service.test_quantities -*-
"""Sizes and times as people write them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from mqttsecure.service.quantities import format_duration, format_size, parse_duration, parse_size


class QuantityTests(unittest.SynchronousTestCase):
    """Units are for people; a wrong one is told."""

    def test_sizes(self) -> None:
        """With a unit or as plain bytes."""
        for written, size in ((5, 5), ("256KiB", 262_144), ("1.5 MiB", 1_572_864), ("7B", 7), ("1GiB", 1024**3)):
            self.assertEqual(parse_size(written), size)

    def test_durations(self) -> None:
        """With a unit or as plain seconds."""
        for written, seconds in ((5, 5), (0.5, 0.5), ("250ms", 0.25), ("7d", 604_800), ("2h", 7200), ("1.5m", 90)):
            self.assertEqual(parse_duration(written), seconds)

    def test_refuses_what_is_neither(self) -> None:
        """No guess is made at what was meant."""
        for wrong in ("", "5", "5 parsecs", "-1s", "1e3s", True, None, [], float("inf"), float("nan"), "5kb"):
            self.assertRaises(ValueError, parse_size, wrong)
            self.assertRaises(ValueError, parse_duration, wrong)
        self.assertRaises(ValueError, parse_size, "0.3B")

    @settings(max_examples=100, deadline=None)
    @given(st.integers(0, 1 << 40))
    def test_what_is_written_is_read_again(self, size: int) -> None:
        """The reference page shows values that can be copied."""
        written = format_size(size)
        self.assertEqual(int(written) if written.isdigit() else parse_size(written), size)
        self.assertEqual(parse_duration(format_duration(size % 10**6)), size % 10**6)
