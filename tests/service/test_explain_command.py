"""Tests for mqttsecure.service.explain_command: what the log says to type is what happened."""

from __future__ import annotations

import shlex
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.core.decisions import ConnectionFacts, Effect, Peer, Principal, Request, Stage, TlsFacts, Verdict
from mqttsecure.core.events import Denied
from mqttsecure.service.explain_command import explain_command
from mqttsecure.service.logging import format_text
from mqttsecure.service.report import report
from tests.support.config import write_config

CONFIG = Path("/etc/mqttsecure/broker.toml")
FACTS = ConnectionFacts(
    1,
    "tls",
    Peer(ip_address("127.0.0.1"), 4711),
    tls=TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384"),
    protocol_version=5,
    client_id="alice-1",
    username="alice",
    principal=Principal("lab", "alice"),
    groups=frozenset({"b", "a"}),
)


def command(request: Request, *, audited: bool = False) -> str | None:
    return explain_command(request, "abc-1", CONFIG, audited=audited)


class ExplainCommandTests(SynchronousTestCase):
    """A denial in the log, and what to type."""

    def test_with_an_audit_log(self) -> None:
        """The decision is looked up, and nothing that a client chose is in the command."""
        request = Request(Stage.PUBLISH, replace(FACTS, client_id="$(rm)"), 0.0, topic="`rm`")
        expected = "mqttsecure explain --id abc-1 --config /etc/mqttsecure/broker.toml"
        self.assertEqual(command(request, audited=True), expected)

    def test_without_one(self) -> None:
        """All that is known of the question."""
        request = Request(Stage.PUBLISH, FACTS, 0.0, topic="lab/a b", qos=1, retain=True, payload=b"xyz")
        self.assertEqual(
            command(request),
            "mqttsecure explain --config /etc/mqttsecure/broker.toml --listener=tls --from=127.0.0.1 "
            "--tls-version=TLSv1.3 --cipher=TLS_AES_256_GCM_SHA384 --principal=lab:alice --group=a --group=b "
            "--client-id=alice-1 --version=5.0 --qos=1 --retain --size=3 publish -- 'lab/a b'",
        )

    def test_other_questions(self) -> None:
        """Before it is known who the client is, that is what it says of itself; a shared subscription is one."""
        facts = replace(FACTS, principal=None, groups=frozenset(), tls=None, peer=Peer(None, uid=7))
        for stage in (Stage.ACCEPT, Stage.CONNECT, Stage.AUTHENTICATE):
            self.assertTrue(
                str(command(Request(stage, facts, 0.0))).endswith(
                    "--user=alice --client-id=alice-1 --version=5.0 connect"
                )
            )
        self.assertIn("--from=unix:7", str(command(Request(Stage.CONNECT, facts, 0.0))))
        shared = Request(Stage.SUBSCRIBE, FACTS, 0.0, topic="lab/#", share_group="g")
        self.assertTrue(str(command(shared)).endswith("subscribe -- '$share/g/lab/#'"))
        self.assertTrue(str(command(Request(Stage.DELIVER, FACTS, 0.0, topic="t"))).endswith("receive -- t"))

    def test_what_cannot_be_said(self) -> None:
        """Rather no command than another question: a certificate, attributes, names that are long or do not print."""
        shown = replace(FACTS, tls=TlsFacts("TLSv1.3", "X", peer_certificate=b"x", verified_chain=(b"x",)))
        self.assertIsNone(command(Request(Stage.AUTHENTICATE, shown, 0.0)))
        self.assertIsNone(command(Request(Stage.AUTHENTICATE, FACTS, 0.0, authentication_method="SCRAM-SHA-256")))
        self.assertIsNotNone(command(Request(Stage.PUBLISH, shown, 0.0, topic="t")))
        self.assertIsNone(command(Request(Stage.PUBLISH, replace(FACTS, attributes={"a": 1}), 0.0, topic="t")))
        for topic in ("x" * 257, "a\nb", "a\x1b[2J", "\u202e"):
            self.assertIsNone(command(Request(Stage.PUBLISH, FACTS, 0.0, topic=topic)), repr(topic))

    @given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
    def test_names_stay_single_words(self, client_id: str, topic: str) -> None:
        """Whatever a client calls itself and its topics: the line of the log, pasted into a shell, is that question."""
        request = Request(Stage.PUBLISH, replace(FACTS, client_id=client_id), 0.0, topic=topic)
        seen: list[Any] = []
        globalLogPublisher.addObserver(seen.append)
        try:
            report([Denied(request, Verdict(Effect.DENY, Stage.PUBLISH, decision_id="abc-1"))], CONFIG)
        finally:
            globalLogPublisher.removeObserver(seen.append)
        (line,) = [each for each in seen if each.get("log_namespace") == "mqttsecure"]
        text = format_text(line).rstrip("\n")
        if "; to see why: " in text:
            words = shlex.split(text.rpartition("; to see why: ")[2])
            self.assertEqual(words[:2], ["mqttsecure", "explain"])
            self.assertEqual(words[-3:], ["publish", "--", topic])
            self.assertIn(f"--client-id={client_id}", words)

    def test_typed(self) -> None:
        """The command answers as the broker did, also where a name looks like an option."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        config = write_config(folder).config
        for topic in ("forbidden/1", "-x", "--help"):
            request = Request(Stage.PUBLISH, replace(FACTS, groups=frozenset()), 0.0, topic=topic)
            words = shlex.split(str(explain_command(request, "abc-1", config, audited=False)))
            result = CliRunner().invoke(main, words[1:])
            self.assertEqual(result.exit_code, 1, result.output)
            self.assertIn("DENY at PUBLISH", result.stdout)
