"""Tests for mqttsecure.policy.builtin.strike_counts."""

from __future__ import annotations

import tracemalloc
from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Peer
from mqttsecure.policy.builtin import strike_counts
from mqttsecure.policy.builtin.strike_counts import Count, StrikeCounts, StrikeLimits, address_key, network_of

LIMITS = StrikeLimits(5, 10, 600.0, 1.0, 300.0, 60.0, 3600.0)
ALICE = ("alice", None)
HOME = (4, 0xC0000201)


class LimitsTests(SynchronousTestCase):
    """How long one waits."""

    def test_delays_grow(self) -> None:
        """Nothing below the threshold, then 1, 2, 4 seconds and so on, up to five minutes."""
        delays = [LIMITS.delay(strikes) for strikes in range(4, 16)]
        self.assertEqual(delays, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300])

    def test_bans_grow(self) -> None:
        """A minute, then two, up to an hour, however often."""
        self.assertEqual([LIMITS.ban(earlier) for earlier in (0, 1, 2, 5, 6, 10**6)], [60, 120, 240, 1920, 3600, 3600])


class CountTests(SynchronousTestCase):
    """Strikes are forgotten little by little."""

    @given(st.lists(st.tuples(st.integers(1, 5), st.floats(0, 1000)), max_size=30))
    @settings(max_examples=100, deadline=None)
    def test_never_more_than_was_counted_and_never_below_zero(self, strikes: list[tuple[int, float]]) -> None:
        """Whatever comes when: the count is between nothing and all, and goes down while nothing comes."""
        count, now, total = Count(), 0.0, 0
        for weight, pause in strikes:
            now += pause
            before = count.value(now, 0.01)
            total += weight
            after = count.add(weight, now, 0.01, 1000)
            self.assertLessEqual(after, total)
            self.assertAlmostEqual(count.strikes, before + weight)
            self.assertTrue(0 <= count.value(now + 1, 0.01) <= count.value(now, 0.01))
        self.assertEqual(count.value(now + total / 0.01 + 1, 0.01), 0)

    def test_a_clock_that_goes_back_forgets_nothing(self) -> None:
        """Nor does it count anything anew."""
        count = Count()
        count.add(3, 100.0, 1.0, 10)
        self.assertEqual(count.value(50.0, 1.0), 3)


class StrikeCountsTests(SynchronousTestCase):
    """Counting by address and client."""

    def setUp(self) -> None:
        self.counts = StrikeCounts()

    def strike(self, client: tuple[str | None, str | None], times: int = 1, now: float = 0.0) -> float:
        return [self.counts.strike_client(HOME, client, 1, LIMITS, now) for _ in range(times)][-1]

    def test_client_waits_from_the_threshold_on(self) -> None:
        """Four wrong passwords are nothing; after the fifth that user waits, there, and no one else."""
        self.assertEqual(self.strike(ALICE, 4), 0)
        self.assertEqual(self.strike(ALICE), 1)
        self.assertEqual(self.strike(ALICE), 2)
        self.assertEqual(self.counts.wait(HOME, ALICE, 0.5), 1.5)
        self.assertEqual(self.counts.wait(HOME, ALICE, 2.0), 0)
        self.assertEqual(self.counts.wait(HOME, ("bob", None), 0.5), 0)
        self.assertEqual(self.counts.wait((4, 1), ALICE, 0.5), 0)
        self.assertEqual(self.counts.waiting(0.5), [(HOME, ALICE, 1.5)])

    def test_old_strikes_are_forgotten(self) -> None:
        """Five in a day are no attack."""
        for hour in range(5):
            self.assertEqual(self.strike(ALICE, now=hour * 3600.0), 0)

    def test_forgetting_an_address(self) -> None:
        """All of it is gone, and counted as gone."""
        self.strike(ALICE, 5)
        self.counts.strike_address(HOME, 1, LIMITS, 0.0)
        self.assertTrue(self.counts.forget(HOME))
        self.assertFalse(self.counts.forget(HOME))
        self.assertEqual((len(self.counts), self.counts.clients, self.counts.wait(HOME, ALICE, 0)), (0, 0, 0))

    def test_clearing_an_address_keeps_its_clients(self) -> None:
        """The ban has taken the address's strikes into account; who guessed still waits."""
        self.strike(ALICE, 6)
        self.counts.strike_address(HOME, 9, LIMITS, 0.0)
        self.counts.clear_address(HOME)
        self.counts.clear_address((4, 1))
        self.assertEqual(self.counts.strike_address(HOME, 1, LIMITS, 0.0), 1)
        self.assertEqual(self.counts.wait(HOME, ALICE, 0.0), 2)

    def test_made_up_names_do_not_hide_a_real_one(self) -> None:
        """After four guesses at alice a thousand names follow; the fifth at alice is still her fifth."""
        self.strike(ALICE, 4)
        for number in range(1000):
            self.strike((f"name{number}", None))
        self.assertEqual(self.counts.clients, strike_counts.MAXIMUM_CLIENTS_OF_ADDRESS)
        self.assertEqual(self.strike(ALICE), 1)

    def test_memory_is_bounded(self) -> None:
        """A hundred thousand addresses strike; what is kept is bounded in number and in bytes."""
        tracemalloc.start()
        try:
            for number in range(100_000):
                key = (4, number)
                self.counts.strike_client(key, (f"user{number}", None), 1, LIMITS, 0.0)
                self.counts.strike_address(key, 1, LIMITS, 0.0)
            used, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertEqual(len(self.counts), strike_counts.MAXIMUM_ADDRESSES)
        self.assertEqual(self.counts.clients, strike_counts.MAXIMUM_ADDRESSES)
        self.assertLess(used, 40 * 2**20)

    def test_clients_are_bounded_over_all_addresses(self) -> None:
        """Few addresses with many clients each are no way around it."""
        self.patch(strike_counts, "MAXIMUM_CLIENTS", 1000)
        for address in range(20):
            for number in range(100):
                self.counts.strike_client((4, address), (f"user{number}", None), 1, LIMITS, 0.0)
        self.assertEqual((len(self.counts), self.counts.clients), (10, 1000))


class AddressKeyTests(SynchronousTestCase):
    """What counts as one address."""

    def test_ipv4_by_address_ipv6_by_64(self) -> None:
        """Whoever has one IPv6 address has a /64; a mapped IPv4 address is that IPv4 address."""
        for text, expected in (
            ("192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ):
            self.assertEqual(network_of(address_key(Peer(ip_address(text)))), ip_network(expected))

    def test_unix(self) -> None:
        """A Unix socket's peers are told apart by their uid."""
        self.assertEqual(address_key(Peer(None, uid=1000)), (0, 1000))
