# -*- test-case-name: tests.system.test_fuzz -*-
"""The fuzzer itself, for a few seconds."""

from __future__ import annotations

import random
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connect
from tests.system.fuzz import Mutator, Seeds, fuzz


class FuzzTests(SynchronousTestCase):
    """``python -m tests.system.fuzz``, shorter."""

    def test_three_seconds(self) -> None:
        """Three seconds of mutated packets leave both brokers serving and both canaries singing."""
        outcome = fuzz(3.0, random.SystemRandom().randrange(2**32), Path(self.mktemp()).absolute())
        self.assertEqual([], outcome.problems, str(outcome))
        self.assertGreater(outcome.connections, 50)
        self.assertGreater(outcome.beats, 10)

    def test_seed_repeats(self) -> None:
        """The same seed makes the same bytes, so that what was found can be found again."""

        def streams(seed: int) -> list[bytes]:
            mutator = Mutator(random.Random(seed), Seeds())
            return [mutator.stream(lambda version: encode_packet(Connect(version, "c"), version)) for _ in range(50)]

        self.assertEqual(streams(7), streams(7))
        self.assertNotEqual(streams(7), streams(8))
