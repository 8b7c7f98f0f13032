"""Tests for ``mqttsecure policy diff --audit``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.core.decisions import (
    ConnectionFacts,
    Effect,
    Peer,
    Principal,
    Purpose,
    Request,
    Stage,
    TlsFacts,
    Verdict,
)
from mqttsecure.service.audit import audit_record
from tests.support.config import write_config

MOMENT = datetime(2026, 11, 23, 3, 4, 5, tzinfo=UTC)


def record(effect: Effect = Effect.PERMIT, stage: Stage = Stage.PUBLISH, policy: str = "topics", **more: Any) -> Any:
    """One of alice's requests as the audit log has it."""
    facts = ConnectionFacts(
        1,
        "tls",
        Peer(ip_address("127.0.0.1"), 4711),
        client_id="alice-1",
        username="alice",
        principal=Principal("lab", "alice"),
        protocol_version=5,
    )
    request = Request(stage, facts, 0.0, **({"topic": "lab/1"} | more))
    return audit_record(request, Verdict(effect, stage, policy, decision_id="x-1"), MOMENT)


class ReplayTests(SynchronousTestCase):
    """Before I change the rules, I see what yesterday's clients would have felt of it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.files = write_config(self.folder)
        self.old = self.files.config
        self.new = self.folder / "next.toml"
        text = self.old.read_text()
        self.new.write_text(text.replace("alice publish,read lab/#", "alice publish,read lab/1"))
        self.audit = self.folder / "audit.jsonl"

    def write(self, *records: Any) -> None:
        self.audit.write_text("".join(f"{json.dumps(each)}\n" for each in records))

    def diff(self, *arguments: str, code: int = 0) -> Result:
        command = ["policy", "diff", str(self.old), str(self.new), "--audit", str(self.audit), *arguments]
        result = CliRunner().invoke(main, command)
        self.assertEqual(result.exit_code, code, result.output)
        return result

    def test_lost_and_kept(self) -> None:
        """What would be denied is listed once, with how often it was asked and both deciders."""
        self.write(record(), record(topic="lab/2"), record(topic="lab/2"))
        answer = json.loads(self.diff("--json").stdout)["replay"]
        self.assertEqual(answer["compared"], 3)
        (change,) = answer["changes"]
        self.assertEqual((change["gained"], change["count"], change["record"]["topic"]), (False, 2, "lab/2"))
        self.assertEqual((change["old"]["policy"], change["new"]["outcome"]), ("topics", "deny"))
        text = self.diff().stdout
        self.assertIn(
            "of 3 recorded decisions from 2026-11-23T03:04:05.000Z on, would be answered differently: 2", text
        )
        self.assertIn("lab:alice as 'alice-1': publish lab/2 qos 0 [old: permit by topics/", text)
        self.assertIn("2 times, decision x-1", text)

    def test_gained(self) -> None:
        """A denial of the past that the new rules would permit."""
        self.old, self.new = self.new, self.old
        self.write(record(Effect.DENY, topic="lab/2", policy=""))
        self.assertIn("permitted by NEW:\n  lab:alice", self.diff().stdout)

    def test_certificates(self) -> None:
        """Who came by a certificate is asked again with it, and two clients are two questions."""
        authority = self.files.certificate_authority
        self.new.write_text(self.old.read_text().replace('= ["lab"]\n', '= ["lab"]\ndenied = ["name:pump-7"]\n', 1))
        records = []
        for name in ("pump-7", "pump-8", "pump-7"):
            pem = authority.issue_cert(common_name=name).cert_chain_pems[0].bytes()
            leaf = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
            anchor = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).public_bytes(Encoding.DER)
            tls = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", peer_certificate=leaf, verified_chain=(leaf, anchor))
            facts = ConnectionFacts(
                1, "tls", Peer(ip_address("127.0.0.1"), 1), client_id="p", protocol_version=5, tls=tls
            )
            request = Request(Stage.AUTHENTICATE, facts, 0.0)
            verdict = Verdict(Effect.PERMIT, Stage.AUTHENTICATE, "certificate", decision_id="x-1")
            records.append(audit_record(request, verdict, MOMENT))
        self.write(*records)
        answer = json.loads(self.diff("--json").stdout)["replay"]
        self.assertEqual((answer["compared"], answer["not_compared"]), (3, {}))
        self.assertEqual([each["new"]["rule"] for each in answer["changes"]], ["denied[0]"] * 2)

    def test_what_cannot_be_compared(self) -> None:
        """Denials by counts, questions about a certificate, damaged records: counted with the reason."""
        damaged = record()
        del damaged["peer"]
        counted = record(Effect.DENY, Stage.ACCEPT, "connections")
        unknown = record()
        unknown["listener"] = "elsewhere"
        again = record(Effect.DENY, purpose=Purpose.RECHECK)
        exchange = record(Effect.DENY, Stage.AUTHENTICATE, authentication_method="SCRAM-SHA-256")
        self.write(damaged, counted, unknown, exchange, again, {"v": 1, "kind": "event", "event": "drop"}, {"v": 9})
        answer = json.loads(self.diff("--json").stdout)["replay"]
        self.assertEqual((answer["compared"], answer["changes"]), (0, []))
        self.assertEqual(sum(answer["not_compared"].values()), 4)
        text = self.diff().stdout
        self.assertIn("1: connections decided it by its counts of that moment", text)
        self.assertIn("1: it was an exchange by SCRAM-SHA-256, which is not recorded", text)
        self.assertIn("lines of the audit log that are no record: 1", text)

    def test_log_that_is_not_there(self) -> None:
        """Said, with exit code 1."""
        self.assertIn("there is no audit log", self.diff(code=1).output)
