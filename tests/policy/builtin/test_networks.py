"""Tests for mqttsecure.policy.builtin.networks."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Peer
from mqttsecure.policy.builtin.networks import NetworkTable, parse_network
from tests.policy.builtin.helpers import peer

_V4 = st.builds(lambda n, p: ip_network((n, p), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32))
_V6 = st.builds(lambda n, p: ip_network((n, p), strict=False), st.integers(0, 2**128 - 1), st.integers(0, 128))


class ParseNetworkTests(SynchronousTestCase):
    """Reading addresses and prefixes."""

    def test_reads_addresses_and_prefixes(self) -> None:
        """I may write an address as well as a prefix."""
        self.assertEqual(str(parse_network("192.0.2.1")), "192.0.2.1/32")
        self.assertEqual(str(parse_network("2001:db8::/32")), "2001:db8::/32")

    def test_takes_mapped_prefix_for_what_it_stands_for(self) -> None:
        """An IPv4-mapped IPv6 prefix is the IPv4 prefix inside it."""
        self.assertEqual(str(parse_network("::ffff:10.0.0.0/104")), "10.0.0.0/8")

    def test_tells_the_mend_for_host_bits(self) -> None:
        """If I write a host's address with a prefix length I am told the prefix that I may have meant."""
        error = self.assertRaises(ValueError, parse_network, "10.0.0.5/8")
        self.assertIn("write '10.0.0.0/8'", str(error))

    def test_refuses_what_is_no_network(self) -> None:
        """Anything else is refused with an example."""
        for text in ("", "lab", "10.0.0", "10.0.0.0/33", "1.2.3.4.5", "fe80::1%eth0/64"):
            self.assertIn("192.0.2.0/24", str(self.assertRaises(ValueError, parse_network, text)))


class NetworkTableTests(SynchronousTestCase):
    """Finding the longest prefix."""

    def test_finds_the_longest_prefix(self) -> None:
        """A host's own entry wins over that of its network, in whatever order they stand."""
        table = NetworkTable({"everywhere": "all", "10.0.0.1": "host", "10.0.0.0/8": "net", "unix": "local"})
        self.assertEqual(table.find(peer("10.0.0.1")), "host")
        self.assertEqual(table.find(peer("10.0.0.2")), "net")
        self.assertEqual(table.find(peer("11.0.0.2")), "all")
        self.assertEqual(table.find(peer("2001:db8::1")), "all")
        self.assertEqual(table.find(peer(None)), "local")

    def test_unix_is_not_everywhere(self) -> None:
        """A Unix socket is reached only by its own word."""
        self.assertIsNone(NetworkTable({"everywhere": 1}).find(peer(None)))
        self.assertIsNone(NetworkTable({"unix": 1}).find(peer()))

    def test_unwraps_mapped_addresses(self) -> None:
        """An IPv4 client behind a dual-stack socket meets the IPv4 rules."""
        table = NetworkTable({"192.0.2.0/24": "v4", "::/0": "v6"})
        self.assertEqual(table.find(peer("::ffff:192.0.2.9")), "v4")

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.one_of(_V4, _V6), max_size=8), st.integers(0, 2**32 - 1), st.integers(0, 7), st.booleans())
    def test_agrees_with_a_linear_search(self, networks: list, number: int, pick: int, wide: bool) -> None:
        """The answer is that of asking each prefix in turn, longest first."""
        if networks and wide:
            chosen = networks[pick % len(networks)]
            address = chosen[number % min(chosen.num_addresses, 2**32)]
        else:
            address = ip_address(number)
        table = NetworkTable({str(network): str(network) for network in networks})
        mapped = getattr(address, "ipv4_mapped", None) or address
        holding = [n for n in map(parse_network, map(str, networks)) if n.version == mapped.version and mapped in n]
        found = table.find(Peer(address))
        expected = max((n.prefixlen for n in holding), default=None)
        self.assertEqual(None if found is None else parse_network(found).prefixlen, expected)
