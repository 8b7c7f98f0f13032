# -*- test-case-name: tests.cli.test_why -*-
"""What the running broker knows of a client right now, for ``mqttsecure why``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509

from mqttsecure.core.broker import BrokerCore
from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import ConnectionFacts
from mqttsecure.core.session import Session

__all__ = ["certificate_days_left", "client_now", "is_about"]

_MAXIMUM_UNHEARD: Final = 16
"""Topics without a subscriber that are told: enough to see what is wrong."""


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
            "connected_seconds": round(now - facts.accepted_at, 1),
            "throttled": connection.paused_until > now,
            "outbox_bytes": connection.outbox_bytes,
            "outbox_full_seconds": round(now - connection.full_since, 1) if connection.full_since else None,
            "unheard": list(itertools.islice(_unheard(core, connection), _MAXIMUM_UNHEARD)),
        }
    return found


def _unheard(core: BrokerCore, connection: Connection) -> Iterator[str]:
    """Topics on which it has published and nobody listens: of those that are remembered for it anyway."""
    # One that is retained waits for whoever comes.
    topics = {each.topic: None for each in connection.routes.values() if each.verdict.permitted and not each.retain}
    for topic in topics:
        subscriptions, groups = core.state.tree.match(topic, connection.facts.namespace)
        if not subscriptions and not groups:
            yield topic


def certificate_days_left(facts: ConnectionFacts) -> float | None:
    """Until the certificate that the client has shown is out of date; None where it showed none."""
    if facts.tls is None or facts.tls.peer_certificate is None:
        return None
    try:
        end = x509.load_der_x509_certificate(facts.tls.peer_certificate).not_valid_after_utc
    except ValueError:
        return None
    return round((end - datetime.now(UTC)).total_seconds() / 86_400, 1)
