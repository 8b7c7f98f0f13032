"""Policies for tests: they do just what they are told, and what no policy should."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from pydantic import BaseModel, ConfigDict
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mqttsecure.core.decisions import ConnectionFacts, Decision, Peer, Principal, Request, Role, Stage
from mqttsecure.interfaces import INTERFACE_VERSION, IConnectionObserver, IPolicy, IPolicyFactory
from mqttsecure.policy.chain import PolicyBinding, PolicyChain

LISTENER = "test"
ALICE = Principal("users", "alice")
GRANTS_EVERYWHERE: Mapping[Stage, Role] = {stage: Role.GRANTS for stage in Stage}


class NoOptions(BaseModel):
    """The options of a policy that has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@implementer(IPolicy)
class StaticPolicy:
    """Gives the same answer to every request, and remembers the requests. Any object may be the answer."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    def decide(self, request: Request) -> Any:
        self.requests.append(request)
        return self.answer


@implementer(IPolicy)
class ScriptedPolicy:
    """Asks a function, or gives the next of some answers and repeats the last one."""

    def __init__(self, *answers: Any, function: Callable[[Request], Any] | None = None) -> None:
        self.answers = list(answers)
        self.function = function
        self.requests: list[Request] = []

    def decide(self, request: Request) -> Any:
        self.requests.append(request)
        if self.function is not None:
            return self.function(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@implementer(IPolicy)
class RaisingPolicy:
    """Raises an error each time it is asked."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error or RuntimeError("broken policy")
        self.asked = 0

    def decide(self, request: Request) -> Any:
        self.asked += 1
        raise self.error


@implementer(IPolicy)
class HangingPolicy:
    """Answers with Deferreds that fire only when the test fires them; ``cancelled`` counts those given up."""

    def __init__(self) -> None:
        self.deferreds: list[Deferred[Any]] = []
        self.cancelled = 0

    def decide(self, request: Request) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred(self._cancel)
        self.deferreds.append(deferred)
        return deferred

    def _cancel(self, deferred: Deferred[Any]) -> None:
        self.cancelled += 1


@implementer(IPolicy, IConnectionObserver)
class ObservingPolicy(StaticPolicy):
    """Permits with a fixed answer and writes down what it hears of connections."""

    def __init__(self, answer: Any = None, error: Exception | None = None) -> None:
        super().__init__(answer or Decision.abstain())
        self.heard: list[tuple[str, int]] = []
        self.error = error

    def connection_opened(self, connection: ConnectionFacts) -> None:
        self._hear("opened", connection)

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        self._hear("authenticated", connection)

    def connection_closed(self, connection: ConnectionFacts) -> None:
        self._hear("closed", connection)

    def _hear(self, what: str, connection: ConnectionFacts) -> None:
        if self.error is not None:
            raise self.error
        self.heard.append((what, connection.connection_id))


@implementer(IPolicyFactory)
class StaticFactory:
    """A factory that builds one given policy."""

    interface_version = INTERFACE_VERSION
    summary = "for tests"
    options = NoOptions

    def __init__(
        self,
        policy: Any = None,
        *,
        name: str = "static",
        stages: Mapping[Stage, Role] = GRANTS_EVERYWHERE,
        attributes: Mapping[str, type] | None = None,
    ) -> None:
        self.policy = policy
        self.name = name
        self.stages = stages
        self.attributes = attributes or {}

    def build(self, options: NoOptions, environment: Any) -> Any:
        return self.policy


def bind(
    policy: Any,
    id: str = "policy",
    *,
    stages: Mapping[Stage, Role] = GRANTS_EVERYWHERE,
    attributes: Mapping[str, type] | None = None,
    on: Iterable[str] = (LISTENER,),
    **more: Any,
) -> PolicyBinding:
    """A binding of ``policy`` (or of a StaticPolicy that answers with a Decision) that grants at every stage."""
    if isinstance(policy, Decision):
        policy = StaticPolicy(policy)
    factory = StaticFactory(policy, name=id, stages=stages, attributes=attributes)
    return PolicyBinding(id, factory, policy, frozenset(on), **more)


def restricting(*stages: Stage) -> dict[Stage, Role]:
    """The roles of a policy that only restricts at ``stages`` (all, if none is named)."""
    return {stage: Role.RESTRICTS for stage in stages or Stage}


def chain_of(clock: IReactorTime, *bindings: PolicyBinding, **more: Any) -> PolicyChain:
    """A chain with one listener, :data:`LISTENER`."""
    return PolicyChain(bindings, clock=clock, listeners=more.pop("listeners", (LISTENER,)), **more)


def permit_all_chain(
    clock: IReactorTime, *, listeners: Iterable[str] = (LISTENER,), principal: Principal | None = None
) -> PolicyChain:
    """A chain that lets everyone do everything, as the principal of the user name or, without one, as nobody known."""

    def decide(request: Request) -> Decision:
        if request.stage is not Stage.AUTHENTICATE:
            return Decision.permit("everything", cacheable=True)
        return Decision.permit("everyone", principal=principal or _claimed(request.connection))

    policy = ScriptedPolicy(function=decide)
    names = tuple(listeners)
    return PolicyChain([bind(policy, "open", on=names)], clock=clock, listeners=names)


def _claimed(connection: ConnectionFacts) -> Principal:
    if connection.username:
        return Principal("users", connection.username)
    return Principal("anonymous", str(connection.connection_id), shared=False)


def make_facts(**more: Any) -> ConnectionFacts:
    """Facts of a connection to :data:`LISTENER` from a documentation address."""
    defaults: dict[str, Any] = {"connection_id": 1, "listener": LISTENER, "peer": Peer(ip_address("192.0.2.1"), 40000)}
    return ConnectionFacts(**{**defaults, **more})


def make_request(stage: Stage = Stage.PUBLISH, *, connection: ConnectionFacts | None = None, **more: Any) -> Request:
    """A request at ``stage``; a LIVE one at time 0 unless told."""
    return Request(stage=stage, connection=connection or make_facts(), now=more.pop("now", 0.0), **more)
