# -*- test-case-name: tests.wire.test_topics -*-
"""Topic Names and Topic Filters: the rules, and the algebra against brute force."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import MqttsecureError, ProtocolError, TopicFilterInvalid, TopicNameInvalid
from mqttsecure.wire.topics import (
    check_topic_filter,
    check_topic_name,
    contains,
    covered_by,
    intersection,
    intersects,
    is_shared,
    matches,
    split_shared,
    uncovered,
)

LEVELS = ("a", "b", "", "$x")
FRESH = "c"
"""A level that no filter names: it stands for all the values of a level that nobody thought of."""

FILTER_DEPTH = 3
TOPICS = [
    "/".join(levels)
    for depth in range(1, FILTER_DEPTH + 2)
    for levels in itertools.product((*LEVELS, FRESH), repeat=depth)
    if levels != ("",)
]
"""All Topic Names over the alphabet, one level deeper than any filter, so that # shows what it takes."""


def _filters() -> list[str]:
    found = []
    for depth in range(1, FILTER_DEPTH + 1):
        for levels in itertools.product((*LEVELS, "+"), repeat=depth):
            found.append("/".join(levels))
            found.append("/".join((*levels[:-1], "#")))
    return sorted(set(found) - {""})


FILTERS = _filters()
some_filter = st.sampled_from(FILTERS)
SETTINGS = settings(max_examples=300, deadline=None)


def brute_match(topic_filter: str, topic: str) -> bool:
    """The rules of v5.0 section 4.7, read off one after the other."""
    if topic.startswith("$") and topic_filter[0] in "+#":
        return False
    pattern = topic_filter.split("/")
    levels = topic.split("/")
    if pattern[-1] == "#":
        pattern = pattern[:-1]
        if len(levels) < len(pattern):
            return False
        levels = levels[: len(pattern)]
    return len(pattern) == len(levels) and all(p in ("+", t) for p, t in zip(pattern, levels, strict=True))


_SETS: dict[str, frozenset[str]] = {}


def topics_of(topic_filter: str) -> frozenset[str]:
    """All Topic Names of the small world that a filter matches."""
    if topic_filter not in _SETS:
        _SETS[topic_filter] = frozenset(topic for topic in TOPICS if brute_match(topic_filter, topic))
    return _SETS[topic_filter]


class CheckTests(SynchronousTestCase):
    """What may be a Topic Name or a Topic Filter."""

    def test_accepts_topic_names(self) -> None:
        """Spaces, empty levels, $ and letters of any script are mine to use."""
        for topic in ("a", "/", "a/", "//", "$SYS/x", "a b", "Ωμέγα/𠜎", "\x01", "\uffff", "\ufeffa", "x" * 65535):
            check_topic_name(topic)

    def test_refuses_topic_names(self) -> None:
        """Wildcards, emptiness and what UTF-8 cannot carry are told apart from a good Topic Name."""
        for topic in ("", "+", "a/#", "a+b", "#", "a\0", "\ud800", "x" * 65536, "é" * 32768):
            with self.assertRaises(TopicNameInvalid, msg=topic[:9]):
                check_topic_name(topic)

    def test_accepts_topic_filters(self) -> None:
        """Wildcards at their places pass, alone or shared."""
        good = ("a", "+", "#", "/", "+/+", "a/#", "/#", "+/#", "a/+/b/#", "//#", "$SYS/#", "$share/g/#", "$share/g//")
        for topic_filter in (*good, "$share/g/$share/h/a", "$shared", "$shares/a", "$share/$/a"):
            check_topic_filter(topic_filter)

    def test_refuses_topic_filters(self) -> None:
        """A wildcard that is not a whole level, or a # that is not last, is refused with a word on the mend."""
        for topic_filter in (
            "",
            "a#",
            "#a",
            "##",
            "a/#/b",
            "#/",
            "a+",
            "+a",
            "++",
            "a/b+/c",
            "a\0",
            "\udfff",
            "x" * 65536,
        ):
            with self.assertRaises(TopicFilterInvalid, msg=topic_filter[:9]):
                check_topic_filter(topic_filter)
        for topic_filter in ("$share/g/a#", "$share/g/#/b"):
            with self.assertRaises(TopicFilterInvalid, msg=topic_filter):
                check_topic_filter(topic_filter)

    def test_refuses_shared_without_group_or_filter(self) -> None:
        """A shared subscription that lacks a part is never taken for an ordinary filter."""
        for topic_filter in (
            "$share",
            "$share/",
            "$share//",
            "$share//a",
            "$share/g",
            "$share/g/",
            "$share/+/a",
            "$share/#",
        ):
            with self.assertRaises(ProtocolError, msg=topic_filter):
                check_topic_filter(topic_filter)

    def test_splits_shared(self) -> None:
        """Group and filter come apart at the first two separators."""
        self.assertEqual(split_shared("$share/g/a/b"), ("g", "a/b"))
        self.assertEqual(split_shared("$share/g//"), ("g", "/"))
        self.assertEqual(split_shared("a/b"), (None, "a/b"))
        self.assertEqual(split_shared("$shared/g/a"), (None, "$shared/g/a"))
        self.assertTrue(is_shared("$share/g/a"))
        self.assertFalse(is_shared("$shared/g/a"))

    @given(st.text(alphabet="ab+#/$\0", max_size=8))
    @SETTINGS
    def test_filter_rules_against_brute_force(self, text: str) -> None:
        """The checks say the same as the rules spelled out level by level."""
        levels = text.split("/")
        good = bool(text) and "\0" not in text
        for index, level in enumerate(levels):
            if "#" in level and (level != "#" or index != len(levels) - 1):
                good = False
            if "+" in level and level != "+":
                good = False
        try:
            check_topic_filter(text)
            accepted = True
        except MqttsecureError:
            accepted = False
        self.assertEqual(accepted, good)


