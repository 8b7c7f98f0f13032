# -*- test-case-name: tests.lab.attacks.test_grading -*-
"""From attacks to requirements."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.attacks.grading import REQUIREMENTS, grade, rows_needed
from mqttsecure.lab.attacks.outcome import Outcome, Result
from mqttsecure.lab.attacks.table import ATTACKS, select


def results(**outcomes: Outcome) -> list[Result]:
    return [
        Result(each.row, each.words, outcomes.get(each.row, Outcome.RESISTED), "seen", each.required)
        for each in ATTACKS
    ]


class GradingTests(SynchronousTestCase):
    """A broker is graded."""

    def test_all_met(self) -> None:
        """Where everything was resisted."""
        self.assertTrue(all(each.is_met for each in grade(results())))

    def test_one_missing(self) -> None:
        """It says which, by what, and what helps."""
        grades = {each.row: each for each in grade(results(A4=Outcome.SUCCEEDED))}
        self.assertFalse(grades["B1b"].is_met)
        self.assertRegex(grades["B1b"].why, "A4: seen. What helps: decide at SUBSCRIBE")
        self.assertTrue(grades["B1a"].is_met)

    def test_half_is_not_met(self) -> None:
        """Neither is what could not be tried."""
        grades = {each.row: each for each in grade(results(A7=Outcome.UNCLEAR, E2=Outcome.NOT_TRIED))}
        self.assertEqual((grades["B1c"].verdict, grades["E2"].verdict), ("half", "missing"))
        self.assertEqual(grade([])[0].verdict, "missing")

    def test_rows_exist(self) -> None:
        """Each attack that a requirement names, with TLS and without."""
        for plaintext in (False, True):
            self.assertTrue(select(rows_needed(plaintext)))
        self.assertEqual(len({each.row for each in REQUIREMENTS}), len(REQUIREMENTS))
