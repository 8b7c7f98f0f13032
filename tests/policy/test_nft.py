"""Tests for mqttsecure.policy.nft: the kernel is told what the chain means."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Role, Stage
from mqttsecure.policy.builtin.ip_allowlist import IpAllowlist
from mqttsecure.policy.builtin.networks import NetworkTable
from tests.policy.nft_case import Accept, allowlist, limit
from tests.support.policies import ScriptedPolicy, bind

LISTENERS = {
    "lab": [("10.77.0.10", 8883), ("fd77::10", 8883)],
    "any": [("0.0.0.0", 1883)],
    "dual": [("::", 1884)],
}
PLACES = [
    ("lab", "10.77.0.10", 8883),
    ("lab", "fd77::10", 8883),
    ("any", "10.77.0.10", 1883),
    ("any", "192.0.2.200", 1883),
    ("dual", "10.77.0.10", 1884),
    ("dual", "fd77::10", 1884),
]
PREFIXES = [
    "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.0/25", "10.1.2.3", "10.1.3.0/24", "0.0.0.0/0", "0.0.0.0/1",
    "255.255.255.255", "::ffff:10.1.0.0/112", "2001:db8::/32", "2001:db8::/64", "2001:db8::1", "2001:db8:0:1::/64",
    "::/0", "8000::/1", "everywhere", "unix",
]  # fmt: skip
ADDRESSES = sorted(
    {
        str(each)
        for text in PREFIXES
        if text[0] not in "eu"
        for network in [ip_network(text)]
        for each in (network[0], network[-1], network[network.num_addresses // 3])
        if getattr(each, "ipv4_mapped", None) is None
    }
    | {"9.255.255.255", "10.1.2.4", "10.1.2.128", "10.2.0.0", "11.0.0.0", "2001:db8::2", "2001:db9::", "203.0.113.7"}
)  # fmt: skip

prefixes = st.lists(st.sampled_from(PREFIXES), max_size=5)
on = st.lists(st.sampled_from(sorted(LISTENERS)), min_size=1, unique=True)


@st.composite
def allowlists(draw: st.DrawFn) -> list[Any]:
    """One to three of them, in any places."""
    made = []
    for index in range(draw(st.integers(1, 3))):
        permit = draw(prefixes)
        deny = draw(prefixes if permit else st.lists(st.sampled_from(PREFIXES), min_size=1, max_size=5))
        final, required = draw(st.booleans()), draw(st.integers(0, 3)) == 0
        made.append(allowlist(f"list-{index}", draw(on), final, required, permit=permit, deny=deny))
    return made


def _matches(place: tuple[str, str, int], source: str) -> bool:
    """Whether a packet from there can go there."""
    return ip_address(place[1]).version == ip_address(source).version


class AddressTests(SynchronousTestCase):
    """Who may connect."""

    @settings(max_examples=120, deadline=None)
    @given(allowlists(), st.booleans(), st.booleans())
    def test_the_kernel_decides_like_the_chain(self, made: list[Any], lock: bool, reject: bool) -> None:
        """Whatever the lists, their order, ``final`` and ``required``: for every address and listener the same."""
        accept = Accept(made, LISTENERS, lock=lock, reject=reject)
        for place in PLACES:
            for source in ADDRESSES:
                if _matches(place, source):
                    expected = accept.broker_permits(place[0], source)
                    self.assertEqual(accept.kernel_accepts(source, *place[1:]), expected, (place, source, accept.text))
        self.assertEqual((accept.compilation.wider, accept.compilation.narrower), ((), ()))

    def test_deny_wins_and_nothing_else_is_let_in(self) -> None:
        """A short denied prefix beats a long permitted one; an address that nobody lists is dropped."""
        accept = Accept([allowlist("a", permit=["10.1.0.0/16"], deny=["10.0.0.0/8"])], {"lab": [("0.0.0.0", 8883)]})
        self.assertFalse(accept.kernel_accepts("10.1.0.1", "10.77.0.10", 8883))
        self.assertFalse(accept.kernel_accepts("192.0.2.1", "10.77.0.10", 8883))

    def test_addresses_within_ipv6_are_ipv4(self) -> None:
        """``::ffff:192.0.2.0/120`` means the packets of 192.0.2.0/24, which is how they come."""
        lab = {"lab": [("::ffff:10.77.0.10", 8883)]}
        accept = Accept([allowlist("a", permit=["::ffff:192.0.2.0/120"])], lab)
        self.assertIn("ip daddr 10.77.0.10 tcp dport 8883", accept.text)
        self.assertTrue(accept.kernel_accepts("192.0.2.9", "10.77.0.10", 8883))
        self.assertFalse(accept.kernel_accepts("192.0.3.9", "10.77.0.10", 8883))

    def test_unix_is_said_not_to_apply(self) -> None:
        """A list of Unix sockets alone lets in no packet, and the notes tell why."""
        accept = Accept([allowlist("a", permit=["unix"])], LISTENERS)
        self.assertFalse(accept.kernel_accepts("10.1.2.3", "10.77.0.10", 8883))
        self.assertIn('"unix" does not apply', accept.compilation.notes[0])

    def test_loopback_is_judged_too(self) -> None:
        """As in the broker: this machine's own clients need a permit like others, also when all else is locked."""
        for lock in (False, True):
            accept = Accept([allowlist("a", permit=["192.0.2.0/24"])], LISTENERS, lock=lock)
            self.assertFalse(accept.kernel_accepts("127.0.0.1", "10.77.0.10", 8883, loopback=True))
            self.assertTrue(accept.kernel_accepts("127.0.0.1", "127.0.0.1", 22, loopback=True))


