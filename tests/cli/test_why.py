"""Tests for ``mqttsecure why``, on a broker that is really started."""

from __future__ import annotations

import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.service.audit import last_records
from tests.cli.test_explain_past import AskedBrokerCase
from tests.support.config import write_config
from tests.system.attacks.case import wait_until
from tests.system.conformance.client import Client


class WhyTests(AskedBrokerCase):
    """It is three in the morning, and something does not work."""

    def causes(self, who: str, *arguments: str, code: int = 3) -> list[dict[str, Any]]:
        answer = self.ask_json("why", who, *arguments, code=code)
        causes: list[dict[str, Any]] = answer["causes"]
        return causes

    def shake_hands(self, context: ssl.SSLContext) -> None:
        """A handshake that fails, soon or when something is read."""
        with socket.create_connection(("127.0.0.1", self.broker.ports["tls"]), 10) as connection:
            try:
                with context.wrap_socket(connection, server_hostname="localhost") as tls:
                    tls.recv(1)
            except (ssl.SSLError, ConnectionError):
                return
        self.fail("the handshake did not fail")

    def await_event(self, event: str) -> dict[str, Any]:
        def found() -> list[dict[str, Any]]:
            return [each for each in last_records(self.audit) if each.get("event") == event]

        wait_until(lambda: bool(found()), f"an event {event}")
        return found()[-1]

    def test_denied_subscription(self) -> None:
        """The first cause is the denial, with the rule to add; the user's name does as well as the client's."""
        for who in ("alice-1", "alice", "lab:alice"):
            first = self.causes(who)[0]
            self.assertEqual((first["kind"], first["today"]), ("denial", "denied today as well"))
            self.assertIn("denied subscribe forbidden/+ qos 1 by default", first["cause"])
            self.assertIn("permit user:alice subscribe forbidden/+", first["mend"])
        text = self.run_command("why", "alice-1", code=3).stdout
        self.assertIn("1. denied subscribe forbidden/+", text)
        self.assertIn(f"explain --id {self.causes('alice-1')[0]['decision']} --config", text)
        self.assertIn("'alice-1' of lab:alice from 127.0.0.1", text)

    def test_mended_since(self) -> None:
        """What the file permits by now is told as that."""
        self.permit_forbidden()
        self.assertIn("permitted today by topics", self.causes("alice-1")[0]["today"])

    def test_wrong_password(self) -> None:
        """Who is kept out learns by what, and what to type."""
        client = Client(self.broker.ports["plain"])
        self.addCleanup(client.drop)
        client.connect("bob-1", username="bob", password=b"guessed", code=0x86)
        self.await_records(2)
        first = self.causes("bob")[0]
        self.assertIn("the password is wrong", first["cause"])
        self.assertIn(f"mqttsecure passwd {self.files.users} bob", first["mend"])
        self.assertIn("broker.toml:", first["source"])
        self.assertFalse(first["over"])

    def test_overcome(self) -> None:
        """Who has come in since is not kept out any more."""
        client = Client(self.broker.ports["plain"])
        self.addCleanup(client.drop)
        client.connect("bob-1", username="bob", password=b"guessed", code=0x86)
        self.await_records(2)
        self.connected("bob-1", "bob")
        answer = self.ask_json("why", "bob-1")
        self.assertEqual([each["over"] for each in answer["causes"] if each["kind"] == "denial"], [True])
        self.assertIn("nothing is wrong with 'bob-1'", self.run_command("why", "bob-1").stdout)

    def test_certificate_of_another_ca(self) -> None:
        """The subject of a certificate that TLS refused leads to the client that has it."""
        files, other = self.files, trustme.CA()
        certificate = other.issue_cert(common_name="pump-7")
        context = files.client_context()
        certificate.configure_cert(context)
        self.shake_hands(context)
        event = self.await_event("tls_failure")
        self.assertIn("CN=pump-7", event["certificate"]["subject"])
        first = self.causes("pump-7")[0]
        self.assertEqual(first["kind"], "tls_failure")
        self.assertIn("issue a new one by a CA of the listener's `authorities`", first["mend"])

    def test_odd_certificate(self) -> None:
        """A stranger's certificate that OpenSSL takes for one and nobody else can read troubles nobody."""
        leaf = trustme.CA().issue_cert(common_name="pump-7")
        der = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes()).public_bytes(Encoding.DER)
        place = der.index(b"\xa0\x03\x02\x01\x02") + 4
        odd, key = self.folder / "odd.pem", self.folder / "odd.key"
        odd.write_text(ssl.DER_cert_to_PEM_cert(der[:place] + b"\x01" + der[place + 1 :]))  # version 2
        leaf.private_key_pem.write_to_path(key)
        self.shake_hands(self.files.client_context((odd, key)))
        self.assertEqual(self.await_event("tls_failure")["certificate"]["subject"], "unreadable")
        self.assertNotIn("Traceback", self.broker.log)
        self.client.ping()

    def test_certificate_out_of_date(self) -> None:
        """A certificate that has run out is named, with its date."""
        past = datetime.now(UTC) - timedelta(days=3)
        certificate = self.files.certificate_authority.issue_cert(common_name="pump-8", not_after=past)
        context = self.files.client_context()
        certificate.configure_cert(context)
        self.shake_hands(context)
        self.assertTrue(self.await_event("tls_failure")["certificate"]["expires"].startswith(past.strftime("%Y-%m-%d")))
        self.assertTrue(any("out of date for 3.0 days" in each["cause"] for each in self.causes("pump-8")))

    def test_client_that_does_not_trust_the_broker(self) -> None:
        """A client without the broker's CA says so in TLS's own words; it is found by its address."""
        self.shake_hands(ssl.create_default_context())
        self.await_event("tls_failure")
        causes = self.causes("127.0.0.1")
        (failure,) = [each for each in causes if each["kind"] == "tls_failure"]
        self.assertIn("does not trust the CA of the broker", failure["mend"])

    def test_nobody_subscribes(self) -> None:
        """The publisher does all right, and yet nothing arrives."""
        self.assertEqual(self.client.publish("lab/lost", b"x", qos=1), 0x10)
        self.client.disconnect()
        wait_until(lambda: self.ask_json("status")["gauges"]["sessions"] == 0, "the session to end")
        for who in ("alice-1", "alice", "127.0.0.1"):  # also of a client that has left nothing else behind
            causes = [each for each in self.causes(who) if each["kind"] == "unheard"]
            self.assertEqual([(each["over"], "'lab/lost'" in each["cause"]) for each in causes], [(False, True)])
        reader = self.connected("alice-2", "alice")
        self.assertEqual(reader.subscribe("lab/lost"), [0])
        self.assertIn("over: somebody subscribes to it now", self.run_command("why", "alice-1", code=3).stdout)

    def test_connection_lost(self) -> None:
        """A client that is suddenly gone, and one that was taken over."""
        self.client.drop()
        self.await_event("disconnect")
        self.assertTrue(any("connection lost" in each["cause"] for each in self.causes("alice-1")))

    def test_nothing_is_wrong(self) -> None:
        """A client that does well is told to do well."""
        self.connected("bob-1", "bob")
        self.assertEqual(self.causes("bob-1", code=0), [])
        self.assertIn("nothing is wrong with 'bob-1'", self.run_command("why", "bob-1").stdout)

    def test_nobody_known(self) -> None:
        """Who was never seen may have the wrong host or port: the listeners are told."""
        text = self.run_command("why", "carol", code=4).stdout
        self.assertIn("nothing is known of 'carol'", text)
        self.assertIn("plain 127.0.0.1:0", text)

    def test_since(self) -> None:
        """What is older than asked for does not count; nonsense is told."""
        self.client.disconnect()
        wait_until(lambda: self.ask_json("status")["gauges"]["sessions"] == 0, "the session to end")
        self.assertEqual(self.causes("alice-1", "--since", "1ms", code=4), [])
        self.run_command("why", "alice-1", "--since", "soon", code=2)

    def test_broker_that_does_not_run(self) -> None:
        """The log alone answers, and it is said that the broker did not."""
        self.broker.stop()
        answer = self.ask_json("why", "alice-1", code=3)
        self.assertTrue(any("the broker does not answer" in note for note in answer["notes"]), answer["notes"])
        self.assertEqual(answer["causes"][0]["kind"], "denial")

    def test_damaged_log(self) -> None:
        """Half a record and nonsense are passed over, and counted."""
        self.broker.stop()
        records = self.audit.read_bytes()
        nonsense = b'{"v":1,"kind":"event","event":"disconnect","client_id":"alice-1","reason_code":[],"time":"9"}\n'
        self.audit.write_bytes(records[:40] + b"\n" + nonsense + records)
        answer = self.ask_json("why", "alice-1", code=3)
        self.assertEqual(answer["records"]["unreadable"], 1)
        self.assertIn("1 of them unreadable", self.run_command("why", "alice-1", code=3).stdout)

    def test_log_that_cannot_be_read(self) -> None:
        """Said, and nothing is made up."""
        self.broker.stop()
        self.audit.unlink()
        self.audit.mkdir()
        self.assertIn("cannot be read", self.run_command("why", "alice-1", code=1).output)


