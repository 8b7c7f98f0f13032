# -*- test-case-name: tests.core.test_connection -*-
"""One Network Connection as the core sees it: its state, what it may send next, its buffers and Topic Aliases.

On the path of each message: a plain slots class whose fields the hot path reads directly.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from mqttsecure.core.decisions import CapKeepAlive, CapSessionExpiry, ConnectionFacts, Pending
from mqttsecure.core.verdict_cache import VerdictCache
from mqttsecure.wire.constants import PacketType

if TYPE_CHECKING:
    from mqttsecure.core.model import Envelope, Message
    from mqttsecure.core.routing import Route
    from mqttsecure.core.session import Session
    from mqttsecure.core.subscriptions import Subscription
    from mqttsecure.core.timers import Deadline
    from mqttsecure.wire.packets import Connect, Properties, Will

__all__ = ["HANDLERS", "Connection", "State"]


class State(enum.Enum):
    """Where a Network Connection is in its life."""

    AWAITING_CONNECT = "awaiting CONNECT"
    AUTHENTICATING = "authenticating"
    CONNECTED = "connected"
    REAUTHENTICATING = "re-authenticating"
    CLOSED = "closed"


_WHILE_CONNECTED: Final = {
    PacketType.PUBLISH: "handle_publish",
    PacketType.PUBACK: "handle_puback",
    PacketType.PUBREC: "handle_pubrec",
    PacketType.PUBREL: "handle_pubrel",
    PacketType.PUBCOMP: "handle_pubcomp",
    PacketType.SUBSCRIBE: "handle_subscribe",
    PacketType.UNSUBSCRIBE: "handle_unsubscribe",
    PacketType.PINGREQ: "handle_pingreq",
    PacketType.DISCONNECT: "handle_disconnect",
    PacketType.AUTH: "handle_auth",
}

HANDLERS: Final[dict[tuple[State, PacketType], str]] = {
    (State.AWAITING_CONNECT, PacketType.CONNECT): "handle_connect",
    (State.AUTHENTICATING, PacketType.AUTH): "handle_auth",
    (State.AUTHENTICATING, PacketType.DISCONNECT): "handle_disconnect",
    **{(State.CONNECTED, packet_type): handler for packet_type, handler in _WHILE_CONNECTED.items()},
    **{(State.REAUTHENTICATING, packet_type): handler for packet_type, handler in _WHILE_CONNECTED.items()},
}
"""Which packet is legal in which state, and what it leads to; a pair that is missing is a Protocol Error."""


class Connection:
    """State of one Network Connection.

    The adapter reads ``outbox``, ``closing``, ``reading`` and writes ``adapter``, ``writable`` and, once the network
    has taken something, 0 to ``full_since``, the time since when the outbox was full for a message; all else is the
    core's. ``keep_alive`` is the time in seconds without a packet after which the peer counts as gone, 0 before
    CONNECT. ``deadline`` is that of CONNECT, later of the Keep Alive. ``replays`` are subscriptions whose retained
    messages are still to be sent, each with those left, None before they were looked for. ``send_quota`` is
    how many more QoS 1 and 2 messages may be on their way to the client. ``gated`` holds, in order, packets that wait
    for changes in the journal to be on disk: up to which, the packet, and what to do once it was sent; None for none.
    ``outbox_bytes`` counts those ``gated_octets`` too.
    """

    __slots__ = (
        "adapter",
        "aliases_in",
        "aliases_out",
        "aliases_out_maximum",
        "authentication_deadline",
        "authentication_method",
        "authentication_steps",
        "by_peer",
        "caps",
        "close_reason",
        "close_text",
        "closing",
        "connect",
        "credential_deadline",
        "deadline",
        "envelope",
        "exchange",
        "facts",
        "five",
        "full_since",
        "gated",
        "gated_octets",
        "keep_alive",
        "last_packet",
        "maximum_packet_size",
        "needed",
        "outbox",
        "outbox_bytes",
        "packets_received",
        "partial",
        "partial_bytes",
        "pause_deadline",
        "paused_until",
        "peer_maximum_packet_size",
        "pending",
        "problem_information",
        "reading",
        "repeated",
        "replay_deadline",
        "replays",
        "routes",
        "routes_count",
        "routes_q0",
        "routes_q1",
        "send_quota",
        "send_quota_maximum",
        "session",
        "state",
        "tells_decisions",
        "throttle_told",
        "touched",
        "verdicts",
        "will",
        "writable",
    )

    def __init__(self, facts: ConnectionFacts, maximum_packet_size: int) -> None:
        self.facts = facts
        self.state = State.AWAITING_CONNECT
        self.five = False
        self.session: Session | None = None
        self.adapter: Any = None
        # Outgoing.
        self.outbox: list[bytes] = []
        self.outbox_bytes = 0
        self.gated: deque[tuple[int, bytes, Callable[[float], None] | None]] | None = None
        self.gated_octets = 0
        self.touched = False
        self.writable = True
        self.full_since = 0.0
        self.closing = False
        self.close_reason = 0
        self.close_text = ""
        self.by_peer = False
        self.repeated = False
        self.peer_maximum_packet_size = 0xFFFFFFFF
        self.send_quota = 0
        self.send_quota_maximum = 0
        self.aliases_out: dict[str, int] | None = None
        self.aliases_out_maximum = 0
        self.replays: deque[tuple[Subscription, Iterator[Message] | None]] | None = None
        self.replay_deadline: Deadline | None = None
        self.problem_information = True
        self.tells_decisions = False
        # Incoming.
        self.maximum_packet_size = maximum_packet_size
        self.partial: list[bytes | bytearray] | None = None
        self.partial_bytes = 0
        self.needed = 0
        self.reading = True
        self.paused_until = 0.0
        self.throttle_told: float | None = None
        self.pause_deadline: Deadline | None = None
        self.pending: Pending | None = None
        self.aliases_in: dict[int, str] | None = None
        self.keep_alive = 0.0
        self.deadline: Deadline | None = None
        self.credential_deadline: Deadline | None = None
        self.last_packet = facts.accepted_at
        self.packets_received = 0
        self.connect: Connect | None = None
        self.caps: tuple[CapKeepAlive | CapSessionExpiry, ...] = ()
        self.will: Will | None = None
        self.authentication_method: str | None = None
        self.authentication_steps = 0
        self.authentication_deadline: Deadline | None = None
        self.exchange: dict[str, Any] | None = None
        # Decisions remembered for this connection, by Topic Name in UTF-8 with its length bytes.
        self.routes_q0: dict[bytes, Route] = {}
        self.routes_q1: dict[bytes, Route] = {}
        self.routes: dict[tuple[str, int, bool], Route] = {}
        self.routes_count = 0
        self.verdicts = VerdictCache()
        self.envelope: Envelope | None = None

    @property
    def is_open(self) -> bool:
        return self.state is not State.CLOSED

    @property
    def is_connected(self) -> bool:
        return self.state is State.CONNECTED or self.state is State.REAUTHENTICATING

    def refusal_properties(self, decision_id: str) -> Properties:
        """What goes with a refusal where the listener says more: the id under which the log has it, never the rule."""
        if self.tells_decisions and self.five and self.problem_information and decision_id:
            return {"reason_string": f"decision {decision_id}"}
        return {}

    def cancel_deadlines(self) -> None:
        """Nothing more is due: a deadline left behind would keep all of this in memory until it comes."""
        for deadline in (
            self.deadline,
            self.pause_deadline,
            self.replay_deadline,
            self.credential_deadline,
            self.authentication_deadline,
        ):
            if deadline is not None:
                deadline.cancel()
        self.deadline = self.pause_deadline = self.replay_deadline = self.credential_deadline = None
        self.authentication_deadline = None
