"""Tests for mqttsecure.policy.builtin.client_id."""

from __future__ import annotations

import fnmatch
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Principal, Purpose, Role, Stage
from mqttsecure.policy.builtin.client_id import ClientId, ClientIdFactory, ClientIdOptions, Pattern
from mqttsecure.wire.constants import ReasonCode
from tests.policy.builtin.helpers import effect, facts, problems_of, request
from tests.support.environment import FakeEnvironment


def _build(**options: Any) -> ClientId:
    return ClientIdFactory().build(ClientIdOptions(**options), FakeEnvironment("ids"))


def _connect(client_id: str, username: str | None = "alice", **options: Any) -> Decision:
    connection = facts(principal=None, client_id=client_id, username=username)
    return _build(**options).decide(request(Stage.CONNECT, connection))


def _authenticate(client_id: str, principal: Principal | None, **more: Any) -> Decision:
    options = more.pop("options", {})
    exchange = {} if principal is None else {"principal": principal}
    connection = facts(principal=None, client_id=client_id, username=None)
    return _build(**options).decide(request(Stage.AUTHENTICATE, connection, exchange=exchange, **more))


class ConnectTests(SynchronousTestCase):
    """What is judged by the claimed user name."""

    def test_table_of_answers(self) -> None:
        """As shipped, a user's clients bear the user's name."""
        for client_id, username, expected in (
            ("alice", "alice", "permit"),
            ("alice-phone", "alice", "permit"),
            ("alice-", "alice", "permit"),
            ("bob", "alice", "deny"),
            ("xalice", "alice", "deny"),
            ("alicephone", "alice", "deny"),
            ("", "alice", "permit"),
            ("anything", None, "permit"),
            ("anything", "", "permit"),
            ("al", "al*", "deny"),
            ("alXYZ", "al*", "deny"),
        ):
            self.assertEqual(effect(_connect(client_id, username)), expected, (client_id, username))

    def test_denies_with_the_reason_of_the_standard(self) -> None:
        """The client is told 0x85, Client Identifier not valid."""
        decision = _connect("bob")
        self.assertEqual((decision.reason_code, decision.rule), (ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "patterns"))
        self.assertEqual(decision.source, FakeEnvironment().source("patterns"))

    def test_table_of_form(self) -> None:
        """Length is in bytes, and the charset is kept whatever the pattern."""
        for client_id, options, rule in (
            ("a" * 129, {}, "maximum_length"),
            ("é" * 65, {"charset": "utf-8"}, "maximum_length"),
            ("é", {}, "charset"),
            ("a\nb", {}, "charset"),
            ("a\nb", {"charset": "utf-8"}, "charset"),
            ("a-b", {"charset": "alphanumeric"}, "charset"),
            ("", {"allow_empty": False}, "allow_empty"),
        ):
            decision = _connect(client_id, patterns=["*"], **options)
            self.assertEqual((effect(decision), decision.rule), ("deny", rule), client_id)
        self.assertEqual(effect(_connect("é" * 64, patterns=["*"], charset="utf-8")), "permit")
        self.assertEqual(effect(_connect("aZ9", patterns=["*"], charset="alphanumeric")), "permit")

    def test_patterns_without_a_user_need_none(self) -> None:
        """With plain patterns nothing is left to AUTHENTICATE."""
        self.assertEqual(effect(_connect("sensor-1", None, patterns=["sensor-*"])), "permit")
        self.assertEqual(effect(_connect("other", None, patterns=["sensor-*"])), "deny")


class AuthenticateTests(SynchronousTestCase):
    """What is judged once the principal is known."""

    def test_table_of_answers(self) -> None:
        """Whoever turns out to be someone else than the Client Identifier says is refused; nobody is let in by it."""
        alice = Principal("devices", "alice")
        for client_id, principal, options, expected in (
            ("alice", alice, {}, "abstain"),
            ("alice-1", alice, {}, "abstain"),
            ("bob", alice, {}, "deny"),
            ("bob", None, {}, "deny"),
            ("", None, {}, "abstain"),
            ("bob", alice, {"patterns": ["b*", "{user}"]}, "abstain"),
            ("bob", None, {"patterns": ["*"]}, "abstain"),
        ):
            answer = _authenticate(client_id, principal, options=options)
            self.assertEqual(effect(answer), expected, (client_id, principal))

    def test_denies_where_the_principal_comes_too_late(self) -> None:
        """Standing before the identity policies it refuses everyone, rather than let anyone take any name."""
        decision = _authenticate("alice", None)
        self.assertEqual(decision.reason_code, ReasonCode.NOT_AUTHORIZED)
        self.assertIn("behind the identity policies", decision.text)

    def test_ignores_what_is_no_principal(self) -> None:
        """Anything else in the exchange binds nothing."""
        connection = facts(principal=None, client_id="alice")
        asked = request(Stage.AUTHENTICATE, connection, exchange={"principal": "alice"})
        self.assertEqual(effect(_build().decide(asked)), "deny")

    def test_recheck_leaves_assigned_identifiers_alone(self) -> None:
        """A client whose identifier the broker chose is not thrown out by a reload."""
        answer = _authenticate("auto-4711", Principal("login", "alice"), purpose=Purpose.RECHECK)
        self.assertEqual(effect(answer), "abstain")

    def test_declares_its_stages(self) -> None:
        """It grants at CONNECT, and can only restrict at AUTHENTICATE."""
        self.assertEqual(dict(ClientIdFactory.stages), {Stage.CONNECT: Role.GRANTS, Stage.AUTHENTICATE: Role.RESTRICTS})

    def test_reports_each_bad_pattern(self) -> None:
        """All mistakes are told at once, each with its place."""
        options = ClientIdOptions(patterns=["ok", "", "{cn}", "{user"])
        problems = problems_of(ClientIdFactory().build, options, FakeEnvironment("ids"))
        self.assertEqual([problem.split(": ")[1] for problem in problems], [f"ids patterns[{n}]" for n in (1, 2, 3)])


class PatternTests(SynchronousTestCase):
    """Matching."""

    @settings(max_examples=300, deadline=None)
    @given(st.text("ab*", min_size=1, max_size=8), st.text("ab", max_size=10))
    def test_agrees_with_a_regular_expression(self, pattern: str, text: str) -> None:
        """Stars match as in a shell."""
        expected = re.fullmatch(fnmatch.translate(pattern), text) is not None
        self.assertEqual(Pattern(pattern).matches(text, None), expected)

    def test_many_stars_are_no_trap(self) -> None:
        """A pattern with many stars against a long text is decided at once."""
        self.assertFalse(Pattern("*a" * 30 + "b").matches("a" * 60_000, None))

    def test_user_may_stand_anywhere(self) -> None:
        """The user's name is taken literally, wherever it stands."""
        self.assertTrue(Pattern("app-{user}-*").matches("app-a.b-1", "a.b"))
        self.assertFalse(Pattern("app-{user}-*").matches("app-axb-1", "a.b"))
        self.assertFalse(Pattern("{user}").matches("", ""))
