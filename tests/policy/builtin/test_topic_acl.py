"""Tests for mqttsecure.policy.builtin.topic_acl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import CapQos, ConnectionFacts, Decision, Principal, Role, Stage
from mqttsecure.interfaces import IConnectionObserver
from mqttsecure.policy.builtin import topic_acl
from mqttsecure.policy.builtin.topic_acl import TopicAcl, TopicAclFactory, TopicAclOptions
from mqttsecure.wire.topics import matches
from tests.policy.builtin.helpers import NOT_LIVE, effect, facts, problems_of, request
from tests.support.environment import FakeAuthority, FakeEnvironment

MANUAL = (
    "permit user:alice     publish,read  lab/#",
    "permit group:sensors  publish       plant/{client}/#  where qos<=1 retain=no",
    "deny   everyone       read          lab/secret/#",
)


def build(*rules: str, environment: FakeEnvironment | None = None, **options: Any) -> TopicAcl:
    """A policy of those rules."""
    return TopicAclFactory().build(TopicAclOptions(rules=list(rules), **options), environment or FakeEnvironment("acl"))


def ask(policy: TopicAcl, stage: Stage, topic: str, connection: ConnectionFacts | None = None, **more: Any) -> Decision:
    """One question."""
    return policy.decide(request(stage, connection, topic=topic, **more))


class TopicTests(SynchronousTestCase):
    """PUBLISH and DELIVER."""

    def test_table_of_the_manual(self) -> None:
        """The three example rules do what the manual says of them."""
        sensor = facts(2, principal=Principal("login", "s"), groups=frozenset({"sensors"}), client_id="s1")
        policy = build(*MANUAL)
        for connection, stage, topic, more, expected in (
            (None, Stage.PUBLISH, "lab/a", {}, "permit"),
            (None, Stage.PUBLISH, "lab/secret/a", {}, "permit"),
            (None, Stage.DELIVER, "lab/a", {}, "permit"),
            (None, Stage.DELIVER, "lab/secret/a", {}, "deny"),
            (None, Stage.PUBLISH, "plant/x", {}, "abstain"),
            (sensor, Stage.PUBLISH, "plant/s1/t", {"qos": 1}, "permit"),
            (sensor, Stage.PUBLISH, "plant/s1/t", {"qos": 2}, "abstain"),
            (sensor, Stage.PUBLISH, "plant/s1/t", {"retain": True}, "abstain"),
            (sensor, Stage.PUBLISH, "plant/s2/t", {}, "abstain"),
            (sensor, Stage.DELIVER, "plant/s1/t", {}, "abstain"),
            (sensor, Stage.PUBLISH, "lab/a", {}, "abstain"),
        ):
            self.assertEqual(effect(ask(policy, stage, topic, connection, **more)), expected, (stage, topic, more))

    def test_deny_overrides_in_any_order(self) -> None:
        """The order of rules does not matter; the denial is what is named, with its line."""
        rules = ("permit everyone publish a/#", "deny everyone publish a/b", "permit user:alice publish a/b")
        for order in (rules, rules[::-1]):
            decision = ask(build(*order), Stage.PUBLISH, "a/b")
            self.assertEqual((effect(decision), decision.rule), ("deny", "rules[1]"))
            self.assertEqual(str(decision.source), "broker.toml:101")

    def test_names_the_first_of_several_permits(self) -> None:
        """Which rule permitted is always the same answer."""
        self.assertEqual(
            ask(build("permit everyone publish #", "permit everyone publish a"), Stage.PUBLISH, "a").rule, "rules[0]"
        )

    def test_catch_all_does_not_cover_dollar_topics(self) -> None:
        """$SYS is closed unless a rule names it, and a deny of everything does not stand for it either."""
        policy = build("permit everyone read #", "permit everyone read $SYS/broker/#")
        self.assertEqual(effect(ask(policy, Stage.DELIVER, "$SYS/broker/x")), "permit")
        self.assertEqual(effect(ask(policy, Stage.DELIVER, "$SYS/secret")), "abstain")

    def test_sizes_are_judged_and_not_cached(self) -> None:
        """Where a rule asks for the size the answer is for that message alone; elsewhere it may be cached."""
        policy = build("permit everyone publish a where size<=4", "permit everyone publish b")
        small, large = (
            ask(policy, Stage.PUBLISH, "a", payload=b"1234"),
            ask(policy, Stage.PUBLISH, "a", payload=b"12345"),
        )
        self.assertEqual((effect(small), small.cacheable), ("permit", False))
        self.assertEqual((effect(large), large.cacheable), ("abstain", False))
        self.assertTrue(ask(policy, Stage.PUBLISH, "b").cacheable)
        self.assertTrue(ask(policy, Stage.PUBLISH, "c").cacheable)

    def test_nobody_gets_nothing(self) -> None:
        """Without an identity even a rule for everyone permits nothing."""
        nobody = facts(principal=None)
        self.assertEqual(effect(ask(build("permit everyone publish #"), Stage.PUBLISH, "a", nobody)), "abstain")

    def test_other_stages_are_not_its_business(self) -> None:
        """Asked at another stage it abstains."""
        self.assertEqual(effect(ask(build("permit everyone publish #"), Stage.CONNECT, "a")), "abstain")

    def test_hostile_names_never_widen_a_rule(self) -> None:
        """A client called + or # gets nothing by {client}, and neither does a user."""
        policy = build("permit everyone publish,read c/{client}/#", "permit everyone publish,read u/{user}/#")
        for name in ("+", "#", "a/b", "", "a\0b", "+/#"):
            connection = facts(principal=Principal("login", name or "x"), client_id=name)
            for topic in ("c/victim/x", "c/a/b", "c//x", f"c/{name}/x", "u/victim/x", "u/a/b/x", "u/a"):
                self.assertEqual(effect(ask(policy, Stage.DELIVER, topic, connection)), "abstain", (name, topic))
            self.assertEqual(effect(ask(policy, Stage.SUBSCRIBE, f"c/{name}/#", connection)), "abstain", name)

    def test_any_purpose_gets_the_same_answer(self) -> None:
        """It counts nothing, so an explanation is the truth."""
        policy = build(*MANUAL)
        for purpose in NOT_LIVE:
            self.assertEqual(effect(ask(policy, Stage.PUBLISH, "lab/a", purpose=purpose)), "permit")

    def test_declares_that_it_grants(self) -> None:
        """It grants at the three topic stages."""
        self.assertEqual(
            dict(TopicAclFactory.stages), dict.fromkeys((Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER), Role.GRANTS)
        )


