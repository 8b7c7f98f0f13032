"""Tests for mqttsecure.policy.builtin.rule_index."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Effect, Principal
from mqttsecure.policy.builtin.rule_index import (
    Entry,
    FilterIndex,
    attribute_text,
    fill,
    make_entry,
    resolve_attributes,
)
from mqttsecure.policy.builtin.rules import Rule, parse_rule
from mqttsecure.wire.topics import matches
from tests.policy.builtin.helpers import facts

_LEVEL = st.sampled_from(["a", "b", "", "$x"])
_NAME = st.lists(_LEVEL, min_size=1, max_size=4).map("/".join).filter(bool)
_FILTER = st.builds(
    lambda levels, end: "/".join([*levels, *end]),
    st.lists(st.one_of(_LEVEL, st.just("+")), min_size=1, max_size=4),
    st.sampled_from([[], ["#"]]),
).filter(bool)


def entry(text: str, position: int = 0, attributes_hold: bool = True) -> Entry:
    """A rule, compiled."""
    rule = parse_rule(text)
    made = make_entry(position, rule, rule.topic_filter, attributes_hold)
    assert made is not None
    return made


def entry_for(topic_filter: str) -> Entry:
    """A permit for everyone on a filter."""
    return entry(f'permit everyone publish "{topic_filter}"')


class FillTests(SynchronousTestCase):
    """Filling placeholders."""

    def test_table_of_values(self) -> None:
        """No value makes a filter match more than one written with a plain name would."""
        for name, expected in (
            ("c1", "dev/c1/#"),
            ("a b", "dev/a b/#"),
            ("", None),
            ("+", None),
            ("#", None),
            ("a/b", None),
            ("a\0", None),
            ("x+y", None),
        ):
            self.assertEqual(fill("dev/{client}/#", facts(client_id=name)), expected)

    def test_no_name_becomes_a_dollar_topic(self) -> None:
        """A user called $SYS gets no access to the broker's own topics."""
        connection = facts(principal=Principal("x", "$SYS"))
        self.assertIsNone(fill("{user}/#", connection))
        self.assertEqual(fill("a/{user}", connection), "a/$SYS")
        self.assertEqual(fill("$SYS/{user}", connection), "$SYS/$SYS")

    def test_fills_several_within_levels(self) -> None:
        """Placeholders may be parts of a level, and each is filled once: a value is never taken for a placeholder."""
        connection = facts(client_id="{user}", attributes={"tenant": "acme", "floor": 3})
        self.assertEqual(fill("{tenant}/f{floor}-{client}", connection), "acme/f3-{user}")
        self.assertIsNone(fill("{missing}/x", connection))
        self.assertIsNone(fill("{user}/x", facts(principal=None)))

    def test_attributes_are_plain_values(self) -> None:
        """Numbers and yes or no can be written in rules, other things cannot."""
        values = ("x", 5, True, False, 1.5, None, ["a"], b"x")
        self.assertEqual([attribute_text(value) for value in values], ["x", "5", "yes", "no", None, None, None, None])


class AttributeTests(SynchronousTestCase):
    """Conditions on attributes."""

    def _resolve(self, text: str, **attributes: Any) -> bool:
        return resolve_attributes(parse_rule(text), facts(attributes=attributes))

    def test_known_values_decide(self) -> None:
        """All conditions must hold."""
        text = "permit everyone read a where {t}=x {c} in DE,FR {client}=c1 qos=1"
        connection = facts(client_id="c1", attributes={"t": "x", "c": "FR"})
        self.assertTrue(resolve_attributes(parse_rule(text), connection))
        connection.client_id = "c2"
        self.assertFalse(resolve_attributes(parse_rule(text), connection))

    def test_missing_values_let_less_through(self) -> None:
        """Where an attribute is not known, a permit does not apply and a deny does."""
        for text, applies in (
            ("permit everyone read a where {t}=x", False),
            ("permit everyone read a unless {t}=x", False),
            ("deny everyone read a where {t}=x", True),
            ("deny everyone read a unless {t}=x", True),
        ):
            rule = parse_rule(text)
            holds = self._resolve(text)
            made = make_entry(0, rule, "a", holds)
            self.assertEqual(made is not None and made.applies(0, 0), applies, text)

    def test_a_false_condition_decides_before_a_missing_one(self) -> None:
        """What is known to be false is false, whatever else is not known."""
        self.assertFalse(self._resolve("deny everyone read a where {t}=x {u}=y", t="z"))


