# -*- test-case-name: tests.policy.builtin.test_quota -*-
"""``quota``: how much one user may have in the broker: sessions, subscriptions, retained messages, what waits for it.

What there is is counted by the broker; this policy looks and denies what would be more. It holds for all clients and
connections of a user together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import (
    EVERY_TOPIC,
    NAMESPACE,
    ConnectionFacts,
    Decision,
    Principal,
    Purpose,
    Request,
    Role,
    Source,
    Stage,
)
from mqttsecure.core.model import MESSAGE_OVERHEAD
from mqttsecure.core.usage import Usage
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    IConnectionObserver,
    IPolicy,
    IPolicyEnvironment,
    IPolicyFactory,
    IUsage,
)
from mqttsecure.policy.builtin.options import PolicyOptions, Problems
from mqttsecure.policy.builtin.whom import Whom, parse_whom, principal_of
from mqttsecure.wire.constants import ReasonCode

__all__ = ["Quota", "QuotaFactory", "QuotaOptions"]

MAXIMUM_METERS: Final = 65_536
"""Users with a meter: four times the connections. They hold no count, so one that is forgotten is made anew."""

_SHARE: Final = 20
"""Looking at a user's sessions may take a twentieth of the time: with thousands of them it is done less often."""

_TOPICS: Final = frozenset((Stage.PUBLISH, Stage.DELIVER))
_UNLIMITED: Final = Decision.abstain(text="no quota here", cacheable=True, scope=EVERY_TOPIC)
_NOT_COUNTED: Final = Decision.abstain(text="only what a client does now is counted")
_WITHIN: Final = Decision.abstain("quota", "within the quota")


class QuotaOptions(PolicyOptions):
    """Options of ``quota``."""

    sessions: int | None = Field(
        default=None,
        ge=1,
        description="Sessions of one user, those included whose client is away.",
        examples=[10],
    )
    subscriptions: int | None = Field(
        default=None, ge=0, description="Subscriptions in all sessions of one user.", examples=[100]
    )
    retained_messages: int | None = Field(
        default=None, ge=0, description="Retained messages that one user has written.", examples=[1000]
    )
    retained_bytes: int | None = Field(
        default=None, ge=0, description="Bytes of them, topics and some overhead included.", examples=[1_048_576]
    )
    inflight: int | None = Field(
        default=None,
        ge=1,
        description="Messages of QoS 1 and 2 sent to one user's clients and not acknowledged yet.",
        examples=[200],
    )
    queued_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Bytes of messages of QoS 1 and 2 that wait for one user's clients, in memory and on disk.",
        examples=[10_485_760],
    )
    only: list[str] = Field(
        default=[],
        max_length=256,
        description="Whom it is about, in the words of rules: user:NAME, group:NAME; empty: everyone.",
        examples=[["group:guests"]],
    )


