# -*- test-case-name: tests.service.test_scenario -*-
"""A client that might come, put to the chain stage by stage without a running broker.

What the scenario does not say is not judged, or assumed; either is told. A password is never asked for: whoever gives a
user name is taken to know it. The answer is that of the same chain, asked as a connection would.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from mqttsecure.core.decisions import (
    ConnectionFacts,
    Decision,
    Peer,
    Principal,
    Purpose,
    Request,
    Role,
    Stage,
    TlsFacts,
)
from mqttsecure.errors import ConfigError, MqttError
from mqttsecure.interfaces import Advice, IIdentities, KnownIdentity
from mqttsecure.policy.trace import Explanation, Outcome, Status
from mqttsecure.service.config import ListenerConfig
from mqttsecure.service.parts import Parts
from mqttsecure.service.problems import did_you_mean
from mqttsecure.wire.topics import check_topic_filter, check_topic_name, split_shared

__all__ = ["ACTIONS", "Scenario", "Trial", "check_scenario", "judge", "listener_of", "parse_peer", "unsettled"]

ACTIONS: Final = {
    "connect": None,
    "publish": Stage.PUBLISH,
    "subscribe": Stage.SUBSCRIBE,
    "receive": Stage.DELIVER,
}
"""What a client can do, with the stage at which it is decided; connecting is decided at those before."""

_SECRET: Final = b"\0taken to be right"
"""Stands for the password of the user, which is not asked for. No CONNECT of a client that types one carries it."""

_LOOPBACK: Final = Peer(ip_address("127.0.0.1"))


@dataclass(slots=True, frozen=True)
class Scenario:
    """What is known of a client and of what it does. ``chain`` is its certificate, verified, to the CA at its end.

    With ``principal`` who the client is is given, and how it proved that is not judged.
    """

    action: str
    topic: str = ""
    qos: int = 0
    retain: bool = False
    size: int = 0
    peer: Peer | None = None
    listener: str | None = None
    principal: Principal | None = None
    username: str | None = None
    groups: frozenset[str] = frozenset()
    client_id: str | None = None
    version: int = 5
    chain: tuple[bytes, ...] = ()
    tls_version: str | None = None
    cipher: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Trial:
    """What came of a scenario.

    ``skipped`` are the stages that were not judged, with why; ``assumed`` what was taken as given; ``conditions`` the
    stages and policies on which a PROVIDED depends; ``advice`` what would turn a denial, by policy.
    """

    scenario: Scenario
    listener: str
    facts: ConnectionFacts
    stages: tuple[Explanation, ...]
    skipped: tuple[tuple[Stage, str], ...]
    assumed: tuple[str, ...]
    outcome: Outcome
    conditions: tuple[tuple[Stage, str], ...]
    advice: Mapping[str, Advice]

    @property
    def last(self) -> Explanation:
        """The stage that decided."""
        return self.stages[-1]


def parse_peer(text: str) -> Peer:
    """Read an address, or "unix" or "unix:UID".

    Raises:
        ValueError: it is neither.
    """
    if text == "unix" or text.startswith("unix:"):
        uid = text[5:]
        if uid and not (uid.isascii() and uid.isdigit()):
            raise ValueError(f"{text!r} has no uid; write unix:1000, or unix alone")
        return Peer(None, 0, int(uid) if uid else None)
    try:
        address: IPv4Address | IPv6Address = ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is no IP address; write one like 192.0.2.7 or 2001:db8::7, or unix") from None
    return Peer(getattr(address, "ipv4_mapped", None) or address)


def listener_of(parts: Parts, name: str | None) -> ListenerConfig:
    """The listener of that name, or the only one.

    Raises:
        ConfigError: there is none, or several where no name is given.
    """
    listeners = {each.name: each for each in parts.listeners}
    if name is None:
        if len(listeners) == 1:
            return next(iter(listeners.values()))
        raise ConfigError(f"there are several listeners; name one of {', '.join(listeners)}")
    if name not in listeners:
        raise ConfigError(f"there is no listener {name!r}{did_you_mean(name, listeners)}")
    return listeners[name]


def judge(
    parts: Parts,
    scenario: Scenario,
    purpose: Purpose = Purpose.EXPLAIN,
    *,
    live_at: float | None = None,
    advised: bool = True,
) -> Trial:
    """Put a scenario to the chain.

    Args:
        parts: of the configuration.
        scenario: the client, and what it does.
        purpose: of the question.
        live_at: the time, where this is the running broker, so that policies which keep counts can be asked as well.
        advised: whether a denial is to come with what would turn it, which takes longest where there are many rules.

    Raises:
        ConfigError: the scenario makes no sense with this configuration.
    """
    return _Judge(parts, scenario, purpose, live_at).trial(advised)


class _Judge:
    """One scenario on its way through the stages."""

    def __init__(self, parts: Parts, scenario: Scenario, purpose: Purpose, live_at: float | None) -> None:
        self._live_at = live_at
        self._parts = parts
        self._scenario = check_scenario(scenario)
        self._purpose = purpose
        self._listener = listener_of(parts, scenario.listener)
        self._stages: list[Explanation] = []
        self._skipped: list[tuple[Stage, str]] = []
        self._assumed: list[str] = []
        self._facts = ConnectionFacts(
            0,
            self._listener.name,
            scenario.peer or _LOOPBACK,
            protocol_version=scenario.version,
            client_id=scenario.client_id or "",
            username=scenario.username,
            tls=self._tls(),
            attributes=dict(scenario.attributes),
        )

    def _tls(self) -> TlsFacts | None:
        scenario = self._scenario
        if self._listener.tls is None:
            if scenario.chain or scenario.tls_version or scenario.cipher:
                raise ConfigError(f"the listener {self._listener.name!r} has no TLS, and so no certificates")
            return None
        asked = self._listener.tls.client_certificate
        if asked == "required" and not scenario.chain and scenario.principal is None:
            raise ConfigError(f"the listener {self._listener.name!r} demands a client certificate; name one")
        if asked == "none" and scenario.chain:
            raise ConfigError(f"the listener {self._listener.name!r} asks for no client certificate")
        version = scenario.tls_version or "TLSv1.3"
        cipher = scenario.cipher or (
            "TLS_AES_256_GCM_SHA384" if version == "TLSv1.3" else "ECDHE-ECDSA-AES256-GCM-SHA384"
        )
        if scenario.tls_version is None:
            self._assumed.append(f"TLS: {version} with {cipher}")
        leaf = scenario.chain[0] if scenario.chain else None
        return TlsFacts(version, cipher, peer_certificate=leaf, verified_chain=scenario.chain)

    def trial(self, advised: bool) -> Trial:
        for step in (self._accept, self._handshake, self._connect, self._authenticate, self._act):
            step()
            if self._stages and self._stages[-1].outcome is Outcome.DENY:
                break
            if self._stages and self._stages[-1].open_identity:
                self._skip_action("who the client is depends on a policy that only the running broker can ask")
                break
        if not self._stages:
            raise ConfigError("nothing is left to judge; say more, such as an address or a Client Identifier")
        conditions = tuple((each.stage, policy) for each in self._stages for policy in each.conditions)
        return Trial(
            self._scenario,
            self._listener.name,
            self._facts,
            tuple(self._stages),
            tuple(self._skipped),
            tuple(self._assumed),
            self._outcome(),
            conditions,
            self._advice() if advised else {},
        )

    def _outcome(self) -> Outcome:
        outcomes = [each.outcome for each in self._stages]
        if Outcome.DENY in outcomes:
            return Outcome.DENY
        return Outcome.PROVIDED if Outcome.PROVIDED in outcomes else Outcome.PERMIT

    def _advice(self) -> dict[str, Advice]:
        last = self._stages[-1]
        return self._parts.chain.advise(last.request) if last.outcome is Outcome.DENY else {}

    def _ask(self, stage: Stage, **more: Any) -> Explanation:
        secret = bool(more.pop("secret_assumed", False))
        assumed = more.pop("assumed", None)
        request = Request(stage, self._facts, self._live_at or 0.0, self._purpose, **more)
        found = self._parts.chain.explain_offline(
            request, secret_assumed=secret, assumed=assumed, live=self._live_at is not None
        )
        self._facts = dataclasses.replace(self._facts, attributes=dict(found.request.connection.attributes))
        self._stages.append(found)
        return found

    def _accept(self) -> None:
        if self._scenario.peer is None:
            self._skipped.append((Stage.ACCEPT, "no address is given"))
            self._assumed.append("address: let in, and for all that follows 127.0.0.1")
        else:
            self._ask(Stage.ACCEPT)

    def _handshake(self) -> None:
        scenario = self._scenario
        if scenario.principal is not None and not scenario.chain and self._facts.tls is not None:
            # Whether it showed a certificate is not said, and a policy may demand one.
            self._skipped.append((Stage.HANDSHAKE, "who the client is is given, and not how it came"))
        else:
            self._ask(Stage.HANDSHAKE)

    def _connect(self) -> None:
        if self._scenario.client_id is None:
            self._skipped.append((Stage.CONNECT, "no Client Identifier is given"))
        else:
            self._ask(Stage.CONNECT)

    def _authenticate(self) -> None:
        scenario = self._scenario
        if scenario.principal is not None:
            how = (
                "however it proves that" if self._is_known(scenario.principal) else "whom no identity policy here knows"
            )
            self._assumed.append(f"identity: the client is {scenario.principal}, {how}")
            found = self._ask(Stage.AUTHENTICATE, assumed=self._given(scenario.principal))
        elif scenario.username is not None:
            self._assumed.append(f"identity: the client knows the password of {scenario.username!r}")
            found = self._ask(Stage.AUTHENTICATE, password=_SECRET, secret_assumed=True)
        else:
            if scenario.chain:
                self._assumed.append("identity: the client has the key of its certificate")
            found = self._ask(Stage.AUTHENTICATE)
        groups = found.verdict.groups | scenario.groups
        if scenario.groups - found.verdict.groups:
            self._assumed.append(f"groups: {', '.join(sorted(scenario.groups - found.verdict.groups))}")
        self._facts = dataclasses.replace(self._facts, principal=found.verdict.principal, groups=groups)

    def _given(self, principal: Principal) -> dict[str, Decision]:
        """Answers that make the client that principal: one PERMIT, and one more from each that must permit."""
        groups = self._known_groups(principal)
        answers: dict[str, Decision] = {}
        for binding in self._parts.chain.bindings:
            if binding.stages.get(Stage.AUTHENTICATE) is not Role.GRANTS or self._listener.name not in binding.on:
                continue
            if not answers or Stage.AUTHENTICATE in binding.required:
                text = "who the client is is given"
                answers[binding.id] = Decision.permit(text=text, principal=principal, groups=groups)
            else:
                answers[binding.id] = Decision.abstain(text="not needed: who the client is is given")
        return answers

    def _identities(self) -> Iterator[KnownIdentity]:
        for binding in self._parts.chain.bindings:
            if IIdentities.providedBy(binding.policy):
                yield from binding.policy.identities()

    def _is_known(self, principal: Principal) -> bool:
        return any(
            each.authority == principal.authority and each.name in (None, principal.name) for each in self._identities()
        )

    def _known_groups(self, principal: Principal) -> frozenset[str]:
        known = (principal.authority, principal.name)
        return frozenset().union(*(each.groups for each in self._identities() if (each.authority, each.name) == known))

    def _skip_action(self, why: str) -> None:
        stage = ACTIONS[self._scenario.action]
        if stage is not None:
            self._skipped.append((stage, why))

    def _act(self) -> None:
        scenario = self._scenario
        stage = ACTIONS[scenario.action]
        if stage is None:
            return
        more: dict[str, Any] = {"qos": scenario.qos, "retain": scenario.retain, "payload": bytes(scenario.size)}
        topic = scenario.topic
        if stage is Stage.SUBSCRIBE:
            more = {"qos": scenario.qos}
            more["share_group"], topic = split_shared(topic)
        self._ask(stage, topic=topic, **more)


def check_scenario(scenario: Scenario) -> Scenario:
    """The scenario, whose words must mean something.

    Raises:
        ConfigError: they do not.
    """
    if scenario.action not in ACTIONS:
        raise ConfigError(f"{scenario.action!r} is nothing a client does{did_you_mean(scenario.action, ACTIONS)}")
    if scenario.principal is not None and scenario.username is not None:
        raise ConfigError("give who the client is, or the user name that it logs in with, and not both")
    try:
        if scenario.action == "subscribe":
            check_topic_filter(scenario.topic)
        elif scenario.action != "connect":
            check_topic_name(scenario.topic)
    except MqttError as error:
        raise ConfigError(f"{scenario.topic!r}: {error}") from error
    return scenario


def unsettled(parts: Parts, trial: Trial) -> set[str]:
    """The policies on which a PROVIDED depends, less those that restrict and say of themselves that they count."""
    counting = {each.id for each in parts.chain.bindings if getattr(each.policy, "stateful", None) is True}
    return {
        answer.policy
        for explanation in trial.stages
        for answer in explanation.answers
        if answer.status is Status.UNKNOWN and (answer.grants or answer.policy not in counting)
    }
