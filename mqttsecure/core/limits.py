# -*- test-case-name: tests.core.test_limits -*-
"""Every bound on what a peer can grow, with the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Limits"]


@dataclass(slots=True, frozen=True)
class Limits:
    """Bounds of the core. Sizes are bytes, times are seconds."""

    maximum_packet_size: int = 256 * 1024
    """Maximum Packet Size announced and enforced: telemetry is far smaller, firmware belongs on HTTPS."""

    connect_packet_size: int = 64 * 1024
    """The same before authentication: Client Identifier, will and a long token fit. 10,000 strangers: 640 MB."""

    receive_maximum: int = 1000
    """Unacknowledged QoS 1 and 2 messages taken from one client (Receive Maximum of MQTT 5.0)."""

    maximum_inflight: int = 1000
    """Unacknowledged QoS 1 and 2 messages sent to one client, where it announced no lower Receive Maximum."""

    maximum_inflight_bytes: int = 4 * 1024 * 1024
    """The same in bytes of payload: what a client costs that takes messages and acknowledges none."""

    topic_alias_maximum: int = 32
    """Topic Aliases a client may set, and the broker uses towards it: each may hold a whole Topic Name."""

    maximum_keep_alive: int = 1800
    """The longest Keep Alive; a longer one, and 0, are lowered to it so that a dead peer is noticed within the hour."""

    maximum_session_expiry: int = 7 * 24 * 3600
    """How long Session State outlives its connection at most: a device off for a long weekend finds it."""

    maximum_subscriptions: int = 1000
    """Subscriptions of one session."""

    maximum_subscription_bytes_total: int = 128 * 1024 * 1024
    """All subscriptions together, each with its filter and some 500 bytes around it: a quarter of a million of them."""

    maximum_topic_levels: int = 128
    """Levels of a Topic Name or Topic Filter: the depth of the trie that a stranger can ask to be walked."""

    maximum_topic_bytes: int = 4096
    """Length of a Topic Name or Topic Filter in UTF-8."""

    maximum_queued_messages: int = 100_000
    """Messages waiting in one session for a client that is away or slow; the byte budget usually binds first."""

    maximum_queued_bytes: int = 8 * 1024 * 1024
    """The same in bytes, each message with its overhead."""

    maximum_queued_bytes_total: int = 256 * 1024 * 1024
    """The same of all sessions together: a quarter of a small machine's memory."""

    maximum_stored_bytes: int = 4 * 1024 * 1024 * 1024
    """Messages that wait on disk alone, counted for each session although a body is kept once: the disk of a small
    machine has room for that, and an hour of a megabyte a second fits."""

    queue_overflow: Literal["newest", "oldest"] = "newest"
    """What is dropped where a session's queue is full: the message that comes, or those that have waited longest."""

    maximum_will_bytes_total: int = 32 * 1024 * 1024
    """All wills together, armed or waiting for their delay; a CONNECT whose will is beyond it is refused (0x97)."""

    maximum_memory_bytes: int = 800 * 1024 * 1024
    """Memory of the whole process, on a machine with 1 GiB. From nine tenths of it on new connections and large
    messages are refused, near it those that read most slowly are cut; 0 looks after nothing."""

    outbox_bytes: int = 1024 * 1024
    """Bytes written for one connection and not yet taken by the network, transport and TLS buffers included."""

    slow_reader_patience: float = 30.0
    """How long a client may take nothing at all while its outbox is full; until then it loses QoS 0 messages alone."""

    pending_bytes: int = 64 * 1024
    """Bytes that may arrive while a connection waits for a verdict: what TLS had read already."""

    maximum_sessions: int = 100_000
    """Sessions in all, online or stored."""

    maximum_connections: int = 16_384
    """Network Connections in all."""

    maximum_retained_messages: int = 200_000
    """Retained messages in all."""

    maximum_retained_bytes: int = 128 * 1024 * 1024
    """The same in bytes."""

    maximum_cached_decisions: int = 1024
    """Decisions remembered for one connection; beyond that the cache starts anew."""

    connect_timeout: float = 10.0
    """From accept to a whole CONNECT, TLS handshake included."""

    close_linger: float = 2.0
    """From a close to an abort, for a peer that does not take its last bytes."""

    revocation_timeout: float = 2.0
    """Within which all that lives is to be judged again after a reload or a ban; what takes longer is told, counted."""

    sys_interval: float = 10.0
    """Between two updates of ``$SYS``; 0 turns it off."""