class ListenerTests(SynchronousTestCase):
    """Which connections are judged."""

    def test_other_ports_are_as_before_unless_locked(self) -> None:
        """SSH goes on; with ``lock`` it does not, and answers and neighbour discovery still do."""
        made = [allowlist("a", permit=["everywhere"])]
        for lock in (False, True):
            accept = Accept(made, LISTENERS, lock=lock)
            self.assertEqual(accept.kernel_accepts("192.0.2.1", "10.77.0.10", 22), not lock)
            self.assertEqual(accept.kernel_accepts("192.0.2.1", "10.77.0.11", 8883), not lock)
            self.assertEqual("icmpv6 type" in accept.text, lock)
            self.assertIn("ct state established,related accept", accept.text)
            self.assertEqual("no other is touched" in accept.text, not lock)

    def test_an_address_of_its_own_comes_before_all_addresses(self) -> None:
        """Two listeners on one port: each has its own policies."""
        made = [allowlist("a", ["one"], permit=["10.0.0.0/8"]), allowlist("b", ["all"], permit=["192.0.2.0/24"])]
        accept = Accept(made, {"all": [("::", 8883), ("0.0.0.0", 8883)], "one": [("10.77.0.10", 8883)]})
        self.assertTrue(accept.kernel_accepts("10.0.0.1", "10.77.0.10", 8883))
        self.assertFalse(accept.kernel_accepts("10.0.0.1", "10.77.0.11", 8883))
        self.assertTrue(accept.kernel_accepts("192.0.2.1", "10.77.0.11", 8883))

    def test_a_port_that_is_not_known_is_told(self) -> None:
        """Port 0 is left alone, and the ruleset says that it is."""
        accept = Accept([allowlist("a", permit=["10.0.0.0/8"])], {"lab": [("0.0.0.0", 0)]})
        self.assertIn("port 0", accept.compilation.wider[0])
        self.assertTrue(accept.kernel_accepts("192.0.2.1", "10.77.0.10", 0))

    def test_a_scope_is_left_out(self) -> None:
        """A link-local address is written without its interface."""
        accept = Accept([allowlist("a", permit=["everywhere"])], {"lab": [("fe80::1%eth0", 8883)]})
        self.assertIn("ip6 daddr fe80::1 tcp dport 8883", accept.text)

    def test_a_listener_that_nobody_can_pass_is_closed(self) -> None:
        """Without any policy the chain denies, and so does the kernel."""
        accept = Accept([], {"lab": [("0.0.0.0", 8883)]})
        self.assertFalse(accept.kernel_accepts("192.0.2.1", "10.77.0.10", 8883))


