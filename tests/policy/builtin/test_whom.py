"""Tests for mqttsecure.policy.builtin.whom."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Principal, Stage
from mqttsecure.policy.builtin.whom import Whom, parse_whom, principal_of
from tests.policy.builtin.helpers import facts, request


class WhomTests(SynchronousTestCase):
    """Whom a policy is about."""

    def test_table(self) -> None:
        """Named as in rules; what an earlier policy of AUTHENTICATE has told counts before what was known."""
        alice, bob = Principal("people", "alice"), Principal("people", "bob")
        for texts, principal, groups, expected in (
            ([], alice, (), True),
            (["user:alice"], alice, (), True),
            (["user:alice"], bob, (), False),
            (["user:devices:alice"], alice, (), False),
            (["group:staff"], bob, ("staff",), True),
            (["group:staff", "user:bob"], bob, (), True),
            (["user:alice"], None, (), True),
        ):
            whom = Whom(texts)
            known = facts(principal=principal, groups=frozenset(groups))
            self.assertEqual(whom.includes(request(Stage.PUBLISH, known)), expected, (texts, principal))
            exchange = {"principal": principal, "groups": frozenset(groups)}
            coming = request(Stage.AUTHENTICATE, facts(principal=None), exchange=exchange)
            self.assertEqual(whom.includes(coming), expected)
            self.assertEqual(principal_of(coming), principal)

    def test_nobody(self) -> None:
        """Each is told."""
        for text in ("bob", "everyone", "user:", "user:bob publish x", ""):
            self.assertRaises(ValueError, parse_whom, text)