class MatchTests(SynchronousTestCase):
    """Which messages a subscription gets."""

    def test_examples_of_the_standard(self) -> None:
        """The examples of v5.0 section 4.7 come out as printed there."""
        yes = [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("#", "/finance"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("sport/+", "sport/"),
            ("$SYS/#", "$SYS/monitor/Clients"),
            ("$SYS/monitor/+", "$SYS/monitor/Clients"),
        ]
        no = [
            ("+", "/finance"),
            ("sport/+", "sport"),
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("#", "$SYS/monitor/Clients"),
            ("+/monitor/Clients", "$SYS/monitor/Clients"),
            ("ACCOUNTS", "Accounts"),
        ]
        for topic_filter, topic in yes:
            self.assertTrue(matches(topic_filter, topic), (topic_filter, topic))
        for topic_filter, topic in no:
            self.assertFalse(matches(topic_filter, topic), (topic_filter, topic))

    def test_all_of_a_small_world(self) -> None:
        """For every filter and topic of a small world, matching is what the rules say."""
        for topic_filter in FILTERS:
            expected = topics_of(topic_filter)
            found = {topic for topic in TOPICS if matches(topic_filter, topic)}
            self.assertEqual(found, expected, topic_filter)

    def test_long_filters(self) -> None:
        """A filter of tens of thousands of levels costs time in proportion, and no recursion."""
        deep = "/".join(["a"] * 32768)
        wild = "/".join(["+"] * 32767) + "/#"
        self.assertTrue(matches(wild, deep))
        self.assertTrue(contains(wild, deep))
        self.assertEqual(intersection(wild, deep), deep)
        self.assertTrue(covered_by(deep, [wild]))


class AlgebraTests(SynchronousTestCase):
    """What an access rule needs to know of filters, against enumeration of all topics of a small world."""

    def test_named_cases(self) -> None:
        """The corners: parent levels, $ trees, and two spellings of one set."""
        self.assertTrue(contains("a/#", "a"))
        self.assertFalse(contains("a/+", "a/#"))
        self.assertFalse(contains("#", "$SYS/a"))
        self.assertTrue(contains("+/#", "#"))
        self.assertTrue(contains("/+/#", "/#"))
        self.assertFalse(contains("a/+/#", "a/#"))
        self.assertEqual(intersection("a/#", "+/b"), "a/b")
        self.assertEqual(intersection("a/#", "a"), "a")
        self.assertEqual(intersection("#", "+/#"), "#")
        self.assertIsNone(intersection("#", "$SYS/#"))
        self.assertIsNone(intersection("a/+", "a"))
        self.assertTrue(covered_by("a/#", ["a", "a/+", "a/+/+/#"]))
        self.assertFalse(covered_by("a/#", ["a", "a/+", "a/+/+/+/#"]))
        self.assertFalse(covered_by("a/#", ["a/+/#"]))
        self.assertFalse(covered_by("+", ["a", "b", "c"]))
        self.assertFalse(covered_by("a", []))
        self.assertTrue(covered_by("#", ["#"], ["$SYS/#"]))
        self.assertFalse(covered_by("#", ["#"], ["secret/#"]))

    @given(some_filter, some_filter)
    @SETTINGS
    def test_containment(self, outer: str, inner: str) -> None:
        """One filter contains another exactly where no topic is left over."""
        self.assertEqual(contains(outer, inner), topics_of(inner) <= topics_of(outer))

    def test_containment_of_a_whole_small_world(self) -> None:
        """The same for every pair of filters of two levels."""
        small = [topic_filter for topic_filter in FILTERS if topic_filter.count("/") < 2]
        for outer, inner in itertools.product(small, repeat=2):
            self.assertEqual(contains(outer, inner), topics_of(inner) <= topics_of(outer), (outer, inner))

    @given(some_filter, some_filter)
    @SETTINGS
    def test_intersection(self, first: str, second: str) -> None:
        """The common filter matches exactly the common topics."""
        common = intersection(first, second)
        expected = topics_of(first) & topics_of(second)
        self.assertEqual(intersects(first, second), bool(expected))
        if common is None:
            self.assertEqual(expected, frozenset())
        else:
            check_topic_filter(common)
            self.assertEqual(topics_of(common), expected)

    @given(some_filter, st.lists(some_filter, max_size=6), st.lists(some_filter, max_size=2))
    @settings(max_examples=600, deadline=None)
    def test_cover(self, inner: str, outers: list[str], minus: list[str]) -> None:
        """A subscription is covered exactly where every topic of it is granted and none is denied."""
        wanted = topics_of(inner)
        granted = frozenset().union(*map(topics_of, outers))
        denied = frozenset().union(*map(topics_of, minus))
        self.assertEqual(covered_by(inner, outers, minus), wanted <= granted and not wanted & denied)

    @given(st.data())
    @SETTINGS
    def test_cover_by_pieces(self, data: st.DataObject) -> None:
        """The same where the pieces are made to fit: every length of a # granted on its own."""
        head = data.draw(st.sampled_from(["", "a/", "a/b/", "$x/"]))
        depth = data.draw(st.integers(1, 3))
        inner = head + "#"
        pieces = [head + "/".join(["+"] * length) for length in range(1, depth)]
        pieces += [head + "+/" * (depth - 1) + "+/#"]
        if head:
            pieces.append(head[:-1])
        missing = data.draw(st.sampled_from([None, *pieces]))
        outers = [piece for piece in pieces if piece != missing]
        self.assertEqual(covered_by(inner, outers), missing is None)


class UncoveredTests(SynchronousTestCase):
    """Who claims that something is left open has to show a topic."""

    @SETTINGS
    @given(some_filter, st.lists(some_filter, max_size=4))
    def test_shows_a_topic_where_something_is_left(self, inner: str, outers: list[str]) -> None:
        """The topic is real, and there is one just where the outer filters do not cover the inner one."""
        topic = uncovered(inner, outers)
        self.assertEqual(topic is None, covered_by(inner, outers))
        if topic is not None:
            check_topic_name(topic)
            self.assertTrue(brute_match(inner, topic))
            self.assertFalse(any(brute_match(outer, topic) for outer in outers))

    @SETTINGS
    @given(some_filter, st.lists(some_filter, max_size=3))
    def test_agrees_with_all_topics_of_a_small_world(self, inner: str, outers: list[str]) -> None:
        """None means that no topic whatever is left."""
        left = topics_of(inner) - frozenset().union(*map(topics_of, outers))
        self.assertEqual(uncovered(inner, outers) is None, not left)

    def test_fills_wildcards_as_asked(self) -> None:
        """A reader sees a name that means something, and never one that is itself a wildcard or a $ topic."""
        self.assertEqual(uncovered("plant/+/valve", [], "alice"), "plant/alice/valve")
        self.assertEqual(uncovered("+/+", ["alice/#"], "alice"), "alice1/alice1")
        for level in ("", "+", "a/b", "$SYS", "#"):
            self.assertEqual(uncovered("+", [], level), "x")
