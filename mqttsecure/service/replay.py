# -*- test-case-name: tests.cli.test_policy_replay -*-
"""What was really asked, put to two configurations: which recorded decisions would come out differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mqttsecure.core.decisions import Purpose
from mqttsecure.policy.trace import Explanation
from mqttsecure.service.parts import Parts
from mqttsecure.service.recorded import NotComparable, ask_again, is_decision

__all__ = ["Replay", "Replayed", "replay"]

_MAXIMUM_QUESTIONS: Final = 100_000
"""Different questions that are kept apart; what is asked again and again is answered once."""

_ASKED: Final = (
    "stage",
    "principal",
    "username",
    "groups",
    "client_id",
    "listener",
    "topic",
    "qos",
    "retain",
    "size",
    "share",
    "writer",
    "attributes",
    "authentication_method",
    "origin",
    "path",
)


@dataclass(slots=True)
class Replayed:
    """One question whose answer changes. ``count`` is how often it was recorded, ``record`` the last time."""

    record: Mapping[str, Any]
    old: Explanation
    new: Explanation
    gained: bool
    count: int = 1


@dataclass(slots=True)
class Replay:
    """What came of it: how many records were ``compared``, and why others were not, by reason."""

    changes: list[Replayed]
    compared: int
    not_compared: Counter[str]


def replay(old: Parts, new: Parts, records: Iterable[Mapping[str, Any]]) -> Replay:
    """Put recorded decisions to both configurations.

    Raises:
        ConfigError: by the reading of ``records``.
    """
    answered: dict[tuple[Any, ...], Replayed | str | None] = {}
    compared, not_compared = 0, Counter[str]()
    for record in records:
        if not is_decision(record) and record.get("kind") != "shadow":
            continue
        if record.get("purpose") != Purpose.LIVE.value:
            continue
        key = (*(str(record.get(name)) for name in _ASKED), _address(record), _tls(record))
        if key in answered:
            answer = answered[key]
            if isinstance(answer, Replayed):
                answer.count += 1
                answer.record = record
        else:
            answer = _answer(old, new, record)
            if len(answered) < _MAXIMUM_QUESTIONS or isinstance(answer, Replayed):
                answered[key] = answer
        if isinstance(answer, str):
            not_compared[answer] += 1
        else:
            compared += 1
    return Replay([each for each in answered.values() if isinstance(each, Replayed)], compared, not_compared)


def _address(record: Mapping[str, Any]) -> str:
    return str(record.get("peer", "")).rpartition(":")[0]


def _tls(record: Mapping[str, Any]) -> str:
    tls = record.get("tls")
    if not isinstance(tls, dict):
        return str(tls)
    return str([tls.get(name) for name in ("version", "cipher", "server_name", "fingerprint")])


def _answer(old: Parts, new: Parts, record: Mapping[str, Any]) -> Replayed | str | None:
    """The change, None where there is none, or why it cannot be told."""
    try:
        before = ask_again(old, record, Purpose.TEST)
        after = ask_again(new, record, Purpose.TEST)
    except NotComparable as error:
        return str(error)
    if before.permitted is after.permitted:
        return None
    return Replayed(record, before.explanation, after.explanation, after.permitted)
