# -*- test-case-name: tests.core.test_limits -*-
"""The bounds."""

from __future__ import annotations

import dataclasses

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.limits import Limits
from mqttsecure.wire.constants import MAX_PACKET_IDENTIFIER


class LimitsTests(SynchronousTestCase):
    """Defaults that hold together."""

    def test_defaults(self) -> None:
        """Nothing is unbounded, and each part is below its whole."""
        limits = Limits()
        for field in dataclasses.fields(limits):
            if field.name != "queue_overflow":
                self.assertGreater(getattr(limits, field.name), 0)
        self.assertLessEqual(limits.connect_packet_size, limits.maximum_packet_size)
        self.assertLess(limits.maximum_inflight, MAX_PACKET_IDENTIFIER)
        self.assertLess(limits.receive_maximum, MAX_PACKET_IDENTIFIER)
        self.assertLess(limits.maximum_queued_bytes, limits.maximum_queued_bytes_total)
        self.assertLess(limits.maximum_topic_bytes, limits.connect_packet_size)
