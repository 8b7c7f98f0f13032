# -*- test-case-name: tests.interop.test_mqttjs -*-
"""mqtt.js against a really started broker: 3.1, 3.1.1 and 5.0."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.interop import scenarios
from tests.support.foreign import require

_DRIVER: Final = Path(__file__).with_name("mqttjs_driver.mjs")


class _WithMqttJs(scenarios.LibraryCase):
    def driver_command(self) -> Sequence[str]:
        require("mqtt.js")
        return [require("node"), str(_DRIVER)]


class MqttJs31Tests(_WithMqttJs, scenarios.Version3Scenarios):
    """MQTT 3.1."""

    version = 3


class MqttJs311Tests(_WithMqttJs, scenarios.Version3Scenarios):
    """MQTT 3.1.1."""

    version = 4


class MqttJs5Tests(_WithMqttJs, scenarios.Version5Scenarios):
    """MQTT 5.0."""

    def test_topic_alias(self) -> None:
        """A client that names topics by alias is understood, and a reader is spared the repeated Topic Name."""
        writer, _ = self.client("alice-writer", topic_aliases=True, properties={"topic_alias_maximum": 8})
        reader, _ = self.client("bob-reader", properties={"topic_alias_maximum": 8})
        reader.subscribe("lab/#", 1)
        topics = [f"lab/long/topic/name/{number}" for number in (0, 1, 0, 1, 0, 1)]
        for number, topic in enumerate(topics):
            answer = writer.publish(topic, str(number), number % 2)
            self.assertNotIn("error", answer)
        self.assertEqual(4, answer["empty_topics"])
        found = [reader.receive() for _ in topics]
        self.assertEqual(topics, [message["topic"] for message in found])
        self.assertEqual([str(number) for number in range(6)], [message["payload"] for message in found])
        self.assertTrue(any("topic_alias" in message["properties"] for message in found), "the broker used none")