def _by_address(answers: dict[str, Decision]) -> ScriptedPolicy:
    return ScriptedPolicy(function=lambda request: answers[str(request.connection.peer.address)])


@st.composite
def foreign(draw: st.DrawFn) -> Any:
    """A third party's policy that may say anything of anyone."""
    grants = draw(st.booleans())
    words = (
        [Decision.permit(), Decision.deny(), Decision.abstain()] if grants else [Decision.deny(), Decision.abstain()]
    )
    answers = {address: draw(st.sampled_from(words)) for address in ADDRESSES}
    role = Role.GRANTS if grants else Role.RESTRICTS
    stages = frozenset({Stage.ACCEPT})
    final = stages if grants and draw(st.booleans()) else frozenset()
    required = stages if draw(st.integers(0, 3)) == 0 else frozenset()
    return bind(
        _by_address(answers), "foreign", stages={Stage.ACCEPT: role}, on=draw(on), final=final, required=required
    )


class UnknownPolicyTests(SynchronousTestCase):
    """What cannot be compiled."""

    @settings(max_examples=80, deadline=None)
    @given(allowlists(), foreign(), st.integers(0, 3))
    def test_the_kernel_is_never_narrower_and_says_that_it_is_wider(self, made: list[Any], other: Any, at: int) -> None:
        """With a third party's policy anywhere in the chain nobody is dropped whom it might let in."""
        accept = Accept([*made[:at], other, *made[at:]], LISTENERS)
        for place in PLACES:
            for source in ADDRESSES:
                if _matches(place, source) and accept.broker_permits(place[0], source):
                    self.assertTrue(accept.kernel_accepts(source, *place[1:]), (place, source, accept.text))
        self.assertEqual(len(accept.compilation.wider), 1)
        self.assertEqual(accept.compilation.narrower, ())

    def test_each_kind_has_its_own_words(self) -> None:
        """What comes through to the broker depends on what the policy can do."""
        for role, final, words in (
            (Role.RESTRICTS, False, "what it denies comes through"),
            (Role.GRANTS, False, "all whom no other policy denies come through"),
            (Role.GRANTS, True, "is final, so all who reach it"),
        ):
            stages = frozenset({Stage.ACCEPT}) if final else frozenset()
            other = bind(Decision.abstain(), "geo", stages={Stage.ACCEPT: role}, on=["lab"], final=stages)
            accept = Accept([allowlist("a", permit=["10.0.0.0/8"]), other], {"lab": [("0.0.0.0", 8883)]})
            (text,) = accept.compilation.wider
            self.assertIn(words, text)
            self.assertIn(text.rpartition(" ")[2], accept.text)

    def test_a_policy_derived_from_a_known_one_is_unknown(self) -> None:
        """It may decide otherwise, whatever its options look like."""

        class Derived(IpAllowlist):
            pass

        binding, options = allowlist("a", permit=["10.0.0.0/8"])
        binding.policy = Derived(NetworkTable({}), NetworkTable({}))
        accept = Accept([(binding, options)], {"lab": [("0.0.0.0", 8883)]})
        self.assertIn("cannot be compiled", accept.compilation.wider[0])
        self.assertTrue(accept.kernel_accepts("192.0.2.1", "10.77.0.10", 8883))

    def test_policies_of_other_stages_play_no_part(self) -> None:
        """They are asked once there is something to ask about."""
        later = bind(Decision.deny(), "later", stages={Stage.CONNECT: Role.RESTRICTS}, on=["lab"])
        accept = Accept([allowlist("a", permit=["everywhere"]), later], {"lab": [("0.0.0.0", 8883)]})
        self.assertEqual(accept.compilation.wider, ())


