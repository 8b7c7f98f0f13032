# -*- test-case-name: tests.lab.attacks.test_mosquitto -*-
"""A Mosquitto to compare with."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import LabError
from mqttsecure.lab.attacks import mosquitto as module
from mqttsecure.lab.attacks.mosquitto import mosquitto
from mqttsecure.lab.attacks.outcome import Outcome
from mqttsecure.lab.attacks.table import run_attacks, select
from mqttsecure.lab.attacks.target import Target
from mqttsecure.lab.experiment.attacking import account_of
from tests.lab.experiment.case import short_folder
from tests.support.foreign import require


class MosquittoTests(SynchronousTestCase):
    """The same attacks on another make."""

    def test_what_it_is_known_for(self) -> None:
        """It throws owners of Client Identifiers out, grants what it will not deliver, and refuses wrong passwords."""
        require("mosquitto")
        folder = short_folder(self)
        writer, reader = account_of(folder, "alice"), account_of(folder, "bob")
        certificate, key = folder.path / "broker.pem", folder.path / "broker.key"
        with mosquitto(certificate, key, writer, reader, "lab") as port:
            target = Target("127.0.0.1", port, True, "broker.lab.test", str(folder.ca_file), writer, reader)
            found = {each.row: each.outcome for each in run_attacks(target, select(["A1", "A2", "A3", "A6", "A10"]))}
        self.assertEqual(found, {
            "A1": Outcome.RESISTED, "A2": Outcome.RESISTED, "A3": Outcome.SUCCEEDED, "A6": Outcome.RESISTED,
            "A10": Outcome.SUCCEEDED,
        })  # fmt: skip

    def test_not_installed(self) -> None:
        """With the package."""
        self.patch(module, "environment", lambda: {"PATH": "/nowhere"})
        folder = short_folder(self)
        accounts = account_of(folder, "alice"), account_of(folder, "bob")
        with (
            self.assertRaisesRegex(LabError, "install the package mosquitto"),
            mosquitto(folder.path, folder.path, *accounts, "lab"),
        ):
            pass

    def test_a_certificate_that_is_none(self) -> None:
        """Its own words are told, and nothing is left running."""
        require("mosquitto")
        folder = short_folder(self)
        accounts = account_of(folder, "alice"), account_of(folder, "bob")
        with (
            self.assertRaisesRegex(LabError, "mosquitto does not start: ."),
            mosquitto(folder.policy, folder.policy, *accounts, "lab"),
        ):
            pass
