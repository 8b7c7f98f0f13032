# -*- test-case-name: tests.lab.experiment.test_traffic -*-
"""``lab run``, in a LAN and without."""

from __future__ import annotations

import json

from mqttsecure.errors import LabError
from mqttsecure.lab.experiment.setting import running, set_up, take_down
from mqttsecure.lab.experiment.traffic import CAPTURE, RUN, Run, RunOptions, run_traffic
from mqttsecure.lab.network.plan import Mode
from tests.lab.experiment.case import SettingCase
from tests.lab.network.case import open_space


class TrafficTests(SettingCase):
    """Messages go through, and the capture shows how."""

    def traffic(self, options: RunOptions) -> Run:
        return run_traffic(self.folder, running(self.folder), options, self.told.append)

    def test_in_a_lan(self) -> None:
        """All messages arrive, the capture opens by the keys in it, no password is readable; old suites are refused."""
        open_space().close()  # or skip
        self.up()
        run = self.traffic(RunOptions(tls="1.2"))
        self.assertTrue(run.complete, run)
        assert run.reading is not None
        self.assertEqual(len(run.reading.connections), 2)
        for connection in run.reading.connections:
            self.assertIn("TLS 1.2, ECDHE", connection.verdict.text)
            kinds = {message.kind for message in connection.messages}
            self.assertTrue(
                any("PINGREQ" in kind.upper() for kind in kinds) or connection.client.address != "10.77.0.30", kinds
            )
        summary = json.loads((run.folder / RUN).read_text())
        self.assertTrue(summary["complete"])
        self.assertGreater(sum(each["packets"] for each in summary["counters"]), 0)
        again = self.traffic(RunOptions(tls="1.2", resume=True))
        self.assertIs(again.resumed, False)
        assert again.reading is not None
        self.assertEqual(len(again.reading.connections), 4)
        refused = self.traffic(RunOptions(tls="1.2", suites="AES128-SHA256"))
        self.assertFalse(refused.complete)
        self.assertIn("subscriber", refused.failures)
        assert refused.reading is not None
        self.assertTrue(refused.reading.connections[0].verdict.refused)

    def test_without_tls(self) -> None:
        """Named twice, it is possible, and the password stands in the capture: what TLS is for."""
        open_space().close()  # or skip
        with self.assertRaisesRegex(LabError, "no listener without TLS; bring the lab up with one: .*--plaintext"):
            self.up()
            self.traffic(RunOptions(plaintext=True))
        take_down(self.folder)
        set_up(self.folder, plaintext=True, tell=self.told.append)
        run = self.traffic(RunOptions(plaintext=True))
        self.assertTrue(run.password_visible)
        self.assertFalse(run.complete)
        self.assertEqual(len(run.received), 4)
        self.assertFalse(self.traffic(RunOptions()).password_visible)

    def test_without_a_lan(self) -> None:
        """A relay draws the frames; with certificates in place of passwords."""
        try:
            self.up(Mode.LOOPBACK)
        except LabError as error:
            self.skipTest(f"the address of the lab is taken: {error}")
        run = self.traffic(RunOptions(tls="1.3", mutual=True))
        self.assertTrue(run.complete, run)
        assert run.reading is not None
        self.assertEqual(len(run.reading.connections), 2)
        self.assertTrue((run.folder / CAPTURE).stat().st_size)