OVERRIDES = ["10.1.0.0/16", "10.1.2.0/24", "10.0.0.0/8", "2001:db8::/64", "2001:db8::/32", "everywhere", "unix"]


@st.composite
def limits(draw: st.DrawFn) -> dict[str, Any]:
    """Options with numbers so low that a few connections meet them."""

    def some(maximum: int) -> Any:
        return st.integers(1, maximum)

    options: dict[str, Any] = {"per_address": draw(some(3)), "per_prefix": draw(some(5))}
    options |= {"rate": draw(st.sampled_from(["1/second", "20/minute", "0.5/second"])), "burst": draw(some(6))}
    overrides = []
    for prefix in draw(st.lists(st.sampled_from(OVERRIDES), max_size=4, unique=True)):
        numbers = st.fixed_dictionaries(
            {},
            optional={"per_address": some(4), "per_prefix": some(6), "burst": some(8), "rate": st.just("2/second")},
        )
        overrides.append({"prefix": prefix, **draw(numbers)})
    return {**options, "overrides": overrides}


SOURCES = ["10.1.2.3", "10.1.2.4", "10.1.3.3", "10.2.0.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"]
steps = st.lists(st.one_of(st.sampled_from(SOURCES), st.sampled_from(["close", "wait"])), max_size=60)


