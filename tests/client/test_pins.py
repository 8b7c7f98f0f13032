"""Fingerprints of certificates."""

from __future__ import annotations

import hashlib

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.failures import OptionsInvalid
from mqttsecure.client.pins import check_pin, fingerprint, pin_matches

_HEX = hashlib.sha256(b"certificate").hexdigest()


class PinTests(SynchronousTestCase):
    """I copy a fingerprint from somewhere."""

    def test_forms(self) -> None:
        """As openssl prints it and as we print it are the same."""
        colons = ":".join(_HEX[i : i + 2] for i in range(0, 64, 2)).upper()
        for pin in (f"sha256:{_HEX}", f"sha256:{colons}", f"SHA256:{_HEX.upper()}"):
            check_pin(pin)
            self.assertTrue(pin_matches(pin, b"certificate"), pin)
            self.assertFalse(pin_matches(pin, b"other"), pin)
        self.assertEqual(fingerprint(b"certificate"), f"sha256:{_HEX}")

    def test_refused(self) -> None:
        """Half a fingerprint, another hash or none is no pin."""
        for pin in (
            "",
            "sha256:",
            _HEX,
            f"sha256:{_HEX[:-1]}",
            f"sha256:{_HEX}0",
            f"sha1:{_HEX[:40]}",
            f"sha256:{'g' * 64}",
        ):
            self.assertRaises(OptionsInvalid, check_pin, pin)
