"""Tests for mqttsecure.policy.builtin.calendar_times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.calendar_times import (
    DAYS,
    HORIZON,
    Calendar,
    Window,
    parse_dates,
    parse_window,
    parse_zone,
)

BERLIN = parse_zone("Europe/Berlin")


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _calendar(*hours: str, days: tuple[str, ...] = (), dates: tuple[str, ...] = ()) -> Calendar:
    return Calendar(BERLIN, [parse_window(each) for each in hours], days, [parse_dates(each) for each in dates])


class CalendarTests(SynchronousTestCase):
    """When it is time, in a zone that has summer time."""

    def test_table_of_moments(self) -> None:
        """Begin is included, end is not; what passes midnight belongs to the day on which it begins."""
        office = _calendar("08:00-18:00", days=("monday", "friday"))
        night = _calendar("22:00-06:00", days=("friday",), dates=("2026-07-03",))
        for calendar, moment, expected in (
            (office, "2026-07-03T05:59:59", False),
            (office, "2026-07-03T06:00:00", True),
            (office, "2026-07-03T15:59:59", True),
            (office, "2026-07-03T16:00:00", False),
            (office, "2026-07-04T10:00:00", False),
            (office, "2026-12-04T06:30:00", False),  # in winter an hour later
            (office, "2026-12-04T07:00:00", True),
            (night, "2026-07-03T19:59:59", False),
            (night, "2026-07-03T20:00:00", True),
            (night, "2026-07-04T03:59:59", True),
            (night, "2026-07-04T04:00:00", False),
            (night, "2026-07-10T20:00:00", False),
        ):
            self.assertEqual(calendar.holds(_utc(moment)), expected, moment)

    def test_changes_where_clocks_are_put_forward_and_back(self) -> None:
        """What ends in the hour that is left out ends with it, and in the hour that comes twice each time."""
        calendar = _calendar("01:00-02:30")
        # On 2026-03-29 02:00 becomes 03:00, at 01:00 UTC.
        self.assertEqual(calendar.next_change(_utc("2026-03-29T00:30:00")), _utc("2026-03-29T01:00:00"))
        # On 2026-10-25 03:00 becomes 02:00, at 01:00 UTC.
        self.assertEqual(calendar.next_change(_utc("2026-10-25T00:00:00")), _utc("2026-10-25T00:30:00"))
        self.assertEqual(calendar.next_change(_utc("2026-10-25T00:30:00")), _utc("2026-10-25T01:00:00"))
        self.assertEqual(calendar.next_change(_utc("2026-10-25T01:00:00")), _utc("2026-10-25T01:30:00"))

    def test_far_away(self) -> None:
        """A change beyond the horizon is looked for again there."""
        moment = _utc("2026-01-01T00:00:00")
        self.assertEqual(_calendar(dates=("2026-09-01/2026-12-20",)).next_change(moment), moment + HORIZON)
        self.assertEqual(_calendar().next_change(moment), moment + HORIZON)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.builds(Window, st.integers(0, 1439), st.integers(0, 1440)).filter(lambda each: each.begins != each.ends),
            max_size=3,
        ),
        st.lists(st.sampled_from(DAYS), max_size=3),
        st.integers(0, 2 * 366 * 24 * 60),
        st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
    )
    def test_nothing_changes_before_the_next_change(
        self, windows: list[Window], days: list[str], minutes: int, zone: str
    ) -> None:
        """Minute by minute the answer is the same until then, and another one at it."""
        calendar = Calendar(parse_zone(zone), windows, days)
        moment = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
        change = calendar.next_change(moment)
        now = calendar.holds(moment)
        each = moment
        while each < min(change, moment + timedelta(days=2)):
            self.assertEqual(calendar.holds(each), now, each)
            each += timedelta(minutes=1)
        if change < moment + HORIZON:
            self.assertNotEqual(calendar.holds(change), now)

    def test_what_is_none(self) -> None:
        """Each with how it is written."""
        for parse, texts in (
            (parse_window, ("8:00-18:00", "08:00", "08:00-08:00", "24:00-06:00", "08:60-09:00", "08:00-25:00", "")),
            (parse_dates, ("2026-02-30", "2026-09-01/", "2026-09-02/2026-09-01", "0001-01-01", "9999-12-31", "x")),
            (parse_zone, ("Europe/Nowhere", "", "../etc/passwd", "/etc/passwd", "\0", "x" * 1000)),
        ):
            for text in texts:
                error = self.assertRaises(ValueError, parse, text)
                self.assertTrue("write" in str(error) or "install" in str(error), str(error))