class ContainedTests(SynchronousTestCase):
    """SUBSCRIBE, as shipped."""

    def test_table_of_the_attack_set(self) -> None:
        """bob, who may read lab/#, gets nothing beyond it in any spelling."""
        policy = build("permit user:bob read lab/#", "deny everyone read lab/secret/#")
        bob = facts(principal=Principal("login", "bob"))
        for topic_filter, expected in (
            ("lab/a", "permit"),
            ("lab/a/#", "permit"),
            ("lab/+", "deny"),
            ("lab/#", "deny"),
            ("lab/secret/x", "deny"),
            ("lab/+/x", "deny"),
            ("#", "deny"),
            ("+/x", "abstain"),
            ("secret/#", "abstain"),
            ("$SYS/#", "abstain"),
        ):
            self.assertEqual(effect(ask(policy, Stage.SUBSCRIBE, topic_filter, bob)), expected, topic_filter)

    def test_grants_add_up(self) -> None:
        """A filter that two rules together cover is permitted, and both are named."""
        policy = build("permit everyone read a", "permit everyone read a/+/#")
        decision = ask(policy, Stage.SUBSCRIBE, "a/#")
        self.assertEqual((effect(decision), decision.rule), ("permit", "rules[0] and rules[1]"))
        self.assertEqual(effect(ask(policy, Stage.SUBSCRIBE, "#")), "abstain")

    def test_receive_alone_is_no_right_to_subscribe(self) -> None:
        """subscribe and receive are two rights; read is both."""
        policy = build("permit everyone receive a", "permit everyone subscribe b")
        self.assertEqual(effect(ask(policy, Stage.SUBSCRIBE, "a")), "abstain")
        self.assertEqual(effect(ask(policy, Stage.DELIVER, "a")), "permit")
        self.assertEqual(effect(ask(policy, Stage.SUBSCRIBE, "b")), "permit")
        self.assertEqual(effect(ask(policy, Stage.DELIVER, "b")), "abstain")

    def test_caps_the_qos_where_only_less_is_granted(self) -> None:
        """A subscription asked at QoS 2 is granted at what the rules allow."""
        policy = build(
            "permit everyone read a where qos<=1", "deny everyone read b where qos>0", "permit everyone read b"
        )
        for topic_filter, qos, cap in (("a", 2, 1), ("a", 1, None), ("b", 2, 0)):
            decision = ask(policy, Stage.SUBSCRIBE, topic_filter, qos=qos)
            self.assertEqual(effect(decision), "permit")
            self.assertEqual(decision.obligations, () if cap is None else (CapQos(cap),))
        self.assertEqual(
            effect(ask(build("permit everyone read a where qos=2"), Stage.SUBSCRIBE, "a", qos=1)), "abstain"
        )

    def test_conditions_on_messages_are_left_to_delivery(self) -> None:
        """A rule about retained messages neither forbids the subscription nor lets one through."""
        policy = build("permit everyone read a", "deny everyone read a where retain=yes")
        self.assertEqual(effect(ask(policy, Stage.SUBSCRIBE, "a")), "permit")
        self.assertEqual(effect(ask(policy, Stage.DELIVER, "a", retain=True)), "deny")
        self.assertEqual(effect(ask(policy, Stage.DELIVER, "a")), "permit")

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["permit", "deny"]),
                st.sampled_from(["a", "b", "+", "a/b", "a/+", "+/b", "a/#", "+/#", "#", "a/b/#"]),
            ),
            min_size=1,
            max_size=5,
        ),
        st.sampled_from(["a", "+", "a/b", "a/+", "+/b", "a/#", "+/+", "#", "a/b/#"]),
        st.sampled_from(["a", "b", "c", "a/b", "a/c", "b/b", "a/b/c", "$s/b"]),
        st.sampled_from(["contained", "filtered"]),
    )
    def test_never_grants_what_delivery_would_refuse(
        self, rules: list[tuple[str, str]], topic_filter: str, topic: str, mode: str
    ) -> None:
        """Contained: every message of a granted filter may be delivered. Filtered: what may be can be subscribed to."""
        policy = build(*(f"{word} everyone read {each}" for word, each in rules), subscribe=mode)
        if not matches(topic_filter, topic):
            return
        subscribed = effect(ask(policy, Stage.SUBSCRIBE, topic_filter))
        delivered = effect(ask(policy, Stage.DELIVER, topic))
        if mode == "contained" and subscribed == "permit":
            self.assertEqual(delivered, "permit")
        if mode == "filtered" and delivered == "permit":
            self.assertEqual(subscribed, "permit")


