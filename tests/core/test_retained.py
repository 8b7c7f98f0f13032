# -*- test-case-name: tests.core.test_retained -*-
"""Retained messages: found by filter, within a budget, gone without a trace."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import BROKER_PRINCIPAL, Writer
from mqttsecure.core.model import Envelope, Message
from mqttsecure.core.retained import RetainedMessages
from mqttsecure.wire.topics import matches

_TOPICS = st.lists(st.sampled_from(["a", "b", "", "$s"]), min_size=1, max_size=3).map("/".join).filter(bool)
_FILTERS = st.sampled_from(["#", "+", "a", "a/#", "+/+", "+/a", "/#", "$s/#", "$s/+", "a/+/#", "+/#", "b/a/"])
_ENVELOPE = Envelope(Writer(BROKER_PRINCIPAL), 1)


def message(topic: str, payload: bytes = b"x") -> Message:
    return Message(topic, payload, 0, True, _ENVELOPE)


class RetainedTests(SynchronousTestCase):
    """The store of retained messages."""

    @settings(max_examples=150, deadline=None)
    @given(st.lists(_TOPICS, max_size=10), st.lists(_TOPICS, max_size=10), _FILTERS)
    def test_like_the_definition(self, put: list[str], removed: list[str], topic_filter: str) -> None:
        """Exactly the topics that match are found; counts are exact; what is removed leaves nothing."""
        retained = RetainedMessages(100, 100_000)
        expected: dict[str, Message] = {}
        for topic in put:
            expected[topic] = message(topic, topic.encode())
            retained.put(expected[topic])
        for topic in removed:
            self.assertEqual(retained.remove(topic), expected.pop(topic, None) is not None)
        self.assertEqual(retained.count, len(expected))
        self.assertEqual(retained.octets, sum(each.size for each in expected.values()))
        found = [message.topic for message in retained.matching(topic_filter)]
        self.assertCountEqual(found, [topic for topic in expected if matches(topic_filter, topic)])
        for topic in {*put, *removed}:
            self.assertIs(retained.get(topic), expected.get(topic))
        for topic in list(expected):
            retained.remove(topic)
        self.assertEqual((retained.count, retained.octets, list(retained.matching("#"))), (0, 0, []))

    def test_budget(self) -> None:
        """A new topic needs room for one more, a known one for the difference."""
        retained = RetainedMessages(1, message("a", b"12345").size)
        self.assertTrue(retained.has_room_for(message("a", b"12345"), retained.get("a")))
        self.assertFalse(retained.has_room_for(message("a", b"123456"), None))
        retained.put(message("a", b"1234"))
        self.assertFalse(retained.has_room_for(message("b", b""), None))
        self.assertTrue(retained.has_room_for(message("a", b"12345"), retained.get("a")))