class LimitTests(SynchronousTestCase):
    """How many connections and how fast."""

    @settings(max_examples=120, deadline=None)
    @given(limits(), st.permutations([0, 1, 2]), steps)
    def test_the_kernel_counts_like_the_policy(
        self, options: dict[str, Any], order: list[int], events: list[str]
    ) -> None:
        """Connections that come, stay and go meet the same limits at the same moment, on all listeners together."""
        made = [
            limit("con", ["lab", "dual"], **options),
            allowlist("a", ["lab", "dual"], permit=["everywhere"], deny=["10.2.0.0/16"]),
            limit("more", ["dual"], per_address=2, per_prefix=400, rate="1000/second", burst=10_000),
        ]
        accept = Accept([made[index] for index in order], LISTENERS)
        for number, event in enumerate(events):
            if event == "close":
                accept.close_oldest()
            elif event == "wait":
                accept.clock.advance(0.7)
            else:
                host = "10.77.0.10" if "." in event else "fd77::10"
                listener, port = (("lab", 8883), ("dual", 1884))[number % 2]
                broker, kernel = accept.connect(listener, event, host, port)
                self.assertEqual(kernel, broker, (events[: number + 1], accept.text))

    def test_what_it_cannot_count_is_told(self) -> None:
        """The kernel knows nobody's name, and counts what the broker does not see."""
        accept = Accept([limit("con"), allowlist("a", permit=["everywhere"])], LISTENERS)
        self.assertIn("`unauthenticated` and `total_unauthenticated`", accept.compilation.wider[0])
        self.assertIn("over loopback", accept.compilation.wider[1])
        self.assertIn("half open", accept.compilation.narrower[0])
        self.assertIn("is full", accept.compilation.notes[0])

    def test_an_override_within_a_counted_prefix_is_told(self) -> None:
        """The neighbours of 10.1.2.0/25 count apart from it, so the kernel's prefix holds more."""
        made = [limit("con", overrides=[{"prefix": "10.1.2.0/25"}, {"prefix": "unix"}])]
        compilation = Accept([*made, allowlist("a", permit=["everywhere"])], LISTENERS).compilation
        self.assertTrue(any("10.1.2.0/25 apart" in text for text in compilation.wider))
        self.assertTrue(any('the override for "unix"' in text for text in compilation.notes))

    def test_sets_are_bounded(self) -> None:
        """As many addresses as can have connections, and as many rates as the policy remembers."""
        accept = Accept([limit("con"), allowlist("a", permit=["everywhere"])], LISTENERS, maximum_connections=77)
        sizes = {each.name: (each.size, each.timeout) for each in accept.compilation.ruleset.counting_sets}
        self.assertEqual(sizes["rate_0_con_v4"], (65_536, 4))
        # Limits that the broker's own maximum keeps from ever being met have no set.
        self.assertEqual([name for name in sizes if name.startswith("per_")], [])
        accept = Accept([limit("con", per_address=50), allowlist("a", permit=["everywhere"])], LISTENERS)
        sizes = {each.name: (each.size, each.timeout) for each in accept.compilation.ruleset.counting_sets}
        self.assertEqual(sizes["per_address_0_con_v4"], (1000, None))

    def test_an_override_has_sets_for_its_own_version_alone(self) -> None:
        """What can never be met is not there."""
        made = [limit("con", overrides=[{"prefix": "10.0.0.0/8"}]), allowlist("a", permit=["everywhere"])]
        names = [each.name for each in Accept(made, LISTENERS).compilation.ruleset.counting_sets]
        self.assertIn("rate_0_con_override0_v4", names)
        self.assertNotIn("rate_0_con_override0_v6", names)

    def test_rates_in_the_units_of_nftables(self) -> None:
        """A fraction becomes a whole number of a longer unit; one that cannot is rounded up, and that is told."""
        for rate, expected, told in (
            ("10/second", "10/second", False),
            ("0.5/second", "30/minute", False),
            ("1.5/minute", "90/hour", False),
            ("0.25/hour", "6/day", False),
            ("0.01/second", "36/hour", False),
            ("0.0001/hour", "1/week", True),
        ):
            accept = Accept([limit("con", rate=rate, burst=2), allowlist("a", permit=["everywhere"])], LISTENERS)
            self.assertIn(f"limit rate over {expected} burst 2 packets", accept.text)
            rounded = any(f"rate {rate!r} is rounded up to {expected}" in text for text in accept.compilation.wider)
            self.assertEqual(rounded, told, rate)

    def test_rates_beyond_what_the_kernel_counts_are_left_out(self) -> None:
        """A ruleset that the kernel would refuse as a whole is not made."""
        for options in ({"rate": "2GiB/second"}, {"burst": 2**32}, {"rate": "1/hour", "burst": 10_000}):
            accept = Accept([limit("con", **options), allowlist("a", permit=["everywhere"])], LISTENERS)
            self.assertNotIn("limit rate", accept.text)
            self.assertTrue(any("beyond what nftables counts" in text for text in accept.compilation.wider))

    def test_required_where_nothing_can_permit_drops_all(self) -> None:
        """So does the chain: the policy never permits."""
        accept = Accept([allowlist("a", permit=["everywhere"]), limit("con", required=True)], LISTENERS)
        self.assertFalse(accept.broker_permits("lab", "192.0.2.1"))
        self.assertFalse(accept.kernel_accepts("192.0.2.1", "10.77.0.10", 8883))


class NameTests(SynchronousTestCase):
    """Names from the configuration in a file that root loads."""

    def test_ids_become_names_of_nftables(self) -> None:
        """Two ids that look alike without their dash stay apart."""
        made = [allowlist("a-b", permit=["10.0.0.0/8"], deny=["10.1.1.1"]), allowlist("a.b", permit=["11.0.0.0/8"])]
        accept = Accept(made, {"lab": [("0.0.0.0", 8883)]})
        names = [each.name for each in accept.compilation.ruleset.address_sets]
        self.assertEqual(names, ["permit_0_a_b_v4", "permit_1_a_b_v4", "deny_0_a_b_v4"])
        self.assertIn('comment "a-b: deny"', accept.text)

    def test_nothing_breaks_out_of_a_comment(self) -> None:
        """A file name or a policy's name with a line break does not become a rule."""
        other = bind(Decision.abstain(), "x\nflush ruleset", stages={Stage.ACCEPT: Role.RESTRICTS}, on=["lab"])
        accept = Accept([allowlist("a", permit=["10.0.0.0/8"]), other], {"lab": [("0.0.0.0", 8883)]})
        self.assertFalse(any(line.startswith("flush") for line in accept.text.splitlines()))
