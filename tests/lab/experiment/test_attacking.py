# -*- test-case-name: tests.lab.experiment.test_attacking -*-
"""``lab attack`` on the lab's own broker, and the report of it all."""

from __future__ import annotations

import json

from mqttsecure.lab.attacks.outcome import Outcome, Result
from mqttsecure.lab.attacks.table import select
from mqttsecure.lab.experiment.attacking import attack, knock, target_of_lab, write_results
from mqttsecure.lab.experiment.markdown import markdown
from mqttsecure.lab.experiment.record import load_record
from mqttsecure.lab.experiment.setting import running
from mqttsecure.lab.experiment.traffic import RunOptions, run_traffic
from mqttsecure.lab.report.lab_page import lab_page
from tests.lab.experiment.case import SettingCase
from tests.lab.network.case import open_space


class AttackingTests(SettingCase):
    """Mallory tries."""

    def test_from_a_device_that_was_taken_over(self) -> None:
        """All is resisted; bans of one attack do not stand in for the next; a report has it all."""
        open_space().close()  # or skip
        self.up()
        state = running(self.folder)
        run_traffic(self.folder, state, RunOptions(), self.told.append)
        rows = ["A1", "A2", "A3", "A9", "A22", "A23", "B1", "A11"]
        target = target_of_lab(self.folder, state, patience=120)
        results = [knock(state), *attack(target, select(rows), state)]
        self.assertEqual([each for each in results if each.outcome is not Outcome.RESISTED], [])
        self.assertEqual(results[0].seen, "silence")
        write_results(self.folder.attacks, "ours", results)
        text = markdown(load_record(self.folder))
        for expected in ("# Lab report", "ClientHello", "| A9 |", "## Denials", "round trips", "PINGREQ"):
            self.assertIn(expected, text)
        page = lab_page(load_record(self.folder))
        for expected in ("Run 001", "Firewall", "Denials of the policies", "攻击", "PUBLISH → PUBACK", "已抵御"):
            self.assertIn(expected, page)


class ResultsTests(SettingCase):
    """Tables are kept."""

    def test_rows_that_were_not_run_again_stay(self) -> None:
        """Of the same target; another one's are not mixed in."""
        file = self.folder.attacks
        old, new = (Result("A1", "a", Outcome.RESISTED, seen, "r") for seen in ("old", "new"))
        other = Result("A2", "b", Outcome.SUCCEEDED, "x", "r")
        write_results(file, "ours", [old, other])
        write_results(file, "ours", [new])
        rows = json.loads(file.read_text())["results"]
        self.assertEqual([(each["row"], each["seen"]) for each in rows], [("A1", "new"), ("A2", "x")])
        write_results(file, "another", [new])
        self.assertEqual(len(json.loads(file.read_text())["results"]), 1)
