# -*- test-case-name: tests.lab.report.test_comparison -*-
"""What ships with the package to compare with is what the captures say (lab rows E3 and E4)."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.model import Connection
from mqttsecure.lab.report.comparison import TITLES, comparison, read_references, reference_of, this_row
from tests.lab.report.reference import FILE, references
from tests.lab.samples import one_connection


class ComparisonTests(SynchronousTestCase):
    """Handshakes side by side."""

    def test_shipped_is_measured(self) -> None:
        """Where it is not: ``python -m tests.lab.report.reference``."""
        self.assertEqual(json.loads(FILE.read_text(encoding="utf-8")), json.loads(json.dumps(references())))

    def test_round_trips(self) -> None:
        """1.2 full takes two, 1.2 resumed one, 1.3 one, 1.3 after a retry two."""
        counted = {each.key: each.tls for each in read_references()}
        expected = {
            "tls12-rsa": 2,
            "tls12-ecdhe": 2,
            "tls12-mutual": 2,
            "tls12-resumed": 1,
            "tls13": 1,
            "tls13-retry": 2,
        }
        self.assertEqual(counted, expected)
        self.assertEqual(set(counted), set(TITLES))

    def test_what_differs(self) -> None:
        """RSA has no forward secrecy, TLS 1.3 hides the certificate, a resumed session sends none."""
        found = {each.key: (each.forward_secrecy, each.readable_certificate) for each in read_references()}
        self.assertEqual(found["tls12-rsa"], (False, True))
        self.assertEqual(found["tls12-ecdhe"], (True, True))
        self.assertEqual(found["tls12-resumed"][1], None)
        self.assertEqual(found["tls13"], (True, False))

    def test_this_capture_beside_them(self) -> None:
        """A row of its own; none without TLS."""
        row = this_row(one_connection("tls12-ecdhe-rsa.pcap"))
        self.assertEqual(row[1:4] if row is not None else None, [2, 3, "2,069"])
        self.assertIn("2,069", comparison([row] if row is not None else []))
        self.assertIsNone(this_row(one_connection("plain-v5.pcap")))
        self.assertRaises(ValueError, reference_of, "x", "x", _without_handshake())


def _without_handshake() -> Connection:
    connection = one_connection("plain-v5.pcap")
    connection.round_trips = None
    return connection
