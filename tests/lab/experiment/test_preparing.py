# -*- test-case-name: tests.lab.experiment.test_preparing -*-
"""``lab init``."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import LabError
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.preparing import prepare
from mqttsecure.service.assembly import check
from mqttsecure.service.config import load_config
from tests.lab.experiment.case import short_folder
from tests.support.openssl import openssl


class PreparingTests(SynchronousTestCase):
    """Someone begins a lab."""

    def test_all_that_is_needed(self) -> None:
        """The broker takes the policy without a warning; secrets are for their owner alone; certificates fit."""
        folder = short_folder(self, prepared=False)
        made = prepare(folder, datetime.now(UTC))
        self.assertEqual(check(load_config(folder.policy)).warnings, ())
        for path in made:
            if path.suffix in (".key", ".password", ".conf") or path.name == "users":
                self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)
        for host in ("broker.lab.test", "10.77.0.10", "127.77.0.10", "10.99.0.10"):
            option = "-verify_ip" if host[0].isdigit() else "-verify_hostname"
            openssl(
                "verify", "-CAfile", folder.ca_file, "-purpose", "sslserver", option, host, folder.path / "broker.pem"
            )
        openssl("verify", "-CAfile", folder.ca_file, "-purpose", "sslclient", folder.path / "alice.pem")
        openssl("verify", "-CAfile", folder.ca_file, "-purpose", "sslserver", folder.bad / "good.pem")

    def test_nothing_is_overwritten(self) -> None:
        """Neither a lab nor anything else."""
        folder = short_folder(self)
        with self.assertRaisesRegex(LabError, "is not empty; name another folder, or .*lab up"):
            prepare(folder, datetime.now(UTC))

    def test_folders_that_do_not_do(self) -> None:
        """Too long for a socket, or where the hosts have something of their own."""
        for path, reason in (
            (Path("/tmp") / ("x" * 100), "too long for a socket"),
            (Path("/run/lab"), "put the lab elsewhere"),
        ):
            with self.assertRaisesRegex(LabError, reason):
                LabFolder.at(path)
        with self.assertRaisesRegex(LabError, "holds no lab; prepare one with: mqttsecure lab init"):
            short_folder(self, prepared=False).existing()

    def test_runs_are_numbered(self) -> None:
        """And only finished ones count as the last."""
        folder = short_folder(self)
        first, second = folder.new_run(), folder.new_run()
        self.assertEqual((first.name, second.name), ("001", "002"))
        self.assertIsNone(folder.latest_run())
        (first / "run.json").touch()
        self.assertEqual(folder.latest_run(), first)
