"""Tests for mqttsecure.policy.nft_bans: who is banned is dropped, for as long as the broker would refuse."""

from __future__ import annotations

from ipaddress import ip_network
from math import inf
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.ban import BanFactory, BanPolicy
from mqttsecure.policy.builtin.ban_options import BanOptions
from mqttsecure.policy.nft import compile_accept
from mqttsecure.policy.nft_bans import held_bans, longest_of
from mqttsecure.policy.nft_policies import AcceptListener, accept_policies
from mqttsecure.policy.nft_ruleset import render, render_update
from tests.policy.nft_case import Accept, allowlist, bans
from tests.support.environment import FakeEnvironment
from tests.support.nftables import Table

LISTENERS = {"lab": [("10.77.0.10", 8883), ("fd77::10", 8883)], "any": [("0.0.0.0", 1883)]}
PLACES = [("lab", "10.77.0.10", 8883), ("lab", "fd77::10", 8883), ("any", "10.77.0.10", 1883)]
PREFIXES = [
    "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3", "10.1.2.4", "10.1.3.0/24", "::ffff:10.1.4.0/120",
    "2001:db8::/32", "2001:db8::/64", "2001:db8::1", "2001:db8:0:1::7",
]  # fmt: skip
ADDRESSES = [
    "9.255.255.255", "10.0.0.0", "10.1.0.0", "10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.3.0", "10.1.4.9",
    "10.2.0.0", "11.0.0.0", "2001:db7::1", "2001:db8::1", "2001:db8::ffff", "2001:db8:0:1::9", "2001:db8:0:2::1",
]  # fmt: skip

prefixes = st.lists(st.sampled_from(PREFIXES), max_size=3, unique=True)
times = st.one_of(st.none(), st.sampled_from([1.0, 60.0, 90.0, 3600.0]))


@st.composite
def chains(draw: st.DrawFn) -> list[Any]:
    """Bans and lists in any order; the bans of one policy lie within each other, and some addresses are exempt."""
    made: list[Any] = []
    for index in range(draw(st.integers(1, 2))):
        on = draw(st.lists(st.sampled_from(sorted(LISTENERS)), min_size=1, unique=True))
        struck = draw(st.lists(st.sampled_from(ADDRESSES), max_size=4, unique=True))
        exempt = draw(prefixes)
        by_hand = {text: draw(times) for text in draw(prefixes) if text not in exempt and "/" in text}
        options = {"exempt": exempt, "overrides": [{"prefix": "10.1.0.0/16", "first_ban_seconds": 90}]}
        made.append(bans(f"bans-{index}", on, by_hand=by_hand, struck=struck, **options))
    everyone = allowlist("all", sorted(LISTENERS), draw(st.booleans()), permit=["everywhere"])
    made.insert(draw(st.integers(0, len(made))), everyone)
    return made


class BanTests(SynchronousTestCase):
    """The ruleset against the chain."""

    @settings(max_examples=100, deadline=None)
    @given(chains(), st.booleans())
    def test_the_kernel_decides_like_the_chain(self, made: list[Any], reject: bool) -> None:
        """Whatever is banned, by whom, within what, for how long: at each moment the same."""
        accept = Accept(made, LISTENERS, reject=reject)
        self.assertEqual([each for each in accept.compilation.wider if "without a `file`" not in each], [])
        for _ in range(4):
            for place in PLACES:
                for source in ADDRESSES:
                    if ip_network(place[1]).version == ip_network(source).version:
                        expected = accept.broker_permits(place[0], source)
                        found = accept.kernel_accepts(source, *place[1:])
                        self.assertEqual(found, expected, (place, source, accept.clock.seconds(), accept.text))
            accept.clock.advance(30.5)

    def test_text(self) -> None:
        """Elements that end by themselves, one that does not, and those that are exempt."""
        made = bans(
            "b", by_hand={"192.0.2.0/24": None, "198.51.100.0/24": 60.2}, struck=["10.0.0.7"], exempt=["192.0.2.9"]
        )
        text = Accept([made, allowlist("all", permit=["everywhere"])], {"lab": LISTENERS["lab"]}).text
        self.assertIn("flags interval,timeout", text)
        self.assertIn("elements = { 10.0.0.7 timeout 60s, 192.0.2.0/24, 198.51.100.0/24 timeout 61s }", text)
        rule = 'ip saddr != @exempt_0_b_v4 ip saddr @banned_0_b_v4 counter drop comment "b: banned"'
        self.assertIn(rule, text)
        self.assertIn('ip6 saddr @banned_0_b_v6 counter drop comment "b: banned"', text)

    def test_ended_bans_are_not_there(self) -> None:
        """Those that are remembered only so that the next one is longer."""
        made = bans("b", struck=["10.0.0.7"])
        policy = made[0].policy
        assert isinstance(policy, BanPolicy)
        policy._environment.clock.advance(61)
        self.assertNotIn("10.0.0.7", Accept([made, allowlist("all", permit=["everywhere"])], LISTENERS).text)

    def test_what_is_said(self) -> None:
        """How many there are, what later ones need, and that times begin with the loading."""
        compilation = Accept([bans("b", struck=["10.0.0.7"])], LISTENERS).compilation
        self.assertIn("without a `file` its bans are known to the running broker alone; --live", compilation.wider[0])
        self.assertIn("begins when the file is loaded", compilation.narrower[0])
        self.assertIn("1 bans are in force now", compilation.notes[0])
        self.assertEqual(Accept([bans("b")], LISTENERS).compilation.narrower, ())

    def test_required_never_permits(self) -> None:
        """As in the chain: a policy that only restricts cannot be demanded, and then nobody comes in."""
        accept = Accept([bans("b", required=True), allowlist("all", permit=["everywhere"])], LISTENERS)
        self.assertFalse(accept.broker_permits("lab", "10.9.9.9"))
        self.assertFalse(accept.kernel_accepts("10.9.9.9", "10.77.0.10", 8883))


