# -*- test-case-name: tests.cli.test_why -*-
"""What the running broker knows of a client right now, for ``mqttsecure why``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from cryptography import x509

from mqttsecure.core.broker import BrokerCore
from mqttsecure.core.decisions import ConnectionFacts
from mqttsecure.core.session import Session
from mqttsecure.policy.builtin.certificates import UNREADABLE

__all__ = ["certificate_days_left", "client_now", "is_about", "unheard_topics"]


def is_about(session: Session, who: str) -> bool:
    """Whether a session is that of a client, user or address of that name."""
    facts = session.facts
    names = (session.client_id, session.owner.name, str(session.owner), facts.username, str(facts.peer.address))
    return who in names


def client_now(core: BrokerCore, session: Session, now: float) -> dict[str, Any]:
    """How a client is."""
    facts, connection = session.facts, session.connection
    found = {
        "client_id": session.client_id,
        "principal": str(session.owner),
        "peer": str(facts.peer),
        "listener": facts.listener,
        "connected": connection is not None,
        "subscriptions": len(session.subscriptions),
        "queued_messages": len(session.queue or ()),
        "queued_bytes": session.queue_octets,
        "certificate_days_left": certificate_days_left(facts),
    }
    if connection is not None:
        found |= {
            "connected_seconds": round(now - facts.accepted_at, 3),
            "throttled": connection.paused_until > now,
            "outbox_bytes": connection.outbox_bytes,
            "outbox_full_seconds": round(now - connection.full_since, 1) if connection.full_since else None,
        }
    return found


def unheard_topics(core: BrokerCore, who: str, now: float) -> Iterator[dict[str, Any]]:
    """Topics on which such a client has published while nobody subscribed, the latest first; it may be gone by now."""
    for publisher in reversed(list(core.state.unheard)):
        names = (publisher.client_id, publisher.principal, publisher.principal.partition(":")[2], publisher.username)
        if who not in (*names, publisher.address):
            continue
        for topic, (first, last) in reversed(publisher.topics.items()):
            yield {
                "client_id": publisher.client_id,
                "topic": topic,
                "first_seconds_ago": round(now - first, 3),
                "last_seconds_ago": round(now - last, 3),
                "heard_now": any(core.state.tree.match(topic, publisher.namespace)),
            }


def certificate_days_left(facts: ConnectionFacts) -> float | None:
    """Until the certificate that the client has shown is out of date; None where it showed none."""
    if facts.tls is None or facts.tls.peer_certificate is None:
        return None
    try:
        end = x509.load_der_x509_certificate(facts.tls.peer_certificate).not_valid_after_utc
    except UNREADABLE:
        return None
    return round((end - datetime.now(UTC)).total_seconds() / 86_400, 1)
