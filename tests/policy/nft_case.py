"""Chains of built-in policies, and the compiled rulesets that must decide like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from pydantic import BaseModel
from twisted.internet.task import Clock

from mqttsecure.core.decisions import ConnectionFacts, Peer, Purpose, Request, Stage, Verdict
from mqttsecure.policy.binding import PolicyBinding
from mqttsecure.policy.builtin.ban import BanFactory, BanPolicy, banned_network
from mqttsecure.policy.builtin.connection_limit import ConnectionLimitFactory
from mqttsecure.policy.builtin.ip_allowlist import IpAllowlistFactory
from mqttsecure.policy.chain import PolicyChain
from mqttsecure.policy.nft import Compilation, compile_accept
from mqttsecure.policy.nft_policies import AcceptListener, accept_policies
from mqttsecure.policy.nft_ruleset import render
from tests.support.environment import FakeEnvironment
from tests.support.nftables import Packet, Table

__all__ = ["MAXIMUM_CONNECTIONS", "Accept", "allowlist", "bans", "limit"]

MAXIMUM_CONNECTIONS = 1000
_FACTORIES: dict[str, Any] = {
    "ban": BanFactory(),
    "ip-allowlist": IpAllowlistFactory(),
    "connection-limit": ConnectionLimitFactory(),
}

Made = tuple[PolicyBinding, BaseModel]


def _make(use: str, id: str, on: Sequence[str], stages: dict[str, bool], options: dict[str, Any]) -> Made:
    factory = _FACTORIES[use]
    model = factory.options.model_validate(options)
    chosen = {key: frozenset({Stage.ACCEPT}) if value else frozenset() for key, value in stages.items()}
    policy = factory.build(model, FakeEnvironment(id))
    return PolicyBinding(id=id, factory=factory, policy=policy, on=frozenset(on), **chosen), model


def allowlist(
    id: str, on: Sequence[str] = ("lab",), final: bool = False, required: bool = False, **options: Any
) -> Made:
    """An ``ip-allowlist`` in its place."""
    return _make("ip-allowlist", id, on, {"final": final, "required": required}, options)


def limit(id: str, on: Sequence[str] = ("lab",), required: bool = False, **options: Any) -> Made:
    """A ``connection-limit`` in its place, without a limit on strangers unless one is given."""
    options = {"unauthenticated": 10**6, "total_unauthenticated": 10**6, **options}
    return _make("connection-limit", id, on, {"required": required}, options)


def bans(
    id: str,
    on: Sequence[str] = ("lab",),
    *,
    by_hand: Mapping[str, float | None] | None = None,
    struck: Sequence[str] = (),
    required: bool = False,
    **options: Any,
) -> Made:
    """A ``ban`` in its place: of prefixes ``by_hand``, for seconds or None for good, and of those who ``struck``."""
    binding, model = _make("ban", id, on, {"required": required}, {"address_threshold": 1, **options})
    policy = binding.policy
    assert isinstance(policy, BanPolicy)
    for text, seconds in (by_hand or {}).items():
        policy.ban_by_hand(banned_network(text), seconds, "")
    for text in struck:
        policy.struck(ConnectionFacts(0, on[0], Peer(ip_address(text), 40000)), 1, "wrong password")
    return binding, model


class Accept:
    """The same ACCEPT stage twice: the broker's chain, and the ruleset made of it."""

    def __init__(
        self, made: Sequence[Made | PolicyBinding], listeners: dict[str, list[tuple[str, int]]], **more: Any
    ) -> None:
        bindings = [each if isinstance(each, PolicyBinding) else each[0] for each in made]
        options = {each[0].id: each[1] for each in made if isinstance(each, tuple)}
        self.clock = Clock()
        self.chain = PolicyChain(bindings, clock=self.clock, listeners=list(listeners))
        self.compilation: Compilation = compile_accept(
            [AcceptListener(name, tuple(addresses)) for name, addresses in listeners.items()],
            accept_policies(bindings, options),
            maximum_connections=more.pop("maximum_connections", MAXIMUM_CONNECTIONS),
            **more,
        )
        self.text = render(self.compilation.ruleset, self.compilation.comments())
        self.table = Table.read(self.text)
        self._open: dict[int, ConnectionFacts] = {}
        self._next = 0

    def broker_permits(self, listener: str, source: str, purpose: Purpose = Purpose.TEST) -> bool:
        """The chain's own answer; of a LIVE question the connection is open from then on."""
        facts = ConnectionFacts(self._next, listener, Peer(ip_address(source), 40000))
        verdict = self.chain.decide(Request(Stage.ACCEPT, facts, self.clock.seconds(), purpose=purpose))
        assert isinstance(verdict, Verdict)
        if verdict.permitted and purpose is Purpose.LIVE:
            self.chain.connection_opened(facts)
            self._open[self._next] = facts
        return verdict.permitted

    def kernel_accepts(self, source: str, host: str, port: int, loopback: bool = False) -> bool:
        """What the ruleset does with the first packet."""
        packet = Packet(ip_address(source), ip_address(host), port, self._next, self.clock.seconds(), loopback=loopback)
        return self.table.accepts(packet)

    def connect(self, listener: str, source: str, host: str, port: int) -> tuple[bool, bool]:
        """A connection: what the chain says, and what the ruleset does. It is open where both let it in."""
        self._next += 1
        return self.broker_permits(listener, source, Purpose.LIVE), self.kernel_accepts(source, host, port)

    def close_oldest(self) -> None:
        """The connection that is open longest ends."""
        if self._open:
            number = next(iter(self._open))
            self.chain.connection_closed(self._open.pop(number))
            self.table.close(number)
