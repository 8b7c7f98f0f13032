# -*- test-case-name: tests.service.test_control -*-
"""What an administrator can ask of the running broker, by the words of the control socket."""

from __future__ import annotations

import itertools
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from twisted.internet.defer import Deferred

from mqttsecure.core.connection import Connection
from mqttsecure.core.events import Denied, Event
from mqttsecure.core.session import Session, session_key
from mqttsecure.errors import ConfigError
from mqttsecure.service.asking import ask, ask_of_client, scenario_from_json
from mqttsecure.service.ban_commands import BanCommands
from mqttsecure.service.effective_grants import effective_grants
from mqttsecure.service.gone import Gone, Known, as_json, gone
from mqttsecure.service.in_force import InForce
from mqttsecure.service.keeping_out import kept_out
from mqttsecure.service.memory_guard import resident_bytes
from mqttsecure.service.watching import certificate_days_left, client_now, is_about, unheard_topics
from mqttsecure.transport.driver import CoreDriver
from mqttsecure.wire.constants import ReasonCode

__all__ = ["Commands", "LastDenials"]

_MAXIMUM_LISTED: Final = 10_000
"""Clients in one answer; more are counted."""

_MAXIMUM_WATCHED: Final = 100
"""Clients about which all is told at once: more of one user or address are alike."""

_MAXIMUM_UNHEARD: Final = 100
"""Topics without a subscriber in one answer: of many clients behind one address these are enough to see why."""

_MAXIMUM_REMEMBERED: Final = 4096
"""Clients whose last denial is remembered; the audit log has the others."""

_VERSIONS: Final = {3: "3.1", 4: "3.1.1", 5: "5.0"}


class LastDenials:
    """The last denial of each Client Identifier, as many as fit."""

    def __init__(self) -> None:
        self._by_client: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def take(self, events: list[Event], moment: datetime) -> None:
        """Note the denials among ``events``."""
        for event in events:
            if isinstance(event, Denied) and event.request.connection.client_id:
                request, verdict = event.request, event.verdict
                client_id = request.connection.client_id
                self._by_client[client_id] = {
                    "time": moment.isoformat(timespec="seconds"),
                    "stage": request.stage.value,
                    "topic": request.topic,
                    "decision": verdict.decision_id,
                    "policy": verdict.policy,
                    "rule": verdict.rule,
                    "source": None if verdict.source is None else str(verdict.source),
                    "text": verdict.text,
                }
                self._by_client.move_to_end(client_id)
                if len(self._by_client) > _MAXIMUM_REMEMBERED:
                    self._by_client.popitem(last=False)

    def of(self, client_id: str) -> dict[str, Any] | None:
        """The last one of a client."""
        return self._by_client.get(client_id)


