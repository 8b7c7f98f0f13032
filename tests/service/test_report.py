# -*- test-case-name: tests.service.test_report -*-
"""The lines of the log about connections and denials."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import (
    ConnectionFacts,
    Effect,
    Peer,
    Principal,
    Request,
    Source,
    Stage,
    TlsFacts,
    Verdict,
)
from mqttsecure.core.events import Connected, Denied, Disconnected, Dropped, Event
from mqttsecure.service.logging import format_json, format_text
from mqttsecure.service.report import report

FACTS = ConnectionFacts(
    connection_id=1,
    listener="tls",
    peer=Peer(ip_address("192.0.2.7"), 4711),
    client_id="alice-1",
    protocol_version=5,
    principal=Principal("lab", "alice"),
    tls=TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
)


class ReportTests(SynchronousTestCase):
    """An operator reads who did what, and what was refused by whom."""

    def reported(self, event: Event) -> tuple[str, dict[str, Any]]:
        """The text of the one line, and the fields that a program gets."""
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)
        report([event])
        (line,) = [each for each in seen if each.get("log_namespace") == "mqttsecure"]
        text = format_text(line).partition("mqttsecure: ")[2]
        return text, json.loads(format_json(line))["fields"]

    def test_connected(self) -> None:
        """Who, as what, from where, over what."""
        text, _ = self.reported(Connected(FACTS, True))
        self.assertEqual(
            text,
            "tls: lab:alice connected as 'alice-1' from 192.0.2.7:4711, MQTT 5.0, TLSv1.3 TLS_AES_256_GCM_SHA384, "
            "session resumed",
        )

    def test_denial_names_policy_rule_and_line(self) -> None:
        """I find the line of the configuration that said no, and a program finds each part under its name."""
        source = Source("broker.toml", 7)
        verdict = Verdict(
            Effect.DENY, Stage.PUBLISH, "topics", "rules[2]", "a deny", source, reason_code=0x87, decision_id="x-1"
        )
        text, fields = self.reported(Denied(Request(Stage.PUBLISH, FACTS, 0.0, topic="a/b", qos=1), verdict))
        self.assertEqual(
            text,
            "tls: denied PUBLISH to 'a/b' qos 1 to lab:alice ('alice-1') from 192.0.2.7:4711: a deny "
            "[policy topics, rule rules[2], broker.toml:7, 0x87, decision x-1]",
        )
        parts = ("stage", "policy", "rule", "source", "code", "decision")
        self.assertEqual(
            [fields[part] for part in parts], ["PUBLISH", "topics", "rules[2]", "broker.toml:7", 0x87, "x-1"]
        )

    def test_default_denial_names_no_policy(self) -> None:
        """Nobody is blamed where nobody said no."""
        verdict = Verdict(Effect.DENY, Stage.SUBSCRIBE, text="nothing permitted it", decision_id="x-2")
        request = Request(Stage.SUBSCRIBE, FACTS, 0.0, topic="a/#", share_group="g")
        text, fields = self.reported(Denied(request, verdict))
        self.assertTrue(text.endswith(": nothing permitted it [default deny, 0x87, decision x-2]"), text)
        self.assertIn("SUBSCRIBE to '$share/g/a/#' qos 0", text)
        self.assertEqual((fields["policy"], fields["source"]), ("", ""))

    def test_braces_of_a_peer_are_text(self) -> None:
        """A Client Identifier that looks like a format is written as it is."""
        facts = ConnectionFacts(1, "tls", FACTS.peer, client_id="{log_level.name}", username="{0}")
        text, _ = self.reported(Disconnected(facts, 0x85, "denied", False))
        self.assertEqual(
            text, "tls: someone who says '{0}' ('{log_level.name}') from 192.0.2.7:4711 closed: denied [0x85]"
        )

    def test_nobody_known(self) -> None:
        """Of someone who said nothing yet, nothing is made up."""
        nameless = ConnectionFacts(1, "tls", FACTS.peer, client_id="c")
        for facts, who in ((nameless, "someone ('c')"), (ConnectionFacts(1, "tls", FACTS.peer), "someone")):
            text, _ = self.reported(Disconnected(facts, 0x87, "denied", False))
            self.assertTrue(text.startswith(f"tls: {who} from "), text)

    def test_end_in_order_has_no_code(self) -> None:
        """A client that said goodbye did nothing wrong."""
        text, fields = self.reported(Disconnected(FACTS, 0, "disconnected", True))
        self.assertTrue(text.endswith(" left: disconnected"), text)
        self.assertEqual(fields["code"], 0)

    def test_lost_message(self) -> None:
        """What was lost, for whom, and why."""
        text, _ = self.reported(Dropped("alice-1", "a/b", "its queue is full"))
        self.assertEqual(text, "message on 'a/b' not kept for 'alice-1': its queue is full")

    def test_several_lost_messages(self) -> None:
        """Many of them are one line."""
        text, _ = self.reported(Dropped("alice-1", "", "37 messages, its outbox is full"))
        self.assertEqual(text, "messages not kept for 'alice-1': 37 messages, its outbox is full")

    def test_nothing_known_of_a_stranger(self) -> None:
        """One that said nothing has no name; the stage stands for what was denied."""
        facts = ConnectionFacts(1, "tls", FACTS.peer)
        verdict = Verdict(Effect.DENY, Stage.ACCEPT, "addresses", text="not listed", decision_id="x-3")
        text, fields = self.reported(Denied(Request(Stage.ACCEPT, facts, 0.0), verdict))
        self.assertEqual(
            text,
            "tls: denied ACCEPT to someone from 192.0.2.7:4711: not listed [policy addresses, 0x87, decision x-3]",
        )
        self.assertEqual(fields["stage"], "ACCEPT")

    def test_delivery(self) -> None:
        """A message that may not be delivered is told with its reader."""
        request = Request(Stage.DELIVER, FACTS, 0.0, topic="a/b", qos=1, payload=b"secret")
        text, _ = self.reported(Denied(request, Verdict(Effect.DENY, Stage.DELIVER)))
        self.assertIn("denied delivery of 'a/b' qos 1 to lab:alice ('alice-1')", text)
        self.assertNotIn("secret", text)

    def test_unknown_event(self) -> None:
        """An event without a line is a bug that shows."""
        self.assertRaises(TypeError, report, [object()])
