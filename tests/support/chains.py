"""Chains of rules for tests that compare what is claimed of all topics with what the chain says to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from twisted.internet.task import Clock
from zope.interface import implementer

from mqttsecure.core.decisions import (
    Action,
    Decision,
    Effect,
    Principal,
    Purpose,
    Request,
    Role,
    Source,
    Stage,
)
from mqttsecure.interfaces import IIdentities, IPolicy, KnownIdentity
from mqttsecure.policy.builtin.rules import parse_rule
from mqttsecure.policy.builtin.topic_acl import TopicAcl, TopicAclFactory
from mqttsecure.policy.chain import PolicyBinding, PolicyChain
from mqttsecure.policy.environment import Authority
from mqttsecure.policy.regions import stage_of
from mqttsecure.service.config import ListenerConfig
from tests.support.environment import FakeAuthority, FakeEnvironment
from tests.support.policies import LISTENER, StaticFactory, make_facts

WORLD = (
    "a",
    "b",
    "a/a",
    "a/b",
    "b/a",
    "a/x",
    "a/x/b",
    "x",
    "x/a",
    "x/x",
    "$s",
    "$s/a",
    "someone",
    "a/someone",
    "a/someone-1",
)
"""Topics over names that rules use and one that none uses."""

FILTERS = ("#", "a/#", "a", "+", "a/+", "+/a", "b/#", "a/b", "$s/#", "+/+", "a/{client}", "a/{user}/#", "{user}", "x/#")
PLAIN_FILTERS = tuple(each for each in FILTERS if "{" not in each)
WHOS = ("everyone", "user:a", "user:x", "group:g", "group:h")
ACTIONS = ("publish", "subscribe", "receive", "read", "publish,read")
CONDITIONS = ("", " where qos<=1", " where retain=no", " unless qos=0", " where size<=10", " unless size>=5")

rule_texts = st.builds(
    lambda effect, who, action, topic_filter, condition: (
        f"{effect} {who} {action} {topic_filter}{_fit(action, condition)}"
    ),
    st.sampled_from(("permit", "permit", "deny")),
    st.sampled_from(WHOS),
    st.sampled_from(ACTIONS),
    st.sampled_from(FILTERS),
    st.sampled_from(CONDITIONS),
)


def _fit(action: str, condition: str) -> str:
    """The condition, unless the action has no message that it could be about."""
    return condition if action != "subscribe" or "qos" in condition else ""


def acl(texts: Sequence[str], contained: bool = True, policy_id: str = "topics") -> TopicAcl:
    """A `topic-acl` with these rules, of the authority users alone."""
    environment = FakeEnvironment(policy_id, {"users": FakeAuthority("users")})
    rules = [parse_rule(text, f"rules[{index}]", Source("broker.toml", index + 1)) for index, text in enumerate(texts)]
    return TopicAcl(rules, contained, environment, "users")


@implementer(IPolicy, IIdentities)
class Door:
    """Lets in at each stage before those of topics whoever is known."""

    stateful = False

    def __init__(self, known: Sequence[KnownIdentity] = (KnownIdentity("users", None, any_groups=True),)) -> None:
        self.known = list(known)

    def decide(self, request: Request) -> Decision:
        return Decision.permit("open", principal=Principal("users", request.connection.username or "nobody"))

    def identities(self) -> list[KnownIdentity]:
        return self.known

    def decide_assuming(self, request: Request) -> Decision:
        return self.decide(request)


DOOR_STAGES = {stage: Role.GRANTS for stage in (Stage.ACCEPT, Stage.HANDSHAKE, Stage.CONNECT, Stage.AUTHENTICATE)}


def door(known: Sequence[KnownIdentity] | None = None) -> PolicyBinding:
    """A :class:`Door` in its place."""
    policy = Door() if known is None else Door(known)
    return PolicyBinding("door", StaticFactory(policy, name="door", stages=DOOR_STAGES), policy, frozenset({LISTENER}))


def acl_binding(policy: TopicAcl, policy_id: str = "topics", **more: Any) -> PolicyBinding:
    """A `topic-acl` in its place."""
    return PolicyBinding(policy_id, TopicAclFactory(), policy, frozenset({LISTENER}), **more)


def listener(name: str = LISTENER) -> ListenerConfig:
    """A listener without TLS."""
    return ListenerConfig(
        0, name, (("127.0.0.1", 1883),), "mqtt", None, "close", False, 10, 10, Source("broker.toml", 1)
    )


@dataclass(slots=True)
class FakeParts:
    """What questions are put to."""

    chain: PolicyChain
    listeners: tuple[ListenerConfig, ...] = field(default_factory=lambda: (listener(),))
    authorities: Mapping[str, Authority] = field(default_factory=lambda: {"users": Authority("users")})


def parts(*bindings: PolicyBinding) -> FakeParts:
    """A chain with a door in front."""
    clock: Any = Clock()
    listed = bindings if any(each.id == "door" for each in bindings) else (door(), *bindings)
    return FakeParts(PolicyChain(listed, clock=clock, listeners=[LISTENER]))


def ask(
    chain: PolicyChain,
    action: Action,
    topic: str,
    *,
    name: str = "x",
    groups: frozenset[str] = frozenset(),
    client_id: str = "",
    qos: int = 0,
    retain: bool = False,
    size: int = 0,
) -> bool:
    """Whether the chain permits one thing."""
    facts = make_facts(
        principal=Principal("users", name), groups=groups, client_id=client_id, connection_id=hash((name, client_id))
    )
    stage = stage_of(action)
    request = Request(stage, facts, 0.0, Purpose.TEST, topic=topic, qos=qos, retain=retain, payload=bytes(size))
    verdict: Any = chain.decide(request)
    return bool(verdict.effect is Effect.PERMIT)
