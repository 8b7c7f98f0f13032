# -*- test-case-name: tests.core.test_subscriptions -*-
"""The trie of Topic Filters, against the plain definition of matching."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import ConnectionFacts, Peer, Principal
from mqttsecure.core.session import Session
from mqttsecure.core.subscriptions import SharedGroup, Subscription, SubscriptionTree
from mqttsecure.wire.topics import matches, split_shared

_LEVELS = st.sampled_from(["a", "b", "", "$s"])
_TOPICS = st.lists(_LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)


@st.composite
def _filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(st.one_of(_LEVELS, st.just("+")), min_size=1, max_size=4))
    if draw(st.booleans()):
        levels.append("#")
    if draw(st.booleans()) and levels[0] != "#":
        levels = levels[1:] or ["#"]
    topic_filter = "/".join(levels) or "+"
    return f"$share/{draw(st.sampled_from('gh'))}/{topic_filter}" if draw(st.booleans()) else topic_filter


def session(name: str) -> Session:
    return Session(name, Principal("users", name), ConnectionFacts(1, "lab", Peer(None)))


class TreeTests(SynchronousTestCase):
    """Who gets a Topic Name."""

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 2), _filters()), max_size=12), st.lists(_TOPICS, max_size=5), st.data())
    def test_like_the_definition(self, entries: list[tuple[int, str]], topics: list[str], data: st.DataObject) -> None:
        """The trie finds exactly the subscriptions that match, before and after some are removed."""
        tree = SubscriptionTree()
        sessions = [session(str(number)) for number in range(3)]
        held: dict[tuple[int, str], Subscription] = {}
        for number, topic_filter in entries:
            subscription = Subscription(sessions[number], topic_filter, 0)
            self.assertEqual(tree.add(subscription), (number, topic_filter) not in held)
            held[number, topic_filter] = subscription
        self._compare(tree, held, topics)
        for key in data.draw(st.lists(st.sampled_from(sorted(held)), unique=True)) if held else []:
            self.assertTrue(tree.remove(held.pop(key)))
        self._compare(tree, held, topics)
        for subscription in held.values():
            self.assertTrue(tree.remove(subscription))
            self.assertFalse(tree.remove(subscription))
        self.assertEqual((tree.count, tree.is_empty()), (0, True))

    def _compare(self, tree: SubscriptionTree, held: dict[tuple[int, str], Subscription], topics: list[str]) -> None:
        self.assertEqual(tree.count, len(held))
        for topic in topics:
            found, groups = tree.match(topic)
            plain = [each for each in held.values() if split_shared(each.topic_filter)[0] is None]
            shared = [each for each in held.values() if split_shared(each.topic_filter)[0] is not None]
            self.assertCountEqual(found, [each for each in plain if matches(each.inner, topic)])
            members = [member for group in groups for member in group.members]
            self.assertCountEqual(members, [each for each in shared if matches(each.inner, topic)])

    def test_stamp(self) -> None:
        """Whoever remembers what a topic matches can see that it may have changed."""
        tree = SubscriptionTree()
        subscription = Subscription(session("s"), "a", 0)
        stamps = [tree.stamp]
        tree.add(subscription)
        stamps.append(tree.stamp)
        tree.remove(subscription)
        stamps.append(tree.stamp)
        self.assertEqual(stamps, sorted(set(stamps)))

    def test_remove_what_is_not_there(self) -> None:
        """Removing what was never added changes nothing."""
        tree = SubscriptionTree()
        tree.add(Subscription(session("s"), "$share/g/a/b", 0))
        for topic_filter in ("a", "a/b", "a/#", "+", "$share/h/a/b", "$share/g/a", "x/y/z", "$share/g/a/b"):
            self.assertFalse(tree.remove(Subscription(session("t"), topic_filter, 0)))
        self.assertEqual(tree.count, 1)


class SharedGroupTests(SynchronousTestCase):
    """Turn by turn."""

    def test_in_turn(self) -> None:
        """The one that was taken last comes last."""
        group = SharedGroup("g", "t")
        self.assertEqual(list(group.candidates()), [])
        members = [Subscription(session(str(number)), "$share/g/t", 0) for number in range(3)]
        group.members.extend(members)
        self.assertEqual(list(group.candidates()), members)
        group.taken(members[1])
        self.assertEqual(list(group.candidates()), [members[2], members[0], members[1]])
        self.assertFalse(group.has_connected_member())

    def test_replaced(self) -> None:
        """A member that subscribes anew keeps its place."""
        tree = SubscriptionTree()
        member = session("m")
        tree.add(Subscription(member, "$share/g/t", 0))
        tree.add(Subscription(session("n"), "$share/g/t", 0))
        tree.add(Subscription(member, "$share/g/t", 2))
        (group,) = tree.match("t")[1]
        self.assertEqual([each.qos for each in group.members], [2, 0])
        self.assertEqual(tree.count, 2)
