"""Tests for mqttsecure.policy.builtin.payload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import Purpose, Role, Stage
from mqttsecure.interfaces import IPolicy
from mqttsecure.policy.builtin.payload import Payload, PayloadFactory, PayloadOptions
from mqttsecure.wire.constants import ReasonCode
from tests.policy.builtin.helpers import effect, problems_of, request
from tests.support.environment import FakeEnvironment


class PayloadTests(SynchronousTestCase):
    """What a message may hold."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "t.json").write_text(json.dumps({"type": "object", "required": ["t"]}))
        self.environment = FakeEnvironment("form", folder=self.folder)

    def build(self, **options: Any) -> Payload:
        return PayloadFactory().build(PayloadOptions.model_validate({"topics": ["t/#"], **options}), self.environment)

    def ask(self, policy: Payload, payload: bytes = b"x", topic: str = "t/1", **more: Any) -> Any:
        properties = {name: more.pop(name) for name in ("content_type", "payload_format_indicator") if name in more}
        return policy.decide(request(Stage.PUBLISH, topic=topic, payload=payload, properties=properties, **more))

    def test_table_of_checks(self) -> None:
        """Each option denies what is not so, and lets pass what is."""
        for options, payload, more, rule in (
            ({"maximum_bytes": 2}, b"xxx", {}, "maximum_bytes"),
            ({"maximum_bytes": 2}, b"xx", {}, None),
            ({"minimum_bytes": 2}, b"x", {}, "minimum_bytes"),
            ({"utf8": True}, b"\xff", {}, "utf8"),
            ({"utf8": True}, "ä".encode(), {}, None),
            ({"maximum_bytes": 9}, b"\xff", {"payload_format_indicator": 1}, "format_indicator"),
            ({"maximum_bytes": 9}, b"\xff", {"payload_format_indicator": 0}, None),
            ({"maximum_bytes": 9, "format_indicator": False}, b"\xff", {"payload_format_indicator": 1}, None),
            ({"content_types": ["a/b"]}, b"x", {}, "content_types"),
            ({"content_types": ["a/b"]}, b"x", {"content_type": "a/c"}, "content_types"),
            ({"content_types": ["a/b"]}, b"x", {"content_type": "a/b"}, None),
            ({"json": True}, b"{", {}, "json"),
            ({"json": True}, b"[[1]]", {}, None),
            ({"json": True, "maximum_depth": 2}, b"[[1]]", {}, "json"),
            ({"json": True, "maximum_values": 2}, b"[1, 2]", {}, "json"),
            ({"schema_file": "t.json"}, b"{", {}, "json"),
            ({"schema_file": "t.json"}, b"{}", {}, "schema_file"),
            ({"schema_file": "t.json"}, b'{"t": 1}', {}, None),
            ({"json": True}, b"", {}, None),
            ({"json": True, "empty": False}, b"", {}, "json"),
            ({"minimum_bytes": 1}, b"", {}, None),
        ):
            decision = self.ask(self.build(**options), payload, **more)
            self.assertEqual(effect(decision), "abstain" if rule is None else "deny", (options, payload))
            if rule is not None:
                self.assertEqual((decision.rule, decision.reason_code), (rule, ReasonCode.PAYLOAD_FORMAT_INVALID))
            self.assertFalse(decision.cacheable)

    def test_other_topics_are_not_its_own(self) -> None:
        """And that may be remembered, so that they cost nothing."""
        policy = self.build(maximum_bytes=0, empty=False)
        verifyObject(IPolicy, policy)
        decision = self.ask(policy, topic="u")
        self.assertEqual((effect(decision), decision.cacheable), ("abstain", True))
        self.assertEqual(effect(policy.decide(request(Stage.DELIVER, topic="t/1"))), "abstain")
        self.assertEqual(dict(PayloadFactory.stages), {Stage.PUBLISH: Role.RESTRICTS})

    def test_wills_and_kept_messages_are_judged_alike(self) -> None:
        """There is no second way in."""
        policy = self.build(json=True)
        self.assertEqual(effect(self.ask(policy, b"{", is_will=True)), "deny")
        self.assertEqual(effect(self.ask(policy, b"{", purpose=Purpose.RECHECK)), "deny")

    def test_a_question_without_a_payload_is_open(self) -> None:
        """`explain` knows the size of a message alone."""
        self.assertFalse(self.build(maximum_bytes=1).stateful)
        self.assertTrue(self.build(json=True).stateful)

    def test_nothing_of_the_payload_is_told(self) -> None:
        """What was in it is not the log's."""
        for options, payload in (({"json": True}, b'{"secret'), ({"schema_file": "t.json"}, b'{"secret": 1}')):
            self.assertNotIn("secret", self.ask(self.build(**options), payload).text)

    def test_table_of_problems(self) -> None:
        """Each names the line, the key, and the mend."""
        (self.folder / "bad.json").write_text('{"pattern": "(a+)+"}')
        for options, text in (
            ({}, "broker.toml:1: form: it asks for nothing"),
            ({"topics": ["a/#/b"], "utf8": True}, "broker.toml:100: form topics[0]"),
            ({"topics": ["a/{user}"], "utf8": True}, "plain Topic Filter"),
            ({"content_types": [""]}, "content_types[0]"),
            ({"maximum_bytes": 1, "minimum_bytes": 2}, "nothing could pass"),
            ({"schema_file": "none.json"}, "cannot be read"),
            ({"schema_file": "bad.json"}, "stands within another"),
        ):
            full = PayloadOptions.model_validate({"topics": ["t/#"], **options})
            self.assertIn(text, "\n".join(problems_of(PayloadFactory().build, full, self.environment)))
        for bad in ({"topics": []}, {"maximum_bytes": -1}, {"maximum_depth": 100}, {"json_only": True}):
            self.assertRaises(ValidationError, PayloadOptions.model_validate, {"topics": ["t/#"], **bad})
