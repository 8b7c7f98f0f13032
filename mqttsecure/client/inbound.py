# -*- test-case-name: tests.client.test_inbound -*-
"""Messages from the broker: told once each as their QoS promises, acknowledged when the application is done."""

from __future__ import annotations

from typing import Final

from mqttsecure.client.channel import Channel
from mqttsecure.client.events import Arrived
from mqttsecure.client.session import Session
from mqttsecure.errors import ProtocolError, ReceiveMaximumExceeded, TopicAliasInvalid
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel

__all__ = ["TOLERANCE", "Inbound"]

TOLERANCE: Final = 8
"""Times the Receive Maximum before a broker is cut off for exceeding it. Mosquitto 2.0.11 does exceed it towards a slow
client; what bounds memory is that nothing more is read while the application is behind."""

_UNANSWERED_3: Final = 65535
"""MQTT 3.1.1 has no Receive Maximum; there are no more Packet Identifiers than these."""


class Inbound:
    """The receiver's side of QoS 0, 1 and 2 (v5.0 section 4.3)."""

    def __init__(self, session: Session, channel: Channel, receive_maximum: int, topic_alias_maximum: int) -> None:
        self._session = session
        self._channel = channel
        self._receive_maximum = receive_maximum * TOLERANCE if channel.version == MQTT_5_0 else _UNANSWERED_3
        self._topic_alias_maximum = topic_alias_maximum
        self._aliases: dict[int, str] = {}
        self._open: set[int] = set()
        """Packet Identifiers that came on this connection and whose exchange has not ended."""

    def suspend(self) -> None:
        """The connection is over: nothing more can be acknowledged on it."""
        self._open.clear()

    def resume(self) -> None:
        """A new connection."""
        self._aliases.clear()
        self._open.clear()

    def on_publish(self, packet: Publish) -> None:
        """A message comes."""
        if "topic_alias" in packet.properties:
            self._translate(packet)
        if packet.qos:
            packet_id = packet.packet_id
            is_known = packet.qos == 2 and packet_id in self._session.received
            if packet_id in self._open and not is_known:
                raise ProtocolError(f"PUBLISH with the Packet Identifier {packet_id}, which is in use")
            if packet_id not in self._open and len(self._open) >= self._receive_maximum:
                # v5.0 [MQTT-3.3.4-7]
                raise ReceiveMaximumExceeded(f"{TOLERANCE} times more messages at once than the Receive Maximum")
            self._open.add(packet_id)
            if is_known:
                if self._session.received[packet_id]:
                    self._channel.send(Pubrec(packet_id))
                return  # told before: exactly once
            if packet.qos == 2:
                self._session.received[packet_id] = False
        self._channel.events.append(Arrived(packet, self._channel.connection))

    def _translate(self, packet: Publish) -> None:
        alias = packet.properties.pop("topic_alias")
        if alias > self._topic_alias_maximum:
            # v5.0 [MQTT-3.1.2-26]
            raise TopicAliasInvalid(f"the Topic Alias {alias}; the largest allowed is {self._topic_alias_maximum}")
        if packet.topic:
            self._aliases[alias] = packet.topic
        elif alias in self._aliases:
            packet.topic = self._aliases[alias]
        else:
            raise ProtocolError(f"the Topic Alias {alias}, which stands for nothing")

    def on_pubrel(self, packet: Pubrel) -> None:
        """The broker forgets a QoS 2 message."""
        packet_id = packet.packet_id
        self._open.discard(packet_id)
        is_known = self._session.received.pop(packet_id, None) is not None
        # Unknown after a session that only the broker remembers (v5.0 section 4.3.3).
        self._channel.send(Pubcomp(packet_id, 0 if is_known else 0x92))

    def acknowledge(self, arrived: Arrived, reason_code: int) -> None:
        """The application is done with a message, on whatever connection that came."""
        publish = arrived.publish
        is_current = arrived.connection == self._channel.connection and publish.packet_id in self._open
        if publish.qos == 1:
            # On a later connection the broker sends it again by itself, and it is told again: at least once.
            if is_current:
                self._open.discard(publish.packet_id)
                self._channel.send(Puback(publish.packet_id, reason_code))
        elif publish.qos == 2 and publish.packet_id in self._session.received:
            self._session.received[publish.packet_id] = True
            if publish.packet_id in self._open:
                if reason_code:
                    self._open.discard(publish.packet_id)
                    del self._session.received[publish.packet_id]
                self._channel.send(Pubrec(publish.packet_id, reason_code))
