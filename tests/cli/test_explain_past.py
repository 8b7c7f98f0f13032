"""Tests for ``mqttsecure explain --id`` and ``--live``, on a broker that is really started."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.service.audit import last_records
from tests.support.config import write_config
from tests.support.process import BrokerProcess
from tests.system.attacks.case import wait_until
from tests.system.conformance.client import Client


class AskedBrokerCase(SynchronousTestCase):
    """alice is connected, was denied a subscription and a publication, and carol could not log in."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        # Under /tmp: a socket's name has room for a hundred bytes.
        self.socket = Path(f"/tmp/mqttsecure-test-{id(self):x}")
        self.addCleanup(self.socket.unlink, missing_ok=True)
        self.addCleanup(self.socket.with_name(f"{self.socket.name}.lock").unlink, missing_ok=True)
        self.audit = self.folder / "audit.jsonl"
        extra = f'[control]\nsocket = "{self.socket}"\n[audit]\nfile = "audit.jsonl"\n'
        self.files = write_config(self.folder, plaintext=True, extra=extra)
        self.broker = BrokerProcess(self.files.config, self.folder)
        self.addCleanup(self.broker.kill)
        self.broker.start(listeners=2)
        self.client = self.connected("alice-1", "alice")
        self.client.subscribe("forbidden/+", qos=1)
        self.await_records(1)

    def connected(self, client_id: str, user: str) -> Client:
        client = Client(self.broker.ports["plain"])
        self.addCleanup(client.drop)
        client.connect(client_id, username=user, password=self.files.passwords[user].encode())
        return client

    def run_command(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [*arguments, "--config", str(self.files.config)])
        self.assertEqual(result.exit_code, code, result.output)
        return result

    def ask_json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run_command(*arguments, "--json", code=code).stdout)

    def await_records(self, count: int) -> None:
        """A denial is recorded when its answer is sent, which may be read before."""
        wait_until(lambda: len(last_records(self.audit)) >= count, f"{count} records")

    def permit_forbidden(self) -> None:
        """Write into the configuration what would have permitted it."""
        text = self.files.config.read_text()
        self.files.config.write_text(text.replace("rules = [", "rules = [\n  'permit user:alice read forbidden/#',"))