class Commands:
    """The commands. Each takes the request as it came; what is wrong with it is a ConfigError.

    Args:
        driver: of the running broker.
        in_force: gives what is in force now.
        reload: puts the configuration in force again.
        denials: what is remembered of each client.
        audit_counts: records written and lost, where there is an audit log.
        shadow_counts: what the shadow has compared; empty where there is none.
    """

    def __init__(
        self,
        driver: CoreDriver,
        in_force: Callable[[], InForce],
        reload: Callable[[], Any],
        denials: LastDenials,
        audit_counts: Callable[[], tuple[int, int] | None],
        shadow_counts: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._driver = driver
        self._in_force = in_force
        self._reload = reload
        self._denials = denials
        self._audit_counts = audit_counts
        self._shadow_counts = shadow_counts
        self._started = driver.clock.seconds()
        self._known: tuple[int, Known] | None = None

    def table(self) -> Mapping[str, Callable[[dict[str, Any]], Any]]:
        """The commands by name."""
        return {
            "status": self.status,
            "reload": self.reload,
            "clients": self.clients,
            "client": self.client,
            "gone": self.gone,
            **BanCommands(self._in_force).table(),
            "disconnect": self.disconnect,
            "explain": self.explain,
            "watch": self.watch,
        }

    def status(self, request: dict[str, Any]) -> dict[str, Any]:
        """Whether it serves, by what, and all counters."""
        ready = self._in_force()
        core = self._driver.core
        state = core.state
        chain = ready.assembly.chain.counters
        audit = self._audit_counts()
        gauges = {
            "uptime_seconds": round(self._driver.clock.seconds() - self._started, 3),
            "connections": len(state.connections),
            "sessions": len(state.sessions),
            "subscriptions": state.tree.count,
            "retained_messages": state.retained.count,
            "retained_bytes": state.retained.octets,
            "principals_gone": len(self._gone()),
            "queued_bytes": state.queued_octets,
            "stored_bytes": state.stored_octets,
            "will_bytes": state.will_octets,
            "subscription_bytes": state.tree.octets,
            "resident_bytes": resident_bytes(),
            "memory_is_scarce": state.pressure,
            **_store_gauges(self._driver),
            "last_rejudging_seconds": round(self._driver.last_rejudging, 6),
            "slowest_rejudging_seconds": round(self._driver.slowest_rejudging, 6),
            "longest_rejudging_slice_seconds": round(self._driver.longest_slice, 6),
        }
        counters = {name: getattr(core.counters, name) for name in core.counters.__slots__}
        counters["rejudgings_late"] = self._driver.late_rejudgings
        counters["policy_decisions"] = chain.decisions
        counters["policy_indeterminate"] = chain.indeterminate
        counters["policy_timeouts"] = chain.timeouts
        if audit is not None:
            counters["audit_written"], counters["audit_lost"] = audit
        counters |= {f"shadow_{name}": count for name, count in self._shadow_counts().items()}
        return {
            "ready": not self._driver.is_stopping,
            "pid": os.getpid(),
            "config": str(ready.config.path),
            "shadow": None if ready.config.shadow is None else str(ready.config.shadow),
            "policy_version": ready.version,
            "listeners": [listener.name for listener in ready.config.listeners],
            "gauges": gauges,
            "counters": counters,
        }

    def reload(self, request: dict[str, Any]) -> Deferred[dict[str, Any]]:
        """Reload, and answer when all that lives has been judged again."""
        reloaded = self._reload()
        answer: Deferred[dict[str, Any]] = Deferred()
        reloaded.judged.addCallback(
            lambda seconds: answer.callback(
                {"policy_version": reloaded.version, "notes": reloaded.notes, "rejudged_seconds": seconds}
            )
        )
        return answer

    def clients(self, request: dict[str, Any]) -> dict[str, Any]:
        """All sessions, connected or not; with ``match`` those whose identifier, principal or address contains it."""
        match = request.get("match") or ""
        if not isinstance(match, str):
            raise ConfigError("`match` is a string")
        found = [
            row
            for session in self._driver.core.state.sessions.values()
            if match in (row := _row(session))["client_id"] or match in row["principal"] or match in row["peer"]
        ]
        return {"total": len(found), "clients": found[:_MAXIMUM_LISTED]}

    def gone(self, request: dict[str, Any]) -> dict[str, Any]:
        """Principals whom nobody would let in any more, and what they still have."""
        found = self._gone()
        return {"total": len(found), "gone": as_json(found[:_MAXIMUM_LISTED])}

    def _gone(self) -> list[Gone]:
        ready = self._in_force()
        if self._known is None or self._known[0] != ready.version:
            self._known = (ready.version, Known(ready.assembly.chain))
        return gone(self._driver.core.state, self._known[1], self._driver.clock.seconds())

    def client(self, request: dict[str, Any]) -> dict[str, Any]:
        """All about one client."""
        session = self._session(request)
        connection = session.connection
        details = _row(session)
        details |= {
            "groups": sorted(session.facts.groups),
            "attributes": {name: str(value) for name, value in session.facts.attributes.items()},
            "evidence": [
                {"policy": each.policy, "seconds_left": self._seconds_left(each.valid_until)}
                for each in session.facts.evidence
            ],
            "certificate_days_left": certificate_days_left(session.facts),
            "tls": None if session.facts.tls is None else f"{session.facts.tls.version} {session.facts.tls.cipher}",
            "session_expiry_seconds": session.expiry,
            "keep_alive_seconds": session.facts.keep_alive,
            "subscriptions": [
                {"filter": each.topic_filter, "qos": each.qos, "identifier": each.identifier or None}
                for each in session.subscriptions.values()
            ],
            "grants": effective_grants(self._in_force().assembly.chain.bindings, session.facts),
            "inflight": len(session.inflight),
            "inflight_bytes": session.inflight_octets,
            "queued_messages": len(session.queue or ()),
            "queued_bytes": session.queue_octets,
            "stored_messages": 0 if session.record is None else session.record.behind,
            "stored_bytes": 0 if session.record is None else session.record.behind_octets,
            "outbox_bytes": 0 if connection is None else connection.outbox_bytes,
            "last_denial": self._denials.of(session.client_id),
        }
        return details

    def explain(self, request: dict[str, Any]) -> Any:
        """Put a question to the chain in force; with ``connected`` about the client of that identifier, as it is."""
        scenario = scenario_from_json(request.get("scenario"))
        assembly = self._in_force().assembly
        now = self._driver.clock.seconds()
        if not request.get("connected"):
            return ask(assembly, scenario, now)
        session = self._session({"client_id": scenario.client_id})
        return ask_of_client(assembly, scenario, session, now)

    def watch(self, request: dict[str, Any]) -> dict[str, Any]:
        """How the clients are that have ``who`` as their identifier, user or address."""
        who = request.get("who")
        if not isinstance(who, str):
            raise ConfigError("`who` is a Client Identifier, a user or an address")
        core, now = self._driver.core, self._driver.clock.seconds()
        found = [client_now(core, each, now) for each in core.state.sessions.values() if is_about(each, who)]
        unheard = list(itertools.islice(unheard_topics(core, who, now), _MAXIMUM_UNHEARD))
        barred = list(itertools.islice(kept_out(self._in_force().assembly.chain.bindings, who), _MAXIMUM_WATCHED))
        return {"total": len(found), "clients": found[:_MAXIMUM_WATCHED], "unheard": unheard, "kept_out": barred}

    def disconnect(self, request: dict[str, Any]) -> dict[str, Any]:
        """End a client's connection with 0x98; its session stays."""
        session = self._session(request)
        connection: Connection | None = session.connection
        if connection is None:
            raise ConfigError(f"{session.client_id!r} is not connected")
        self._driver.end(connection, ReasonCode.ADMINISTRATIVE_ACTION, "by an administrator")
        return {"client_id": session.client_id}

    def _session(self, request: dict[str, Any]) -> Session:
        name, namespace = request.get("client_id"), request.get("namespace") or ""
        session = None
        if isinstance(name, str) and isinstance(namespace, str):
            session = self._driver.core.state.sessions.get(session_key(namespace, name))
        if session is None:
            where = f" in namespace {namespace!r}" if namespace else ""
            raise ConfigError(f"there is no client {name!r}{where}; `mqttsecure clients list` shows those there are")
        return session

    def _seconds_left(self, valid_until: float | None) -> float | None:
        return None if valid_until is None else round(valid_until - self._driver.clock.seconds(), 1)


def _row(session: Session) -> dict[str, Any]:
    facts = session.facts
    return {
        "client_id": session.client_id,
        "namespace": session.namespace,
        "principal": str(session.owner),
        "connected": session.connection is not None,
        "peer": str(facts.peer),
        "listener": facts.listener,
        "version": _VERSIONS.get(facts.protocol_version, "?"),
    }


def _store_gauges(driver: CoreDriver) -> dict[str, float]:
    """How the store does; nothing where there is none."""
    keeping = driver.keeping
    if keeping is None:
        return {}
    return {
        "store_batches": keeping.batches,
        "store_longest_batch_seconds": round(keeping.longest, 6),
        "store_is_failing": int(driver.core.state.storage_problem is not None),
        "store_losses": len(keeping.losses),
    }