@implementer(IPolicy, IConnectionObserver)
class Quota:
    """Denies what would be more than a user may have."""

    stateful = True

    def __init__(self, options: QuotaOptions, environment: IPolicyEnvironment) -> None:
        self._options = options
        self._environment = environment
        self._usage: IUsage = environment.usage
        self._whom = Whom(options.only)
        self._coming: dict[int, Principal] = {}
        self._meters: dict[Principal, _WaitingMeter] = {}
        asked = {
            Stage.AUTHENTICATE: options.sessions is not None,
            Stage.SUBSCRIBE: options.subscriptions is not None,
            Stage.PUBLISH: options.retained_messages is not None or options.retained_bytes is not None,
            Stage.DELIVER: options.inflight is not None or options.queued_bytes is not None,
        }
        self.stages: Mapping[Stage, Role] = {stage: Role.RESTRICTS for stage, is_asked in asked.items() if is_asked}
        self._judges: Mapping[Stage, Callable[[Request, Principal], Decision]] = {
            Stage.AUTHENTICATE: self._session,
            Stage.SUBSCRIBE: self._subscription,
            Stage.PUBLISH: self._retained,
            Stage.DELIVER: self._waiting,
        }

    def decide(self, request: Request) -> Decision:
        """ABSTAIN within the quota, and from everything that is not happening now; DENY above it."""
        if request.stage not in self.stages or request.purpose is not Purpose.LIVE or not self._whom.includes(request):
            return _UNLIMITED if request.stage in _TOPICS else _NOT_COUNTED
        principal = principal_of(request)
        if principal is None:
            return self._deny("sessions", "nobody has said who it is (quota has to stand behind the identity policies)")
        return self._judges[request.stage](request, principal)

    # Stages

    def _session(self, request: Request, principal: Principal) -> Decision:
        connection = request.connection
        limit = self._options.sessions or 0
        namespace = connection.attributes.get(NAMESPACE, connection.namespace)
        if connection.client_id and self._usage.has_session(principal, str(namespace), connection.client_id):
            return _WITHIN
        coming = sum(
            1 for other, each in self._coming.items() if each == principal and other != connection.connection_id
        )
        count = self._usage.of(principal).sessions + coming
        if count >= limit:
            return self._deny("sessions", f"{principal} has {count} sessions; at most {limit} are allowed")
        self._coming[connection.connection_id] = principal
        return _WITHIN

    def _subscription(self, request: Request, principal: Principal) -> Decision:
        connection = request.connection
        limit = self._options.subscriptions or 0
        written = request.topic if request.share_group is None else f"$share/{request.share_group}/{request.topic}"
        if self._usage.has_subscription(connection.namespace, connection.client_id, written):
            return _WITHIN
        count = self._usage.of(principal).subscriptions
        if count >= limit:
            return self._deny("subscriptions", f"{principal} has {count} subscriptions; at most {limit} are allowed")
        return _WITHIN

    def _retained(self, request: Request, principal: Principal) -> Decision:
        if not request.retain:
            return _UNLIMITED
        if not request.payload:
            return _WITHIN  # it deletes the topic's
        options = self._options
        usage = self._usage.of(principal)
        messages = usage.retained_messages + 1
        octets = usage.retained_bytes + len(request.topic) + len(request.payload) + MESSAGE_OVERHEAD
        replaced = self._usage.retained(request.connection.namespace, request.topic)
        if replaced is not None and replaced[0] == principal:
            messages -= 1
            octets -= replaced[1]
        if options.retained_messages is not None and messages > options.retained_messages:
            text = f"{principal} has {usage.retained_messages} retained messages, and may have no more"
            return self._deny("retained_messages", text)
        if options.retained_bytes is not None and octets > options.retained_bytes:
            text = f"{principal} would have {octets} bytes of retained messages; at most {options.retained_bytes}"
            return self._deny("retained_bytes", text)
        return _WITHIN

    def _waiting(self, request: Request, principal: Principal) -> Decision:
        if request.qos == 0:
            return _UNLIMITED  # it is sent or lost, and never waits
        meter = self._meters.get(principal)
        if meter is None:
            if len(self._meters) >= MAXIMUM_METERS:
                self._meters.clear()
            meter = self._meters[principal] = _WaitingMeter(principal, self._options, self._usage, self._deny)
        return Decision.abstain("quota", cacheable=True, meters=(meter,), scope=EVERY_TOPIC)

    def _deny(self, rule: str, text: str) -> Decision:
        source: Source = self._environment.source(rule)
        return Decision.deny(rule, text, source=source, reason_code=ReasonCode.QUOTA_EXCEEDED)

    # Clients that were let in, and whose session is not there yet

    def connection_opened(self, connection: ConnectionFacts) -> None:
        """Nobody knows yet whose it is."""

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        self._coming.pop(connection.connection_id, None)

    def connection_closed(self, connection: ConnectionFacts) -> None:
        self._coming.pop(connection.connection_id, None)


class _WaitingMeter:
    """Asked for each message of QoS 1 or 2 to one user, also where the decision itself is remembered."""

    batchable = False

    def __init__(
        self,
        principal: Principal,
        options: QuotaOptions,
        usage: IUsage,
        deny: Callable[[str, str], Decision],
        seconds: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._principal = principal
        self._inflight = options.inflight
        self._octets = options.queued_bytes
        self._usage = usage
        self._deny = deny
        self._seconds = seconds
        self._seen = Usage()
        self._passed = self._passed_octets = 0
        self._not_before = float("-inf")

    def spend(self, messages: int, octets: int, now: float) -> Decision | None:
        """Let the message pass, or not. Between two looks all that passed counts as if none of it had left."""
        if now >= self._not_before:
            self._look(now)
        seen = self._seen
        queued = seen.queued_bytes + self._passed_octets + octets
        if self._octets is not None and queued > self._octets:
            return self._deny("queued_bytes", f"{self._octets} bytes wait for {self._principal}, and no more may")
        if self._inflight is not None and seen.inflight + self._passed >= self._inflight:
            return self._deny("inflight", f"{self._principal} has {self._inflight} messages to acknowledge")
        self._passed += messages
        self._passed_octets += octets
        return None

    def _look(self, now: float) -> None:
        started = self._seconds()
        self._seen = self._usage.of(self._principal)
        self._passed = self._passed_octets = 0
        self._not_before = now + _SHARE * (self._seconds() - started)


@implementer(IPolicyFactory)
class QuotaFactory:
    """Builds :class:`Quota`."""

    interface_version = INTERFACE_VERSION
    name = "quota"
    summary = "how much one user may have in the broker"
    stages: Mapping[Stage, Role] = {
        Stage.AUTHENTICATE: Role.RESTRICTS,
        Stage.PUBLISH: Role.RESTRICTS,
        Stage.SUBSCRIBE: Role.RESTRICTS,
        Stage.DELIVER: Role.RESTRICTS,
    }
    options = QuotaOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: QuotaOptions, environment: IPolicyEnvironment) -> Quota:
        problems = Problems(environment)
        for index, each in enumerate(options.only):
            problems.attempt("only", parse_whom, each, index)
        limits: dict[str, Any] = options.model_dump(exclude={"only"})
        if all(value is None for value in limits.values()):
            problems.add(None, f"it limits nothing; give one of {', '.join(limits)}")
        problems.done()
        return Quota(options, environment)
