"""Tests for ``mqttsecure explain --id`` and ``--live``, on a broker that is really started."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import trustme
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
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


class CertificateTests(AskedBrokerCase):
    """A client that has shown a certificate was refused; its certificate is in the record."""

    def setUp(self) -> None:
        super().setUp()
        self.permitted = self.files.config.read_text()
        self.refused = self.permitted.replace('authorities = ["lab"]\n\n', 'authorities = ["lab"]\n__denied__\n', 1)
        self.assertIn("__denied__", self.refused)
        self.refused = self.refused.replace("__denied__", 'denied = ["name:pump-7"]\n')
        self.context = self.files.client_context(self.files.issue("pump-7"))

    def reload(self, text: str) -> None:
        self.files.config.write_text(text)
        self.run_command("reload")

    def come(self, code: int = 0) -> Client:
        client = Client(self.broker.ports["tls"], context=self.context)
        self.addCleanup(client.drop)
        client.connect("pump-7", code=code)
        return client

    def last(self) -> dict[str, Any]:
        self.await_records(2)
        return last_records(self.audit)[-1]

    def test_refused_at_the_door(self) -> None:
        """Who it was, by whose word, and what is said today to the very same certificate."""
        self.reload(self.refused)
        self.come(0x86)
        record = self.last()
        self.assertEqual(
            (record["stage"], record["policy"], record["rule"]), ("AUTHENTICATE", "certificate", "denied[0]")
        )
        self.assertEqual(len(record["tls"]["certificates"]), 2)
        text = self.run_command("explain", "--id", record["decision"], code=1).stdout
        self.assertRegex(text, r"certificate .*CN=pump-7.*, issued by .*, serial [0-9a-f]+, valid until \d{4}-")
        self.assertIn("today: DENY at AUTHENTICATE by certificate, denied[0]", text)
        self.assertIn("as it was then", text)
        self.files.config.write_text(self.permitted)
        answer = self.ask_json("explain", "--id", record["decision"], code=1)["today"]
        self.assertEqual((answer["outcome"], answer["policy"], answer["assumed"]), ("permit", "certificate", []))

    def test_put_out(self) -> None:
        """A reload ended its connection: the same question is asked as if it came anew, and that is said."""
        client = self.come()
        self.reload(self.refused)
        client.expect_closed([0x87])
        record = self.last()
        self.assertEqual((record["stage"], record["purpose"]), ("AUTHENTICATE", "recheck"))
        text = self.run_command("explain", "--id", record["decision"], code=1).stdout
        self.assertIn("today: DENY at AUTHENTICATE by certificate, denied[0]", text)
        self.assertIn("provided that it comes anew", text)

    def test_the_ca_was_rolled(self) -> None:
        """The same key in a new CA certificate vouches for it still; another CA does not."""
        self.reload(self.refused)
        self.come(0x86)
        decision = self.last()["decision"]
        self.files.config.write_text(self.permitted)
        old = self.files.ca.read_bytes()
        self.files.ca.write_bytes(renewed(self.files.certificate_authority))
        self.assertEqual(self.ask_json("explain", "--id", decision, code=1)["today"]["outcome"], "permit")
        self.files.ca.write_bytes(trustme.CA().cert_pem.bytes())
        self.assertEqual(self.ask_json("explain", "--id", decision, code=1)["today"]["outcome"], "deny")
        self.files.ca.write_bytes(old)

    def test_damaged_or_too_large(self) -> None:
        """A record whose certificates cannot be used says so, and still what was decided."""
        self.reload(self.refused)
        self.come(0x86)
        record = self.last()
        self.broker.stop()
        certificates = record["tls"].pop("certificates")
        for changed, why in (
            (None, "which is not recorded whole"),
            (["!"], "the record is damaged"),
            (["AAAA"], "its certificate cannot be read"),
        ):
            tls = record["tls"] if changed is None else {**record["tls"], "certificates": changed}
            self.audit.write_text(json.dumps({**record, "tls": tls}) + "\n")
            text = self.run_command("explain", "--id", record["decision"], code=1).stdout
            self.assertIn("then:  DENY at AUTHENTICATE by certificate", text)
            self.assertIn(why, text)
        self.assertEqual(len(certificates), 2)


def renewed(authority: trustme.CA) -> bytes:
    """A new certificate of a CA for the key that it has."""
    old = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    key = load_pem_private_key(authority.private_key_pem.bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(old.issuer, old.subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(old.not_valid_before_utc).not_valid_after(old.not_valid_after_utc)
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


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
