# -*- test-case-name: tests.service.test_audit -*-
"""The audit log: one JSON object a line for every denial, and for permits where the configuration asks for them.

Beside these decisions it has events, by which a client ends, is held up or loses messages without a decision.

A file of its own, readable by its owner alone, rotated by size. Passwords and payloads are never part of a record.
A disk that is full, or a file that cannot be written, stops nothing and opens nothing: it is told and counted, and
recording goes on when there is room again. ``docs/reference/audit.md`` has the schema.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

from twisted.logger import Logger

from mqttsecure.core.decisions import ConnectionFacts, Effect, Pending, Purpose, Request, Stage, Verdict
from mqttsecure.core.events import Denied, Event
from mqttsecure.policy.step import decision_ids
from mqttsecure.service.audit_events import EventRecords, bounded, tls_record
from mqttsecure.service.audit_reading import SCHEMA_VERSION, last_records
from mqttsecure.transport.driver import Chain

__all__ = ["SCHEMA_VERSION", "AuditLog", "AuditedChain", "Watcher", "audit_record", "last_records"]

_log = Logger()

_MAXIMUM_ATTRIBUTES: Final = 32
"""Attributes of one record; policies declare theirs, and a chain has a few."""

_COMPLAINT_INTERVAL: Final = 60.0
"""Seconds between two complaints about a file that cannot be written."""

_CERTIFICATE_STAGES: Final = (Stage.HANDSHAKE, Stage.CONNECT, Stage.AUTHENTICATE)
"""Where who the client is is asked, by its certificate too. Later it is the principal that counts."""

_TOPIC_STAGES: Final = (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER)


def audit_record(request: Request, verdict: Verdict, moment: datetime) -> dict[str, Any]:
    """One decision as the audit log has it; fields that do not apply are left out."""
    facts = request.connection
    record: dict[str, Any] = {
        "v": SCHEMA_VERSION,
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "decision": verdict.decision_id,
        "stage": request.stage.value,
        "purpose": request.purpose.value,
        "effect": verdict.effect.value,
        "indeterminate": verdict.indeterminate or None,
        "principal": None if facts.principal is None else str(facts.principal),
        "username": facts.username,
        "groups": sorted(facts.groups),
        "client_id": facts.client_id,
        "namespace": facts.namespace,
        "peer": str(facts.peer),
        "listener": facts.listener,
        "protocol": facts.protocol_version,
        "tls": tls_record(facts, whole=request.stage in _CERTIFICATE_STAGES),
        "authentication_method": request.authentication_method if request.stage is Stage.AUTHENTICATE else None,
        "origin": facts.origin,
        "path": facts.path,
        "policy": verdict.policy,
        "rule": verdict.rule,
        "file": None if verdict.source is None else verdict.source.file,
        "line": None if verdict.source is None else verdict.source.line,
        "text": verdict.text,
        "reason_code": verdict.reason_code,
        "duration_us": round(verdict.duration * 1e6),
        "attributes": _scalars(facts.attributes),
    }
    if request.stage in _TOPIC_STAGES:
        record |= {
            "action": "" if request.action is None else request.action.value,
            "topic": request.topic,
            "qos": request.qos,
            "retain": request.retain,
            "size": len(request.payload),
            "will": request.is_will or None,
            "share": request.share_group,
            "writer": None if request.writer is None else str(request.writer.principal),
        }
    return {key: bounded(value) for key, value in record.items() if value not in (None, "", [], {})}


def _scalars(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What rules can ask about; whatever else policies tell each other is theirs."""
    listed = ((name, value) for name, value in attributes.items() if isinstance(value, str | int | float | bool))
    return {name: bounded(value) for name, value in itertools.islice(listed, _MAXIMUM_ATTRIBUTES)}


