# -*- test-case-name: tests.policy.builtin.test_identities -*-
"""Identity policies say whom they let in, without being shown a secret."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import Stage
from mqttsecure.interfaces import IIdentities, KnownIdentity
from mqttsecure.policy.builtin.anonymous import AnonymousFactory, AnonymousOptions
from mqttsecure.policy.builtin.client_certificate import ClientCertificateFactory, ClientCertificateOptions
from mqttsecure.policy.builtin.password_file import PasswordFileOptions, PasswordFilePolicyFactory
from mqttsecure.policy.builtin.password_hash import hash_password
from tests.policy.builtin.helpers import Authority, effect, facts, request
from tests.support.environment import FakeAuthority, FakeEnvironment


class IdentitiesTests(SynchronousTestCase):
    """Someone asks about a client without having its secret."""

    def test_passwords(self) -> None:
        """All users with their groups; a right password lets in who is in the file, and nobody else."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "users").touch(0o600)
        (folder / "users").write_text(f"alice:{hash_password(b'x')}:ops\n")
        policy = PasswordFilePolicyFactory().build(
            PasswordFileOptions(file="users"), FakeEnvironment("login", folder=folder)
        )
        self.assertTrue(verifyObject(IIdentities, policy))
        self.assertEqual(policy.identities(), [KnownIdentity("login", "alice", frozenset({"ops"}))])
        for name, password, answer in (
            ("alice", b"?", "permit"),
            ("bob", b"?", "deny"),
            ("alice", None, "abstain"),
            (None, b"?", "abstain"),
        ):
            question = request(Stage.AUTHENTICATE, facts(username=name), password=password)
            self.assertEqual(effect(policy.decide_assuming(question)), answer)

    def test_certificates(self) -> None:
        """Any name of the authority, or those that are listed; groups are what a certificate says."""
        lab = Authority()
        environment = FakeEnvironment("certificate", {"lab": FakeAuthority("lab", (lab.der,))})
        for known, identities in (
            (None, [KnownIdentity("lab", None, any_groups=True)]),
            (["b", "a"], [KnownIdentity("lab", "a", any_groups=True), KnownIdentity("lab", "b", any_groups=True)]),
        ):
            options = ClientCertificateOptions(authorities=["lab"], known=known)
            policy = ClientCertificateFactory().build(options, environment)
            self.assertTrue(verifyObject(IIdentities, policy))
            self.assertEqual(policy.identities(), identities)
        question = request(Stage.AUTHENTICATE, facts(tls=lab.tls(lab.issue("a"))))
        self.assertEqual(effect(policy.decide_assuming(question)), "permit")

    def test_anonymous(self) -> None:
        """Nobody in particular, or the one user that they all are."""
        for options, name in (
            (AnonymousOptions(groups=["g"]), None),
            (AnonymousOptions(groups=["g"], as_user="u"), "u"),
        ):
            policy = AnonymousFactory().build(options, FakeEnvironment("anonymous"))
            self.assertTrue(verifyObject(IIdentities, policy))
            self.assertEqual(policy.identities(), [KnownIdentity("anonymous", name, frozenset({"g"}))])
            self.assertEqual(effect(policy.decide_assuming(request(Stage.AUTHENTICATE, facts()))), "permit")
            shown = request(Stage.AUTHENTICATE, facts(username="a"), password=b"x")
            self.assertEqual(effect(policy.decide_assuming(shown)), "abstain")
