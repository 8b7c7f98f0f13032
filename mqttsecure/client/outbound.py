# -*- test-case-name: tests.client.test_outbound -*-
"""Messages to the broker: in order, never more at once than it allows, until they are acknowledged to the end."""

from __future__ import annotations

from collections import deque
from typing import Final

from mqttsecure.client.channel import Channel
from mqttsecure.client.events import Answered, Published
from mqttsecure.client.failures import NotSupported, PublishRefused, SessionLost
from mqttsecure.client.reasons import is_refusal, publish_words
from mqttsecure.client.session import Outgoing, Session
from mqttsecure.errors import ProtocolError
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.packets import Puback, Pubcomp, Pubrec, Pubrel

__all__ = ["ATTEMPTS", "Outbound"]

ATTEMPTS: Final = 3
"""Connections that may end over one message before it is given up: one is bad luck, and so may be two."""


class Outbound:
    """The sender's side of QoS 0, 1 and 2 (v5.0 section 4.3) over any number of connections."""

    def __init__(self, session: Session, channel: Channel, in_flight: int) -> None:
        """
        Args:
            session: what outlives a connection.
            channel: the connection.
            in_flight: messages under way at once, where the broker allows more.
        """
        self._session = session
        self._channel = channel
        self._in_flight = in_flight
        self._again: deque[int] = deque()
        """Packet Identifiers of an earlier connection, to be sent again on this one."""
        self._open: set[int] = set()
        """Packet Identifiers of this connection that wait for an answer."""

    @property
    def awaits_answers(self) -> bool:
        """Whether the broker owes an acknowledgement."""
        return bool(self._open)

    def resume(self, session_present: bool) -> None:
        """A connection is there: go on where the last one ended (v5.0 [MQTT-4.4.0-1]), or begin anew."""
        self._again.clear()
        self._open.clear()
        self._give_up_poison()
        if not session_present:
            for lost in self._session.forget():
                error = SessionLost(
                    f"the broker has lost the session while the message on {lost.topic!r} was under way with QoS 2, "
                    "so that nobody knows whether it arrived",
                    "ask for a durable session, or send it again if it may arrive twice",
                )
                self._channel.events.append(Answered(lost.token, None, error))
            return
        for packet_id, each in self._session.in_flight.items():
            if each.is_released:
                self._open.add(packet_id)
                self._channel.send(Pubrel(packet_id))
            else:
                self._again.append(packet_id)

    def _give_up_poison(self) -> None:
        """A broker of 3.1.1 can refuse a message only by closing the connection, again and again."""
        packet_id, oldest = next(iter(self._session.in_flight.items()), (0, None))
        if oldest is None or oldest.is_released or oldest.attempts < ATTEMPTS:
            return
        self._session.give_up(packet_id)
        error = PublishRefused(
            f"the broker has ended {ATTEMPTS} connections in a row after it was sent the message on {oldest.topic!r}",
            "is it permitted there, and small enough? MQTT 5 would tell the reason",
        )
        self._channel.events.append(Answered(oldest.token, None, error))

    def pump(self) -> None:
        """Send what may be sent."""
        while self._channel.has_room and (self._again or self._session.waiting):
            first = self._session.in_flight[self._again[0]] if self._again else self._session.waiting[0]
            if first.qos and len(self._open) >= min(self._in_flight, self._channel.announced.receive_maximum):
                return
            if self._again:
                self._send(first, self._again.popleft(), dup=True)
                continue
            self._session.dequeue()
            error = self._objection(first)
            if error is not None:
                self._channel.events.append(Answered(first.token, None, error))
            elif first.qos:
                self._send(first, self._session.new_id(), dup=False)
            else:
                self._channel.send_bytes(bytes(first.encoded))
                self._channel.events.append(Answered(first.token, Published()))

    def _send(self, outgoing: Outgoing, packet_id: int, dup: bool) -> None:
        self._session.in_flight[packet_id] = outgoing
        self._open.add(packet_id)
        outgoing.attempts += 1
        self._channel.send_bytes(outgoing.bytes_with(packet_id, dup))

    def _objection(self, outgoing: Outgoing) -> NotSupported | None:
        """Why the broker would take this message for a fault of ours (v5.0 [MQTT-3.2.2-11], [-14], [-15])."""
        announced = self._channel.announced
        about = f"the message on {outgoing.topic!r}"
        if outgoing.qos > announced.maximum_qos:
            return NotSupported(
                f"{about} has QoS {outgoing.qos}, and the broker takes at most {announced.maximum_qos}",
                f"publish it with QoS {announced.maximum_qos}",
            )
        if outgoing.retain and not announced.is_retain_available:
            return NotSupported(f"{about} is to be retained, and the broker retains none", "publish it without retain")
        if len(outgoing.encoded) > announced.maximum_packet_size:
            return NotSupported(
                f"{about} makes a packet of {len(outgoing.encoded)} bytes, and the broker takes at most "
                f"{announced.maximum_packet_size}",
                "send less at once, or raise the broker's limit",
            )
        return None

    # -- what the broker answers ----------------------------------------------------------------------------------

    def on_puback(self, packet: Puback) -> None:
        """A QoS 1 message is done."""
        outgoing = self._expected(packet.packet_id, 1, "PUBACK")
        self._finish(outgoing, packet)

    def on_pubrec(self, packet: Pubrec) -> None:
        """The broker has a QoS 2 message, or refuses it."""
        packet_id = packet.packet_id
        outgoing = self._session.in_flight.get(packet_id)
        if outgoing is None and self._channel.version == MQTT_5_0:
            # v5.0 section 4.3.3: perhaps of a session that only the broker remembers.
            self._channel.send(Pubrel(packet_id, 0x92))
            return
        outgoing = self._expected(packet_id, 2, "PUBREC")
        if is_refusal(packet.reason_code):
            self._finish(outgoing, packet)
            return
        outgoing.is_released = True
        outgoing.reason_code = packet.reason_code
        self._channel.send(Pubrel(packet_id))

    def on_pubcomp(self, packet: Pubcomp) -> None:
        """A QoS 2 message is done."""
        outgoing = self._expected(packet.packet_id, 2, "PUBCOMP")
        if not outgoing.is_released:
            raise ProtocolError(f"PUBCOMP for the Packet Identifier {packet.packet_id} came before its PUBREC")
        # 0x92 after a resumed session: the broker had finished it already (v5.0 section 4.3.3).
        self._finish(outgoing, Pubcomp(packet.packet_id, outgoing.reason_code, packet.properties))

    def _expected(self, packet_id: int, qos: int, name: str) -> Outgoing:
        outgoing = self._session.in_flight.get(packet_id)
        if outgoing is None or outgoing.qos != qos or packet_id not in self._open:
            raise ProtocolError(f"{name} for the Packet Identifier {packet_id}, under which no such message is")
        return outgoing

    def _finish(self, outgoing: Outgoing, packet: Puback | Pubrec | Pubcomp) -> None:
        self._open.discard(outgoing.packet_id)
        del self._session.in_flight[outgoing.packet_id]
        error = None
        if is_refusal(packet.reason_code):
            said = packet.properties.get("reason_string", "")
            cause, mend = publish_words(packet.reason_code, outgoing.topic, said)
            error = PublishRefused(cause, mend, reason_code=packet.reason_code)
        value = Published(packet.reason_code, packet.properties) if error is None else None
        self._channel.events.append(Answered(outgoing.token, value, error))
