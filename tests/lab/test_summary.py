"""Tests for mqttsecure.lab.summary: the readings beside the sample captures, field by field."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.model import Connection, Outcome
from mqttsecure.lab.summary import frames_of, summary_of
from tests.lab.samples import CAPTURES, all_samples, one_connection, sample_reading


class SampleTests(SynchronousTestCase):
    """What another program read in the same captures."""

    maxDiff = None

    def compare(self, name: str, expected: Any, *, keys: bool) -> Connection:
        connection = one_connection(name, keys=keys)
        self.assertEqual(summary_of(connection), expected["summary"], name)
        self.assertEqual(frames_of(connection), expected["frames"], name)
        return connection

    def test_there_are_samples(self) -> None:
        """All of them, unchanged."""
        self.assertEqual(len(all_samples()), 21)
        for name in all_samples():
            digest = hashlib.sha256((CAPTURES / name).read_bytes()).hexdigest()
            self.assertEqual(digest, sample_reading(name)["sha256"], name)

    def test_agrees_with_the_key_log(self) -> None:
        """Each field of each frame, decrypted."""
        for name in all_samples():
            expected = sample_reading(name)["with_key_log"]
            if expected is not None:
                self.compare(name, expected, keys=True)

    def test_agrees_without_key_log(self) -> None:
        """Each field of each frame, as anybody on the way sees it."""
        for name in all_samples():
            expected = sample_reading(name)["without_key_log"]
            if expected is not None:
                self.compare(name, expected, keys=False)

    def test_agrees_on_signatures(self) -> None:
        """What was computed from the bytes with another library: the chain, and the signature of ServerKeyExchange."""
        compared = 0
        for name in all_samples():
            checked = sample_reading(name).get("checked_from_the_bytes")
            if checked is None:
                continue
            checks = {check.key: check for check in one_connection(name, keys=False).checks}
            trusted = checks["certificate_trust"].outcome is Outcome.OK
            self.assertEqual(trusted, checked["certificate"] == "chains to lab-ca", name)
            if "server_key_exchange_signature" in checked:
                self.assertEqual(checked["server_key_exchange_signature"], "valid under the certificate key")
                self.assertEqual(checks["server_key_exchange_signature"].outcome, Outcome.OK, name)
                compared += 1
        self.assertGreater(compared, 10)
