# -*- test-case-name: tests.interop.test_mosquitto -*-
"""mosquitto_pub, mosquitto_sub and mosquitto_rr against a really started broker: 3.1, 3.1.1 and 5.0."""

from __future__ import annotations

from tests.interop import mosquitto_scenarios as scenarios
from tests.interop.mosquitto import Subscriber


class Mosquitto31Tests(scenarios.Version3Scenarios):
    """MQTT 3.1."""

    version = "mqttv31"


class Mosquitto311Tests(scenarios.Version3Scenarios):
    """MQTT 3.1.1."""

    version = "mqttv311"


class Mosquitto5Tests(scenarios.Scenarios):
    """MQTT 5.0."""

    version = "mqttv5"
    wrong_password = "Connection error: Bad User Name or Password"

    def test_forbidden_topic_is_refused(self) -> None:
        """mosquitto_pub says that it was not authorized, at QoS 1 and 2."""
        for qos in (1, 2):
            self.assertIn("Not authorized", self.forbidden("lab/locked/door", qos).stderr)

    def test_request_and_response(self) -> None:
        """mosquitto_rr asks, and gets the answer that carries its mark."""
        server = self.subscribe("bob-server", "lab/requests", 1)
        more = ["-t", "lab/requests", "-e", "lab/answers", "-m", "how much?", "-q", "1", "-W", "10"]
        asker = Subscriber(
            self.command(
                "rr", "alice-asker", "password", *more, "-D", "publish", "correlation-data", "mark 17", "-F", "%j"
            )
        )
        self.addCleanup(asker.kill)
        request = server.receive()
        self.assertEqual("how much?", request["payload"])
        properties = request["properties"]
        mark = properties["correlation-data"]
        self.publish(properties["response-topic"], "21", 1, "-D", "publish", "correlation-data", mark)
        answer = asker.receive()
        self.assertEqual(("21", "mark 17"), (answer["payload"], answer["properties"]["correlation-data"]))

    def test_properties_get_through(self) -> None:
        """User properties, the content type and the remaining time of a message arrive with it."""
        reader = self.subscribe("bob-sub", "lab/#", 1)
        properties = {"content-type": "text/plain", "message-expiry-interval": "100"}
        options = [part for name, value in properties.items() for part in ("-D", "publish", name, value)]
        self.publish("lab/a", "x", 1, *options, "-D", "publish", "user-property", "unit", "C")
        found = reader.receive()["properties"]
        self.assertEqual("text/plain", found["content-type"])
        self.assertEqual({"unit": "C"}, found["user-properties"])
        self.assertIn(found["message-expiry-interval"], range(95, 101))