class EntryTests(SynchronousTestCase):
    """When a rule applies."""

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(["permit", "deny"]),
        st.sampled_from(["where", "unless"]),
        st.lists(
            st.sampled_from(["qos<=1", "qos=2", "retain=yes", "retain=no", "size<=10", "size>5"]),
            min_size=1,
            max_size=3,
        ),
        st.integers(0, 2),
        st.booleans(),
        st.integers(0, 12),
    )
    def test_agrees_with_the_plain_meaning(
        self, effect: str, word: str, conditions: list[str], qos: int, retain: bool, size: int
    ) -> None:
        """The compiled rule says what evaluating its conditions one by one says."""
        made = entry(f"{effect} everyone publish,read a {word} {' '.join(conditions)}")
        actual = {"qos": qos, "retain": int(retain), "size": size}
        plain = all(condition.compare(actual[condition.subject]) for condition in made.rule.conditions)
        self.assertEqual(made.applies(qos * 2 + retain, size), plain != (word == "unless"))

    @settings(max_examples=200, deadline=None)
    @given(
        st.sampled_from(["permit", "deny"]),
        st.sampled_from(["where", "unless"]),
        st.lists(st.sampled_from(["qos<=1", "qos=2", "retain=yes", "retain=no", "size<=10"]), min_size=1, max_size=2),
        st.integers(0, 2),
    )
    def test_subscribe_asks_what_could_be_delivered(
        self, effect: str, word: str, conditions: list[str], qos: int
    ) -> None:
        """At SUBSCRIBE a permit counts if some message could meet it, a deny only if every one would."""
        made = entry(f"{effect} everyone publish,read a {word} {' '.join(conditions)}")
        outcomes = [made.applies(qos * 2 + retain, size) for retain in (0, 1) for size in (0, 11)]
        expected = all(outcomes) if effect == "deny" else any(outcomes)
        self.assertEqual(bool(made.subscribe_mask >> qos & 1), expected)

    def test_never_applying_rules_are_left_out(self) -> None:
        """A rule whose attribute is another costs nothing; an unless is then always true."""
        where, unless = (
            parse_rule("permit everyone read a where {t}=x"),
            parse_rule("deny everyone read a unless {t}=x qos=1"),
        )
        self.assertIsNone(make_entry(0, where, "a", False))
        made = make_entry(0, unless, "a", False)
        assert made is not None
        self.assertEqual(made.mask, 0b111111)

    def test_decisions_carry_rule_and_effect(self) -> None:
        """Decisions are made once, in a form that may be cached and one that may not."""
        made = entry("deny everyone read a")
        self.assertEqual((made.decision.effect, made.decision.cacheable), (Effect.DENY, True))
        self.assertFalse(made.uncacheable.cacheable)
        self.assertIsInstance(made.rule, Rule)


class FilterIndexTests(SynchronousTestCase):
    """Finding filters that match."""

    @settings(max_examples=400, deadline=None)
    @given(st.lists(_FILTER, max_size=8), _NAME)
    def test_agrees_with_the_topic_algebra(self, filters: list[str], topic: str) -> None:
        """The index finds exactly the filters that match one by one."""
        index = FilterIndex(entry_for(topic_filter) for topic_filter in filters)
        found = sorted(each.topic_filter for each in index.match(topic))
        self.assertEqual(found, sorted(each for each in filters if matches(each, topic)))

    def test_dollar_topics_need_their_own_rules(self) -> None:
        """A catch-all does not cover $SYS."""
        index = FilterIndex(map(entry_for, ("#", "+/x", "$SYS/#", "$SYS/+")))
        self.assertEqual(sorted(each.topic_filter for each in index.match("$SYS/x")), ["$SYS/#", "$SYS/+"])
        self.assertEqual(index.match("$other/x"), [])
        self.assertEqual(FilterIndex(()).match("a"), [])
