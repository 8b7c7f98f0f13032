"""Tests for mqttsecure.service.audit."""

from __future__ import annotations

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import (
    Effect,
    Pending,
    Principal,
    Purpose,
    Request,
    Source,
    Stage,
    TlsFacts,
    Verdict,
    Writer,
)
from mqttsecure.core.events import Connected, Denied
from mqttsecure.service.audit import AuditedChain, AuditLog, audit_record, last_records
from tests.support.policies import make_facts, make_request, permit_all_chain

MOMENT = datetime(2026, 11, 23, 3, 4, 5, 678_000, UTC)


def denial(**more: Any) -> Verdict:
    fields = {"policy": "topics", "rule": "rules[2]", "source": Source("/etc/b.toml", 7), "decision_id": "abc-1"}
    return Verdict(Effect.DENY, Stage.PUBLISH, **{**fields, **more})


class RecordTests(SynchronousTestCase):
    """What a record says, and what it never says."""

    def test_denied_publish(self) -> None:
        """Who, from where, what, and the rule and line that said no."""
        facts = make_facts(
            principal=Principal("users", "bob"), client_id="b-1", groups=frozenset({"g"}), protocol_version=5
        )
        request = make_request(
            Stage.PUBLISH, connection=facts, topic="plant/1", qos=1, retain=True, payload=b"s3cret payload"
        )
        record = audit_record(request, denial(reason_code=0x87), MOMENT)
        for key, value in {
            "v": 1,
            "time": "2026-11-23T03:04:05.678Z",
            "decision": "abc-1",
            "stage": "PUBLISH",
            "effect": "deny",
            "action": "publish",
            "principal": "users:bob",
            "client_id": "b-1",
            "groups": ["g"],
            "topic": "plant/1",
            "qos": 1,
            "retain": True,
            "size": 14,
            "policy": "topics",
            "rule": "rules[2]",
            "file": "/etc/b.toml",
            "line": 7,
            "reason_code": 0x87,
        }.items():
            self.assertEqual(record[key], value, key)
        self.assertNotIn("s3cret", json.dumps(record))

    def test_no_password(self) -> None:
        """The password of a refused login is nowhere."""
        request = make_request(Stage.AUTHENTICATE, password=b"hunter2-marker")
        self.assertNotIn("hunter2", json.dumps(audit_record(request, denial(), MOMENT)))

    def test_tls_and_writer(self) -> None:
        """The TLS facts, and at DELIVER who wrote the message."""
        facts = make_facts(tls=TlsFacts("TLSv1.3", "X", "host", None, b"not a certificate"))
        request = make_request(
            Stage.DELIVER, connection=facts, topic="t", writer=Writer(Principal("users", "w")), is_will=False
        )
        record = audit_record(request, denial(), MOMENT)
        self.assertEqual(record["tls"]["subject"], "unreadable")
        self.assertEqual(record["writer"], "users:w")

    def test_certificates_where_they_are_asked_about(self) -> None:
        """Whole ones until it is known who the client is; afterwards what a person looks for."""
        facts = make_facts(
            tls=TlsFacts("TLSv1.3", "X", None, "mqtt", b"leaf", (b"leaf", b"anchor")), origin="https://a"
        )
        for stage in (Stage.HANDSHAKE, Stage.CONNECT, Stage.AUTHENTICATE, Stage.PUBLISH, Stage.DELIVER):
            record = audit_record(make_request(stage, connection=facts, topic="t"), denial(), MOMENT)
            self.assertEqual("certificates" in record["tls"], stage not in (Stage.PUBLISH, Stage.DELIVER), stage)
            self.assertEqual((record["tls"]["alpn"], record["origin"]), ("mqtt", "https://a"))
            self.assertIn("fingerprint", record["tls"])

    def test_exchange(self) -> None:
        """The method of an exchange is there, and nothing of what was exchanged."""
        request = make_request(Stage.AUTHENTICATE, authentication_method="SCRAM-SHA-256", authentication_data=b"secret")
        record = audit_record(request, denial(), MOMENT)
        self.assertEqual(record["authentication_method"], "SCRAM-SHA-256")
        self.assertNotIn("secret", json.dumps(record))

    def test_long_names_are_cut(self) -> None:
        """A stranger's long name does not fill the disk."""
        record = audit_record(make_request(connection=make_facts(client_id="x" * 60_000)), denial(), MOMENT)
        self.assertLess(len(json.dumps(record)), 10_000)


