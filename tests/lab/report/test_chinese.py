# -*- test-case-name: tests.lab.report.test_chinese -*-
"""Whatever is explained in English is explained in Chinese."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.explain import EXPLANATIONS
from mqttsecure.lab.history import VERSIONS
from mqttsecure.lab.model import Corrected, Finding, Outcome, Verdict
from mqttsecure.lab.report import chinese
from mqttsecure.lab.report.words import STATES, check_name, finding_in_chinese, verdict_in_chinese
from tests.lab.samples import all_samples, one_connection, read_sample

CHINESE = re.compile("[\u4e00-\u9fff]")


class ChineseTests(SynchronousTestCase):
    """A reader who wants no English."""

    def test_each_message(self) -> None:
        """All kinds, three texts each, in Chinese."""
        self.assertEqual(set(chinese.EXPLANATIONS), set(EXPLANATIONS))
        for key, english in EXPLANATIONS.items():
            found = chinese.in_chinese(key, english)
            for text in (found.what, found.why, found.attacker):
                self.assertRegex(text, CHINESE, key)
            self.assertEqual(found.specification, english.specification)

    def test_corrections_and_history(self) -> None:
        """Each row of the old lab text, each version."""
        for each in one_connection("tls12-ecdhe-rsa.pcap").corrections:
            for text in chinese.corrected_in_chinese(each):
                self.assertRegex(text, CHINESE, each.row)
        for version in VERSIONS:
            self.assertRegex(chinese.history_in_chinese(version), CHINESE, version.name)

    def test_what_nobody_has_translated(self) -> None:
        """English is better than nothing."""
        english = EXPLANATIONS["tls.alert"]
        self.assertIs(chinese.in_chinese("tls.of_the_future", english), english)
        self.assertEqual(chinese.corrected_in_chinese(Corrected("Z9", "said", "wire")), ("said", "wire"))
        self.assertEqual(finding_in_chinese(Finding("of_the_future", "red", "text")), "text")
        self.assertEqual(check_name("of_the_future"), ("of the future", "of the future"))

    def test_samples(self) -> None:
        """Verdicts, findings and checks of all captures have Chinese words."""
        for name in all_samples():
            for connection in read_sample(name).connections:
                self.assertRegex(verdict_in_chinese(connection), CHINESE, name)
                for finding in connection.verdict.findings:
                    self.assertRegex(finding_in_chinese(finding), CHINESE, finding.key)
                for check in connection.checks:
                    self.assertRegex(check_name(check.key)[1], CHINESE, check.key)

    def test_each_state(self) -> None:
        """Of a check; and each outcome of a verdict, a future one by its key."""
        self.assertEqual(set(STATES), set(Outcome))
        connection = one_connection("plain-v5.pcap")
        connection.verdict = Verdict("of_the_future", False, "text")
        self.assertIn("of_the_future", verdict_in_chinese(connection))
