"""Tests for mqttsecure.policy.builtin.token_source."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.token_source import RemoteKeys
from mqttsecure.policy.https import HttpsAnswer, HttpsFault
from tests.support.tokens import Issuer


def _answer(*issuers: Issuer) -> HttpsAnswer:
    return HttpsAnswer(200, "application/json", json.dumps({"keys": [each.jwk() for each in issuers]}).encode())


class RemoteKeysTests(SynchronousTestCase):
    """Keys that a service publishes."""

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.asked: list[Deferred[HttpsAnswer]] = []
        self.keys = RemoteKeys(self.fetch, self.clock, Logger(), refresh=100, lifetime=300)
        self.old, self.new = Issuer(key_id="old"), Issuer(number=1, key_id="new")

    def fetch(self) -> Deferred[HttpsAnswer]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def find(self, key_id: str = "old") -> Any:
        """What is found: a key's id, None, or "waits"."""
        found: Any = self.keys.find(key_id)
        if isinstance(found, Deferred):
            results: list[Any] = []
            found.addCallback(results.append)
            found = results[0] if results else "waits"
        return found if found in (None, "waits") else found.key_id

    def fetched(self) -> None:
        self.find()
        self.asked[-1].callback(_answer(self.old))

    def test_all_wait_for_one_answer(self) -> None:
        """A thousand clients that come at once are one question; one that has gone does not get the answer."""
        waiting: list[Any] = [self.keys.find("old") for _ in range(1000)]
        waiting[0].cancel()
        self.failureResultOf(waiting[0], CancelledError)
        self.assertEqual(len(self.asked), 1)
        self.asked[0].callback(_answer(self.old))
        self.assertEqual({self.successResultOf(each).key_id for each in waiting[1:]}, {"old"})
        self.assertIsNone(self.keys.fault)

    def test_asks_again_in_the_background(self) -> None:
        """Nobody waits for a refresh, and the new keys count once they are there."""
        self.fetched()
        self.clock.advance(101)
        self.assertEqual(self.find(), "old")
        self.assertEqual(len(self.asked), 2)
        self.asked[1].callback(_answer(self.new))
        self.assertIsNone(self.find())
        self.clock.advance(31)

    def test_a_new_key_is_looked_for(self) -> None:
        """A token that names a key nobody knows has the service asked, at most every half minute."""
        self.fetched()
        self.assertIsNone(self.find("new"))
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(30)
        self.assertEqual(self.find("new"), "waits")
        self.asked[1].callback(_answer(self.old, self.new))
        self.assertEqual(self.find("new"), "new")
        for number in range(100):
            self.assertIsNone(self.find(f"made up {number}"))
        self.assertEqual(len(self.asked), 2)

    def test_old_keys_count_for_a_while(self) -> None:
        """A service that is away locks out nobody until its last answer is too old, and then everybody."""
        self.fetched()
        for _ in range(2):
            self.clock.advance(120)
            self.assertEqual(self.find(), "old")
            self.asked[-1].errback(HttpsFault("it cannot be reached"))
        self.assertIsNone(self.keys.fault)
        self.clock.advance(120)
        self.assertEqual(self.find(), "waits")
        self.asked[-1].errback(HttpsFault("it cannot be reached"))
        self.assertIsNone(self.find())
        self.assertIn("cannot be reached", self.keys.fault or "")
        self.assertIs(self.keys.is_trusted("x"), False)

    def test_a_service_that_fails_is_left_alone(self) -> None:
        """Not every client that comes has it asked again."""
        self.find()
        self.asked[0].errback(HttpsFault("no answer within 4 s"))
        for _ in range(100):
            self.assertIsNone(self.find())
        self.assertEqual(len(self.asked), 1)
        self.clock.advance(5)
        self.assertEqual(self.find(), "waits")

    def test_no_answer_at_all(self) -> None:
        """Nobody waits without end, and later it is asked again."""
        waiting: Any = self.keys.find("old")
        self.clock.advance(4.5)
        self.assertIsNone(self.successResultOf(waiting))
        self.clock.advance(5)
        self.assertEqual(self.find(), "waits")
        self.assertEqual(len(self.asked), 2)

    def test_table_of_answers_that_are_none(self) -> None:
        """Whatever it answers that is no key set, the keys from before go on to count, and the log says why."""
        self.fetched()
        for answer, text in (
            (HttpsAnswer(404, "text/html", b"<html>"), "status 404"),
            (HttpsAnswer(302, "", b""), "status 302"),
            (HttpsAnswer(200, "text/html", b"<html>"), "no JSON"),
            (HttpsAnswer(200, "application/json", b'{"keys": []}'), "no key"),
            (_answer(Issuer("HS256", key_id="s")), "shared secret"),
            (HttpsAnswer(200, "", b"[" * 100_000), "no JSON"),
        ):
            self.clock.advance(31)
            self.assertEqual(self.find("new"), "waits")
            self.asked[-1].callback(answer)
            self.assertEqual(self.keys._fault.find(text) >= 0, True, (text, self.keys._fault))
            self.keys._fetched_at = self.clock.seconds()
            self.assertEqual(self.find(), "old")

    def test_an_unforeseen_error_is_a_fault_too(self) -> None:
        """A bug on the way leaves nobody waiting."""
        waiting: Any = self.keys.find("old")
        self.asked[0].errback(ZeroDivisionError())
        self.assertIsNone(self.successResultOf(waiting))
        self.assertIn("ZeroDivisionError", self.keys.fault or "")

    def test_trust_is_asked_of_the_same_keys(self) -> None:
        """Also where they have to be fetched first."""
        waiting: Any = self.keys.is_trusted("x")
        self.asked[0].callback(_answer(self.old))
        self.assertIs(self.successResultOf(waiting), False)
        found: Any = self.keys.find("old")
        self.assertIs(self.keys.is_trusted(found.thumbprint), True)
