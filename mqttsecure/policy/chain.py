# -*- test-case-name: tests.policy.test_chain -*-
"""The policy chain: the one place where anything is permitted.

The policies stand in the order of the configuration, and are asked in that order at every stage
(:mod:`mqttsecure.policy.fold` has the rules). A chain never changes; a reload makes a new one with a higher version.

Attributes that a policy decides are written into ``request.connection.attributes`` as soon as it has answered, so that
the policies after it see them. A request with the purpose EXPLAIN or TEST must therefore bring facts of its own; with
RECHECK and SHADOW the chain itself works on a copy.

This module is on the path of each message whose decision is not cached.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import Interface

from mqttsecure.core.decisions import (
    ConnectionFacts,
    Decision,
    Effect,
    Pending,
    Request,
    Role,
    Stage,
    Verdict,
)
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import (
    Advice,
    IConnectionObserver,
    IGrants,
    IIdentities,
    IStateKeeper,
    IStrikeObserver,
)
from mqttsecure.policy.binding import PolicyBinding, is_stateless
from mqttsecure.policy.breaker import CircuitBreaker
from mqttsecure.policy.counters import ChainCounters, PolicyCounters
from mqttsecure.policy.fold import Fold
from mqttsecure.policy.identity import Aliases
from mqttsecure.policy.review import Bypass, TableRow, problems, table
from mqttsecure.policy.slots import Slots
from mqttsecure.policy.step import FoldContext, Step, decision_ids
from mqttsecure.policy.trace import Explanation, Outcome, explain, explain_offline

__all__ = ["PolicyBinding", "PolicyChain"]


class PolicyChain:
    """All policies of the broker, in order.

    Attributes:
        version: of the policy; verdicts of another version are not to be used.
        counters: what was decided so far.
    """

    _log = Logger()

    def __init__(
        self,
        bindings: Sequence[PolicyBinding],
        *,
        clock: IReactorTime,
        listeners: Sequence[str],
        version: int = 1,
        aliases: Mapping[str, str] | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """
        Args:
            bindings: the policies in the order of the configuration.
            clock: for time-outs and circuit breakers.
            listeners: the names of all listeners.
            version: of the policy.
            aliases: which principals are which others, both as ``authority:name``.
            random_bytes: makes decision ids of this chain differ from those of any other.
        """
        self.version = version
        self.counters = ChainCounters(policies={each.id: PolicyCounters() for each in bindings})
        self._bindings = tuple(bindings)
        self._listeners = tuple(listeners)
        self._aliases = Aliases(aliases)
        self._context = FoldContext(
            clock, version, self.counters, self._aliases, decision_ids(random_bytes), PolicyChain._log, self.strike
        )
        self._breakers = [CircuitBreaker(clock.seconds) for _ in bindings]
        self._slots = {each.id: Slots(each.concurrency) for each in bindings}
        self._steps: dict[str, dict[Stage, tuple[Step, ...]]] = {name: {} for name in listeners}
        for stage in Stage:
            steps = [self._step(stage, *each) for each in zip(bindings, self._breakers, strict=True)]
            for name in listeners:
                self._steps[name][stage] = tuple(
                    step for binding, step in zip(bindings, steps, strict=True) if step and name in binding.on
                )
        self._observers = self._providers(IConnectionObserver)
        self._strike_observers = self._providers(IStrikeObserver)

    def _providers(self, interface: type[Interface]) -> dict[str, tuple[tuple[str, Any], ...]]:
        """By listener the policies that provide ``interface``, with their ids."""
        return {
            name: tuple(
                (each.id, each.policy)
                for each in self._bindings
                if name in each.on and interface.providedBy(each.policy)
            )
            for name in self._listeners
        }

    def _step(self, stage: Stage, binding: PolicyBinding, breaker: CircuitBreaker) -> Step | None:
        """What the fold needs of one policy at ``stage``; None where it is not asked."""
        role = binding.stages.get(stage)
        if role is None:
            return None
        return Step(
            id=binding.id,
            decide=binding.policy.decide,
            grants=role is Role.GRANTS,
            final=stage in binding.final,
            required=stage in binding.required,
            timeout=binding.timeout,
            attributes=dict(binding.attributes),
            source=binding.source,
            breaker=breaker,
            slots=self._slots[binding.id],
            counters=self.counters.policies[binding.id],
        )

    def decide(self, request: Request) -> Verdict | Pending:
        """Fold the decisions of the policies that stand on the request's listener at its stage.

        Never raises, and never permits because of something unknown: no policy, no listener of that name, or a
        policy that does anything but what it may, is a DENY.
        """
        stages = self._steps.get(request.connection.listener)
        if stages is None:
            return self._unknown_listener(request)
        return Fold(self._context, stages[request.stage], request).start()

    def _unknown_listener(self, request: Request) -> Verdict:
        return Verdict(
            Effect.DENY,
            request.stage,
            text=f"this policy knows no listener {request.connection.listener!r}",
            policy_version=self.version,
            decision_id=next(self._context.decision_ids),
        )

    # Asking why

    def explain(self, request: Request) -> Explanation | Deferred[Explanation]:
        """The same answer with its trace, for a request of any purpose; nothing is counted, spent or changed."""
        stages = self._steps.get(request.connection.listener)
        if stages is None:
            return Explanation(request.stage, request, (), self._unknown_listener(request), Outcome.DENY)
        return explain(self._context, stages[request.stage], request)

    def explain_offline(
        self,
        request: Request,
        *,
        secret_assumed: bool = False,
        assumed: Mapping[str, Decision] | None = None,
        live: bool = False,
    ) -> Explanation:
        """The same without a running broker: see :mod:`mqttsecure.policy.trace`.

        Args:
            request: the question.
            secret_assumed: whether the secret that goes with the client's user name is taken to be right.
            assumed: answers by the id of the policy, taken as given.
            live: whether this is the running broker, so that policies which keep counts can be asked as well.
        """
        stages = self._steps.get(request.connection.listener)
        if stages is None:
            return Explanation(request.stage, request, (), self._unknown_listener(request), Outcome.DENY)
        steps = stages[request.stage]
        unknown = set() if live else {each.id for each in self._bindings if not is_stateless(each)}
        if secret_assumed and request.stage is Stage.AUTHENTICATE:
            knowing = {each.id: each.policy for each in self._bindings if IIdentities.providedBy(each.policy)}
            # Who cannot tell without the secret would take the one assumed for a wrong one; who can needs no broker.
            unknown |= {step.id for step in steps if step.grants and step.id not in knowing}
            unknown -= knowing.keys()
            steps = tuple(
                dataclasses.replace(step, decide=knowing[step.id].decide_assuming) if step.id in knowing else step
                for step in steps
            )
        return explain_offline(self._context, steps, request, unknown, assumed)

    def advise(self, request: Request) -> dict[str, Advice]:
        """What would make a policy permit the request, by the id of the policy, from those that can tell."""
        return {
            each.id: each.policy.advise(request)
            for each in self._bindings
            if request.connection.listener in each.on
            and request.stage in each.stages
            and IGrants.providedBy(each.policy)
        }

    # Observers

    def connection_opened(self, connection: ConnectionFacts) -> None:
        """Tell the observing policies of the connection's listener that ACCEPT has permitted it."""
        for policy_id, policy in self._observers.get(connection.listener, ()):
            self._tell(policy_id, policy.connection_opened, connection)

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        """Tell them that CONNACK with success is about to be sent."""
        for policy_id, policy in self._observers.get(connection.listener, ()):
            self._tell(policy_id, policy.connection_authenticated, connection)

    def connection_closed(self, connection: ConnectionFacts) -> None:
        """Tell them that it has ended."""
        for policy_id, policy in self._observers.get(connection.listener, ()):
            self._tell(policy_id, policy.connection_closed, connection)

    def strike(self, connection: ConnectionFacts, weight: int, why: str) -> None:
        """Tell those who act on strikes of one."""
        for policy_id, policy in self._strike_observers.get(connection.listener, ()):
            self._tell(policy_id, policy.struck, connection, weight, why)

    def _tell(self, policy_id: str, method: Callable[..., object], *arguments: object) -> None:
        try:
            method(*arguments)
        except (Exception, SystemExit):
            # The others must hear of it all the same, or their counts go wrong.
            self.counters.observer_failures += 1
            self.counters.policies[policy_id].observer_failures += 1
            self._log.failure("policy {policy} failed to take note of a connection", policy=policy_id)

    # Memory that outlives a chain

    def inherit(self, previous: PolicyChain) -> None:
        """Let policies take over what those of the same id in ``previous`` know; that chain works on as it did.

        Raises:
            ConfigError: one failed to, so that bans, for one, would be forgotten: this chain must not be used.
        """
        older = {each.id: each.policy for each in previous.bindings}
        for each in self._bindings:
            policy = older.get(each.id)
            if policy is not None and type(policy) is type(each.policy) and IStateKeeper.providedBy(each.policy):
                try:
                    each.policy.inherit(policy)
                except Exception as error:  # a third party's code
                    self._log.failure("policy {policy} failed to take over", policy=each.id)
                    raise ConfigError(
                        f"{each.where}: failed to take over what is known ({type(error).__name__}: {error}); "
                        "restart the broker, or give the policy another id to start afresh"
                    ) from error

    def save(self) -> Deferred[list[tuple[bool, None]]]:
        """Have policies write what is to be kept, since the broker stops; the Deferred never fails."""
        keepers: list[Any] = [each.policy for each in self._bindings if IStateKeeper.providedBy(each.policy)]
        saving: list[Deferred[None]] = [maybeDeferred(each.save) for each in keepers]
        for deferred in saving:
            deferred.addErrback(lambda failure: self._log.failure("state could not be saved", failure=failure))
        return DeferredList(saving)

    # What can be said of it

    @property
    def aliases(self) -> Aliases:
        """Which principals are which others."""
        return self._aliases

    @property
    def bindings(self) -> tuple[PolicyBinding, ...]:
        """The policies in order."""
        return self._bindings

    @property
    def authentication_methods(self) -> frozenset[str]:
        """The Authentication Methods that some policy can carry out (their optional ``authentication_methods``)."""
        return frozenset(
            method
            for each in self._bindings
            if Stage.AUTHENTICATE in each.stages
            for method in getattr(each.policy, "authentication_methods", ())
        )

    def check(self) -> list[str]:
        """The problems for which this chain must not be used, each with its mend; empty if there are none."""
        return problems(self._bindings, self._listeners) + self._aliases.problems

    def table(self) -> list[TableRow]:
        """Listener by stage: who can permit, who can deny, and whom a ``final`` bypasses."""
        return table(self._bindings, self._listeners)

    def bypassed(self) -> list[Bypass]:
        """Every ``final`` that keeps later policies from being asked."""
        return [bypass for row in self.table() for bypass in row.bypasses]
