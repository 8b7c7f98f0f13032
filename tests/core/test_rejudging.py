"""Tests for mqttsecure.core.rejudging."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Evidence, Purpose, Request, Stage, Verdict
from mqttsecure.core.limits import Limits
from mqttsecure.wire.constants import ReasonCode
from tests.support.core import Bench, Client


class RejudgingTests(SynchronousTestCase):
    """What no longer holds ends; what still does is left alone."""

    def setUp(self) -> None:
        self.bench = Bench(Limits(sys_interval=0))

    def tearDown(self) -> None:
        self.bench.check_nothing_left(self)

    def rejudge(self) -> int:
        """Change the policy and judge everything again; in how many steps."""
        self.bench.change_policy()
        self.bench.core.rejudge()
        steps = 1
        while self.bench.core.rejudge_step(self.bench.now):
            steps += 1
            if steps > 100:
                break
        self.bench.flush()
        return steps

    def alice_and_bob(self) -> tuple[Client, Client]:
        return self.bench.connected("a", user="alice"), self.bench.connected("b", user="bob")

    def test_each_stage_a_connection_has_passed(self) -> None:
        """A client that any of the stages would refuse today is disconnected with 0x87; the others stay."""
        for stage in (Stage.ACCEPT, Stage.HANDSHAKE, Stage.CONNECT, Stage.AUTHENTICATE):
            alice, bob = self.alice_and_bob()
            rule = self.bench.chain.deny(stage, client="a")
            self.rejudge()
            self.assertEqual(alice.goodbye, ReasonCode.NOT_AUTHORIZED, stage)
            self.assertFalse(bob.closed)
            self.bench.chain.forget(rule)
            alice.lose()
            bob.lose()
        self.assertEqual(len(self.bench.denied), 4)

    def test_session_that_is_taken_up_again(self) -> None:
        """Its subscriptions are judged by whom and where its client is now; nothing that waited is sent first."""
        session: dict[str, Any] = {"clean": False, "session_expiry_interval": 600}
        reader, writer = self.bench.connected("r", user="u", **session), self.bench.connected("w", user="w")
        reader.subscribe("t", qos=1)
        reader.lose()
        writer.publish("t", b"secret", qos=1)
        rule = self.bench.chain.deny(Stage.SUBSCRIBE, topic="t", client="r")
        again = self.bench.connected("r", user="u", **session)
        self.assertEqual((again.goodbye, again.payloads()), (ReasonCode.NOT_AUTHORIZED, []))
        self.assertEqual(len(self.bench.core.state.sessions["r"].subscriptions), 0)
        self.bench.chain.forget(rule)
        again.lose()
        writer.publish("t", b"more", qos=1)
        self.assertNotIn(b"more", self.bench.connected("r", user="u", clean=True).payloads())

    def test_policy_that_fails(self) -> None:
        """Nobody gets in by it, and no subscription is lost for it: it is asked again at each return."""
        session: dict[str, Any] = {"clean": False, "session_expiry_interval": 600}
        reader = self.bench.connected("r", user="u", **session)
        reader.subscribe("t")
        rule = self.bench.chain.deny(Stage.SUBSCRIBE, topic="t", indeterminate=True)
        self.rejudge()
        self.assertEqual(reader.goodbye, ReasonCode.NOT_AUTHORIZED)
        reader.lose()
        self.rejudge()  # while its client is away
        again = self.bench.connected("r", user="u", **session)
        self.assertEqual(again.goodbye, ReasonCode.NOT_AUTHORIZED)
        again.lose()
        self.bench.chain.forget(rule)
        once_more = self.bench.connected("r", user="u", **session)
        self.bench.connected("w", user="w").publish("t", b"x")
        self.assertEqual(once_more.payloads(), [b"x"])

    def test_asks_with_the_purpose_recheck(self) -> None:
        """Nothing is counted, spent or struck by judging again."""
        self.bench.connected("a")
        del self.bench.chain.requests[:]
        self.rejudge()
        self.assertEqual({request.purpose for request in self.bench.chain.requests}, {Purpose.RECHECK})

    def test_nobody_yet_is_judged_at_what_it_has_passed(self) -> None:
        """A connection that has not sent CONNECT is asked about its address and handshake alone."""
        stranger = self.bench.client()
        self.bench.chain.deny(Stage.AUTHENTICATE)
        self.rejudge()
        self.assertFalse(stranger.closed)
        self.bench.chain.deny(Stage.ACCEPT)
        self.rejudge()
        self.assertTrue(stranger.closed)

    def test_subscriptions(self) -> None:
        """A subscription that is no longer granted is gone, and its client is told the only way there is."""
        alice, bob = self.alice_and_bob()
        for client in (alice, bob):
            client.subscribe("open/#", "secret/#")
        self.bench.chain.deny(Stage.SUBSCRIBE, topic="secret/#", client="b")
        self.rejudge()
        self.assertFalse(alice.closed)
        self.assertEqual(bob.goodbye, ReasonCode.NOT_AUTHORIZED)

    def test_subscriptions_of_a_client_that_is_away(self) -> None:
        """A stored session loses what it may no longer have, and comes back without it."""
        alice = self.bench.connected("a", user="alice", clean=False, session_expiry_interval=1000)
        alice.subscribe("open/#", "$share/g/secret/#")
        alice.lose()
        self.bench.chain.deny(Stage.SUBSCRIBE, topic="secret/#")
        self.rejudge()
        self.assertEqual(list(self.bench.core.state.sessions["a"].subscriptions), ["open/#"])

    def test_pending_verdicts(self) -> None:
        """A policy that answers later ends the connection later, and holds up nobody else."""
        alice, bob = self.alice_and_bob()
        self.bench.chain.delay(Stage.AUTHENTICATE, client="a")
        self.bench.chain.deny(Stage.AUTHENTICATE, client="b")
        self.rejudge()
        self.assertTrue(bob.closed)
        self.assertFalse(alice.closed)
        self.bench.chain.answer(permit=False)
        self.assertTrue(alice.closed)

    def test_pending_verdict_of_older_policies_counts_for_nothing(self) -> None:
        """Policies that changed again meanwhile are what counts."""
        alice = self.bench.connected("a")
        rule = self.bench.chain.delay(Stage.AUTHENTICATE)
        self.rejudge()
        self.bench.chain.forget(rule)
        self.bench.change_policy()
        self.bench.chain.answer(permit=False)
        self.assertFalse(alice.closed)

    def test_one_thing_a_step(self) -> None:
        """The work is in as many pieces as there are connections and sessions, so that no turn takes long."""
        for number in range(10):
            self.bench.connected(f"c{number}")
        self.assertGreaterEqual(self.rejudge(), 20)

    def test_assigned_client_identifier(self) -> None:
        """A name that the broker gave is not held against the client by a policy about names."""
        client = self.bench.connected("")
        seen: list[str] = []

        def look(request: Request) -> Verdict:
            seen.append(request.connection.client_id)
            return self.bench.chain.permit(request)

        self.bench.chain.on(Stage.CONNECT, look)
        self.rejudge()
        self.assertEqual(seen, [""])
        self.assertFalse(client.closed)

    def test_credential_that_expires(self) -> None:
        """A connection is judged again at the moment at which its credential ends."""
        evidence = (Evidence("certificate", "f", valid_until=self.bench.now + 50),)
        self.bench.chain.oblige(Stage.AUTHENTICATE, evidence=evidence)
        client = self.bench.connected("a", keep_alive=1000, user="alice")
        self.bench.chain.deny(Stage.AUTHENTICATE)
        self.bench.advance(49)
        self.assertFalse(client.closed)
        self.bench.advance(2)
        self.assertEqual(client.goodbye, ReasonCode.NOT_AUTHORIZED)
