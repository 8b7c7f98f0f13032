# -*- test-case-name: tests.lab.report.test_chinese -*-
"""Whatever is explained in English is explained in Chinese."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.explain import EXPLANATIONS
from mqttsecure.lab.history import VERSIONS
from mqttsecure.lab.model import Corrected, Finding, Outcome, Verdict
from mqttsecure.lab.report import chinese
from mqttsecure.lab.report.chinese_values import line_in_chinese
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

    def test_lines_of_all_captures(self) -> None:
        """Values, checks and what a capture shows of the old text: Chinese, or names and numbers alone."""
        left = set()
        for name in all_samples():
            for connection in read_sample(name).connections:
                lines = [each.value for each in connection.messages]
                lines += [each.text for each in connection.checks]
                lines += [each.here for each in connection.corrections]
                left |= {each for each in lines if not CHINESE.search(line_in_chinese(each))}
        names = re.compile(r"|early_data|0x[0-9a-f]+ .+|CN=[^ ]*( \w+)*(,O=.*)?|MQTT [\d.]+: [A-Z, ]+")
        self.assertEqual([each for each in sorted(left) if not names.fullmatch(each)], [])

    def test_what_a_capture_holds_stays_as_it_is(self) -> None:
        """Names in a line are not translated, nor taken for a form; long lines are left alone, and cost no time."""
        line = "MQTT 5.0, client identifier 'a\\1', user 'server' with a password"
        self.assertEqual(line_in_chinese(line), "MQTT 5.0，客户端标识符 'a\\1'，用户 'server'，带密码")
        self.assertEqual(line_in_chinese("from here on the server encrypts"), "从这里起服务器开始加密")
        self.assertEqual(line_in_chinese("offers " + ", " * 100_000), "offers " + ", " * 100_000)
        self.assertEqual(line_in_chinese("of the future"), "of the future")
        self.assertTrue(
            line_in_chinese("needs a key log; the client went on all the same").endswith("；客户端仍然继续")
        )

    def test_verdict(self) -> None:
        """What was agreed, once each, and how it went."""
        self.assertEqual(
            verdict_in_chinese(one_connection("tls13.pcap")),
            "TLS 1.3，x25519，AES-256-GCM，证书 broker.lab.test，由 MQTT Lab CA 颁发，"
            "密码不可见；握手完成，并交换了数据",
        )

    def test_each_state(self) -> None:
        """Of a check; and each outcome of a verdict, a future one by its key."""
        self.assertEqual(set(STATES), set(Outcome))
        connection = one_connection("plain-v5.pcap")
        connection.verdict = Verdict("of_the_future", False, "text")
        self.assertIn("of_the_future", verdict_in_chinese(connection))
