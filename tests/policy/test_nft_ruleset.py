"""Tests for mqttsecure.policy.nft_ruleset: addresses as ranges, and a table as text."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.nft_ruleset import AddressSet, Chain, Range, Ruleset, flatten, merge, render


def _network(version: int, number: int, length: int) -> Any:
    bits = 32 if version == 4 else 128
    # Few bits, at the ends of the address space too, so that prefixes nest and touch.
    value = (number & 0b11) << (bits - 2) | (number >> 2 & 0b11)
    length = length if length < 4 else bits - 7 + length
    return ip_network((value >> (bits - length) << (bits - length), length))


networks = st.builds(_network, st.sampled_from([4, 6]), st.integers(0, 15), st.integers(0, 7))


def _probes(entries: dict[Any, int]) -> list[Any]:
    """Addresses at the edges of each prefix, and beside them."""
    numbers = {
        (each.version, number + step)
        for each in entries
        for number in (int(each[0]), int(each[-1]))
        for step in (-1, 0, 1)
        if 0 <= number + step < 1 << each.max_prefixlen
    }
    return [ip_address(number.to_bytes(4 if version == 4 else 16, "big")) for version, number in sorted(numbers)]


def _longest(entries: dict[Any, int], address: Any) -> int | None:
    held = [each for each in entries if each.version == address.version and address in each]
    return entries[max(held, key=lambda each: each.prefixlen)] if held else None


class RangeTests(SynchronousTestCase):
    """Prefixes that overlap, as people write them, and intervals that do not, as the kernel wants them."""

    @settings(max_examples=200, deadline=None)
    @given(st.dictionaries(networks, st.integers(0, 2), max_size=8))
    def test_flattened_ranges_have_the_value_of_the_longest_prefix(self, entries: dict[Any, int]) -> None:
        """For every address, and none is in two ranges."""
        flat = flatten(entries)
        for address in _probes(entries):
            held = [v for r, v in flat if r.version == address.version and r.first <= int(address) <= r.last]
            expected = _longest(entries, address)
            self.assertEqual(held, [] if expected is None else [expected], (address, entries))

    @settings(max_examples=200, deadline=None)
    @given(st.sets(networks, max_size=8))
    def test_merged_ranges_hold_the_same_addresses(self, found: set[Any]) -> None:
        """In order, and no two of them touch."""
        ranges = merge(Range(each.version, int(each[0]), int(each[-1])) for each in found)
        entries = dict.fromkeys(found, 1)
        for address in _probes(entries):
            held = [r for r in ranges if r.version == address.version and r.first <= int(address) <= r.last]
            self.assertEqual(len(held), 0 if _longest(entries, address) is None else 1)
        for one, next_one in pairwise(ranges):
            self.assertTrue(one.version < next_one.version or one.last + 1 < next_one.first)

    def test_text(self) -> None:
        """An address, a prefix, or both ends; also where a number alone would be taken for IPv4."""
        for each, text in (
            (Range(4, 1, 1), "0.0.0.1"),
            (Range(6, 1, 1), "::1"),
            (Range(4, 0, 2**32 - 1), "0.0.0.0/0"),
            (Range(4, 10 << 24, (10 << 24) + 2), "10.0.0.0-10.0.0.2"),
            (Range(6, 0, 2**128 - 1), "::/0"),
        ):
            self.assertEqual(str(each), text)


class RenderTests(SynchronousTestCase):
    """The file that root loads."""

    def test_replaces_the_table_at_once(self) -> None:
        """Adding it first makes deleting it right the first time too."""
        text = render(Ruleset("t", chains=(Chain("input", ("accept",), "drop"),)))
        self.assertEqual(
            text,
            "#!/usr/sbin/nft -f\n\nadd table inet t\ndelete table inet t\n\ntable inet t {\n    chain input {\n"
            "        type filter hook input priority filter; policy drop;\n        accept\n    }\n}\n",
        )

    def test_comments_stay_comments(self) -> None:
        """A name with a line break, or any other control character, ends no line; long ones are wrapped."""
        text = render(Ruleset("t"), ["a\nflush ruleset\r\x85\u2028x", "", "  - " + "word " * 60])
        head = text.partition("add table")[0]
        self.assertTrue(all(line.startswith("#") for line in head.splitlines() if line), head)
        self.assertTrue(all(len(line) < 120 for line in head.splitlines()))

    def test_many_elements_take_many_lines(self) -> None:
        """And an empty set has none."""
        ranges = tuple(Range(4, number, number) for number in range(0, 18, 2))
        text = render(Ruleset("t", (AddressSet("a", 4, ranges), AddressSet("b", 6, ()))))
        self.assertIn("elements = {\n            0.0.0.0, 0.0.0.2, 0.0.0.4, 0.0.0.6,\n", text)
        self.assertEqual(text.count("elements"), 1)