class AuditLogTests(SynchronousTestCase):
    """The file."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "audit.jsonl"
        self.clock = Clock()

    def log(self, **more: Any) -> AuditLog:
        options = {"maximum_size": 1 << 20, "keep": 3, **more}
        log = AuditLog(self.path, wall_clock=lambda: MOMENT, seconds=self.clock.seconds, **options)
        self.addCleanup(log.close)
        return log

    def test_one_line_for_each_denial(self) -> None:
        """Every denial is one record; other events are not."""
        log = self.log()
        log.take([Denied(make_request(), denial()), Connected(make_facts(), False), Denied(make_request(), denial())])
        self.assertEqual(len(last_records(self.path)), 2)
        self.assertEqual(log.written, 2)

    def test_for_its_owner_alone(self) -> None:
        """Mode 0600, also where the file was there with more."""
        self.path.touch(0o644)
        self.log().open()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_not_through_a_link(self) -> None:
        """A link put in its place leads to no other file."""
        target = self.folder / "other"
        target.touch()
        self.path.symlink_to(target)
        self.assertRaises(OSError, self.log().open)

    def test_rotated_by_size(self) -> None:
        """No more than so many files of such a size, and the newest records are there."""
        log = self.log(maximum_size=2000, keep=2)
        for number in range(40):
            log.record(make_request(topic=f"t/{number}"), denial())
        files = sorted(each.name for each in self.folder.iterdir())
        self.assertEqual(files, ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"])
        self.assertTrue(all(each.stat().st_size <= 2000 for each in self.folder.iterdir()))
        topics = [record["topic"] for record in last_records(self.path)]
        self.assertEqual(topics[-1], "t/39")
        self.assertEqual(topics, [f"t/{number}" for number in range(40 - len(topics), 40)])

    def test_full_disk(self) -> None:
        """A file that cannot be written stops nothing: it is counted and told, and goes on when there is room."""
        log = self.log()
        log.open()
        full = os.open("/dev/full", os.O_WRONLY)
        good, log._descriptor = log._descriptor, full
        for _ in range(3):
            log.record(make_request(), denial())
        self.assertEqual((log.lost, log.written), (3, 0))
        log._descriptor = good
        os.close(full)
        log.record(make_request(), denial())
        self.assertEqual((log.lost, log.written), (3, 1))

    def test_folder_that_goes_away(self) -> None:
        """The same where the file cannot even be opened."""
        log = self.log()
        self.folder.rename(self.folder.with_name(self.folder.name + "-gone"))
        log.record(make_request(), denial())
        self.assertEqual(log.lost, 1)

    def test_half_a_record(self) -> None:
        """What is unreadable is passed over; what is around it is read."""
        log = self.log()
        log.record(make_request(topic="one"), denial())
        with self.path.open("ab") as file:
            file.write(b'{"v":1,"topic":"ha\n[]\n\xff\xfe\n')
        log.record(make_request(topic="two"), denial())
        self.assertEqual([record["topic"] for record in last_records(self.path)], ["one", "two"])

    def test_missing_file(self) -> None:
        """Reading a log that is not there is an error to tell."""
        self.assertRaises(FileNotFoundError, last_records, self.path)


class AuditedChainTests(SynchronousTestCase):
    """Permits, and how long decisions take."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.records: list[Request] = []
        self.draws = iter([0.1, 0.9, 0.1, 0.9])

    def record(self, request: Request, verdict: Verdict) -> None:
        self.records.append(request)

    def chain(self, permits: float, inner: Any = None) -> AuditedChain:
        audit: Any = self
        return AuditedChain(
            inner or permit_all_chain(self.clock),
            audit,
            permits=permits,
            seconds=self.clock.seconds,
            random=lambda: next(self.draws),
        )

    def test_a_share_of_permits(self) -> None:
        """Half of them where that is configured, none where it is not."""
        chain = self.chain(0.5)
        for _ in range(4):
            chain.decide(make_request(Stage.PUBLISH))
        self.assertEqual(len(self.records), 2)
        self.chain(0.0).decide(make_request(Stage.PUBLISH))
        self.assertEqual(len(self.records), 2)

    def test_live_ones_alone(self) -> None:
        """Asking why, or judging again, is nothing that happened."""
        self.chain(1.0).decide(make_request(Stage.PUBLISH, purpose=Purpose.EXPLAIN))
        self.assertEqual(self.records, [])

    def test_verdict_that_comes_later(self) -> None:
        """A policy that takes its time is timed, and cancelling reaches it."""
        inner = Pending()

        class Later:
            def decide(self, request: Request) -> Pending:
                return inner

            connection_opened = connection_authenticated = connection_closed = strike = None

        pending = self.chain(1.0, Later()).decide(make_request())
        assert isinstance(pending, Pending)
        got: list[Verdict] = []
        pending.listener = lambda _, verdict: got.append(verdict)
        self.clock.advance(0.25)
        inner.resolve(Verdict(Effect.PERMIT, Stage.PUBLISH))
        self.assertEqual(got[0].duration, 0.25)
        self.assertEqual(len(self.records), 1)
        other = self.chain(1.0, Later())
        inner.done = False
        again = other.decide(make_request())
        assert isinstance(again, Pending)
        again.cancel()
        self.assertTrue(inner.done)
