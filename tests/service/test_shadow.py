"""Tests for mqttsecure.service.shadow: a candidate beside the chain in force."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.core.decisions import Decision, Effect, Principal, Purpose, Request, Stage, Verdict
from mqttsecure.policy.chain import PolicyBinding
from mqttsecure.service.audit import last_records
from mqttsecure.service.shadow import Shadow
from tests.support.config import BrokerFiles, write_config
from tests.support.policies import (
    ALICE,
    HangingPolicy,
    RaisingPolicy,
    ScriptedPolicy,
    bind,
    chain_of,
    make_facts,
    make_request,
    restricting,
)
from tests.support.process import BrokerDidNotStart, BrokerProcess
from tests.system.attacks.case import wait_until
from tests.system.conformance.client import Client

PERMIT = Verdict(Effect.PERMIT, Stage.PUBLISH, "topics", "rules[0]")


def stateless(function: Any) -> ScriptedPolicy:
    policy = ScriptedPolicy(function=function)
    policy.stateful = False  # type: ignore[attr-defined]  # an optional part of a policy
    return policy


class ComparingTests(SynchronousTestCase):
    """What is compared, and what the candidate gets to see."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.written: list[Mapping[str, Any]] = []

    def shadow(self, *candidate: PolicyBinding, active: tuple[PolicyBinding, ...] = ()) -> Shadow:
        return Shadow(
            chain_of(self.clock, *active),
            chain_of(self.clock, *candidate),
            self.written.append,
            clock=self.clock,
            wall_clock=lambda: datetime(2026, 11, 23, tzinfo=UTC),
        )

    def test_difference(self) -> None:
        """Where the candidate would deny, one record has both."""
        shadow = self.shadow(bind(stateless(lambda _: Decision.deny("r", "no")), "next"))
        request = make_request(connection=make_facts(principal=ALICE, client_id="a"), topic="t")
        shadow.note(request, PERMIT)
        self.assertEqual(self.written, [])  # not before the verdict has done its work
        self.clock.advance(0)
        (record,) = self.written
        self.assertEqual((record["kind"], record["effect"], record["policy"]), ("shadow", "permit", "topics"))
        self.assertEqual((record["candidate"]["effect"], record["candidate"]["policy"]), ("deny", "next"))
        shadow.note(request, PERMIT)
        self.clock.advance(0)
        self.assertEqual((len(self.written), shadow.counts["differences"], shadow.counts["recorded"]), (1, 2, 1))

    def test_no_difference(self) -> None:
        """Where both say the same, there is nothing to record."""
        shadow = self.shadow(bind(stateless(lambda _: Decision.permit()), "next"))
        shadow.note(make_request(topic="t"), PERMIT)
        self.clock.advance(0)
        self.assertEqual((self.written, shadow.counts["compared"]), ([], 1))

    def test_what_the_candidate_sees(self) -> None:
        """Never a live request and never a password."""
        policy = stateless(lambda request: Decision.permit(principal=ALICE))
        shadow = self.shadow(bind(policy))
        login = make_request(Stage.AUTHENTICATE, connection=make_facts(username="alice"), password=b"hunter2")
        shadow.note(login, Verdict(Effect.PERMIT, Stage.AUTHENTICATE, principal=ALICE))
        shadow.note(make_request(topic="t"), PERMIT)
        self.clock.advance(0)
        # Of a policy that cannot do without the password, nothing is asked at AUTHENTICATE.
        self.assertEqual({each.purpose for each in policy.requests}, {Purpose.SHADOW})
        self.assertFalse(any(each.password == b"hunter2" for each in policy.requests))
        self.assertEqual(login.password, b"hunter2")

    def test_counting_policies(self) -> None:
        """A policy that counts has counted nothing, and is not asked; a denial by counts is not compared."""
        counting = ScriptedPolicy(Decision.deny())
        limits = bind(counting, "limits", stages=restricting())
        shadow = self.shadow(limits, bind(stateless(lambda _: Decision.permit())), active=(limits,))
        shadow.note(make_request(topic="t"), PERMIT)
        shadow.note(make_request(topic="t"), Verdict(Effect.DENY, Stage.PUBLISH, "limits"))
        self.clock.advance(0)
        self.assertEqual((self.written, counting.requests), ([], []))
        self.assertEqual((shadow.counts["compared"], shadow.counts["not_comparable"]), (1, 1))

    def test_wrong_password(self) -> None:
        """The candidate cannot tell a wrong password, and is not blamed for that."""
        identity = bind(stateless(lambda _: Decision.deny()), "login")
        shadow = self.shadow(identity, active=(identity,))
        login = make_request(Stage.AUTHENTICATE, password=b"wrong")
        shadow.note(login, Verdict(Effect.DENY, Stage.AUTHENTICATE, "login"))
        shadow.note(login, Verdict(Effect.DENY, Stage.AUTHENTICATE, indeterminate=True))
        self.clock.advance(0)
        self.assertEqual((self.written, shadow.counts["not_comparable"]), ([], 2))

    def test_recheck_is_not_compared(self) -> None:
        """Only what is live."""
        shadow = self.shadow(bind(Decision.deny()))
        shadow.note(make_request(topic="t", purpose=Purpose.RECHECK), PERMIT)
        self.clock.advance(0)
        self.assertEqual(sum(shadow.counts.values()), 0)

    def test_other_identity(self) -> None:
        """Groups that change show at login, and in what the client may do then."""
        other = Principal("users", "alice2")

        def decide(request: Request) -> Decision:
            if request.stage is Stage.AUTHENTICATE:
                return Decision.permit(principal=other, groups=frozenset({"new"}))
            return Decision.permit() if "new" in request.connection.groups else Decision.deny()

        shadow = self.shadow(bind(stateless(decide)))
        facts = make_facts(connection_id=7)
        shadow.note(
            make_request(Stage.AUTHENTICATE, connection=facts),
            Verdict(Effect.PERMIT, Stage.AUTHENTICATE, principal=ALICE),
        )
        self.clock.advance(0)
        candidate = self.written[0]["candidate"]
        self.assertEqual((candidate["principal"], candidate["groups"]), ("users:alice2", ["new"]))
        facts.principal = ALICE
        shadow.note(make_request(connection=facts, topic="t"), PERMIT)
        self.clock.advance(0)
        self.assertEqual(len(self.written), 1)
        shadow.forget(facts)
        shadow.note(make_request(connection=facts, topic="t"), PERMIT)
        self.clock.advance(0)
        self.assertEqual(len(self.written), 2)  # of a connection that was forgotten, the view in force is taken

    def test_attributes_of_the_candidate(self) -> None:
        """What its own policies find out at one stage, its others see later."""

        def decide(request: Request) -> Decision:
            if request.stage is Stage.ACCEPT:
                return Decision.permit(attributes={"country": "NZ"})
            return Decision.permit() if request.connection.attributes.get("country") == "NZ" else Decision.deny()

        shadow = self.shadow(bind(stateless(decide), attributes={"country": str}))
        facts = make_facts(attributes={})
        shadow.note(make_request(Stage.ACCEPT, connection=facts), Verdict(Effect.PERMIT, Stage.ACCEPT))
        shadow.note(make_request(topic="t", connection=facts), PERMIT)
        self.clock.advance(0)
        self.assertEqual((self.written, facts.attributes), ([], {}))

    def test_overload(self) -> None:
        """Too much is sampled, then left out, and counted; large messages fill it sooner."""
        shadow = self.shadow(bind(stateless(lambda _: Decision.permit())))
        for _ in range(10_000):
            shadow.note(make_request(topic="t"), PERMIT)
        self.assertEqual(shadow.counts["skipped"], 10_000 - 1024)
        self.clock.advance(0)
        self.assertEqual(shadow.counts["compared"], 1024)
        for _ in range(100):
            shadow.note(make_request(topic="t", payload=bytes(1024 * 1024)), PERMIT)
        self.assertEqual(shadow.counts["skipped"], 10_000 - 1024 + 96)

    def test_slices(self) -> None:
        """It gives way to everything else every two milliseconds."""

        def decide(request: Request) -> Decision:
            self.clock.rightNow += 0.001
            return Decision.permit()

        shadow = self.shadow(bind(stateless(decide)))
        for _ in range(10):
            shadow.note(make_request(topic="t"), PERMIT)
        between: list[int] = []
        self.clock.callLater(0.0025, lambda: between.append(shadow.counts["compared"]))
        self.clock.advance(0)
        self.assertEqual((shadow.counts["compared"], len(between)), (10, 1))
        self.assertLess(between[0], 6)

    def test_broken_candidate(self) -> None:
        """What raises or hangs in a candidate hurts nobody."""
        raising, hanging = RaisingPolicy(), HangingPolicy()
        for policy in (raising, hanging):
            policy.stateful = False  # type: ignore[union-attr]  # an optional part of a policy
        shadow = self.shadow(bind(hanging, "hanging"), bind(raising, "raising"))
        shadow.note(make_request(topic="t"), PERMIT)
        self.clock.advance(0)
        self.flushLoggedErrors(RuntimeError)
        self.assertEqual(self.written[0]["candidate"]["effect"], "deny")
        self.assertTrue(all(isinstance(each, Deferred) and each.called for each in hanging.deferreds))

    def test_failure_of_its_own(self) -> None:
        """Nor does a fault of the comparison itself."""

        def write(record: Mapping[str, Any]) -> None:
            raise ValueError("a fault")

        shadow = Shadow(
            chain_of(self.clock),
            chain_of(self.clock),
            write,
            clock=self.clock,
            wall_clock=lambda: datetime(2026, 11, 23, tzinfo=UTC),
        )
        shadow.note(make_request(topic="t"), PERMIT)
        self.clock.advance(0)
        self.assertEqual((shadow.counts["failed"], len(self.flushLoggedErrors(ValueError))), (1, 1))

    def test_stopped(self) -> None:
        """At a reload or the end, what waits is let go of."""
        shadow = self.shadow(bind(Decision.deny()))
        shadow.note(make_request(topic="t"), PERMIT)
        shadow.stop()
        self.assertEqual((self.clock.getDelayedCalls(), self.written), ([], []))