class FilteredTests(SynchronousTestCase):
    """SUBSCRIBE, granted and filtered at DELIVER."""

    def test_table_of_answers(self) -> None:
        """Whatever overlaps a grant is granted, unless all of it is denied."""
        policy = build("permit everyone read lab/#", "deny everyone read lab/secret/#", subscribe="filtered")
        for topic_filter, expected in (
            ("#", "permit"),
            ("lab/#", "permit"),
            ("lab/secret/x", "deny"),
            ("lab/secret/#", "deny"),
            ("other/#", "abstain"),
            ("$SYS/#", "abstain"),
        ):
            self.assertEqual(effect(ask(policy, Stage.SUBSCRIBE, topic_filter)), expected, topic_filter)


class IdentityTests(SynchronousTestCase):
    """Whose rules they are."""

    def setUp(self) -> None:
        self.environment = FakeEnvironment("acl", {"people": FakeAuthority("people")})

    def test_a_bare_name_is_of_the_one_authority(self) -> None:
        """CN=admin of a device CA is never the admin of the password file, and the log says why it got nothing."""
        events: list[dict[str, Any]] = []
        self.environment.log = type(self.environment.log)(observer=events.append)
        policy = build("permit user:admin publish #", environment=self.environment)
        device, person = facts(principal=Principal("login", "admin")), facts(2, principal=Principal("people", "admin"))
        for _ in range(2):
            policy._views.clear()
            self.assertEqual(effect(ask(policy, Stage.PUBLISH, "a", device)), "abstain")
        self.assertEqual(effect(ask(policy, Stage.PUBLISH, "a", person)), "permit")
        self.assertEqual([(event["authority"], event["principal"]) for event in events], [("people", "login:admin")])

    def test_a_tree_for_each_user_is_of_the_right_users(self) -> None:
        """A device called alice does not get the tree of the person called alice, and a stranger gets nobody's."""
        policy = build("permit everyone publish people/{user}/#", authority="people")
        for principal, expected in (
            (Principal("people", "alice"), "permit"),
            (Principal("devices", "alice"), "abstain"),
            (Principal("anonymous", "alice"), "abstain"),
        ):
            self.assertEqual(effect(ask(policy, Stage.PUBLISH, "people/alice/x", facts(principal=principal))), expected)

    def test_rules_follow_the_connection(self) -> None:
        """When groups, name or attributes change, the next answer is by the new ones."""
        policy = build(
            "permit group:g publish g", "permit everyone publish {client}", "permit everyone publish t where {t}=x"
        )
        connection = facts(client_id="c1")
        self.assertEqual(
            [effect(ask(policy, Stage.PUBLISH, topic, connection)) for topic in ("g", "c1", "t")],
            ["abstain", "permit", "abstain"],
        )
        connection.groups, connection.client_id, connection.attributes["t"] = frozenset({"g"}), "c2", "x"
        self.assertEqual(
            [effect(ask(policy, Stage.PUBLISH, topic, connection)) for topic in ("g", "c1", "c2", "t")],
            ["permit", "abstain", "permit", "permit"],
        )
        connection.principal = None
        self.assertEqual(effect(ask(policy, Stage.PUBLISH, "g", connection)), "abstain")

    def test_connections_share_what_they_can(self) -> None:
        """A thousand clients with the same rules do not keep a thousand copies."""
        policy = build(
            *(f"permit everyone publish a/{number}/#" for number in range(50)), "permit everyone read {client}"
        )
        for number in range(100):
            ask(policy, Stage.PUBLISH, "a/1/x", facts(number, client_id=f"c{number}"))
        self.assertEqual((len(policy._views), len(policy._shared)), (100, 1))

    def test_forgets_closed_connections(self) -> None:
        """What was compiled for a connection goes with it, and never grows beyond its bound."""
        self.patch(topic_acl, "MAXIMUM_VIEWS", 3)
        policy = build("permit everyone publish {client}")
        verifyObject(IConnectionObserver, policy)
        for number in range(5):
            connection = facts(number, client_id="c")
            policy.connection_opened(connection)
            policy.connection_authenticated(connection)
            self.assertEqual(effect(ask(policy, Stage.PUBLISH, "c", connection)), "permit")
        self.assertEqual(sorted(policy._views), [2, 3, 4])
        policy.connection_closed(facts(4))
        policy.connection_closed(facts(4))
        self.assertEqual(sorted(policy._views), [2, 3])