class PastTests(AskedBrokerCase):
    """Something was denied last night, and I have its id from the log or from the client."""

    def decision(self) -> str:
        (record,) = last_records(self.audit)
        return str(record["decision"])

    def test_as_then(self) -> None:
        """What was asked, by whom, who decided, and the rule to add."""
        text = self.run_command("explain", "--id", self.decision(), code=1).stdout
        self.assertIn("lab:alice as 'alice-1' from 127.0.0.1:", text)
        self.assertIn("asked: subscribe forbidden/+ qos 1", text)
        self.assertIn("then:  DENY at SUBSCRIBE by default", text)
        self.assertIn("today: DENY at SUBSCRIBE by default", text)
        self.assertIn("permit user:alice subscribe forbidden/+", text)

    def test_otherwise_today(self) -> None:
        """The configuration was changed since: today it would be permitted, and by which line."""
        self.permit_forbidden()
        answer = self.ask_json("explain", "--id", self.decision(), code=1)
        self.assertEqual((answer["then"]["effect"], answer["today"]["outcome"]), ("deny", "permit"))
        self.assertEqual(answer["today"]["policy"], "topics")
        self.assertIn("not as it was then", self.run_command("explain", "--id", self.decision(), code=1).stdout)

    def test_command_of_the_log(self) -> None:
        """The line of the log holds the command to paste."""
        command = re.search(r"mqttsecure (explain --id \S+ --config \S+)", self.broker.log)
        assert command is not None, self.broker.log
        result = CliRunner().invoke(main, command[1].split())
        self.assertEqual(result.exit_code, 1, result.output)
        self.assertIn("forbidden/+", result.output)

    def test_wrong_password(self) -> None:
        """The password is in no record, so it is taken to be right today, and that is said."""
        client = Client(self.broker.ports["plain"])
        self.addCleanup(client.drop)
        client.connect("bob-1", username="bob", password=b"guessed", code=0x86)
        self.await_records(2)
        decision = str(last_records(self.audit)[-1]["decision"])
        text = self.run_command("explain", "--id", decision, code=1).stdout
        self.assertIn("bob (not proved) as 'bob-1'", text)
        self.assertIn("the password is wrong", text)
        self.assertIn("today: PERMIT", text)
        self.assertIn("provided that the password of 'bob' is right", text)

    def test_unknown_decision(self) -> None:
        """How far back the log goes is said with the refusal."""
        output = self.run_command("explain", "--id", "nothing-1", code=1).output
        self.assertRegex(output, r"no decision 'nothing-1' among 1 records, from 20\d\d-")

    def test_half_a_record(self) -> None:
        """A disk that was full does not hide what is still there; files put aside are looked into as well."""
        decision = self.decision()
        self.broker.stop()
        whole = self.audit.read_bytes()
        self.audit.with_name("audit.jsonl.1").write_bytes(whole)
        self.audit.write_bytes(whole[: len(whole) // 2] + b"\n" + b"[" * 100_000 + b"\n\xff\xfe\n")
        self.assertIn("forbidden/+", self.run_command("explain", "--id", decision, code=1).output)

    def test_broken_configuration(self) -> None:
        """What was decided is told even where the configuration of today cannot be used."""
        self.files.config.write_text(self.files.config.read_text() + "\n[limit]\n")
        text = self.run_command("explain", "--id", self.decision(), code=1).stdout
        self.assertIn("then:  DENY", text)
        self.assertIn("cannot be used now", text)

    def test_log_that_cannot_be_read(self) -> None:
        """Said with the mend."""
        self.broker.stop()
        self.audit.unlink()
        self.assertIn("there is no audit log", self.run_command("explain", "--id", "x", code=1).output)
        self.audit.mkdir()
        self.assertIn("cannot be read", self.run_command("explain", "--id", "x", code=1).output)


class NoAuditTests(SynchronousTestCase):
    """There is nothing to look into."""

    def test_no_audit_log_configured(self) -> None:
        """The command says what to add; a file that is missing is named."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        files = write_config(folder)
        result = CliRunner().invoke(main, ["explain", "--id", "x", "-c", str(files.config)])
        self.assertEqual(result.exit_code, 1)
        self.assertIn("[audit]", result.output)
        result = CliRunner().invoke(main, ["explain", "--id", "x", "-c", str(folder / "nowhere.toml")])
        self.assertEqual(result.exit_code, 1)
        self.assertIn("cannot be read", result.output)

    def test_usage(self) -> None:
        """An id is a whole question, and without one there must be an action."""
        for arguments in (["--id", "x", "publish", "t"], ["--id", "x", "--live"], []):
            self.assertEqual(CliRunner().invoke(main, ["explain", "-c", "f", *arguments]).exit_code, 2, arguments)


class LiveTests(AskedBrokerCase):
    """The running broker knows who is connected, and by which policies."""

    def test_connected_client(self) -> None:
        """Its Client Identifier is enough, and nothing is counted."""
        before = self.ask_json("status")["counters"]["policy_decisions"]
        self.assertEqual(
            self.ask_json("explain", "--live", "--client-id", "alice-1", "publish", "lab/1")["outcome"], "permit"
        )
        denied = self.ask_json("explain", "--live", "--client-id", "alice-1", "subscribe", "forbidden/+", code=1)
        self.assertEqual((denied["principal"], denied["decided_at"]), ("lab:alice", "SUBSCRIBE"))
        self.assertIn("forbidden/+", denied["advice"]["topics"]["add"])
        self.assertEqual(self.ask_json("status")["counters"]["policy_decisions"], before)
        text = self.run_command("explain", "--live", "--client-id", "alice-1", "connect").stdout
        self.assertIn("addresses", text)

    def test_counting_policies_answer(self) -> None:
        """What is unknown offline, the broker can say."""
        question = ("explain", "--from", "127.0.0.1", "--listener", "plain", "--user", "alice", "--client-id", "a")
        self.assertEqual(self.ask_json(*question, "connect", code=3)["outcome"], "provided")
        self.assertEqual(self.ask_json(*question, "--live", "connect")["outcome"], "permit")

    def test_by_what_is_in_force(self) -> None:
        """A change of the file counts once it was reloaded."""
        question = ("explain", "--live", "--client-id", "alice-1", "subscribe", "forbidden/+")
        self.permit_forbidden()
        self.assertEqual(self.ask_json(*question, code=1)["outcome"], "deny")
        self.run_command("reload")
        self.assertEqual(self.ask_json(*question)["outcome"], "permit")

    def test_nobody_of_that_name(self) -> None:
        """Said, and what to give instead."""
        output = self.run_command("explain", "--live", "--client-id", "carol", "publish", "t", code=1).output
        self.assertIn("there is no client 'carol'", output)
        self.assertEqual(
            CliRunner().invoke(main, ["explain", "-c", str(self.files.config), "--live", "connect"]).exit_code, 2
        )

    def test_no_broker(self) -> None:
        """Nobody answers."""
        self.broker.stop()
        output = self.run_command("explain", "--live", "--client-id", "alice-1", "publish", "t", code=1).output
        self.assertIn("is the broker running", output)
