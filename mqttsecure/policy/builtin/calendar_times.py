# -*- test-case-name: tests.policy.builtin.test_calendar_times -*-
"""Hours, weekdays and dates in a time zone, and the moments at which they begin and end.

A window that passes midnight belongs to the day on which it begins. Where a clock is put forward the hour that is left
out passes at once; where it is put back an hour comes twice, and counts twice.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

__all__ = ["DAYS", "HORIZON", "Calendar", "DateRange", "Window", "parse_dates", "parse_window", "parse_zone"]

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

HORIZON: Final = datetime.timedelta(days=8)
"""How far ahead a change is looked for: a week, and a day for windows that pass midnight."""

_DAY: Final = datetime.timedelta(days=1)
_MINUTES: Final = 24 * 60
_WINDOW: Final = re.compile(r"(\d{2}):(\d{2})-(\d{2}):(\d{2})")
_RANGE: Final = re.compile(r"(\d{4}-\d{2}-\d{2})(?:/(\d{4}-\d{2}-\d{2}))?")


@dataclass(slots=True, frozen=True)
class Window:
    """Minutes of a day, from ``begins`` on and before ``ends``, which is past midnight where it is the smaller one."""

    begins: int
    ends: int


@dataclass(slots=True, frozen=True)
class DateRange:
    """Days from the first to the last, both included."""

    first: datetime.date
    last: datetime.date


def parse_window(text: str) -> Window:
    """Read "08:00-18:00"; "22:00-06:00" passes midnight, and "00:00-24:00" is the whole day.

    Raises:
        ValueError: it is none.
    """
    match = _WINDOW.fullmatch(text)
    if match is not None:
        hours = [int(match[1]), int(match[3])]
        minutes = [int(match[2]), int(match[4])]
        begins, ends = (hour * 60 + minute for hour, minute in zip(hours, minutes, strict=True))
        if max(minutes) < 60 and begins < _MINUTES and ends <= _MINUTES and begins != ends:
            return Window(begins, ends)
    raise ValueError(f'{text!r} is no time of day; write it like "08:00-18:00", or "22:00-06:00" past midnight')


def parse_dates(text: str) -> DateRange:
    """Read "2026-09-01/2026-12-20", or one day.

    Raises:
        ValueError: it is none.
    """
    match = _RANGE.fullmatch(text)
    try:
        if match is not None:
            first = datetime.date.fromisoformat(match[1])
            last = first if match[2] is None else datetime.date.fromisoformat(match[2])
            if last < first:
                raise ValueError(f"{text!r} ends before it begins; write the earlier day first")
            # A day at either end has to be there for the arithmetic of zones.
            if first.year >= 1970 and last.year <= 9000:
                return DateRange(first, last)
    except ValueError as error:
        if "ends before" in str(error):
            raise
    raise ValueError(f'{text!r} is no range of days; write it like "2026-09-01/2026-12-20"')


def parse_zone(name: str) -> datetime.tzinfo:
    """The time zone of that name.

    Raises:
        ValueError: there is none, or this machine knows no zones.
    """
    if name == "UTC":
        return datetime.UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f'{name!r} is no time zone that this machine knows; write one like "Europe/Berlin" or "UTC", '
            "or install the package tzdata"
        ) from None


class Calendar:
    """When it is time."""

    def __init__(
        self,
        zone: datetime.tzinfo,
        windows: Sequence[Window] = (),
        days: Sequence[str] = (),
        dates: Sequence[DateRange] = (),
    ) -> None:
        """
        Args:
            zone: of all that follows.
            windows: of a day; none is the whole day.
            days: the names of weekdays; none is all of them.
            dates: none is for ever.
        """
        self._zone = zone
        self._windows = tuple(windows) or (Window(0, _MINUTES),)
        self._days = frozenset(DAYS.index(day) for day in days or DAYS)
        self._dates = tuple(dates)

    def holds(self, moment: datetime.datetime) -> bool:
        """Whether it is time at that moment, which has its zone."""
        local = moment.astimezone(self._zone)
        minute = local.hour * 60 + local.minute
        today = local.date()
        for window in self._windows:
            if window.begins < window.ends:
                if window.begins <= minute < window.ends and self._has(today):
                    return True
            elif (minute >= window.begins and self._has(today)) or (minute < window.ends and self._has(today - _DAY)):
                return True
        return False

    def next_change(self, moment: datetime.datetime) -> datetime.datetime:
        """The next moment at which :meth:`holds` says something else, or the horizon where there is none before it."""
        now = self.holds(moment)
        for candidate in sorted(set(self._edges(moment))):
            if candidate > moment and self.holds(candidate) is not now:
                return candidate
        return moment + HORIZON

    def local(self, moment: datetime.datetime) -> str:
        """A moment in words, in the zone."""
        return f"{moment.astimezone(self._zone):%Y-%m-%d %H:%M %Z}"

    def _has(self, day: datetime.date) -> bool:
        if day.weekday() not in self._days:
            return False
        return not self._dates or any(each.first <= day <= each.last for each in self._dates)

    def _edges(self, moment: datetime.datetime) -> Iterator[datetime.datetime]:
        """All moments up to the horizon at which anything could change, in UTC."""
        minutes = {0, *(each.begins for each in self._windows), *(each.ends % _MINUTES for each in self._windows)}
        first = moment.astimezone(self._zone).date() - _DAY
        for number in range(HORIZON.days + 3):
            day = first + number * _DAY
            for minute in minutes:
                local = datetime.datetime.combine(day, datetime.time(minute // 60, minute % 60), self._zone)
                for fold in (0, 1):
                    yield local.replace(fold=fold).astimezone(datetime.UTC)
            yield from self._shift(day)

    def _shift(self, day: datetime.date) -> Iterator[datetime.datetime]:
        """The moment on that day at which clocks are put forward or back, if there is one."""
        low = datetime.datetime.combine(day, datetime.time(), datetime.UTC)
        high = low + _DAY
        before = low.astimezone(self._zone).utcoffset()
        if high.astimezone(self._zone).utcoffset() == before:
            return
        while high - low > datetime.timedelta(seconds=1):
            middle = low + (high - low) // 2
            if middle.astimezone(self._zone).utcoffset() == before:
                low = middle
            else:
                high = middle
        yield high.replace(microsecond=0)