class BuildTests(SynchronousTestCase):
    """Options."""

    def test_reads_a_rules_file(self) -> None:
        """Rules in a file decide like inline ones, and are named by line."""
        path = Path(self.mktemp())
        path.write_text("# rules\npermit everyone publish a\n")
        decision = ask(build(rules_file=str(path.absolute())), Stage.PUBLISH, "a")
        self.assertEqual((decision.rule, str(decision.source)), ("line 2", f"{path.absolute()}:2"))

    def test_shows_its_rules(self) -> None:
        """Tools can read the rules back."""
        self.assertEqual([rule.text for rule in build(*MANUAL).rules], list(MANUAL))

    def test_refuses_bad_rules_all_at_once(self) -> None:
        """A bad rule never leaves a policy with the remaining ones."""
        problems = problems_of(lambda: build("permit everyone publish a", "alow x", rules_file="nowhere.rules"))
        self.assertTrue(any("rules[1]: column 1" in problem for problem in problems))
        self.assertTrue(any("rules_file: " in problem and "nowhere.rules" in problem for problem in problems))

    def test_warns_of_misspelled_authorities(self) -> None:
        """The start tells of a rule that probably concerns nobody."""
        environment = FakeEnvironment("acl", {"people": FakeAuthority("people")})
        self.assertEqual(len(build("deny user:peopel:bob read #", environment=environment).warnings), 1)
