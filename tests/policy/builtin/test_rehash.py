"""Hashes of mosquitto are replaced when their users log in, in a real file by real workers' code."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Effect, Evidence, Purpose, Stage
from mqttsecure.errors import QuotaExceeded
from mqttsecure.policy.builtin.password_file import PasswordFileOptions, PasswordFilePolicy, PasswordFilePolicyFactory
from mqttsecure.policy.builtin.password_hash import PasswordFile, read_users, verify
from tests.support.environment import FakeEnvironment
from tests.support.policies import make_facts, make_request


def of_mosquitto(password: bytes) -> str:
    """What mosquitto_passwd of 2.0 writes."""
    salt = b"twelve bytes"
    digest = hashlib.pbkdf2_hmac("sha512", password, salt, 101, 64)
    return f"$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


class RehashTests(SynchronousTestCase):
    """A user who came over logs in."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.users = self.folder / "users"
        self.users.touch(0o600)
        self.users.write_text(f"# kept\nalice:{of_mosquitto(b'secret')}:staff\nbob:{of_mosquitto(b'other')}\n")

    def policy(self, rehash: bool = True) -> PasswordFilePolicy:
        self.environment = FakeEnvironment("login", folder=self.folder)
        return PasswordFilePolicyFactory().build(PasswordFileOptions(file="users", rehash=rehash), self.environment)

    def login(self, policy: PasswordFilePolicy, password: bytes = b"secret", **more: Any) -> Decision:
        facts = make_facts(username="alice")
        answer = policy.decide(make_request(Stage.AUTHENTICATE, connection=facts, password=password, **more))
        return self.successResultOf(answer) if isinstance(answer, Deferred) else answer

    def recheck(self, policy: PasswordFilePolicy, decision: Decision) -> Effect:
        evidence = Evidence(self.environment.policy_id, decision.fingerprint)
        request = make_request(
            Stage.AUTHENTICATE, connection=make_facts(username="alice"), purpose=Purpose.RECHECK, evidence=evidence
        )
        answer = policy.decide(request)
        assert isinstance(answer, Decision)
        return answer.effect

    def test_scram_keys_stay(self) -> None:
        """Whoever logs in by SCRAM elsewhere goes on to."""
        PasswordFile(self.users).set_user("alice", b"secret", scram=True)
        before = self.users.read_text()
        self.assertIs(self.login(self.policy()).effect, Effect.PERMIT)
        self.assertEqual(self.users.read_text(), before)

    def test_a_good_login_replaces_the_hash(self) -> None:
        """The file has argon2id afterwards, with the groups, the other lines and comments as they were."""
        policy = self.policy()
        self.assertIs(self.login(policy).effect, Effect.PERMIT)
        lines = self.users.read_text().splitlines()
        self.assertEqual(lines[0], "# kept")
        self.assertTrue(lines[1].startswith("alice:$argon2id$") and lines[1].endswith(":staff"), lines[1][:20])
        self.assertTrue(lines[2].startswith("bob:$7$"))
        self.assertTrue(verify(read_users(self.users)["alice"].hash, b"secret"))
        self.assertIs(self.login(policy).effect, Effect.PERMIT)
        self.assertIs(self.login(policy, b"wrong").effect, Effect.DENY)

    def test_a_bad_login_or_a_trial_replaces_nothing(self) -> None:
        """Neither a wrong password nor a question that is only asked touches the file."""
        before = self.users.read_bytes()
        policy = self.policy()
        self.login(policy, b"wrong")
        self.login(policy, purpose=Purpose.EXPLAIN)
        self.login(self.policy(rehash=False))
        self.assertEqual(self.users.read_bytes(), before)

    def test_who_is_connected_stays(self) -> None:
        """The credential by which somebody logged in still holds, at once and after a reload."""
        policy = self.policy()
        decision = self.login(policy)
        self.assertIs(self.recheck(policy, decision), Effect.PERMIT)
        reloaded = self.policy()
        reloaded.inherit(policy)
        self.assertIs(self.recheck(reloaded, decision), Effect.PERMIT)
        again = self.policy()
        again.inherit(reloaded)
        self.assertIs(self.recheck(again, decision), Effect.PERMIT)
        self.assertIs(self.recheck(self.policy(), decision), Effect.DENY)  # one that was told nothing

    def test_file_read_before_the_hash_was_replaced(self) -> None:
        """A reload that read the file a moment too early learns of the new hash from the policy before it."""
        early, policy = self.policy(), self.policy()
        decision = self.login(policy)
        early.inherit(policy)
        self.assertIs(self.recheck(early, decision), Effect.PERMIT)
        self.assertIs(self.login(early).effect, Effect.PERMIT)

    def test_password_changed_since(self) -> None:
        """A new password is not undone by a login with the old one that was under way."""
        policy = self.policy()
        self.users.write_text(f"alice:{of_mosquitto(b'newer')}\n")
        self.login(policy)
        self.assertTrue(verify(read_users(self.users)["alice"].hash, b"newer"))
        changed = self.policy()
        decision = self.login(policy)
        changed.inherit(policy)
        self.assertIs(self.recheck(changed, decision), Effect.DENY)

    def test_file_that_cannot_be_written(self) -> None:
        """The login is as good, the log says it once, and nothing is tried again and again."""
        policy = self.policy()
        tried: list[object] = []

        def unable(function: Any, *arguments: Any) -> Deferred[Any]:
            if function is verify:
                return succeed(function(*arguments))
            tried.append(arguments)
            return fail(PermissionError(13, "Permission denied"))

        self.environment.defer_to_thread = unable  # type: ignore[method-assign]
        logged = self.listen()
        for _ in range(3):
            policy._remembered.clear()
            self.assertIs(self.login(policy).effect, Effect.PERMIT)
        self.assertEqual(len(tried), 1)
        self.assertEqual(len([event for event in logged if "Permission denied" in event.get("why", "")]), 1)

    def listen(self) -> list[Any]:
        """What is logged from now on."""
        logged: list[Any] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        return logged

    def test_busy_workers(self) -> None:
        """Where the workers have too much to do the next login tries again."""
        policy = self.policy()
        busy = [True]

        def workers(function: Any, *arguments: Any) -> Deferred[Any]:
            if function is not verify and busy.pop():
                return fail(QuotaExceeded("full"))
            return succeed(function(*arguments))

        self.environment.defer_to_thread = workers  # type: ignore[method-assign]
        self.login(policy)
        self.assertIn("alice:$7$", self.users.read_text())
        busy.append(False)
        policy._remembered.clear()
        self.login(policy)
        self.assertIn("alice:$argon2id$", self.users.read_text())
