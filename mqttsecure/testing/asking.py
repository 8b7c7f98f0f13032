# -*- test-case-name: tests.testing.test_policy -*-
"""Puts questions to one policy, alone or in a chain of its own, and waits for the answers as long as they may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from twisted.internet.defer import Deferred

from mqttsecure.core.decisions import Decision, Pending, Request, Stage, Verdict
from mqttsecure.interfaces import IPolicy, IPolicyFactory
from mqttsecure.policy.chain import PolicyBinding, PolicyChain
from mqttsecure.testing.environment import TestEnvironment

__all__ = ["LISTENERS", "Asked", "answer_of", "chain_of", "fresh", "told"]

LISTENERS: Final = ("test", "another")

_STEPS: Final = 10


def fresh(request: Request) -> Request:
    """The same question once more: nothing that an answer left in it is in it."""
    connection = replace(request.connection, attributes=dict(request.connection.attributes))
    return replace(request, connection=connection, exchange=dict(request.exchange))


def chain_of(
    factory: IPolicyFactory, policy: IPolicy, environment: TestEnvironment, *, timeout: float = 5.0, version: int = 1
) -> PolicyChain:
    """A chain of the one policy."""
    binding = PolicyBinding(environment.policy_id, factory, policy, frozenset(LISTENERS), timeout)
    return PolicyChain([binding], clock=environment.clock, listeners=LISTENERS, version=version)


class Asked:
    """A question that was put to a chain, and the verdict once there is one."""

    def __init__(self, chain: PolicyChain, request: Request) -> None:
        self.request = fresh(request)
        self.verdict: Verdict | None = None
        self.pending: Pending | None = None
        answer = chain.decide(self.request)
        if isinstance(answer, Pending):
            self.pending = answer
            answer.listener = self._came
        else:
            self.verdict = answer

    def _came(self, pending: Pending, verdict: Verdict) -> None:
        self.verdict = verdict

    def settled(self, environment: TestEnvironment, seconds: float) -> Verdict:
        """The verdict, after the work of threads is done and, if need be, time has passed."""
        for _ in range(_STEPS):
            if self.verdict is not None:
                return self.verdict
            environment.release()
            if self.verdict is None:
                environment.clock.advance(seconds / _STEPS + 0.001)
        if self.verdict is None:
            raise AssertionError(f"no verdict within {seconds} s; {told(self.request)}")
        return self.verdict


def answer_of(policy: IPolicy, environment: TestEnvironment, request: Request, seconds: float = 5.0) -> Any:
    """What ``decide`` answers by itself; None where it does not answer in time.

    Raises:
        Exception: whatever it raises, at once or later.
    """
    answer = policy.decide(fresh(request))
    if not isinstance(answer, Deferred):
        return answer
    results: list[Any] = []
    answer.addBoth(results.append)
    for _ in range(_STEPS):
        if not results:
            environment.release()
        if not results:
            environment.clock.advance(seconds / _STEPS)
    if not results:
        answer.cancel()
        return None
    if not isinstance(results[0], Decision) and hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def told(request: Request) -> str:
    """A question in words, for a test that fails."""
    connection = request.connection
    parts: Sequence[tuple[str, object]] = (
        ("purpose", request.purpose.value),
        ("client_id", connection.client_id),
        ("username", connection.username),
        ("principal", connection.principal),
        ("topic", request.topic),
        ("qos", request.qos),
        ("retain", request.retain),
        ("payload", f"{len(request.payload)} bytes"),
    )
    shown = [f"{name} {value!r:.60}" for name, value in parts if request.stage not in _EARLY or name in _EARLY_NAMES]
    return f"asked at {request.stage.value}: {', '.join(shown)}"


_EARLY: Final = (Stage.ACCEPT, Stage.HANDSHAKE, Stage.CONNECT, Stage.AUTHENTICATE)
_EARLY_NAMES: Final = ("purpose", "client_id", "username", "principal")