class SourceTests(SynchronousTestCase):
    """Where the bans come from."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.environment = FakeEnvironment("b", folder=self.folder)

    def build(self, **options: Any) -> tuple[BanPolicy, BanOptions]:
        chosen = BanOptions(**options)
        return BanFactory().build(chosen, self.environment), chosen

    def test_of_the_file(self) -> None:
        """As the broker left them."""
        policy, _ = self.build(file="bans.json")
        policy.ban_by_hand(ip_network("192.0.2.0/24"), 60.0, "")
        held = held_bans(*self.build(file="bans.json"), None)
        self.assertEqual((dict(held.bans), held.unknown), ({ip_network("192.0.2.0/24"): 60.0}, ""))

    def test_damaged_file(self) -> None:
        """Nobody takes an empty set for no bans."""
        (self.folder / "bans.json").write_text("{")
        (self.folder / "bans.json").chmod(0o600)
        held = held_bans(*self.build(file="bans.json"), None)
        self.assertIn("is damaged", held.unknown)

    def test_of_the_running_broker(self) -> None:
        """They take the place of the file's."""
        policy, options = self.build(file="bans.json")
        policy.ban_by_hand(ip_network("192.0.2.0/24"), 60.0, "")
        held = held_bans(policy, options, {ip_network("10.0.0.7/32"): None})
        self.assertEqual(dict(held.bans), {ip_network("10.0.0.7/32"): None})

    def test_longest(self) -> None:
        """A short ban within a long one ends with that; a long one within a short one by itself."""
        told = {"10.0.0.0/8": 60, "10.1.0.0/16": 10, "10.1.2.0/24": 90, "10.1.2.3/32": None, "11.0.0.0/8": 0.1}
        found = longest_of({ip_network(text): seconds for text, seconds in told.items()})
        self.assertEqual({str(each): left for each, left in found.items()}, {
            "10.0.0.0/8": 60, "10.1.0.0/16": 60, "10.1.2.0/24": 90, "10.1.2.3/32": inf, "11.0.0.0/8": 1.0,
        })  # fmt: skip

    def test_a_policy_derived_from_it_is_unknown(self) -> None:
        """It may decide otherwise."""

        class Other(BanPolicy):
            """Of a third party."""

        made, options = bans("b")
        assert isinstance(made.policy, BanPolicy)
        made.policy.__class__ = Other
        (found,) = accept_policies([made], {"b": options})
        self.assertIsNone(found.options)


class UpdateTests(SynchronousTestCase):
    """The bans alone."""

    def test_flushed_and_filled_in_one_step(self) -> None:
        """Nothing else of the table is named; a set that is empty now is flushed all the same."""
        made, options = bans("b", by_hand={f"192.0.2.{number}": 60.0 for number in range(0, 20, 2)})
        listener = AcceptListener("lab", (("::", 8883),))
        policies = accept_policies([made], {"b": options})
        ruleset = compile_accept([listener], policies, maximum_connections=9).ruleset
        text = render_update(ruleset, ["x"])
        self.assertTrue(text.startswith("#!/usr/sbin/nft -f\n# x\n\nflush set inet mqttsecure banned_0_b_v4\n"))
        self.assertIn("add element inet mqttsecure banned_0_b_v4 {\n    192.0.2.0 timeout 60s, ", text)
        self.assertTrue(text.endswith("}\nflush set inet mqttsecure banned_0_b_v6\n"))
        self.assertEqual(len(Table.read(render(ruleset)).sets["banned_0_b_v4"]), 10)
