"""Clients of paho-mqtt, driven by lines of JSON as :mod:`tests.interop.driver` tells; a process of its own.

It reads one command a line from stdin and answers each with one line. Messages and lost connections come as lines of
their own in between. All of a client's callbacks run in paho's thread, so lines are written under a lock.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

Json = dict[str, Any]

PATIENCE: Final = 15.0
"""Seconds that an answer of the broker may take."""

_BINARY: Final = ("CorrelationData",)


class Output:
    """Lines to the test, whole ones from whatever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def write(self, line: Json) -> None:
        with self._lock:
            print(json.dumps(line), flush=True)


class Answers:
    """What the broker has answered, by kind and Packet Identifier, for the thread that waits for it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._answers: dict[tuple[str, int], Any] = {}

    def put(self, kind: str, identifier: int, answer: Any) -> None:
        with self._condition:
            self._answers[kind, identifier] = answer
            self._condition.notify_all()

    def wait(self, kind: str, identifier: int = 0) -> Any:
        key = (kind, identifier)
        with self._condition:
            if not self._condition.wait_for(lambda: key in self._answers, PATIENCE):
                raise TimeoutError(f"no {kind} within {PATIENCE} s")
            return self._answers.pop(key)


class Client:
    """One paho client."""

    def __init__(self, name: str, output: Output, command: Json) -> None:
        self._name = name
        self._output = output
        self._answers = Answers()
        self._connected = False
        self._v5 = command["version"] == 5
        clean = {} if self._v5 else {"clean_session": command["clean"]}
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=command["client_id"],
            protocol=mqtt.MQTTProtocolVersion(command["version"]),
            reconnect_on_failure=False,
            **clean,
        )
        self._client.tls_set(
            ca_certs=command["ca"],
            certfile=command.get("certificate"),
            keyfile=command.get("key"),
            tls_version=ssl.PROTOCOL_TLS_CLIENT,
        )
        if "username" in command:
            self._client.username_pw_set(command["username"], command["password"])
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = lambda *rest: self._answers.put("CONNACK", 0, {"error": "no connection"})
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_acknowledged("SUBACK")
        self._client.on_unsubscribe = self._on_acknowledged("UNSUBACK")
        self._client.on_publish = self._on_published

    def connect(self, command: Json) -> Json:
        if "will" in command:
            will = command["will"]
            self._client.will_set(
                will["topic"],
                will["payload"].encode(),
                will.get("qos", 0),
                will.get("retain", False),
                self._properties(PacketTypes.WILLMESSAGE, will),
            )
        v5 = {"clean_start": command["clean"], "properties": self._properties(PacketTypes.CONNECT, command)}
        self._client.connect(command["host"], command["port"], command["keep_alive"], **(v5 if self._v5 else {}))
        self._client.loop_start()
        return dict(self._answers.wait("CONNACK"))

    def subscribe(self, command: Json) -> Json:
        if self._v5:
            options = SubscribeOptions(qos=command["qos"])
            _, identifier = self._client.subscribe(command["filter"], options=options)
        else:
            _, identifier = self._client.subscribe(command["filter"], command["qos"])
        return {"granted": self._acknowledged("SUBACK", identifier)}

    def unsubscribe(self, command: Json) -> Json:
        _, identifier = self._client.unsubscribe(command["filter"])
        return {"codes": self._acknowledged("UNSUBACK", identifier)}

    def publish(self, command: Json) -> Json:
        info = self._client.publish(
            command["topic"],
            command["payload"].encode(),
            command["qos"],
            command["retain"],
            self._properties(PacketTypes.PUBLISH, command),
        )
        return dict(self._answers.wait("PUBACK", info.mid))

    def disconnect(self, command: Json) -> Json:
        self._connected = False
        self._client.disconnect()
        self._client.loop_stop()
        return {}

    def drop(self, command: Json) -> Json:
        """End the connection as a broken network does: without DISCONNECT."""
        self._connected = False
        self._client.loop_stop()
        connection = self._client.socket()
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)
        return {}

    def _properties(self, packet_type: int, command: Json) -> Properties | None:
        if not self._v5 or "properties" not in command:
            return None
        properties = Properties(packet_type)
        for name, value in command["properties"].items():
            attribute = "".join(word.capitalize() for word in name.split("_"))
            if attribute == "UserProperty":
                value = [tuple(pair) for pair in value]
            setattr(properties, attribute, value.encode() if attribute in _BINARY else value)
        return properties

    def _acknowledged(self, kind: str, identifier: int | None) -> list[int]:
        assert identifier is not None, "not connected"
        return list(self._answers.wait(kind, identifier))

    def _on_connect(
        self, client: mqtt.Client, data: Any, flags: mqtt.ConnectFlags, code: ReasonCode, properties: Properties | None
    ) -> None:
        self._connected = not code.is_failure
        answer: Json = {"session_present": flags.session_present, "properties": _plain(properties)}
        if code.is_failure:
            answer = {"error": str(code), "code": code.value}
        self._answers.put("CONNACK", 0, answer)

    def _on_disconnect(
        self, client: mqtt.Client, data: Any, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if self._connected:
            self._connected = False
            # Only 5.0 has a DISCONNECT from the broker; paho makes up a code for a mere end of the connection.
            told = code.value if flags.is_disconnect_packet_from_server else None
            self._output.write({"client": self._name, "event": "disconnected", "code": told})

    def _on_message(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        self._output.write(
            {
                "client": self._name,
                "event": "message",
                "topic": message.topic,
                "payload": message.payload.decode(),
                "qos": message.qos,
                "retain": message.retain,
                "properties": _plain(message.properties),
            }
        )

    def _on_acknowledged(self, kind: str) -> Callable[..., None]:
        def acknowledged(client: mqtt.Client, data: Any, mid: int, codes: list[ReasonCode], properties: Any) -> None:
            self._answers.put(kind, mid, [code.value for code in codes])

        return acknowledged

    def _on_published(self, client: mqtt.Client, data: Any, mid: int, code: ReasonCode, properties: Any) -> None:
        failed = {"error": str(code), "code": code.value}
        self._answers.put("PUBACK", mid, failed if code.is_failure else {})


def _plain(properties: Properties | None) -> Json:
    """Properties by the names that the tests use, ``response_topic`` for ``ResponseTopic``."""
    found: Json = {}
    for name, value in (properties.json() if properties is not None else {}).items():
        attribute = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
        found[attribute] = bytes.fromhex(value).decode() if name in _BINARY else value
    return found


def main() -> None:
    output = Output()
    clients: dict[str, Client] = {}
    for line in sys.stdin:
        command: Json = json.loads(line)
        name = command["client"]
        try:
            if command["do"] == "connect":
                clients[name] = Client(name, output, command)
            answer = getattr(clients[name], command["do"])(command)
        except (OSError, ValueError, TimeoutError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        output.write({"id": command["id"], **answer})


if __name__ == "__main__":
    main()
