"""Tests for mqttsecure.policy.builtin.ban_table."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Peer
from mqttsecure.policy.builtin import ban_table
from mqttsecure.policy.builtin.ban_table import BanTable, moment, parse_moment
from mqttsecure.policy.builtin.strike_counts import StrikeLimits, address_key

LIMITS = StrikeLimits(5, 10, 600.0, 1.0, 300.0, 60.0, 3600.0)
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)


def peer(text: str) -> Peer:
    return Peer(ip_address(text), 40000)


def key(text: str) -> tuple[int, int]:
    return address_key(peer(text))


class BanTableTests(SynchronousTestCase):
    """Who is banned, and until when."""

    def setUp(self) -> None:
        self.table = BanTable()

    def banned(self, text: str, now: float = 0.0) -> bool:
        return self.table.find(peer(text), now) is not None

    def test_ban_ends(self) -> None:
        """An address is banned for a minute, its neighbour not at all, and a Unix socket never."""
        self.table.ban(key("192.0.2.1"), "wrong password", LIMITS, 0.0)
        self.assertTrue(self.banned("192.0.2.1", 59.9))
        self.assertTrue(self.banned("::ffff:192.0.2.1", 59.9))
        self.assertFalse(self.banned("192.0.2.1", 60.0))
        self.assertFalse(self.banned("192.0.2.2"))
        self.assertIsNone(self.table.find(Peer(None, uid=0), 0.0))

    def test_bans_grow_and_are_forgiven(self) -> None:
        """Each ban is twice as long as the last; after an hour of peace it is a first one again."""
        lengths, now = [], 0.0
        for _ in range(8):
            ban = self.table.ban(key("192.0.2.1"), "x", LIMITS, now)
            lengths.append((ban.until or 0) - now)
            now = (ban.until or 0) + 1
        self.assertEqual(lengths, [60, 120, 240, 480, 960, 1920, 3600, 3600])
        self.assertEqual(self.table.ban(key("192.0.2.1"), "x", LIMITS, now + 3600).earlier, 0)

    def test_ipv6_by_64(self) -> None:
        """Another address of the same /64 is no way out."""
        self.table.ban(key("2001:db8::1"), "x", LIMITS, 0.0)
        self.assertTrue(self.banned("2001:db8::ffff:1"))
        self.assertFalse(self.banned("2001:db8:0:1::1"))

    def test_by_hand(self) -> None:
        """A prefix is banned for an hour, or until it is lifted; when one ends, a wider one still holds."""
        self.table.ban_by_hand(ip_network("192.0.2.0/24"), None, "scanners", 0.0)
        self.table.ban_by_hand(ip_network("192.0.2.1/32"), 3600.0, "", 0.0)
        self.assertTrue(self.banned("192.0.2.1", 10.0))
        found = self.table.find(peer("192.0.2.1"), 4000.0)
        assert found is not None
        self.assertEqual((found.note, found.until), ("scanners", None))
        self.assertEqual(len(self.table), 1)

    def test_lift(self) -> None:
        """What is banned under a prefix is free again, by hand or not; what is wider stays."""
        self.table.ban_by_hand(ip_network("192.0.2.0/24"), None, "", 0.0)
        self.table.ban_by_hand(ip_network("198.51.100.7/32"), None, "", 0.0)
        self.table.ban(key("198.51.100.8"), "x", LIMITS, 0.0)
        self.table.ban(key("2001:db8::1"), "x", LIMITS, 0.0)
        self.assertEqual(self.table.lift(ip_network("192.0.2.1/32")), 0)
        self.assertEqual(self.table.lift(ip_network("198.51.100.0/24")), 2)
        self.assertEqual(self.table.lift(ip_network("2001:db8::1/128")), 1)
        self.assertEqual(len(self.table), 1)
        self.assertTrue(self.banned("192.0.2.1"))

    def test_number_is_bounded(self) -> None:
        """With too many bans the one that would end first goes; those by hand never do, and have a bound too."""
        self.patch(ban_table, "MAXIMUM_BANS", 100)
        self.patch(ban_table, "MAXIMUM_BY_HAND", 2)
        self.table.ban_by_hand(ip_network("192.0.2.0/24"), None, "", 0.0)
        self.table.ban_by_hand(ip_network("198.51.100.0/24"), None, "", 0.0)
        for number in range(300):
            self.table.ban((4, number), "x", LIMITS, float(number))
        self.assertEqual(len(self.table), 102)
        self.assertFalse(self.banned("0.0.0.1", 299.0))
        self.assertTrue(self.banned("0.0.1.43", 299.0))
        self.table.ban_by_hand(ip_network("192.0.2.0/24"), None, "again", 0.0)
        self.assertRaises(ValueError, self.table.ban_by_hand, ip_network("203.0.113.0/24"), None, "", 0.0)


class DocumentTests(SynchronousTestCase):
    """What is written is what is read."""

    def round_trip(self, table: BanTable, now: float, later: float) -> BanTable:
        text = json.dumps(table.document(now, NOON + timedelta(seconds=now), 3600))
        restored = BanTable()
        # Another process: its monotonic clock starts anew.
        restored.restore(json.loads(text), 5.0, NOON + timedelta(seconds=later), 3600)
        return restored

    @given(
        st.dictionaries(st.ip_addresses(), st.tuples(st.booleans(), st.integers(1, 3600)), max_size=10),
        st.integers(0, 4000),
    )
    @settings(max_examples=60, deadline=None)
    def test_same_addresses_are_banned_afterwards(self, bans: dict[Any, tuple[bool, int]], later: int) -> None:
        """After a restart at any time just those are banned that would have been without it."""
        table = BanTable()
        for address, (by_hand, seconds) in bans.items():
            if by_hand:
                table.ban_by_hand(ip_network(address), float(seconds), "n", 0.0)
            else:
                table.ban(address_key(Peer(address)), "x", StrikeLimits(5, 10, 600, 1, 300, seconds, 3600), 0.0)
        restored = self.round_trip(table, 0.0, float(later))
        for address in bans:
            expected = table.find(Peer(address), float(later)) is not None
            self.assertEqual(restored.find(Peer(address), 5.0) is not None, expected, address)

    def test_growth_goes_on(self) -> None:
        """The second ban is longer even if the broker was restarted after the first had ended."""
        table = BanTable()
        table.ban(key("192.0.2.1"), "x", LIMITS, 0.0)
        restored = self.round_trip(table, 100.0, 200.0)
        self.assertIsNone(restored.find(peer("192.0.2.1"), 5.0))
        self.assertEqual(restored.ban(key("192.0.2.1"), "x", LIMITS, 5.0).earlier, 1)

    def test_clock_that_was_set_back_bans_nobody_for_years(self) -> None:
        """The time of day jumped; a ban by the broker lasts for an hour at most from now."""
        table = BanTable()
        table.ban(key("192.0.2.1"), "x", LIMITS, 0.0)
        restored = self.round_trip(table, 0.0, -(10.0**8))
        self.assertIsNotNone(restored.find(peer("192.0.2.1"), 5.0))
        self.assertIsNone(restored.find(peer("192.0.2.1"), 5.0 + 3600))

    def test_what_is_no_list_of_bans_is_refused(self) -> None:
        """Half a record, a wrong type, an address that is none: nothing of the document is taken."""
        table = BanTable()
        table.ban(key("192.0.2.1"), "x", LIMITS, 0.0)
        (good,) = table.document(0.0, NOON, 0.0)
        odd: list[Any] = [None, {}, "x", 7, [None], ["x"], [{}]]
        for name, values in (
            ("address", (None, "", "x", "192.0.2.0/24", "2001:db8::1", 7)),
            ("since", (None, 7, "yesterday", "2026-06-01T12:00:00")),
            ("until", (None, 7, "")),
            ("by_hand", (None, 1)),
            ("earlier", (None, -1, 10**9, True, 1.5)),
            ("why", (None, "x" * 5000)),
            ("note", (None,)),
        ):
            odd += [[good, {**good, name: value}] for value in values]
        for document in odd:
            self.assertRaises(ValueError, table.restore, document, 0.0, NOON, 3600)
            self.assertEqual(len(table), 1)

    def test_moments(self) -> None:
        """Times of day are written in UTC and read with their zone."""
        self.assertEqual(moment(60.0, 0.0, NOON), "2026-06-01T12:01:00+00:00")
        self.assertIsNone(moment(None, 0.0, NOON))
        self.assertEqual(parse_moment("2026-06-01T14:01:00+02:00", 7.0, NOON), 67.0)
        self.assertIsNone(parse_moment(None, 0.0, NOON))