class NowhereToLookTests(SynchronousTestCase):
    """Nothing is configured that could answer."""

    def test_neither_log_nor_socket(self) -> None:
        """The command says what to add."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        files = write_config(folder)
        result = CliRunner().invoke(main, ["why", "alice", "-c", str(files.config)])
        self.assertEqual(result.exit_code, 1)
        self.assertIn("[audit]", result.output)
        self.assertIn("[control]", result.output)

    def test_no_configuration(self) -> None:
        """A file that is not there is named."""
        result = CliRunner().invoke(main, ["why", "alice", "-c", "/nowhere/broker.toml"])
        self.assertEqual(result.exit_code, 1)
        self.assertIn("/nowhere/broker.toml", result.output)

    def test_answer_is_json(self) -> None:
        """Also of a broker that never ran: what is missing is told on stderr."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        files = write_config(folder, extra='[audit]\nfile = "audit.jsonl"\n')
        result = CliRunner().invoke(main, ["why", "alice", "-c", str(files.config), "--json"])
        self.assertEqual((result.exit_code, result.stdout), (1, ""))
        (folder / "audit.jsonl").touch()
        result = CliRunner().invoke(main, ["why", "alice", "-c", str(files.config), "--json"])
        self.assertEqual((result.exit_code, json.loads(result.stdout)["seen"]), (4, False))
