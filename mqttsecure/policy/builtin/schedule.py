# -*- test-case-name: tests.policy.builtin.test_schedule -*-
"""``schedule``: hours, weekdays and dates outside of which nobody, or nobody of some, gets in.

Who is connected when the time ends is judged again then, and goes. For that there is a timer to the next change as long
as there are connections. After a change it is set by the next question: a policy that a reload has replaced is asked no
more, and so sets no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import (
    EVERY_TOPIC,
    ConnectionFacts,
    Decision,
    Effect,
    Purpose,
    Request,
    Role,
    Source,
    Stage,
)
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    IConnectionObserver,
    IPolicy,
    IPolicyEnvironment,
    IPolicyFactory,
    IStateKeeper,
)
from mqttsecure.policy.builtin.calendar_times import Calendar, parse_dates, parse_window, parse_zone
from mqttsecure.policy.builtin.options import PolicyOptions, Problems
from mqttsecure.policy.builtin.whom import Whom, parse_whom

__all__ = ["Schedule", "ScheduleFactory", "ScheduleOptions"]

LONGEST: Final = 300.0
"""Seconds for which an answer is remembered at most: the clock may be set meanwhile."""

_NOT_ABOUT: Final = Decision.abstain(text="the schedule is not about this client", cacheable=True)
_WRITTEN: Final = Decision.abstain(text="it was written when it was time")

_TOPICS: Final = frozenset((Stage.PUBLISH, Stage.DELIVER))

StageName = Literal["AUTHENTICATE", "PUBLISH", "SUBSCRIBE", "DELIVER"]
DayName = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class ScheduleOptions(PolicyOptions):
    """Options of ``schedule``."""

    time_zone: str = Field(
        description="The zone of all times here, by its IANA name: it knows when clocks are put forward and back.",
        examples=["Europe/Berlin"],
    )
    hours: list[str] = Field(
        default=[],
        max_length=32,
        description="Times of day; one that passes midnight belongs to the day on which it begins. Empty: all day.",
        examples=[["08:00-12:00", "13:00-18:00"]],
    )
    days: list[DayName] = Field(
        default=[], description="Days of the week; empty: all.", examples=[["monday", "tuesday"]]
    )
    dates: list[str] = Field(
        default=[],
        max_length=366,
        description="Days, or ranges of them with both ends; empty: for ever.",
        examples=[["2026-09-01/2026-12-20", "2027-01-06"]],
    )
    during: Literal["allow", "deny"] = Field(
        default="allow",
        description='"allow": denies at all other times. "deny": denies at these, as for maintenance.',
        examples=["deny"],
    )
    only: list[str] = Field(
        default=[],
        max_length=256,
        description="Whom it is about, in the words of rules: user:NAME, group:NAME; empty: everyone.",
        examples=[["group:contractors"]],
    )
    stages: list[StageName] = Field(
        default=["AUTHENTICATE"],
        min_length=1,
        description="Where it denies. At AUTHENTICATE it also ends connections when the time is over.",
        examples=[["PUBLISH"]],
    )


@implementer(IPolicy, IConnectionObserver, IStateKeeper)
class Schedule:
    """Denies when it is not time, and abstains when it is."""

    stateful = True

    def __init__(self, options: ScheduleOptions, environment: IPolicyEnvironment) -> None:
        self._environment = environment
        self._calendar = Calendar(
            parse_zone(options.time_zone),
            [parse_window(each) for each in options.hours],
            options.days,
            [parse_dates(each) for each in options.dates],
        )
        self._denies_during = options.during == "deny"
        self._whom = Whom(options.only)
        self.stages: Mapping[Stage, Role] = {Stage(name): Role.RESTRICTS for name in options.stages}
        self._source: Source = environment.source()
        self._timer: Any = None
        self._connections: set[int] = set()
        self._answer: Decision | None = None

    def decide(self, request: Request) -> Decision:
        """DENY when it is not time for the client, else ABSTAIN; either holds until the next change."""
        if request.stage not in self.stages:
            return _NOT_ABOUT
        if request.stage is Stage.PUBLISH and request.purpose is Purpose.RECHECK:
            return _WRITTEN
        if not self._whom.includes(request):
            return _NOT_ABOUT
        answer = self._answer
        if answer is None or answer.valid_until is None or request.now >= answer.valid_until:
            answer = self._answer = self._now(request.now)
        if request.purpose is Purpose.RECHECK:
            self._set_timer()
        return answer if request.stage in _TOPICS else replace(answer, scope=None)

    # Connections, and the timer that ends them

    def connection_opened(self, connection: ConnectionFacts) -> None:
        """Nothing is to be ended yet."""

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        self._connections.add(connection.connection_id)
        self._set_timer()

    def connection_closed(self, connection: ConnectionFacts) -> None:
        self._connections.discard(connection.connection_id)
        if not self._connections:
            self.save()

    def inherit(self, previous: IPolicy) -> None:
        """There is nothing to take over."""

    def save(self) -> None:
        """The broker stops, or nobody is there: leave no timer behind."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _now(self, now: float) -> Decision:
        moment = self._environment.wall_clock()
        change = self._calendar.next_change(moment)
        valid_until = now + min((change - moment).total_seconds(), LONGEST)
        until = self._calendar.local(change)
        if self._calendar.holds(moment) is not self._denies_during:
            return Decision.abstain(
                "schedule", f"it is time, until {until}", cacheable=True, valid_until=valid_until, scope=EVERY_TOPIC
            )
        return Decision(
            Effect.DENY,
            "schedule",
            f"it is not time ({self._calendar.local(moment)}); next at {until}",
            self._source,
            cacheable=True,
            valid_until=valid_until,
            scope=EVERY_TOPIC,
        )

    def _set_timer(self) -> None:
        if self._timer is not None or not self._connections:
            return
        moment = self._environment.wall_clock()
        seconds = (self._calendar.next_change(moment) - moment).total_seconds()
        self._timer = self._environment.clock.callLater(max(seconds, 0.0), self._changed)

    def _changed(self) -> None:
        self._timer = None
        self._answer = None
        self._environment.request_rejudging()


@implementer(IPolicyFactory)
class ScheduleFactory:
    """Builds :class:`Schedule`."""

    interface_version = INTERFACE_VERSION
    name = "schedule"
    summary = "at which hours, weekdays and dates"
    stages: Mapping[Stage, Role] = {
        Stage.AUTHENTICATE: Role.RESTRICTS,
        Stage.PUBLISH: Role.RESTRICTS,
        Stage.SUBSCRIBE: Role.RESTRICTS,
        Stage.DELIVER: Role.RESTRICTS,
    }
    options = ScheduleOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: ScheduleOptions, environment: IPolicyEnvironment) -> Schedule:
        problems = Problems(environment)
        problems.attempt("time_zone", parse_zone, options.time_zone)
        for option, parse in (("hours", parse_window), ("dates", parse_dates), ("only", parse_whom)):
            for index, each in enumerate(getattr(options, option)):
                problems.attempt(option, parse, each, index)
        if not (options.hours or options.days or options.dates):
            problems.add(None, 'it names no time; give hours = ["08:00-18:00"], days or dates')
        problems.done()
        return Schedule(options, environment)
