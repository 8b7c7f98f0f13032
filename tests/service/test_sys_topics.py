"""The broker's counters as retained messages."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial import unittest

from mqttsecure.core.limits import Limits
from mqttsecure.core.state import Counters
from mqttsecure.service import sys_topics
from mqttsecure.service.sys_topics import SysTopics
from mqttsecure.transport.driver import CoreDriver
from tests.support.transport import ObservedChain


class SysTopicsTests(unittest.SynchronousTestCase):
    """What is published, and when."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.driver = CoreDriver(Limits(), ObservedChain(), self.clock, lambda count: b"r" * count)
        self.published: list[tuple[str, bytes]] = []
        publish = self.driver.publish

        def record(topic: str, payload: bytes, *, retain: bool = False) -> None:
            self.assertTrue(retain)
            self.published.append((topic, payload))
            publish(topic, payload, retain=retain)

        self.patch(self.driver, "publish", record)
        self.topics = SysTopics(self.driver, self.clock)

    def taken(self) -> dict[str, str]:
        """What was published since the last call."""
        published, self.published = self.published, []
        found = {topic.removeprefix("$SYS/broker/"): payload.decode() for topic, payload in published}
        self.assertEqual(len(found), len(published))
        return found

    def test_all_at_the_start(self) -> None:
        """Who subscribes before anything has happened reads zeros, each a name in lower case without blanks."""
        self.topics.start(10.0)
        first = self.taken()
        self.assertEqual(first["uptime"], "0")
        self.assertEqual(set(first.values()), {"0"})
        for topic in first:
            self.assertRegex(topic, r"^[a-z]+(/[a-z]+)*$")
        self.topics.stop()

    def test_only_what_changed(self) -> None:
        """At each interval, the values that are not what they were."""
        self.topics.start(10.0)
        self.taken()
        self.driver.core.counters.bytes_received += 5
        self.clock.advance(9.9)
        self.assertEqual(self.taken(), {})
        self.clock.advance(0.1)
        changed = self.taken()
        self.assertEqual((changed["bytes/received"], changed["uptime"]), ("5", "10"))
        self.assertNotIn("sessions", changed)
        self.assertGreater(int(changed["retained/messages"]), 10)
        self.topics.stop()
        self.clock.advance(100)
        self.assertEqual(self.taken(), {})

    def test_off(self) -> None:
        """With an interval of 0 nothing is published, and a stop is harmless."""
        self.topics.start(0)
        self.clock.advance(100)
        self.assertEqual(self.taken(), {})
        self.topics.stop()

    def test_goes_on_after_a_fault(self) -> None:
        """A bug met while publishing is counted, and the next interval comes."""
        self.topics.start(10.0)
        self.taken()

        def broken(*arguments: Any, **more: Any) -> None:
            raise RuntimeError("a bug")

        self.patch(self.driver.core, "publish", broken)
        self.clock.advance(10)
        self.assertGreater(len(self.flushLoggedErrors(RuntimeError)), 0)
        self.published.clear()
        self.clock.advance(10)
        self.assertEqual(self.taken()["uptime"], "20")
        self.flushLoggedErrors(RuntimeError)
        self.topics.stop()

    def test_counters_exist(self) -> None:
        """Every name in the table is one of a counter."""
        counters = Counters()
        for name in sys_topics._COUNTERS.values():
            self.assertEqual(getattr(counters, name), 0)
