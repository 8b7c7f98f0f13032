"""Tests for mqttsecure.policy.builtin.http_messages."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Principal, Purpose, Stage, TlsFacts
from mqttsecure.policy.builtin.http_messages import Answer, AnswerFault, document_of, question, read_answer
from mqttsecure.policy.https import HttpsAnswer
from tests.policy.builtin.helpers import facts, request


def answer(document: Any, status: int = 200, media_type: str = "application/json") -> HttpsAnswer:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return HttpsAnswer(status, media_type, body)


class QuestionTests(SynchronousTestCase):
    """What a service gets to know."""

    def ask(self, stage: Stage, **more: Any) -> dict[str, Any]:
        connection = facts(
            client_id="c1",
            username="alice",
            protocol_version=5,
            tls=TlsFacts("TLSv1.3", "X", channel_binding=b"secret"),
            attributes={"tenant": "a", "other": object()},
        )
        principal = Principal("login", "alice")
        asked = request(stage, connection, password=b"secret", payload=b"secret", **more)
        return question(asked, "auth", principal=principal, groups=frozenset({"b", "a"}))

    def test_what_is_known(self) -> None:
        """Stage by stage, without what is not there, and nothing secret."""
        self.assertEqual(
            self.ask(Stage.PUBLISH, topic="t", retain=True),
            {
                "version": 1,
                "policy": "auth",
                "stage": "PUBLISH",
                "purpose": "live",
                "listener": "lab",
                "address": "127.0.0.1",
                "protocol_version": 5,
                "client_id": "c1",
                "username": "alice",
                "principal": "login:alice",
                "groups": ["a", "b"],
                "attributes": {"tenant": "a"},
                "tls": {"version": "TLSv1.3", "cipher": "X", "server_name": None},
                "topic": "t",
                "qos": 0,
                "retain": True,
            },
        )
        self.assertNotIn("topic", self.ask(Stage.AUTHENTICATE))
        self.assertNotIn("secret", json.dumps(self.ask(Stage.AUTHENTICATE)))
        self.assertEqual(self.ask(Stage.SUBSCRIBE, purpose=Purpose.RECHECK)["purpose"], "check")

    def test_secrets_only_where_asked_for(self) -> None:
        """As Base64, since they are any bytes."""
        sent = json.loads(document_of({"a": 1}, b"\xff", b""))
        self.assertEqual(sent, {"a": 1, "password": base64.b64encode(b"\xff").decode(), "payload": ""})


class AnswerTests(SynchronousTestCase):
    """What a service may answer."""

    def test_good_ones(self) -> None:
        """All members but the decision are optional."""
        self.assertEqual(read_answer(answer({"decision": "deny"})), Answer(decision="deny"))
        whole = {
            "decision": "permit",
            "reason": "known",
            "principal": "alice",
            "groups": ["a"],
            "attributes": {"tenant": "x"},
            "cache_seconds": 5,
            "session_seconds": 60.5,
        }
        self.assertEqual(read_answer(answer(whole)).principal, "alice")

    def test_table_of_faults(self) -> None:
        """Whatever is not listed is none, and nothing of it is told but names of members."""
        for given_answer, text in (
            (answer({"decision": "permit"}, status=201), "status 201"),
            (answer({"decision": "permit"}, status=302), "status 302"),
            (answer({"decision": "permit"}, media_type="text/html"), "not stated to be application/json"),
            (answer(b"<html>secret"), "no JSON"),
            (answer(b""), "no JSON"),
            (answer(b"[" * 10_000), "nested"),
            (answer(b'{"decision":"deny","decision":"permit"}'), "a name twice"),
            (answer([]), "dictionary"),
            (answer({}), "decision"),
            (answer(True), "dictionary"),
            (answer({"decision": True}), "decision"),
            (answer({"decision": "PERMIT"}), "decision"),
            (answer({"decision": "allow"}), "decision"),
            (answer({"decision": "permit", "result": "secret"}), "result"),
            (answer({"decision": "permit", "principal": ""}), "principal"),
            (answer({"decision": "permit", "principal": "x" * 257}), "principal"),
            (answer({"decision": "permit", "principal": ["secret"]}), "principal"),
            (answer({"decision": "permit", "principal": "a\nb"}), "not printable"),
            (answer({"decision": "permit", "groups": "admin"}), "groups"),
            (answer({"decision": "permit", "groups": ["x"] * 65}), "groups"),
            (answer({"decision": "permit", "groups": [["x"]]}), "groups"),
            (answer({"decision": "permit", "attributes": {"a": 1}}), "attributes"),
            (answer({"decision": "permit", "attributes": {"a": {"b": {"c": {"d": 1}}}}}), "nested"),
            (answer({"decision": "permit", "cache_seconds": -1}), "cache_seconds"),
            (answer({"decision": "permit", "cache_seconds": 1e9}), "cache_seconds"),
            (answer({"decision": "permit", "cache_seconds": "10"}), "cache_seconds"),
            (answer(b'{"decision": "permit", "cache_seconds": NaN}'), "NaN"),
            (answer(b'{"decision": "permit", "session_seconds": 1e999}'), "too large"),
            (answer({"decision": "permit", "reason": "x" * 201}), "reason"),
        ):
            fault = str(self.assertRaises(AnswerFault, read_answer, given_answer))
            self.assertIn(text, fault)
            self.assertNotIn("secret", fault)

    @settings(deadline=None)
    @given(st.binary(max_size=100))
    def test_any_bytes_are_a_fault(self, body: bytes) -> None:
        """And no other exception."""
        self.assertRaises(AnswerFault, read_answer, answer(body))
