"""Tests for mqttsecure.policy.builtin.password_file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Decision, Evidence, Principal, Purpose, Role, Stage, Strike
from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin import password_file
from mqttsecure.policy.builtin.password_file import PasswordFileOptions, PasswordFilePolicy, PasswordFilePolicyFactory
from mqttsecure.wire.constants import ReasonCode
from tests.policy.builtin.helpers import effect, facts, problems_of, request
from tests.policy.builtin.test_password_hash import mosquitto_6, mosquitto_7
from tests.support.environment import FakeAuthority, FakeEnvironment

ALICE = mosquitto_7(b"secret", 2)


class PasswordFilePolicyTests(SynchronousTestCase):
    """Who a client is, by its password."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.environment = FakeEnvironment("login", folder=self.folder)
        self._write(f"alice:{ALICE}:staff\nbob:{mosquitto_7(b'bobs', 3)}\n")

    def _write(self, text: str, name: str = "users") -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def _build(self, **options: Any) -> PasswordFilePolicy:
        if "authority" not in options:
            options.setdefault("file", "users")
        return PasswordFilePolicyFactory().build(PasswordFileOptions(**options), self.environment)

    def _ask(self, policy: PasswordFilePolicy, username: str | None, password: bytes | None, **more: Any) -> Any:
        connection = facts(principal=None, username=username)
        return policy.decide(request(Stage.AUTHENTICATE, connection, password=password, **more))

    def _answer(
        self, policy: PasswordFilePolicy, username: str | None, password: bytes | None, **more: Any
    ) -> Decision:
        answer = self._ask(policy, username, password, **more)
        return self.successResultOf(answer) if isinstance(answer, Deferred) else answer

    def test_table_of_answers(self) -> None:
        """The right password is permitted, a wrong one or an unknown user denied, no credential is not mine."""
        policy = self._build()
        for username, password, expected in (
            ("alice", b"secret", "permit"),
            ("alice", b"bobs", "deny"),
            ("alice", b"", "deny"),
            ("mallory", b"secret", "deny"),
            ("mallory", b"bobs", "deny"),
            ("", b"secret", "deny"),
            ("Alice", b"secret", "deny"),
            ("alice", None, "abstain"),
            (None, b"secret", "abstain"),
            (None, None, "abstain"),
        ):
            self.assertEqual(effect(self._answer(policy, username, password)), expected, (username, password))

    def test_permits_with_principal_groups_and_evidence(self) -> None:
        """The user is a principal of an authority named like the policy, and the evidence holds no password."""
        decision = self._answer(self._build(), "alice", b"secret")
        self.assertEqual((decision.principal, decision.groups), (Principal("login", "alice"), {"staff"}))
        self.assertEqual(len(decision.fingerprint), 64)
        self.assertNotIn("secret", repr(decision))

    def test_wrong_password_and_unknown_user_look_alike(self) -> None:
        """A client cannot tell which it was: the same code, the same strike, and a hash is computed for both."""
        policy = self._build()
        wrong, unknown = self._answer(policy, "alice", b"x"), self._answer(policy, "mallory", b"x")
        self.assertEqual(self.environment.threads, 2)
        for decision in (wrong, unknown):
            self.assertEqual(decision.reason_code, ReasonCode.BAD_USER_NAME_OR_PASSWORD)
            self.assertIsInstance(decision.obligations[0], Strike)
        self.assertNotEqual(wrong.text, unknown.text)

    def test_unknown_user_costs_the_hash_of_a_known_one(self) -> None:
        """The decoy of a name is always the same hash out of the file, so timing repeats like a real user's."""
        seen: dict[str, set[str]] = {}
        self.patch(password_file, "verify", lambda stored, password: seen[self.name].add(stored) or False)
        policy = self._build()
        for number in range(20):
            self.name = f"user{number}"
            seen[self.name] = set()
            for _ in range(3):
                self._answer(policy, self.name, b"x")
        self.assertTrue(all(len(hashes) == 1 for hashes in seen.values()))
        self.assertEqual(len(set.union(*seen.values())), 2)

    def test_hashes_off_the_reactor_thread(self) -> None:
        """The answer comes when a worker has it."""
        self.environment.hold = True
        answer = self._ask(self._build(), "alice", b"secret")
        self.assertNoResult(answer)
        self.environment.release()
        self.assertEqual(effect(self.successResultOf(answer)), "permit")

    def test_full_pool_is_a_denial_with_server_busy(self) -> None:
        """In a storm the client is told to come again, and is not let in."""
        self.environment.full = True
        decision = self._answer(self._build(), "alice", b"secret")
        self.assertEqual((effect(decision), decision.reason_code), ("deny", ReasonCode.SERVER_BUSY))

    def test_other_failures_are_passed_on(self) -> None:
        """A cancelled or broken verification is not turned into an answer."""
        self.environment.hold = True
        answer = self._ask(self._build(), "alice", b"secret")
        answer.cancel()
        self.failureResultOf(answer, CancelledError)

    def test_remembers_good_passwords_for_a_while(self) -> None:
        """A reconnect within the time costs no hash; a wrong password always does."""
        policy = self._build(cache_seconds=30)
        self._answer(policy, "alice", b"secret")
        self.assertEqual(effect(self._ask(policy, "alice", b"secret")), "permit")
        self.assertEqual(self.environment.threads, 1)
        for _ in range(2):
            self._answer(policy, "alice", b"wrong")
            self._answer(policy, "bob", b"secret")
        self.assertEqual(self.environment.threads, 5)
        self.environment.clock.advance(30)
        self._answer(policy, "alice", b"secret")
        self.assertEqual(self.environment.threads, 6)

    def test_remembers_nothing_if_told_so(self) -> None:
        """With 0 seconds every login is hashed."""
        policy = self._build(cache_seconds=0)
        for _ in range(2):
            self._answer(policy, "alice", b"secret")
        self.assertEqual(self.environment.threads, 2)

    def test_what_is_remembered_is_bounded(self) -> None:
        """Many good logins push out the oldest."""
        self.patch(password_file, "MAXIMUM_REMEMBERED", 1)
        policy = self._build()
        for name, password in (("alice", b"secret"), ("bob", b"bobs"), ("alice", b"secret")):
            self._answer(policy, name, password)
        self.assertEqual(self.environment.threads, 3)

    def test_only_live_requests_strike_or_are_remembered(self) -> None:
        """Trying a login out leaves no trace."""
        policy = self._build()
        for purpose in (Purpose.EXPLAIN, Purpose.SHADOW, Purpose.TEST):
            self.assertEqual(self._answer(policy, "alice", b"wrong", purpose=purpose).obligations, ())
            self.assertEqual(effect(self._answer(policy, "alice", b"secret", purpose=purpose)), "permit")
        self.assertEqual(self.environment.threads, 6)

    def _recheck(self, policy: PasswordFilePolicy, username: str | None, evidence: Evidence | None) -> str:
        return effect(self._answer(policy, username, None, purpose=Purpose.RECHECK, evidence=evidence))

    def test_recheck_needs_no_password(self) -> None:
        """An open connection is confirmed while the stored hash is the same, and not after a change or removal."""
        policy = self._build()
        evidence = Evidence("login", self._answer(policy, "alice", b"secret").fingerprint)
        self.assertEqual(self._recheck(policy, "alice", evidence), "permit")
        self.assertEqual(self._recheck(policy, "bob", evidence), "deny")
        self.assertEqual(self._recheck(policy, None, evidence), "deny")
        self.assertEqual(self._recheck(policy, "alice", Evidence("other", evidence.fingerprint)), "abstain")
        self.assertEqual(self._recheck(policy, "alice", None), "abstain")
        self._write(f"alice:{mosquitto_7(b'new', 2)}\n")
        self.assertEqual(self._recheck(self._build(), "alice", evidence), "deny")

    def test_users_of_an_authority(self) -> None:
        """An authority's password file makes principals of that authority."""
        path = self._write(f"amy:{ALICE}\n", "people")
        self.environment.authorities = {"people": FakeAuthority("people", password_file=path)}
        decision = self._answer(self._build(authority="people"), "amy", b"secret")
        self.assertEqual(decision.principal, Principal("people", "amy"))

    def test_refuses_files_that_cannot_be_used(self) -> None:
        """Missing, empty, malformed or readable by others: the start is refused, never a door opened."""
        self._write("", "empty")
        self._write("# only a comment\n\n", "comment")
        self._write(f"alice:{ALICE}\nbroken\n", "broken")
        self._write(f"alice:{ALICE}\n", "open").chmod(0o604)
        for name, text in (
            ("nowhere", "cannot be read"),
            ("empty", "holds no user"),
            ("comment", "holds no user"),
            ("broken", "broken:2: "),
            ("open", "chmod"),
        ):
            (problem,) = problems_of(lambda name=name: self._build(file=name))
            self.assertIn("login file: ", problem)
            self.assertIn(text, problem)

    def test_reports_each_bad_option(self) -> None:
        """One source of users must be named, and must have some."""
        self.environment.authorities = {"people": FakeAuthority("people")}
        for options, text in (
            ({"file": None}, "give one of"),
            ({"file": "users", "authority": "people"}, "give one of"),
            ({"authority": "peopel"}, "did you mean 'people'?"),
            ({"authority": "people"}, "has no password file"),
        ):
            (problem,) = problems_of(lambda options=options: self._build(**options))
            self.assertIn(text, problem)

    def test_passes_on_what_is_wrong_with_a_path(self) -> None:
        """A path that cannot even be resolved is told like any other bad option."""

        def refuse(path: str) -> Path:
            raise ConfigError("no credentials were given")

        self.patch(self.environment, "resolve", refuse)
        self.assertIn("no credentials", problems_of(self._build)[0])

    def test_warns_of_weak_hashes(self) -> None:
        """The start tells whose hashes should be renewed."""
        lines = [f"u{number}:{mosquitto_6(b'x')}" for number in range(5)]
        self._write("\n".join(lines))
        (warning,) = self._build().warnings
        self.assertIn("5 users", warning)
        self.assertIn("u0, u1, u2, ...", warning)
        self._write(f"alice:{mosquitto_7(b'x', 100_000)}\n")
        self.assertEqual(self._build().warnings, ())

    def test_grants_at_authenticate_alone(self) -> None:
        """It grants an identity and no rights."""
        self.assertEqual(dict(PasswordFilePolicyFactory.stages), {Stage.AUTHENTICATE: Role.GRANTS})
