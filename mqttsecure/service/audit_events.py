# -*- test-case-name: tests.service.test_audit_events -*-
"""What happens to clients without a decision, as records of the audit log: so that one can ask afterwards why.

Failed TLS handshakes, connections that did not end in good order, messages that were not kept, and clients that are
slowed down. Strangers bring most of these about, so the same from the same client is recorded at most once in ten
seconds, and no more than a hundred a second of all; how many were left out stands in the next record.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from mqttsecure.core.decisions import ConnectionFacts
from mqttsecure.core.events import Denied, Disconnected, Dropped, Event, Throttled, TlsFailed
from mqttsecure.service.audit_certificates import certificate_record, chain_record
from mqttsecure.service.audit_reading import SCHEMA_VERSION

__all__ = ["EventRecords", "bounded", "tls_record"]

_REPEAT_INTERVAL: Final = 10.0
"""Seconds before the same of the same client is recorded again."""

_MAXIMUM_RATE: Final = 100.0
"""Records a second of all: a flood of strangers must not push the denials of a week out of the files."""

_MAXIMUM_REMEMBERED: Final = 4096
"""Clients whose last record is remembered, to leave out repeats; one that is forgotten is recorded once more."""

_MAXIMUM_TEXT: Final = 4096
"""Characters of one field: a Topic Name of the greatest length that is taken, and no more of anything."""


def bounded(value: Any) -> Any:
    """A field that is not too long for a record."""
    if isinstance(value, str) and len(value) > _MAXIMUM_TEXT:
        return value[:_MAXIMUM_TEXT] + "..."
    return value


def tls_record(facts: ConnectionFacts, *, whole: bool = False) -> dict[str, Any] | None:
    """The field ``tls``; with ``whole`` the certificates themselves are in it."""
    tls = facts.tls
    if tls is None:
        return None
    found: dict[str, Any] = {"version": tls.version, "cipher": tls.cipher}
    if tls.server_name:
        found["server_name"] = tls.server_name
    if tls.application_protocol:
        found["alpn"] = tls.application_protocol
    if tls.peer_certificate is not None:
        found |= certificate_record(tls.peer_certificate)
        certificates = chain_record(tls) if whole else None
        if certificates is not None:
            found["certificates"] = certificates
    return found


class EventRecords:
    """Makes records of events, with bounds on how many.

    Args:
        seconds: monotonic seconds.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._last: OrderedDict[tuple[str, ...], list[float]] = OrderedDict()  # when, and how many left out since
        self._tokens = _MAXIMUM_RATE
        self._filled = seconds()

    def of(self, events: Iterable[Event], moment: datetime) -> Iterator[dict[str, Any]]:
        """The records of those among ``events`` that are worth one."""
        listed = list(events)
        denied = {each.request.connection.connection_id for each in listed if isinstance(each, Denied)}
        for event in listed:
            record = _record(event)
            # A connection that ends by a denial has the record of that.
            if record is None or (isinstance(event, Disconnected) and event.facts.connection_id in denied):
                continue
            repeats = self._repeats(record)
            if repeats is None:
                continue
            head = {
                "v": SCHEMA_VERSION,
                "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "kind": "event",
            }
            record |= {"left_out": repeats}
            yield head | {key: bounded(value) for key, value in record.items() if value not in (None, "", [], 0)}

    def _repeats(self, record: dict[str, Any]) -> int | None:
        """How many like it were left out since the last, None where it is to be left out itself."""
        address = str(record.get("peer", "")).rpartition(":")[0]
        key = (record["event"], record.get("client_id") or address, str(record.get("text", "")))
        now = self._seconds()
        self._tokens = min(_MAXIMUM_RATE, self._tokens + (now - self._filled) * _MAXIMUM_RATE)
        self._filled = now
        last = self._last.get(key)
        if (last is not None and now - last[0] < _REPEAT_INTERVAL) or self._tokens < 1:
            if last is not None:
                last[1] += 1
            return None
        self._tokens -= 1
        self._last[key] = [now, 0]
        self._last.move_to_end(key)
        if len(self._last) > _MAXIMUM_REMEMBERED:
            self._last.popitem(last=False)
        return 0 if last is None else int(last[1])


def _record(event: Event) -> dict[str, Any] | None:
    if isinstance(event, TlsFailed):
        certificate = None if event.certificate is None else certificate_record(event.certificate)
        return {"event": "tls_failure", **_of_facts(event.facts), "text": event.text, "certificate": certificate}
    if isinstance(event, Disconnected):
        if event.by_peer and not event.reason_code and event.text == "disconnected":
            return None  # it said goodbye
        return {
            "event": "disconnect",
            **_of_facts(event.facts),
            "text": event.text,
            "reason_code": event.reason_code,
            "by_peer": event.by_peer,
        }
    if isinstance(event, Throttled):
        return {"event": "throttle", **_of_facts(event.facts), "text": "sends more than it may"}
    if isinstance(event, Dropped):
        return {"event": "drop", "client_id": event.client_id, "topic": event.topic, "text": event.why}
    return None


def _of_facts(facts: ConnectionFacts) -> dict[str, Any]:
    return {
        "principal": None if facts.principal is None else str(facts.principal),
        "username": facts.username,
        "client_id": facts.client_id,
        **({"namespace": facts.namespace} if facts.namespace else {}),
        "peer": str(facts.peer),
        "listener": facts.listener,
        "protocol": facts.protocol_version,
        "tls": tls_record(facts),
    }
