# -*- test-case-name: tests.policy.builtin.test_rate_limit -*-
"""``rate-limit``: how many messages and bytes a second a client, a user or a part of the topic tree may have.

The policy only hands out meters; the broker spends them for each message, also where the decision itself is cached.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import partial
from typing import Final, Literal

from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import EVERY_TOPIC, Decision, Disconnect, Effect, Meter, Purpose, Request, Role, Stage
from mqttsecure.interfaces import INTERFACE_VERSION, IPolicy, IPolicyEnvironment, IPolicyFactory
from mqttsecure.policy.builtin.options import PolicyOptions, Problems, parse_rate
from mqttsecure.policy.builtin.token_bucket import BucketTable, RefusingMeter, ThrottlingMeter
from mqttsecure.wire.constants import ReasonCode

__all__ = ["RateLimit", "RateLimitFactory", "RateLimitOptions"]

MAXIMUM_BUCKETS: Final = 65_536
"""Clients, users or prefixes with a bucket of their own, in each direction: four times the connections, about 15 MB.
Only a full bucket is forgotten; while there are more others, newcomers share one."""

_UNLIMITED: Final = Decision.abstain(text="not limited in this direction", cacheable=True, scope=EVERY_TOPIC)

_STAGE_OF_DIRECTION: Final = {
    "publish": (Stage.PUBLISH,),
    "deliver": (Stage.DELIVER,),
    "both": (Stage.PUBLISH, Stage.DELIVER),
}


class RateLimitOptions(PolicyOptions):
    """Options of ``rate-limit``."""

    messages: str | None = Field(
        default=None, description="Messages in a time, in the long run.", examples=["100/second", "10/minute"]
    )
    bytes: str | None = Field(
        default=None, description="Bytes of payload and topic in a time, in the long run.", examples=["1MiB/second"]
    )
    burst: float = Field(
        default=1.0, gt=0, le=3600, description="How many times that amount may come at once.", examples=[5.0]
    )
    per: Literal["client", "user", "topic-prefix"] = Field(
        default="client", description="What is counted together.", examples=["user"]
    )
    prefix_levels: int = Field(
        default=1, ge=1, le=16, description="Levels of the prefix, for topic-prefix.", examples=[2]
    )
    direction: Literal["publish", "deliver", "both"] = Field(
        default="publish", description="Messages to the broker, from it, or either, counted apart.", examples=["both"]
    )
    action: Literal["throttle", "deny", "disconnect"] = Field(
        default="throttle",
        description=(
            "Above the rate: pause reading, refuse the message, or end the connection. Where messages are delivered "
            "there is nothing to pause, and throttle refuses too: the message is not delivered to that client."
        ),
        examples=["deny"],
    )


class _Side:
    """One direction: a table of message meters and one of byte meters, where each is limited."""

    def __init__(self, options: RateLimitOptions, stage: Stage, refusal: Decision) -> None:
        throttles = options.action == "throttle" and stage is Stage.PUBLISH
        self.tables: list[BucketTable[ThrottlingMeter] | BucketTable[RefusingMeter]] = []
        for key, text in (("messages", options.messages), ("bytes", options.bytes)):
            if text is None:
                continue
            amount, seconds = parse_rate(text)
            cost = seconds / amount
            costs = (cost, 0.0) if key == "messages" else (0.0, cost)
            # Below one message's worth nothing could ever pass without debt.
            content = max(options.burst * seconds, cost)
            if throttles:
                self.tables.append(BucketTable(partial(ThrottlingMeter, *costs, content, key), MAXIMUM_BUCKETS))
            else:
                self.tables.append(BucketTable(partial(RefusingMeter, *costs, content, refusal), MAXIMUM_BUCKETS))

    def meters(self, key: Hashable, now: float) -> tuple[Meter, ...]:
        return tuple(table.get(key, now) for table in self.tables)


@implementer(IPolicy)
class RateLimit:
    """Abstains, with the meters that the broker is to spend."""

    stateful = True

    def __init__(self, options: RateLimitOptions, environment: IPolicyEnvironment) -> None:
        self._per = options.per
        self._levels = options.prefix_levels
        self._source = environment.source()
        stages = _STAGE_OF_DIRECTION[options.direction]
        self._sides = {stage: _Side(options, stage, self._refusal(options, stage)) for stage in stages}

    def _refusal(self, options: RateLimitOptions, stage: Stage) -> Decision:
        if options.action == "disconnect":
            return Decision.deny(
                "rate",
                "over the rate",
                source=self._source,
                reason_code=ReasonCode.MESSAGE_RATE_TOO_HIGH,
                obligations=(Disconnect(),),
            )
        # v5.0 section 3.4.2.1: of the two codes that fit, a PUBACK can carry this one alone.
        return Decision.deny("rate", "over the rate", source=self._source, reason_code=ReasonCode.QUOTA_EXCEEDED)

    def decide(self, request: Request) -> Decision:
        """ABSTAIN; the meters are for LIVE messages alone."""
        side = self._sides.get(request.stage)
        if side is None or request.purpose is not Purpose.LIVE:
            return _UNLIMITED
        key = self._key(request)
        meters = side.meters(key, request.now)
        return Decision(
            Effect.ABSTAIN, "rate", source=self._source, cacheable=True, meters=meters, scope=self._scope(request)
        )

    def _scope(self, request: Request) -> str | None:
        """Where the same meters count."""
        if self._per != "topic-prefix":
            return EVERY_TOPIC
        prefix = request.topic.split("/", self._levels)[: self._levels]
        # A shorter topic is counted by itself, and those below it by longer prefixes.
        return "/".join(prefix) + "/#" if len(prefix) == self._levels else None

    def _key(self, request: Request) -> Hashable:
        if self._per == "topic-prefix":
            return "/".join(request.topic.split("/", self._levels)[: self._levels])
        connection = request.connection
        principal = connection.principal
        if principal is None or not principal.shared:
            # Nobody knows who it is, so its connection is all there is to count by.
            return connection.connection_id
        return str(principal) if self._per == "user" else (str(principal), connection.client_id)


@implementer(IPolicyFactory)
class RateLimitFactory:
    """Builds :class:`RateLimit`."""

    interface_version = INTERFACE_VERSION
    name = "rate-limit"
    summary = "how many messages and bytes a second"
    stages: Mapping[Stage, Role] = {Stage.PUBLISH: Role.RESTRICTS, Stage.DELIVER: Role.RESTRICTS}
    options = RateLimitOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: RateLimitOptions, environment: IPolicyEnvironment) -> RateLimit:
        problems = Problems(environment)
        if options.messages is None and options.bytes is None:
            problems.add(None, 'it limits nothing; give messages = "100/second" or bytes = "1MiB/second"')
        for option, text in (("messages", options.messages), ("bytes", options.bytes)):
            if text is not None:
                problems.attempt(option, parse_rate, text)
        problems.done()
        return RateLimit(options, environment)
