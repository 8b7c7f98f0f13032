# -*- test-case-name: tests.core.test_judging -*-
"""The DELIVER stage by itself; what it means for messages is in test_delivery and test_waiting."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import BROKER_PRINCIPAL, CapQos, Effect, Principal, Stage, Verdict, Writer
from mqttsecure.core.judging import Judging, capped
from mqttsecure.core.model import Envelope, Message
from mqttsecure.core.throttling import within_meters
from tests.support.core import Bench, CountingMeter


class JudgingTests(SynchronousTestCase):
    """Asking, learning, counting."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.connected("reader")
        self.session = self.bench.core.state.sessions["reader"]
        self.judging = Judging(self.bench.core.state)
        writer = Writer(Principal("users", "w"), "writer", frozenset(("staff",)), {"tenant": "x"}, "lab")
        self.message = Message("t", b"x", 1, False, Envelope(writer, 1))

    def verdict(self, effect: Effect, stage: Stage, version: int = 1) -> Verdict:
        return Verdict(effect, stage, policy_version=version)

    def learn(self, verdict: Verdict) -> Verdict | None:
        return self.judging.learn(self.session, self.message, 1, False, verdict, 0.0)

    def test_learn(self) -> None:
        """What was waited for counts if it is of the present policies and about the reader, or a writer's denial."""
        self.assertIsNone(self.learn(self.verdict(Effect.DENY, Stage.DELIVER, 7)))
        self.assertIsNone(self.learn(self.verdict(Effect.PERMIT, Stage.PUBLISH)))
        for effect, stage in (
            (Effect.DENY, Stage.PUBLISH),
            (Effect.PERMIT, Stage.DELIVER),
            (Effect.DENY, Stage.DELIVER),
        ):
            verdict = self.verdict(effect, stage)
            self.assertIs(self.learn(verdict), verdict)
        self.bench.flush()
        self.assertEqual(self.bench.denied, [(Stage.PUBLISH, "t"), (Stage.DELIVER, "t")])

    def test_writer_long_gone(self) -> None:
        """A writer is asked about as it was when it wrote: principal, groups, attributes, listener."""
        self.bench.change_policy()
        self.judging.decide(self.session, self.message, 1, False, 0.0)
        request = self.bench.chain.asked(Stage.PUBLISH)[-1]
        facts = request.connection
        self.assertEqual((str(facts.principal), facts.client_id, facts.listener), ("users:w", "writer", "lab"))
        self.assertEqual((facts.groups, facts.attributes), (frozenset(("staff",)), {"tenant": "x"}))
        self.judging.decide(self.session, self.message, 1, False, 0.0)
        self.assertEqual(len(self.bench.chain.asked(Stage.PUBLISH)), 1)  # once for each policy version

    def test_broker_as_writer(self) -> None:
        """Nobody is asked whether the broker itself may write."""
        self.bench.change_policy()
        message = Message("$SYS/x", b"1", 0, False, Envelope(Writer(BROKER_PRINCIPAL), 1))
        self.judging.decide(self.session, message, 0, False, 0.0)
        self.assertEqual(self.bench.chain.asked(Stage.PUBLISH), [])

    def test_spend(self) -> None:
        """One meter that refuses is enough."""
        verdict = self.verdict(Effect.PERMIT, Stage.DELIVER)
        verdict.meters = (CountingMeter(5), CountingMeter(1))
        self.assertEqual(
            [within_meters(verdict.meters, len(self.message.payload), 0.0) for _ in range(2)], [True, False]
        )

    def test_capped(self) -> None:
        """The lowest cap counts, and none raises."""
        verdict = self.verdict(Effect.PERMIT, Stage.DELIVER)
        verdict.obligations = (CapQos(2), CapQos(1))
        self.assertEqual([capped(qos, verdict) for qos in (0, 1, 2)], [0, 1, 1])
