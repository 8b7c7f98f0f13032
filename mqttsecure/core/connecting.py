# -*- test-case-name: tests.core.test_connecting -*-
"""CONNECT and AUTH: from the first packet to a session that its principal owns.

No state changes before the verdicts: CONNECT is validated, then decided at CONNECT and AUTHENTICATE, its will at
PUBLISH; only then is Session State touched, another connection taken over, or the will armed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mqttsecure.core.connection import Connection, State
from mqttsecure.core.decisions import (
    NAMESPACE,
    CapKeepAlive,
    CapSessionExpiry,
    ConnectionFacts,
    Effect,
    Obligation,
    Principal,
    Request,
    Stage,
    Verdict,
)
from mqttsecure.core.events import Connected, Denied
from mqttsecure.core.reasons import refusal_code
from mqttsecure.core.session import Session
from mqttsecure.core.sessions import Sessions
from mqttsecure.core.state import BrokerState
from mqttsecure.core.will import arm, cost
from mqttsecure.errors import BadAuthenticationMethod, MqttError, ProtocolError, UnsupportedProtocolVersion
from mqttsecure.wire.connect import protocol_level
from mqttsecure.wire.constants import (
    MAX_REMAINING_LENGTH,
    MQTT_3_1,
    MQTT_3_1_1,
    MQTT_5_0,
    PacketType,
    ReasonCode,
    connack_return_code,
)
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Auth, Connack, Connect, Properties

__all__ = ["Connecting"]

_NEVER: Final = 0xFFFFFFFF
"""A Session Expiry Interval that does not end (v5.0 section 3.1.2.11.2)."""

_LARGEST_PACKET: Final = 5 + MAX_REMAINING_LENGTH
"""No packet is larger (v5.0 section 2.1.4)."""

_MAXIMUM_CHALLENGES: Final = 8
"""In one exchange: SCRAM has one, Kerberos a few; nobody is asked on without end."""

_KEEP_ALIVE_GRACE: Final = 1.5
"""v5.0 [MQTT-3.1.2-22]: one and a half times the Keep Alive."""


class Connecting:
    """Takes connections from CONNECT to CONNACK, and through re-authentication."""

    def __init__(self, state: BrokerState, sessions: Sessions) -> None:
        self._state = state
        self._sessions = sessions
        self.on_authenticated: Callable[[ConnectionFacts], None] = lambda facts: None
        self.on_credential_expired: Callable[[Connection, float], None] = lambda connection, now: None
        self.on_session_resumed: Callable[[Session, float], None] = lambda session, now: None

    # -- CONNECT -------------------------------------------------------------------------------------------------

    def handle_connect(self, connection: Connection, packet: Connect, now: float) -> None:
        """Check a CONNECT, copy it into the connection's facts and ask the CONNECT stage."""
        facts = connection.facts
        connection.connect = packet
        connection.five = packet.protocol_version == MQTT_5_0
        facts.protocol_version = packet.protocol_version
        facts.client_id = packet.client_id
        facts.clean_start = packet.clean_start
        facts.keep_alive = packet.keep_alive
        facts.username = packet.username
        facts.bridge = packet.bridge
        properties = packet.properties
        connection.peer_maximum_packet_size = properties.get("maximum_packet_size", _NEVER)
        connection.problem_information = bool(properties.get("request_problem_information", 1))
        connection.authentication_method = properties.get("authentication_method")
        if not packet.client_id and not self._may_be_nameless(packet):
            self._refuse(connection, ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "an empty Client Identifier", now)
            return
        if packet.will is not None and not self._will_is_acceptable(connection, now):
            return
        request = Request(
            Stage.CONNECT,
            facts,
            now,
            will=packet.will,
            properties=properties,
            authentication_method=connection.authentication_method,
        )
        self._ask(connection, request, self._authenticate, now)

    @staticmethod
    def _may_be_nameless(packet: Connect) -> bool:
        """Whether the server may choose the Client Identifier: v5.0 [MQTT-3.1.3-6], v3.1.1 [MQTT-3.1.3-7]."""
        if packet.protocol_version == MQTT_5_0:
            return True
        # MQTT 3.1 wants 1 to 23 characters. Longer ones are common there and are taken, empty ones are not.
        return packet.protocol_version != MQTT_3_1 and packet.clean_start

    def _will_is_acceptable(self, connection: Connection, now: float) -> bool:
        will = connection.connect.will if connection.connect is not None else None
        limits = self._state.limits
        if will is not None and (
            will.topic.count("/") >= limits.maximum_topic_levels
            or len(will.topic.encode()) > limits.maximum_topic_bytes
        ):
            self._refuse(connection, ReasonCode.TOPIC_NAME_INVALID, "the will's Topic Name is too long or deep", now)
            return False
        if will is not None and self._state.will_octets + cost(will) > limits.maximum_will_bytes_total:
            self._refuse(connection, ReasonCode.QUOTA_EXCEEDED, "there is no room for its will", now)
            return False
        return True

    def _ask(
        self, connection: Connection, request: Request, then: Callable[[Connection, Verdict, float], None], now: float
    ) -> None:
        """Ask the chain; on a PERMIT go on with ``then``, on a DENY refuse the connection."""

        def decided(verdict: Verdict, now: float) -> None:
            if not connection.is_open:
                return
            if verdict.effect is Effect.PERMIT or (
                verdict.effect is Effect.CHALLENGE
                and request.stage is Stage.AUTHENTICATE
                and connection.authentication_method is not None  # v5.0 [MQTT-4.12.0-6]: no AUTH to those without
            ):
                self._oblige(connection, verdict.obligations)
                then(connection, verdict, now)
            else:
                self._state.events.append(Denied(request, verdict))
                code = _reason_code(request, verdict)
                self._refuse(connection, code, f"denied at {request.stage.value}", now, verdict.decision_id)

        self._state.ask(request, decided, lambda pending: self._state.hold(connection, pending), now)

    @staticmethod
    def _oblige(connection: Connection, obligations: tuple[Obligation, ...]) -> None:
        for obligation in obligations:
            if isinstance(obligation, CapKeepAlive | CapSessionExpiry):
                connection.caps += (obligation,)

    # -- AUTHENTICATE --------------------------------------------------------------------------------------------

    def _authenticate(self, connection: Connection, verdict: Verdict, now: float) -> None:
        packet = connection.connect
        if packet is None:
            return
        if connection.exchange is None:
            connection.exchange = {}
        self._ask(
            connection,
            Request(
                Stage.AUTHENTICATE,
                connection.facts,
                now,
                password=packet.password,
                will=packet.will,
                properties=packet.properties,
                authentication_method=connection.authentication_method,
                authentication_data=packet.properties.get("authentication_data"),
                exchange=connection.exchange,
            ),
            self._authenticated,
            now,
        )

    def _authenticated(self, connection: Connection, verdict: Verdict, now: float) -> None:
        packet = connection.connect
        if packet is None:
            return
        if verdict.effect is Effect.CHALLENGE:
            connection.state = State.AUTHENTICATING
            self._challenge(connection, verdict, now)
            return
        packet.password = None  # needed no longer, so kept no longer
        facts = connection.facts
        facts.principal = verdict.principal
        facts.groups = verdict.groups
        facts.evidence = verdict.evidence
        facts.namespace = facts.attributes.get(NAMESPACE, "")
        connection.exchange = {"authentication_data": verdict.authentication_data}
        if not packet.client_id:
            facts.client_id = "auto-" + self._state.random_bytes(12).hex()
        will = packet.will
        if will is None:
            self._open(connection, verdict, now)
            return
        self._ask(
            connection,
            Request(
                Stage.PUBLISH,
                facts,
                now,
                topic=will.topic,
                qos=will.qos,
                retain=will.retain,
                payload=will.payload,
                properties=will.properties,
                is_will=True,
            ),
            self._open,
            now,
        )

    def _challenge(self, connection: Connection, verdict: Verdict, now: float) -> None:
        connection.authentication_steps += 1
        if connection.authentication_steps > _MAXIMUM_CHALLENGES:
            self._refuse(connection, ReasonCode.NOT_AUTHORIZED, "the authentication exchange does not end", now)
            return
        properties: Properties = {"authentication_method": connection.authentication_method or ""}
        if verdict.authentication_data is not None:
            properties["authentication_data"] = verdict.authentication_data
        self._state.send_packet(connection, Auth(ReasonCode.CONTINUE_AUTHENTICATION, properties), now)

    def handle_auth(self, connection: Connection, packet: Auth, now: float) -> None:
        """The next step of an exchange, or the first of a re-authentication (v5.0 section 4.12)."""
        method = packet.properties.get("authentication_method")
        if not connection.five or connection.authentication_method is None:
            raise ProtocolError("AUTH without an Authentication Method in CONNECT")  # v5.0 [MQTT-4.12.0-6]
        if method != connection.authentication_method:
            raise BadAuthenticationMethod("the Authentication Method changed")  # v5.0 [MQTT-4.12.0-5]
        if connection.state is State.CONNECTED:
            if packet.reason_code != ReasonCode.REAUTHENTICATE:
                raise ProtocolError("no exchange is under way")
            connection.state = State.REAUTHENTICATING
            connection.exchange = {}
            connection.authentication_steps = 0
            # As long as for CONNECT, whose deadline holds for the first exchange.
            connection.authentication_deadline = self._state.deadlines.at(
                now + self._state.limits.connect_timeout, lambda now: self._check_reauthenticated(connection, now)
            )
        elif packet.reason_code != ReasonCode.CONTINUE_AUTHENTICATION:
            raise ProtocolError("an exchange is under way already")
        if connection.exchange is None:
            connection.exchange = {}
        request = Request(
            Stage.AUTHENTICATE,
            connection.facts,
            now,
            properties=packet.properties,
            authentication_method=method,
            authentication_data=packet.properties.get("authentication_data"),
            exchange=connection.exchange,
        )
        then = self._authenticated if connection.state is State.AUTHENTICATING else self._reauthenticated
        self._ask(connection, request, then, now)

    def _check_reauthenticated(self, connection: Connection, now: float) -> None:
        connection.authentication_deadline = None
        if connection.state is State.REAUTHENTICATING:
            self._refuse(connection, ReasonCode.NOT_AUTHORIZED, "re-authentication took too long", now)

    def _reauthenticated(self, connection: Connection, verdict: Verdict, now: float) -> None:
        if verdict.effect is Effect.CHALLENGE:
            self._challenge(connection, verdict, now)
            return
        facts = connection.facts
        if verdict.principal is None or facts.principal != verdict.principal:
            self._refuse(connection, ReasonCode.NOT_AUTHORIZED, "re-authentication as someone else", now)
            return
        if facts.attributes.get(NAMESPACE, "") != facts.namespace:
            self._refuse(connection, ReasonCode.NOT_AUTHORIZED, "re-authentication into another namespace", now)
            return
        facts.groups = verdict.groups
        facts.evidence = verdict.evidence
        self._forget_decisions(connection)
        self._watch_credentials(connection)
        connection.state = State.CONNECTED
        if connection.authentication_deadline is not None:
            connection.authentication_deadline.cancel()
            connection.authentication_deadline = None
        properties: Properties = {"authentication_method": connection.authentication_method or ""}
        if verdict.authentication_data is not None:
            properties["authentication_data"] = verdict.authentication_data
        self._state.send_packet(connection, Auth(ReasonCode.SUCCESS, properties), now)

    def _forget_decisions(self, connection: Connection) -> None:
        """Groups and attributes may have changed: what was decided for the older ones holds no longer."""
        connection.routes.clear()
        connection.routes_q0.clear()
        connection.routes_q1.clear()
        connection.verdicts.clear()
        connection.envelope = None
        session = connection.session
        if session is not None:
            session.verdicts.clear()
        self._state.tree.stamp += 1  # others' settled routes lead here

    # -- opening -------------------------------------------------------------------------------------------------

    def _open(self, connection: Connection, verdict: Verdict, now: float) -> None:
        """All verdicts are in: claim the session, then say so."""
        packet = connection.connect
        principal = connection.facts.principal
        if packet is None:
            return
        if principal is None:
            # A PERMIT that names nobody is no consent to anyone.
            self._refuse(connection, ReasonCode.NOT_AUTHORIZED, "permitted, but as nobody", now)
            return
        refusal = self._sessions.refusal(connection.facts.client_id, principal, connection.facts.namespace)
        if refusal is not None:
            reason_code, text = refusal
            self._refuse(connection, reason_code, text, now)
            return
        expiry = self._session_expiry(connection, principal)
        if expiry and self._state.storage_problem is not None:
            self._refuse(connection, ReasonCode.QUOTA_EXCEEDED, "its session could not be kept on disk", now)
            return
        changes = self._state.journal.changes
        session, present = self._sessions.claim(
            connection, principal, clean_start=packet.clean_start, expiry=expiry, now=now
        )
        self._sessions.paging.make_ready(
            connection, session, changes, lambda now: self._opened(connection, session, packet, present, now), now
        )

    def _opened(self, connection: Connection, session: Session, packet: Connect, present: bool, now: float) -> None:
        """What CONNACK promises is on disk: say so."""
        if session.claimant is not connection:
            return
        self._sessions.tie(session, connection)
        connection.state = State.CONNECTED
        connection.maximum_packet_size = self._state.limits.maximum_packet_size
        self._set_flow_control(connection, packet)
        self._set_keep_alive(connection, packet, now)
        if not self._state.send_packet(connection, self._connack(connection, session, packet, present), now):
            # v5.0 [MQTT-3.1.2-24]: not even CONNACK may be larger, and without one the client has no connection.
            self._state.end(connection, ReasonCode.PACKET_TOO_LARGE, "its Maximum Packet Size leaves out CONNACK", now)
            return
        arm(self._state, connection, packet.will)
        packet.will = None
        connection.exchange = None
        self._state.counters.connections_accepted += 1
        self._state.events.append(Connected(connection.facts, present))
        if present:
            self.on_session_resumed(session, now)
        self.on_authenticated(connection.facts)
        self._watch_credentials(connection)
        self._sessions.resume(session, now)

    def _watch_credentials(self, connection: Connection) -> None:
        """Have the connection judged again when the first credential that it rests on expires."""
        if connection.credential_deadline is not None:
            connection.credential_deadline.cancel()
            connection.credential_deadline = None
        ends = [each.valid_until for each in connection.facts.evidence if each.valid_until is not None]
        if ends:
            connection.credential_deadline = self._state.deadlines.at(
                min(ends), lambda now: self.on_credential_expired(connection, now)
            )

    def _session_expiry(self, connection: Connection, principal: Principal) -> float:
        """How long the session outlives this connection, in seconds."""
        packet = connection.connect
        if packet is None or not principal.shared:
            return 0.0  # nobody can prove to be the same anonymous client again
        longest = self.longest_session_expiry(connection)
        if connection.five:
            return float(min(packet.properties.get("session_expiry_interval", 0), longest))
        return 0.0 if packet.clean_start else float(longest)

    def longest_session_expiry(self, connection: Connection) -> int:
        """The longest Session Expiry Interval that limits and verdicts leave to this connection."""
        caps = [cap.seconds for cap in connection.caps if isinstance(cap, CapSessionExpiry)]
        return min([self._state.limits.maximum_session_expiry, *caps])

    def _set_flow_control(self, connection: Connection, packet: Connect) -> None:
        limits = self._state.limits
        announced = packet.properties.get("receive_maximum", 0xFFFF)
        connection.send_quota = connection.send_quota_maximum = min(announced, limits.maximum_inflight)
        connection.aliases_out_maximum = min(
            packet.properties.get("topic_alias_maximum", 0), limits.topic_alias_maximum
        )

    def _set_keep_alive(self, connection: Connection, packet: Connect, now: float) -> None:
        longest = self._state.limits.maximum_keep_alive
        for cap in connection.caps:
            if isinstance(cap, CapKeepAlive):
                longest = min(longest, cap.seconds)
        effective = max(1, min(packet.keep_alive or longest, longest))
        connection.facts.keep_alive = effective
        connection.keep_alive = effective * _KEEP_ALIVE_GRACE
        connection.last_packet = now
        if connection.deadline is not None:
            connection.deadline.cancel()
        connection.deadline = self._state.deadlines.at(
            now + connection.keep_alive, lambda now: self._check_alive(connection, now)
        )

    def _check_alive(self, connection: Connection, now: float) -> float | None:
        if not connection.is_open:
            return None
        if connection.pending is not None or connection.paused_until:
            return now + connection.keep_alive  # Keep Alive stands still while we do not read
        deadline = connection.last_packet + connection.keep_alive
        if now < deadline:
            return deadline
        self._state.close(connection, ReasonCode.KEEP_ALIVE_TIMEOUT, "no packet within the Keep Alive", now)
        return None

    def _connack(self, connection: Connection, session: Session, packet: Connect, present: bool) -> Connack:
        if not connection.five:
            # v3.1 has no session present flag.
            return Connack(present and packet.protocol_version != MQTT_3_1, 0)
        limits = self._state.limits
        facts = connection.facts
        # What is no other than it would be unsaid is left out: a client may take very small packets only.
        properties: Properties = {}
        if limits.receive_maximum < 0xFFFF:
            properties["receive_maximum"] = limits.receive_maximum
        if limits.maximum_packet_size < _LARGEST_PACKET:
            properties["maximum_packet_size"] = limits.maximum_packet_size
        if limits.topic_alias_maximum:
            properties["topic_alias_maximum"] = limits.topic_alias_maximum
        if session.expiry != packet.properties.get("session_expiry_interval", 0):
            properties["session_expiry_interval"] = int(session.expiry)
        if not packet.client_id:
            properties["assigned_client_identifier"] = facts.client_id  # v5.0 [MQTT-3.2.2-16]
        if facts.keep_alive != packet.keep_alive:
            properties["server_keep_alive"] = facts.keep_alive
        if connection.authentication_method is not None:
            properties["authentication_method"] = connection.authentication_method
            data = (connection.exchange or {}).get("authentication_data")
            if data is not None:
                properties["authentication_data"] = data
        return Connack(present, 0, properties)

    def refuse_undecodable(self, connection: Connection, body: bytes, error: MqttError, now: float) -> None:
        """Answer a CONNECT that could not be decoded, where its sender has a CONNACK to read; the caller closes.

        5.0 has Reason Codes for it (v5.0 section 3.1.4, [MQTT-3.1.2-2]). 3.x has one for an unknown version alone
        (v3.1.1 [MQTT-3.1.2-2]), and a broken packet is met with silence (v3.1.1 [MQTT-3.1.4-1]).
        """
        level = protocol_level(body)
        if level is None:
            return
        self._state.counters.connections_refused += 1
        if level >= MQTT_5_0:
            self._state.send(connection, encode_packet(Connack(False, error.reason_code), MQTT_5_0), now)
        elif isinstance(error, UnsupportedProtocolVersion):
            code = connack_return_code(error.reason_code)
            self._state.send(connection, encode_packet(Connack(False, code), MQTT_3_1_1), now)

    def _refuse(self, connection: Connection, reason_code: int, text: str, now: float, decision_id: str = "") -> None:
        """Answer with CONNACK, or DISCONNECT during a re-authentication, and end the connection."""
        self._state.counters.connections_refused += 1
        if not connection.is_connected and connection.connect is not None:
            code = refusal_code(PacketType.CONNACK, reason_code)
            if not connection.five:
                code = connack_return_code(code)
            self._state.send_packet(connection, Connack(False, code, connection.refusal_properties(decision_id)), now)
        self._state.close(connection, reason_code, text, now)


def _reason_code(request: Request, verdict: Verdict) -> int:
    """Why a CONNECT is refused: an Authentication Method for which no policy spoke is one that nobody here knows."""
    if request.authentication_method is not None and request.stage is Stage.AUTHENTICATE and not verdict.policy:
        return ReasonCode.BAD_AUTHENTICATION_METHOD  # v5.0 [MQTT-4.12.0-1]
    return verdict.reason_code
