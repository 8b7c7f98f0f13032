# -*- test-case-name: tests.core.test_acknowledging -*-
"""The acknowledgement flows of QoS 1 and 2 (v5.0 section 4.3)."""

from __future__ import annotations

from mqttsecure.core.connection import Connection
from mqttsecure.core.delivery import Deliveries
from mqttsecure.core.session import Delivery, Session
from mqttsecure.core.state import BrokerState
from mqttsecure.errors import ProtocolError
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.packets import Puback, Pubcomp, Pubrec, Pubrel

__all__ = ["Acknowledging"]


class Acknowledging:
    """Handles PUBACK, PUBREC, PUBREL and PUBCOMP."""

    def __init__(self, state: BrokerState, deliveries: Deliveries) -> None:
        self._state = state
        self._deliveries = deliveries

    def handle_puback(self, connection: Connection, packet: Puback, now: float) -> None:
        """A QoS 1 message has arrived, or was refused: either way it is settled."""
        session = connection.session
        if session is None:
            return
        if packet.packet_id not in session.inflight:
            return
        delivery = session.inflight[packet.packet_id]
        if isinstance(delivery, int) or delivery[1] != 1:
            raise ProtocolError("PUBACK for a message of QoS 2")
        del session.inflight[packet.packet_id]
        session.inflight_octets -= len(delivery[0].payload)
        self._settle(session, delivery)
        self._deliveries.settled(session, connection, now)

    def handle_pubrec(self, connection: Connection, packet: Pubrec, now: float) -> None:
        """A QoS 2 message has arrived: let it be released, v5.0 [MQTT-4.3.3-4]."""
        session = connection.session
        if session is None:
            return
        if packet.packet_id not in session.inflight:
            if packet.reason_code >= 0x80:
                return  # v5.0 [MQTT-4.3.3-4]: PUBREL answers a PUBREC that took the message, not one that refused it
            code = int(ReasonCode.PACKET_IDENTIFIER_NOT_FOUND) if connection.five else 0
            self._state.acknowledge(connection, Pubrel(packet.packet_id, code), False, now)
            return
        delivery = session.inflight[packet.packet_id]
        if not isinstance(delivery, int) and delivery[1] != 2:
            raise ProtocolError("PUBREC for a message of QoS 1")
        before = self._state.journal.changes
        if packet.reason_code >= 0x80:
            del session.inflight[packet.packet_id]  # v5.0 section 4.3.3: refused, so over
            if isinstance(delivery, int):
                self._complete(session, delivery)
            else:
                session.inflight_octets -= len(delivery[0].payload)
                self._settle(session, delivery)
            self._deliveries.settled(session, connection, now)
            return
        if not isinstance(delivery, int):
            # v5.0 [MQTT-4.6.0-4]: PUBREL goes, and goes again, in the order of PUBREC.
            del session.inflight[packet.packet_id]
            session.inflight[packet.packet_id] = delivery[5]
            session.inflight_octets -= len(delivery[0].payload)
            if session.record is not None:
                self._state.journal.release(session, session.record, delivery, packet.packet_id)
        touched = self._state.journal.changes != before
        self._state.acknowledge(connection, Pubrel(packet.packet_id), touched, now)

    def handle_pubcomp(self, connection: Connection, packet: Pubcomp, now: float) -> None:
        """A QoS 2 message is settled."""
        session = connection.session
        if session is None:
            return
        if packet.packet_id not in session.inflight:
            return
        number = session.inflight[packet.packet_id]
        if not isinstance(number, int):
            raise ProtocolError("PUBCOMP before PUBREC")
        del session.inflight[packet.packet_id]
        self._complete(session, number)
        self._deliveries.settled(session, connection, now)

    def handle_pubrel(self, connection: Connection, packet: Pubrel, now: float) -> None:
        """The sender of a QoS 2 message lets go of its Packet Identifier, v5.0 [MQTT-4.3.3-11]."""
        session = connection.session
        if session is None:
            return
        before = self._state.journal.changes
        known = session.incoming is not None and packet.packet_id in session.incoming
        if known and session.incoming is not None:
            session.incoming.discard(packet.packet_id)
            if not session.incoming:
                session.incoming = None
            if session.record is not None:
                self._state.journal.incoming(session, session.record, packet.packet_id, False)
        code = 0 if known or not connection.five else int(ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)
        touched = self._state.journal.changes != before
        self._state.acknowledge(connection, Pubcomp(packet.packet_id, code), touched, now)

    def _settle(self, session: Session, delivery: Delivery) -> None:
        if session.record is not None:
            self._state.journal.settle(session, session.record, delivery)

    def _complete(self, session: Session, number: int) -> None:
        if session.record is not None:
            self._state.journal.complete(session, session.record, number)
