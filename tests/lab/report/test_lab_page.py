# -*- test-case-name: tests.lab.report.test_lab_page -*-
"""The page of a lab: runs, firewall, denials, attacks, and the corrections by all that the runs show."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.experiment.record import LabRecord, RunRecord
from mqttsecure.lab.report.lab_page import lab_page
from tests.lab.report.test_html import read
from tests.lab.samples import read_sample

__all__ = ["SUMMARY", "record"]

SUMMARY: Final[dict[str, Any]] = {
    "time": "2026-11-26T19:00:00+00:00",
    "options": {"tls": "1.2", "mutual": True, "suites": None},
    "published": [{"topic": "lab/temp"}],
    "received": [],
    "failures": {"subscriber": "gave up <b>"},
    "password_visible": False,
    "counters": [{"chain": "accept", "comment": "lan <i>", "verdict": "drop", "packets": 1234, "bytes": 0}],
}


def record() -> LabRecord:
    """A lab of two runs, with something in each section."""
    attack = {
        "row": "A1",
        "attack": "guess <u>",
        "outcome": "resisted",
        "seen": f"refused; {'ab12' * 40}",
        "required": "refusal",
    }
    return LabRecord(
        Path("/somewhere/mylab"),
        "",
        [
            RunRecord("001", SUMMARY, read_sample("tls12-mtls.pcap")),
            RunRecord("002", {**SUMMARY, "password_visible": True, "counters": []}, read_sample("plain-v5.pcap")),
        ],
        [{"time": "now", "target": "ours", "results": [attack, {**attack, "row": "A2", "outcome": "succeeded"}]}],
        [{"stage": "publish", "policy": None, "line": 7, "text": "no rule <s> permits it"}] * 3,
    )


class LabPageTests(SynchronousTestCase):
    """A student hands it in."""

    def test_all_sections(self) -> None:
        """Each run with its connections, counters of the kernel, denials counted, attacks coloured, corrections."""
        page = lab_page(record())
        for expected in (
            "Lab report: mylab",
            "Run 001</span>",
            "tls 1.2, mutual<",
            "1,234",
            "default deny",
            '<span class="cell">3</span>',
            '<b class="ok"><span lang="en">resisted</span><span lang="zh">已抵御</span></b>',
            '<b class="bad"><span lang="en">SUCCEEDED</span>',
            "NO TLS",
            'id="corrections"',
            'id="comparison"',
        ):
            self.assertIn(expected, page)

    def test_what_strangers_wrote(self) -> None:
        """Texts of rules, denials and attacks are texts."""
        self.assertEqual(set(read(lab_page(record())).tags) & {"i", "u", "s", "script"}, set())

    def test_only_runs(self) -> None:
        """No attack and no denial yet: no empty section."""
        lab = record()
        lab.attacks, lab.decisions = [], []
        page = lab_page(lab)
        self.assertNotIn('id="attacks"', page)
        self.assertNotIn('id="denials"', page)

    def test_anchors_are_unique(self) -> None:
        """A link within the page leads to one place, though each run has a connection 1."""
        lab = record()
        lab.runs.append(RunRecord("003", SUMMARY, read_sample("tls13.pcap")))
        page = lab_page(lab)
        names = [part.partition('"')[0] for part in page.split(' id="')[1:]]
        self.assertEqual(sorted(names), sorted(set(names)))
