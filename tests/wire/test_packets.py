# -*- test-case-name: tests.wire.test_packets -*-
"""The packet classes."""

from __future__ import annotations

import typing

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire import packets
from mqttsecure.wire.properties import property_type


class PacketTests(SynchronousTestCase):
    """Plain values, one class per packet type."""

    def test_properties_are_not_shared(self) -> None:
        """What I add to one packet does not turn up in another."""
        first = packets.Publish("a")
        first.properties["topic_alias"] = 1
        self.assertEqual(packets.Publish("a").properties, {})

    def test_all_types_are_in_the_union(self) -> None:
        """There are fifteen packet types, and all are packets."""
        self.assertEqual(len(typing.get_args(packets.Packet)), 15)

    def test_every_property_has_a_representation(self) -> None:
        """Each of the 27 properties of the standard can be written."""
        names = packets.Properties.__annotations__
        self.assertEqual(len(names), 27)
        for name in names:
            self.assertTrue(property_type(name))
