# -*- test-case-name: tests.core.test_events -*-
"""What the core reports."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Stage
from mqttsecure.core.events import Connected, Denied, Disconnected, Dropped
from tests.support.core import Bench


class EventTests(SynchronousTestCase):
    """One event for each thing that a log wants to know, in order."""

    def test_life_of_a_client(self) -> None:
        """Connected, denied, dropped, disconnected: in this order, without payload or password."""
        bench = Bench()
        bench.chain.deny(Stage.PUBLISH, topic="secret")
        client = bench.connected("c", user="u", password=b"hunter2", maximum_packet_size=100)
        client.subscribe("t")
        client.publish("secret", b"x")
        client.publish("t", b"payload" * 50)
        client.disconnect()
        self.assertEqual([type(event) for event in bench.events], [Connected, Denied, Dropped, Disconnected])
        told = [event for event in bench.events if not isinstance(event, Denied)]  # which holds the whole request
        self.assertNotIn("payload", repr(told))
        self.assertNotIn("hunter2", repr(bench.events))

    def test_cannot_be_changed(self) -> None:
        """An event is a value."""
        event = Dropped("c", "t", "why")
        with self.assertRaises(AttributeError):
            event.why = "because"
