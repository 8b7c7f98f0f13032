# -*- test-case-name: tests.cli.test_explain_past -*-
"""``mqttsecure explain --live``: a question put to the chain of the running broker, where policies know their counts.

It is asked with the purpose EXPLAIN: nothing is counted, spent or remembered. What is asked is about a client that is
connected, as it is known here, or about one that might come, as the question describes it.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from mqttsecure.core.decisions import ConnectionFacts, Peer, Principal, Purpose, Request, Stage
from mqttsecure.core.session import Session
from mqttsecure.errors import ConfigError
from mqttsecure.policy.identity import parse_principal
from mqttsecure.policy.trace import Explanation, Outcome
from mqttsecure.service.parts import Parts
from mqttsecure.service.scenario import ACTIONS, Scenario, Trial, check_scenario, judge, parse_peer
from mqttsecure.service.trace_json import trial_as_json
from mqttsecure.wire.topics import split_shared

__all__ = ["ask", "ask_of_client", "scenario_as_json", "scenario_from_json"]


def scenario_as_json(scenario: Scenario) -> dict[str, Any]:
    """A scenario for the control socket."""
    values = {field.name: getattr(scenario, field.name) for field in dataclasses.fields(scenario)}
    peer, principal = scenario.peer, scenario.principal
    return values | {
        "peer": None if peer is None else _peer_text(peer),
        "principal": None if principal is None else str(principal),
        "groups": sorted(scenario.groups),
        "chain": [base64.b64encode(der).decode("ascii") for der in scenario.chain],
        "attributes": dict(scenario.attributes),
    }


def _peer_text(peer: Peer) -> str:
    if peer.address is not None:
        return str(peer.address)
    return "unix" if peer.uid is None else f"unix:{peer.uid}"


def scenario_from_json(values: Any) -> Scenario:
    """The scenario again.

    Raises:
        ConfigError: it is none.
    """
    names = {field.name for field in dataclasses.fields(Scenario)}
    if not isinstance(values, dict) or not set(values) <= names or "action" not in values:
        raise ConfigError("a question is an object with `action` and what else `mqttsecure explain` knows of")
    try:
        return Scenario(**values | _parsed(values))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"the question cannot be read: {error}") from error


def _parsed(values: dict[str, Any]) -> dict[str, Any]:
    """The values that are not what JSON has, and those whose types must be right for all that follows."""
    for name in ("action", "topic", "listener", "username", "client_id", "tls_version", "cipher"):
        if not isinstance(values.get(name), str | None):
            raise TypeError(f"{name} is a string")
    for name in ("qos", "size", "version"):
        if not isinstance(values.get(name, 0), int):
            raise TypeError(f"{name} is a number")
    peer, principal = values.get("peer"), values.get("principal")
    who: Principal | None = None if principal is None else parse_principal(principal)
    return {
        "peer": None if peer is None else parse_peer(peer),
        "principal": who,
        "groups": frozenset(map(str, values.get("groups") or ())),
        "chain": tuple(base64.b64decode(each, validate=True) for each in values.get("chain") or ()),
        "attributes": dict(values.get("attributes") or {}),
        "size": min(max(0, values.get("size", 0)), _MAXIMUM_SIZE),
    }


_MAXIMUM_SIZE = 16 * 1024 * 1024
"""Bytes of the payload that is made up for a question: more than any message that the limits let in by default."""


def ask(parts: Parts, scenario: Scenario, now: float) -> dict[str, Any]:
    """About a client that might come.

    Raises:
        ConfigError: the question makes no sense.
    """
    return trial_as_json(judge(parts, scenario, live_at=now))


def ask_of_client(parts: Parts, scenario: Scenario, session: Session, now: float) -> Deferred[dict[str, Any]]:
    """About a client that is connected.

    Raises:
        ConfigError: the question makes no sense.
    """
    connection = session.connection
    if connection is None:
        raise ConfigError(
            f"{session.client_id!r} is not connected; say who it is with --user, --principal or a certificate"
        )
    checked = check_scenario(scenario)
    coroutine: Coroutine[Any, Any, dict[str, Any]] = _ask_of_client(parts, checked, connection.facts, now)
    return Deferred.fromCoroutine(coroutine)


async def _ask_of_client(parts: Parts, scenario: Scenario, facts: ConnectionFacts, now: float) -> dict[str, Any]:
    stage = ACTIONS[scenario.action]
    skipped: list[tuple[Stage, str]] = []
    stages: list[Explanation] = []
    if stage is None:
        requests = [Request(each, facts, now, Purpose.EXPLAIN) for each in _BEFORE_IDENTITY]
        skipped.append((Stage.AUTHENTICATE, "it is connected, and its password is not kept"))
    else:
        requests = [_action(scenario, stage, facts, now)]
        skipped += [(each, "it is connected") for each in (*_BEFORE_IDENTITY, Stage.AUTHENTICATE)]
    for request in requests:
        found = parts.chain.explain(request)
        explanation = await found if isinstance(found, Deferred) else found
        stages.append(explanation)
        if explanation.outcome is Outcome.DENY:
            break
    last = stages[-1]
    advice = parts.chain.advise(last.request) if last.outcome is Outcome.DENY else {}
    asked = dataclasses.replace(scenario, peer=facts.peer, listener=facts.listener, username=facts.username)
    trial = Trial(asked, facts.listener, facts, tuple(stages), tuple(skipped), (_KNOWN,), last.outcome, (), advice)
    return trial_as_json(trial)


_BEFORE_IDENTITY = (Stage.ACCEPT, Stage.HANDSHAKE, Stage.CONNECT)
_KNOWN = "nothing: the client is connected, and asked about as the broker knows it"


def _action(scenario: Scenario, stage: Stage, facts: ConnectionFacts, now: float) -> Request:
    if stage is Stage.SUBSCRIBE:
        group, topic = split_shared(scenario.topic)
        return Request(stage, facts, now, Purpose.EXPLAIN, topic=topic, qos=scenario.qos, share_group=group)
    return Request(
        stage,
        facts,
        now,
        Purpose.EXPLAIN,
        topic=scenario.topic,
        qos=scenario.qos,
        retain=scenario.retain,
        payload=bytes(scenario.size),
    )
