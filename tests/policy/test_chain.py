"""Tests of the policy chain as a whole; the rules of the fold are in test_fold."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Principal, Purpose, Role, Stage
from tests.support.policies import (
    ObservingPolicy,
    RaisingPolicy,
    StaticPolicy,
    bind,
    chain_of,
    make_facts,
    make_request,
    permit_all_chain,
)


class ObserverTests(SynchronousTestCase):
    """Policies that must know of connections."""

    def setUp(self) -> None:
        self.clock = Clock()

    def test_each_hears_of_its_own_listener(self) -> None:
        """A connection limit on one listener counts the connections of that listener."""
        here, there = ObservingPolicy(), ObservingPolicy()
        chain = chain_of(self.clock, bind(here, "here"), bind(there, "there", on=["b"]), listeners=("test", "b"))
        facts = make_facts(connection_id=7)
        chain.connection_opened(facts)
        chain.connection_authenticated(facts)
        chain.connection_closed(facts)
        self.assertEqual(here.heard, [("opened", 7), ("authenticated", 7), ("closed", 7)])
        self.assertEqual(there.heard, [])

    def test_one_that_fails_does_not_deafen_the_others(self) -> None:
        """If one policy breaks on hearing of a connection, the next still counts it, and the fault is seen."""
        broken, sound = ObservingPolicy(error=ValueError("x")), ObservingPolicy()
        chain = chain_of(self.clock, bind(broken, "broken"), bind(sound, "sound"), bind(StaticPolicy(None), "deaf"))
        chain.connection_opened(make_facts())
        self.assertEqual(sound.heard, [("opened", 1)])
        self.assertEqual(
            (chain.counters.observer_failures, chain.counters.policies["broken"].observer_failures), (1, 1)
        )
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_unknown_listener(self) -> None:
        """Nobody hears of a connection to a listener that does not exist."""
        policy = ObservingPolicy()
        chain_of(self.clock, bind(policy)).connection_closed(make_facts(listener="ghost"))
        self.assertEqual(policy.heard, [])


class ChainTests(SynchronousTestCase):
    """Counters and other things that can be asked of a chain."""

    def setUp(self) -> None:
        self.clock = Clock()

    def test_counters(self) -> None:
        """An administrator sees how often each policy was asked, denied and failed; trying out does not count."""
        chain = chain_of(
            self.clock,
            bind(Decision.permit(), "acl"),
            bind(RaisingPolicy(), "broken", stages={Stage.DELIVER: Role.RESTRICTS}),
            bind(Decision.deny(), "ban", stages={Stage.SUBSCRIBE: Role.RESTRICTS}),
        )
        for purpose in Purpose:
            for stage in (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER):
                chain.decide(make_request(stage, purpose=purpose))
        counters = chain.counters
        self.assertEqual((counters.decisions, counters.denials, counters.indeterminate), (3, 2, 1))
        self.assertEqual(
            {name: each.decisions for name, each in counters.policies.items()}, {"acl": 3, "broken": 1, "ban": 1}
        )
        self.assertEqual(
            {name: each.denials for name, each in counters.policies.items()}, {"acl": 0, "broken": 1, "ban": 1}
        )
        self.flushLoggedErrors()

    def test_version_is_in_each_verdict(self) -> None:
        """A cached verdict of an older policy can be told from one of the present policy."""
        chain = chain_of(self.clock, bind(Decision.permit()), version=7)
        self.assertEqual((chain.version, chain.decide(make_request()).policy_version), (7, 7))
        self.assertEqual(chain.decide(make_request(connection=make_facts(listener="ghost"))).policy_version, 7)

    def test_authentication_methods(self) -> None:
        """The broker knows which methods of Enhanced Authentication its policies speak."""
        scram, other = StaticPolicy(None), StaticPolicy(None)
        scram.authentication_methods = other.authentication_methods = ("SCRAM-SHA-256",)
        other.authentication_methods = ("X",)
        chain = chain_of(self.clock, bind(scram, "a"), bind(other, "b", stages={Stage.PUBLISH: Role.GRANTS}))
        self.assertEqual(chain.authentication_methods, {"SCRAM-SHA-256"})

    def test_decision_ids_differ_between_chains(self) -> None:
        """After a reload no id of a denial comes a second time."""
        ids = {chain_of(self.clock).decide(make_request()).decision_id for _ in range(3)}
        self.assertEqual(len(ids), 3)

    def test_permit_all_chain(self) -> None:
        """The open chain of the tests lets everyone do everything, each as themselves."""
        chain = permit_all_chain(self.clock)
        self.assertEqual(chain.check(), [])
        self.assertTrue(all(chain.decide(make_request(stage)).permitted for stage in Stage))
        named = chain.decide(make_request(Stage.AUTHENTICATE, connection=make_facts(username="alice")))
        self.assertEqual(named.principal, Principal("users", "alice"))
        self.assertFalse(chain.decide(make_request(Stage.AUTHENTICATE)).principal.shared)