class ShadowedBrokerTests(SynchronousTestCase):
    """A broker that is really started, with next.toml beside what is in force."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        # Under /tmp: a socket's name has room for a hundred bytes.
        self.socket = Path(f"/tmp/mqttsecure-test-{id(self):x}")
        self.addCleanup(self.socket.unlink, missing_ok=True)
        self.addCleanup(self.socket.with_name(f"{self.socket.name}.lock").unlink, missing_ok=True)
        self.next = self.folder / "next.toml"
        self.audit = self.folder / "audit.jsonl"

    def write(self, *, audit: bool = True, candidate: str | None = None) -> BrokerFiles:
        extra = f'[control]\nsocket = "{self.socket}"\n' + ('[audit]\nfile = "audit.jsonl"\n' if audit else "")
        files = write_config(self.folder, plaintext=True, extra=extra)
        text = files.config.read_text()
        self.next.write_text(
            text.replace("alice publish,read lab/#", "alice read lab/#") if candidate is None else candidate
        )
        files.config.write_text(text + '\n[shadow]\nconfig = "next.toml"\n')
        return files

    def start(self, files: BrokerFiles) -> BrokerProcess:
        broker = BrokerProcess(files.config, self.folder)
        self.addCleanup(broker.kill)
        return broker.start(listeners=2)

    def test_differences_alone(self) -> None:
        """alice would lose a topic: her messages go through, and the audit log tells of it."""
        files = self.write()
        broker = self.start(files)
        reader, writer = Client(broker.ports["plain"]), Client(broker.ports["plain"])
        for client, user in ((reader, "bob"), (writer, "alice")):
            self.addCleanup(client.drop)
            client.connect(f"{user}-1", username=user, password=files.passwords[user].encode())
        reader.subscribe("lab/x")
        writer.publish("lab/x", b"still there", qos=0)
        reader.expect_messages(b"still there")
        wait_until(lambda: bool(last_records(self.audit)), "the difference")
        (record,) = last_records(self.audit)
        self.assertEqual((record["kind"], record["topic"], record["effect"]), ("shadow", "lab/x", "permit"))
        self.assertEqual((record["candidate"]["effect"], record["stage"]), ("deny", "PUBLISH"))
        asked = CliRunner().invoke(main, ["explain", "--id", record["decision"], "-c", str(files.config)])
        self.assertEqual(asked.exit_code, 0, asked.output)
        self.assertIn("shadow: DENY at PUBLISH by default", asked.output)
        status = json.loads(CliRunner().invoke(main, ["status", "-c", str(files.config), "--json"]).stdout)
        self.assertEqual((status["shadow"], status["counters"]["shadow_differences"]), (str(self.next), 1))
        self.assertGreaterEqual(status["counters"]["shadow_compared"], 5)

    def test_mistakes_refuse_a_reload(self) -> None:
        """A candidate with a mistake is told with its place, and what is in force stays; then it is let go of."""
        files = self.write()
        self.start(files)
        self.next.write_text(self.next.read_text() + "\n[limit]\n")
        refused = CliRunner().invoke(main, ["reload", "-c", str(files.config)])
        self.assertEqual(refused.exit_code, 1)
        self.assertIn("next.toml:", refused.output)
        files.config.write_text(files.config.read_text().replace('[shadow]\nconfig = "next.toml"\n', ""))
        self.assertEqual(CliRunner().invoke(main, ["reload", "-c", str(files.config)]).exit_code, 0)
        status = json.loads(CliRunner().invoke(main, ["status", "-c", str(files.config), "--json"]).stdout)
        self.assertEqual((status["shadow"], status["policy_version"]), (None, 2))

    def test_mistakes_refuse_a_start(self) -> None:
        """So does a start, and `check` tells the same."""
        cases = {
            "candidate of its own": '[shadow]\nconfig = "next.toml"\n',
            "next.toml:1: limit: unknown key": "[limit]\n",
        }
        for expected, candidate in cases.items():
            files = self.write(candidate=candidate)
            broker = BrokerProcess(files.config, self.folder)
            self.addCleanup(broker.kill)
            self.assertIn(expected, str(self.assertRaises(BrokerDidNotStart, broker.start)))
            self.assertIn(expected, CliRunner().invoke(main, ["check", str(files.config)]).output)

    def test_nothing_to_read_and_nowhere_to_write(self) -> None:
        """A candidate that is not there, and one without an audit log."""
        files = self.write()
        self.next.unlink()
        self.assertIn("next.toml: cannot be read", CliRunner().invoke(main, ["check", str(files.config)]).output)
        files = self.write(audit=False)
        self.assertIn("nowhere to record", CliRunner().invoke(main, ["check", str(files.config)]).output)
