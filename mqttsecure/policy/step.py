# -*- test-case-name: tests.policy.test_chain -*-
"""What the fold works on: one policy at one stage, and what all folds of one chain share."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from mqttsecure.core.decisions import ConnectionFacts, Decision, Request, Source
from mqttsecure.policy.breaker import CircuitBreaker
from mqttsecure.policy.counters import ChainCounters, PolicyCounters
from mqttsecure.policy.identity import Aliases
from mqttsecure.policy.slots import Slots

__all__ = ["FoldContext", "Step", "decision_ids", "default_denial"]


@dataclass(slots=True, eq=False)
class Step:
    """One policy at one stage: all that the fold needs of it, looked up once."""

    id: str
    decide: Callable[[Request], Any]
    grants: bool
    final: bool
    required: bool
    timeout: float
    attributes: Mapping[str, type]
    source: Source | None
    breaker: CircuitBreaker
    slots: Slots
    counters: PolicyCounters


@dataclass(slots=True, eq=False)
class FoldContext:
    """What all folds of one chain share."""

    clock: IReactorTime
    version: int
    counters: ChainCounters
    aliases: Aliases
    decision_ids: Iterator[str]
    log: Logger
    strike: Callable[[ConnectionFacts, int, str], None]


def decision_ids(random_bytes: Callable[[int], bytes]) -> Iterator[str]:
    """Endless short ids, such as ``k3vq7a2m-1f``: a random part for this chain, and a count."""
    prefix = base64.b32encode(random_bytes(5)).decode("ascii").lower()
    return (f"{prefix}-{count:x}" for count in itertools.count(1))


def default_denial(steps: Sequence[Step], decisions: Sequence[Decision]) -> str:
    """Why nothing was permitted, for the log: each policy that could have, where it stands, and why it did not."""
    could = [
        f"{step.id}{f' ({step.source})' if step.source else ''}: {decision.text or 'abstained'}"
        for step, decision in zip(steps, decisions, strict=False)
        if step.grants
    ]
    return "; ".join(["nothing permitted it (default deny)", *could])
