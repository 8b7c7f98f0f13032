"""Tests for mqttsecure.service.audit_events."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Effect, Peer, Stage, Verdict
from mqttsecure.core.events import Connected, Denied, Disconnected, Dropped, Event, Throttled, TlsFailed
from mqttsecure.service.audit_events import EventRecords
from tests.support.policies import ALICE, make_facts, make_request

MOMENT = datetime(2026, 11, 23, 3, 4, 5, 678_000, UTC)
FACTS = make_facts(principal=ALICE, client_id="a-1", protocol_version=5)


class EventRecordsTests(SynchronousTestCase):
    """What happened at night without a decision is in the log in the morning."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.records = EventRecords(self.clock.seconds)

    def of(self, *events: Event) -> list[dict[str, Any]]:
        return list(self.records.of(events, MOMENT))

    def test_disconnect(self) -> None:
        """Who, from where, why, by whom."""
        (record,) = self.of(Disconnected(FACTS, 0x8D, "no packet within the Keep Alive", False))
        for key, value in {
            "v": 1,
            "time": "2026-11-23T03:04:05.678Z",
            "kind": "event",
            "event": "disconnect",
            "principal": "users:alice",
            "client_id": "a-1",
            "reason_code": 0x8D,
            "text": "no packet within the Keep Alive",
        }.items():
            self.assertEqual(record[key], value, key)

    def test_what_is_no_news(self) -> None:
        """Who came, who said goodbye, and the end that follows from a denial, which has a record of its own."""
        denial = Denied(make_request(connection=FACTS), Verdict(Effect.DENY, Stage.PUBLISH))
        ended = Disconnected(FACTS, 0x87, "denied", False)
        self.assertEqual(self.of(Connected(FACTS, False), Disconnected(FACTS, 0, "disconnected", True)), [])
        self.assertEqual(self.of(denial, ended), [])

    def test_tls_failure(self) -> None:
        """The subject and the end of the certificate that was refused, or that it cannot be read."""
        leaf = trustme.CA().issue_cert(common_name="pump-7").cert_chain_pems[0].bytes()
        der = x509.load_pem_x509_certificate(leaf).public_bytes(Encoding.DER)
        facts = make_facts()
        (record,) = self.of(TlsFailed(facts, 0, "the TLS handshake failed: x", False, certificate=der))
        self.assertIn("CN=pump-7", record["certificate"]["subject"])
        self.assertIn("T", record["certificate"]["expires"])
        (record,) = self.of(TlsFailed(facts, 0, "the TLS handshake failed: y", False, certificate=b"nonsense"))
        self.assertEqual(record["certificate"]["subject"], "unreadable")

    def test_throttle_and_drop(self) -> None:
        """Who is slowed down, and who loses messages."""
        throttled, dropped = self.of(Throttled(FACTS, 0.5), Dropped("a-1", "t", "its queue is full"))
        self.assertEqual((throttled["event"], throttled["client_id"]), ("throttle", "a-1"))
        self.assertEqual((dropped["event"], dropped["topic"], dropped["text"]), ("drop", "t", "its queue is full"))

    def test_repeats(self) -> None:
        """The same from the same client is one record in ten seconds, which tells of the others."""
        for _ in range(5):
            events = self.of(Dropped("a-1", "t", "its queue is full"))
        self.assertEqual(events, [])
        self.clock.advance(11)
        (record,) = self.of(Dropped("a-1", "t", "its queue is full"))
        self.assertEqual(record["left_out"], 4)

    def test_flood(self) -> None:
        """Thousands of strangers do not push everything else out of the files, nor fill the memory."""
        events = [
            TlsFailed(
                make_facts(peer=Peer(ip_address(0x0A000000 + number), 1)), 0, "the TLS handshake failed: z", False
            )
            for number in range(10_000)
        ]
        self.assertEqual(len(self.of(*events)), 100)
        self.clock.advance(1)
        self.assertEqual(len(self.of(*events)), 100)

    def test_bounds(self) -> None:
        """A stranger's long name is cut."""
        (record,) = self.of(Disconnected(make_facts(client_id="x" * 60_000), 0x81, "broken", False))
        self.assertLess(len(json.dumps(record)), 10_000)
