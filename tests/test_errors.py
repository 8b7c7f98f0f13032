# -*- test-case-name: tests.test_errors -*-
"""The error tree."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure import errors
from mqttsecure.wire.constants import ReasonCode


class ErrorTests(SynchronousTestCase):
    """What can go wrong, and what the peer is told."""

    def test_every_peer_fault_has_a_reason_code(self) -> None:
        """Each fault of a peer maps to a Reason Code of the standard that says failure."""
        kinds = [
            kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MqttError)
        ]
        self.assertGreater(len(kinds), 15)
        for kind in kinds:
            self.assertGreaterEqual(ReasonCode(kind.reason_code), 0x80, kind)
        codes = [kind.reason_code for kind in kinds]
        self.assertEqual(len(set(codes)), len(codes), "two faults share a Reason Code")

    def test_all_is_complete(self) -> None:
        """Every error of the module is public, and every one has a word on what it means."""
        kinds = {
            name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
        }
        self.assertEqual(sorted(kinds), sorted(errors.__all__))
        for kind in kinds.values():
            self.assertTrue(issubclass(kind, errors.MqttsecureError))
            self.assertTrue(kind.__doc__)

    def test_our_own_bug_is_no_fault_of_a_peer(self) -> None:
        """A packet that we must not send does not close a connection with a Reason Code for its peer."""
        self.assertFalse(issubclass(errors.EncodeError, errors.MqttError))
        self.assertTrue(issubclass(errors.EncodeError, ValueError))

    def test_config_error_tells_all_at_once(self) -> None:
        """A config with three mistakes tells three lines, and a single text is one of them."""
        several = errors.ConfigError(["a:1: x", "a:2: y", "a:3: z"])
        self.assertEqual(several.problems, ["a:1: x", "a:2: y", "a:3: z"])
        self.assertEqual(str(several), "a:1: x\na:2: y\na:3: z")
        self.assertEqual(errors.PolicyLoadError("a:1: x").problems, ["a:1: x"])
