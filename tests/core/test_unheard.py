# -*- test-case-name: tests.core.test_unheard -*-
"""Tests for :mod:`mqttsecure.core.unheard`."""

from __future__ import annotations

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import ConnectionFacts, Peer, Principal, Stage
from mqttsecure.core.unheard import MAXIMUM_OCTETS, MAXIMUM_TOPICS, UnheardTopics
from mqttsecure.wire.packets import Will
from tests.support.core import Bench


def facts(client_id: str, name: str = "alice") -> ConnectionFacts:
    peer = Peer(ip_address("192.0.2.7"), 40000)
    return ConnectionFacts(1, "tls", peer, client_id=client_id, username=name, principal=Principal("lab", name))


class UnheardTopicsTests(SynchronousTestCase):
    """Bounded, whatever is published."""

    def setUp(self) -> None:
        self.unheard = UnheardTopics()

    def topics(self) -> dict[str, list[str]]:
        return {each.client_id: list(each.topics) for each in self.unheard}

    def test_first_and_last_time(self) -> None:
        """A topic is kept once, with both."""
        self.unheard.note(facts("a"), "t", 1.0)
        self.unheard.note(facts("a"), "u", 2.0)
        self.unheard.note(facts("a"), "t", 3.0)
        (publisher,) = self.unheard
        self.assertEqual(dict(publisher.topics), {"u": (2.0, 2.0), "t": (1.0, 3.0)})
        self.assertEqual(
            (publisher.principal, publisher.username, publisher.address), ("lab:alice", "alice", "192.0.2.7")
        )

    def test_one_client_pushes_out_its_own_topics_alone(self) -> None:
        """The latest stay."""
        self.unheard.note(facts("a"), "t", 1.0)
        for number in range(100):
            self.unheard.note(facts("b"), str(number), 2.0)
        self.assertEqual(self.topics(), {"a": ["t"], "b": [str(number) for number in range(100 - MAXIMUM_TOPICS, 100)]})

    def test_many_clients_with_long_topics(self) -> None:
        """There is a bound for all; those that published last stay."""
        for number in range(2000):
            self.unheard.note(facts(f"c{number}"), "x" * 4000, 1.0)
        self.assertLessEqual(self.unheard.octets, MAXIMUM_OCTETS)
        self.assertIn("c1999", self.topics())
        self.assertNotIn("c0", self.topics())
        self.assertEqual(self.unheard.octets, sum(each.octets for each in self.unheard))

    def test_another_owner_of_the_name(self) -> None:
        """What somebody else did under the same Client Identifier is not laid at its door."""
        self.unheard.note(facts("a"), "t", 1.0)
        self.unheard.note(facts("a", "bob"), "u", 2.0)
        self.assertEqual(self.topics(), {"a": ["u"]})
        self.assertEqual(self.unheard.octets, sum(each.octets for each in self.unheard))

    def test_the_same_name_in_another_namespace(self) -> None:
        """Is another client."""
        there = facts("a")
        there.namespace = "acme"
        self.unheard.note(facts("a"), "t", 1.0)
        self.unheard.note(there, "u", 2.0)
        self.assertEqual([(each.namespace, list(each.topics)) for each in self.unheard], [("", ["t"]), ("acme", ["u"])])


class PublishTests(SynchronousTestCase):
    """What is noted of what clients do."""

    def setUp(self) -> None:
        self.bench = Bench()

    def noted(self) -> dict[str, list[str]]:
        return {each.client_id: list(each.topics) for each in self.bench.core.state.unheard}

    def test_accepted_and_no_subscriber(self) -> None:
        """Each QoS; not what somebody hears, what is retained, and what is denied."""
        self.bench.chain.deny(Stage.PUBLISH, topic="secret")
        reader, writer = self.bench.connected("r"), self.bench.connected("w", user="u")
        reader.subscribe("heard")
        for topic in ("heard", "secret", "zero", "zero"):
            writer.publish(topic, b"x")
        writer.publish("one", b"x", qos=1)
        writer.publish("two", b"x", qos=2)
        writer.publish("kept", b"x", qos=1, retain=True)
        self.assertEqual(self.noted(), {"w": ["zero", "one", "two"]})
        writer.disconnect()
        self.assertEqual(self.noted(), {"w": ["zero", "one", "two"]})

    def test_subscriber_that_leaves(self) -> None:
        """The route of a topic is looked for anew when a subscription goes."""
        reader, writer = self.bench.connected("r"), self.bench.connected("w", user="u")
        reader.subscribe("t")
        writer.publish("t", b"x")
        writer.publish("t", b"x")
        self.assertEqual(self.noted(), {})
        reader.unsubscribe("t")
        writer.publish("t", b"x")
        self.assertEqual(self.noted(), {"w": ["t"]})

    def test_asked_each_time(self) -> None:
        """Also where a policy must be asked about each message, so that no route is kept."""
        ask = self.bench.chain.permit
        self.bench.chain.oblige(Stage.PUBLISH, residual=lambda request: ask(request))
        writer = self.bench.connected("w", user="u")
        writer.publish("t", b"x")
        self.assertEqual(self.noted(), {"w": ["t"]})

    def test_will(self) -> None:
        """A will that nobody hears is a message like another."""
        client = self.bench.connected("w", user="u", will=Will("gone", b"x"))
        client.lose()
        self.assertEqual(self.noted(), {"w": ["gone"]})
