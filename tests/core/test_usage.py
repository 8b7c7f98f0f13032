# -*- test-case-name: tests.core.test_usage -*-
"""What each principal has."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import ConnectionFacts, Peer, Principal, Writer
from mqttsecure.core.model import Envelope, Message
from mqttsecure.core.retained import RetainedMessages
from mqttsecure.core.session import Session
from mqttsecure.core.usage import SessionTable, Usage
from tests.support.core import Bench

USERS = [Principal("users", name) for name in "abc"]


class SessionTableTests(SynchronousTestCase):
    """Sessions by key and by owner."""

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.sampled_from("wxyz"), st.sampled_from(USERS)), max_size=20))
    def test_like_the_definition(self, steps: list[tuple[bool, str, Principal]]) -> None:
        """Whatever is put in and taken out, each owner has exactly what is there and his."""
        table = SessionTable()
        for is_put, key, owner in steps:
            if is_put:
                table[key] = Session(key, owner, ConnectionFacts(1, "lab", Peer(None)))
            elif key in table:
                del table[key]
            for each in USERS:
                self.assertEqual(set(table.of(each)), {key for key, session in table.items() if session.owner == each})


class RetainedCountTests(SynchronousTestCase):
    """Retained messages by writer."""

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.tuples(st.booleans(), st.sampled_from("wxyz"), st.sampled_from(USERS)), max_size=20))
    def test_like_the_definition(self, steps: list[tuple[bool, str, Principal]]) -> None:
        """A message that replaces another's counts for its own writer."""
        retained = RetainedMessages(100, 100_000)
        there: dict[str, Message] = {}
        for is_put, topic, writer in steps:
            if is_put:
                there[topic] = Message(topic, topic.encode(), 0, True, Envelope(Writer(writer), 1))
                retained.put(there[topic])
            else:
                retained.remove(topic)
                there.pop(topic, None)
        for each in USERS:
            mine = [message for message in there.values() if message.envelope.writer.principal == each]
            self.assertEqual(retained.writers.of(each), (len(mine), sum(message.size for message in mine)))


class UsageTests(SynchronousTestCase):
    """In a core."""

    def test_of_a_user(self) -> None:
        """Sessions, subscriptions, what is on its way and what waits, over all clients of the user."""
        bench = Bench()
        state = bench.core.state
        first = bench.connected("a", user="u", session_expiry_interval=100)
        second = bench.connected("b", user="u", session_expiry_interval=100, receive_maximum=1)
        owner = state.sessions["a"].owner
        self.assertEqual(owner, state.sessions["b"].owner)
        for client in (first, second):
            client.subscribe("t", qos=1)
        writer = bench.connected("w", user="v")
        for _ in range(3):
            writer.publish("t", b"12345", qos=1)
        usage = state.sessions.usage(owner)
        self.assertEqual((usage.sessions, usage.subscriptions), (2, 2))
        self.assertEqual(usage.inflight, 3 + 1)
        self.assertEqual(usage.queued_bytes, state.queued_octets)
        self.assertGreater(usage.queued_bytes, 2 * 5)
        self.assertEqual(state.sessions.usage(Principal("users", "nobody")), Usage())
