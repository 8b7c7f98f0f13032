"""Tests for mqttsecure.service.usage."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import Principal
from mqttsecure.core.usage import Usage
from mqttsecure.interfaces import IUsage
from mqttsecure.policy.environment import NoUsage
from mqttsecure.service.usage import BrokerUsage
from tests.support.core import Bench


class BrokerUsageTests(SynchronousTestCase):
    """Policies look at what there is."""

    def test_nothing_where_no_broker_runs(self) -> None:
        """In `check`, and before the core is there."""
        for usage in (NoUsage(), BrokerUsage(lambda: None)):
            verifyObject(IUsage, usage)
            self.assertEqual(usage.of(Principal("users", "u")), Usage())
            self.assertFalse(usage.has_session(Principal("users", "u"), "", "a"))
            self.assertFalse(usage.has_subscription("", "a", "t"))
            self.assertIsNone(usage.retained("", "t"))

    def test_of_a_running_core(self) -> None:
        """Sessions, subscriptions and retained messages of one user."""
        bench = Bench()
        usage = BrokerUsage(lambda: bench.core.state)
        client = bench.connected("a", user="u", session_expiry_interval=100)
        owner = bench.core.state.sessions["a"].owner
        client.subscribe("t")
        client.publish("r", b"12345", retain=True)
        self.assertTrue(usage.has_session(owner, "", "a"))
        self.assertFalse(usage.has_session(owner, "tenant", "a"))
        self.assertFalse(usage.has_session(Principal("users", "other"), "", "a"))
        self.assertTrue(usage.has_subscription("", "a", "t"))
        self.assertFalse(usage.has_subscription("", "a", "u"))
        found = usage.of(owner)
        self.assertEqual((found.sessions, found.subscriptions, found.retained_messages), (1, 1, 1))
        self.assertEqual(usage.retained("", "r"), (owner, found.retained_bytes))