class AuditLog:
    """Appends records to ``path``; at ``maximum_size`` bytes the file becomes ``path.1``, and so on up to ``keep``.

    Attributes:
        written: records written so far.
        lost: records that could not be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        maximum_size: int,
        keep: int,
        wall_clock: Callable[[], datetime],
        seconds: Callable[[], float],
    ) -> None:
        self._path = path
        self._maximum_size = maximum_size
        self._keep = keep
        self._wall_clock = wall_clock
        self._seconds = seconds
        self._descriptor: int | None = None
        self._size = 0
        self._last_complaint: float | None = None
        self._events = EventRecords(seconds)
        self.written = 0
        self.lost = 0

    def open(self) -> None:
        """Open the file for appending, making it where it is missing.

        Raises:
            OSError: that cannot be done; at the start this is a reason not to start.
        """
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.fchmod(descriptor, 0o600)
        self.close()
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def take(self, events: list[Event]) -> None:
        """Record the denials among ``events``, and of the others what an administrator looks for afterwards."""
        for event in events:
            if isinstance(event, Denied):
                self.record(event.request, event.verdict)
        for record in self._events.of(events, self._wall_clock()):
            self.write(record)

    def record(self, request: Request, verdict: Verdict) -> None:
        """Record one decision."""
        self.write(audit_record(request, verdict, self._wall_clock()))

    def write(self, record: Mapping[str, Any]) -> None:
        """Write one record. Never raises: what cannot be written is counted and told."""
        line = json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        try:
            if self._descriptor is None:
                self.open()
            if self._size and self._size + len(line) > self._maximum_size:
                self._rotate()
            self._append(line)
        except OSError as error:
            self.lost += 1
            self._complain(error)
        else:
            self.written += 1

    def _append(self, line: bytes) -> None:
        if self._descriptor is None:
            raise OSError("the audit file is not open")
        done = os.write(self._descriptor, line)
        self._size += done
        if done < len(line):
            # Half a record must not make the next one unreadable: it ends here.
            os.write(self._descriptor, b"\n")
            raise OSError("no space for a whole record")

    def _rotate(self) -> None:
        self.close()
        for number in range(self._keep, 0, -1):
            older = self._numbered(number)
            if number == self._keep:
                older.unlink(missing_ok=True)
            elif older.exists():
                older.rename(self._numbered(number + 1))
        if self._keep:
            self._path.rename(self._numbered(1))
        else:
            self._path.unlink()
        self.open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _complain(self, error: OSError) -> None:
        now = self._seconds()
        if self._last_complaint is None or now - self._last_complaint >= _COMPLAINT_INTERVAL:
            self._last_complaint = now
            _log.critical(
                "the audit log {path} cannot be written: {error}; {lost} records lost so far, decisions go on",
                path=str(self._path),
                error=str(error),
                lost=self.lost,
            )


class Watcher(Protocol):
    """What is told of each decision. It must not raise, and take no time worth the name."""

    def note(self, request: Request, verdict: Verdict) -> None: ...

    def forget(self, connection: ConnectionFacts) -> None: ...


class AuditedChain:
    """A chain that times its decisions and records a share of its permits.

    Denials are recorded where they take effect, from the events of the broker; permits here, when they are decided:
    one that is remembered and used again is not decided again.
    """

    def __init__(
        self,
        chain: Chain,
        audit: AuditLog,
        *,
        permits: float,
        seconds: Callable[[], float],
        random: Callable[[], float],
        watcher: Watcher | None = None,
    ) -> None:
        """
        Args:
            chain: the policies.
            audit: where to.
            permits: the share of permits to record, 0.0 to 1.0.
            seconds: monotonic seconds.
            random: a number from 0.0 up to, not including, 1.0.
            watcher: is told of each decision.
        """
        self.inner = chain
        self._audit = audit
        self._permits = permits
        self._seconds = seconds
        self._random = random
        self._watcher = watcher
        self._decision_ids = decision_ids(os.urandom)
        self.connection_opened = chain.connection_opened
        self.connection_authenticated = chain.connection_authenticated
        self.strike = chain.strike

    def connection_closed(self, connection: ConnectionFacts) -> None:
        """Hand on, and let the watcher forget it."""
        self.inner.connection_closed(connection)
        if self._watcher is not None:
            self._watcher.forget(connection)

    def decide(self, request: Request) -> Verdict | Pending:
        """As the chain decides."""
        started = self._seconds()
        answer = self.inner.decide(request)
        if not isinstance(answer, Pending):
            self._note(request, answer, started)
            return answer
        inner = answer
        outer = Pending(inner.cancel)

        def decided(pending: Pending, verdict: Verdict) -> None:
            self._note(request, verdict, started)
            outer.resolve(verdict)

        inner.listener = decided
        return outer

    def _note(self, request: Request, verdict: Verdict, started: float) -> None:
        verdict.duration = self._seconds() - started
        if (
            self._permits
            and verdict.effect is Effect.PERMIT
            and request.purpose is Purpose.LIVE
            and self._random() < self._permits
        ):
            verdict.decision_id = verdict.decision_id or next(self._decision_ids)  # the chain gives denials alone one
            self._audit.record(request, verdict)
        if self._watcher is not None:
            self._watcher.note(request, verdict)
