"""Tests of what a policy may ask of the broker."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import Source
from mqttsecure.errors import ConfigError, QuotaExceeded
from mqttsecure.interfaces import IAuthority, IPolicyEnvironment
from mqttsecure.policy.environment import Authority, PolicyEnvironment
from mqttsecure.policy.workers import WorkerPool

NOON = datetime.datetime(2030, 1, 1, 13, 0, tzinfo=datetime.timezone(datetime.timedelta(hours=1)))


class AuthorityTests(SynchronousTestCase):
    """Identity sources."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.ca = trustme.CA()

    def write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def test_ca_files_become_der(self) -> None:
        """Several files and several certificates a file are taken, each certificate once."""
        other = trustme.CA()
        both = self.write("both.pem", self.ca.cert_pem.bytes() + other.cert_pem.bytes())
        authority = Authority.load("devices", ca_files=[both, self.write("one.pem", self.ca.cert_pem.bytes())])
        expected = [x509.load_pem_x509_certificate(each.cert_pem.bytes()) for each in (self.ca, other)]
        self.assertEqual(authority.ca_certificates, tuple(each.public_bytes(Encoding.DER) for each in expected))
        self.assertTrue(verifyObject(IAuthority, authority))

    def test_password_file_and_crl_are_kept_as_paths(self) -> None:
        """Policies read those themselves."""
        authority = Authority.load("users", password_file=Path("users"), crl_files=[Path("crl.pem")])
        self.assertEqual((authority.password_file, authority.crl_files), (Path("users"), (Path("crl.pem"),)))

    def test_bad_files_are_all_told(self) -> None:
        """A missing file, one without a certificate, one that is huge and a certificate that is no CA."""
        leaf = self.ca.issue_cert("localhost").cert_chain_pems[0].bytes()
        files = [
            self.folder / "missing.pem",
            self.write("junk.pem", b"junk"),
            self.write("empty.pem", b""),
            self.write("huge.pem", b"x" * (4 * 1024 * 1024 + 1)),
            self.write("leaf.pem", leaf),
        ]
        error = self.assertRaises(ConfigError, Authority.load, "devices", ca_files=files)
        self.assertEqual(len(error.problems), 5)
        for path, problem, word in zip(
            files, error.problems, ["No such file", "no PEM", "no PEM", "larger", "not a CA"], strict=True
        ):
            self.assertIn(str(path), problem)
            self.assertIn(word, problem)


class EnvironmentTests(SynchronousTestCase):
    """The broker as one policy sees it."""

    def make(self, **more: Any) -> PolicyEnvironment:
        self.clock = Clock()
        more.setdefault("base_directory", Path("/etc/mqttsecure"))
        return PolicyEnvironment("acl", clock=self.clock, workers=WorkerPool(self.clock, queue=1), **more)

    def test_provides_the_interface(self) -> None:
        """A policy finds all that the interface promises."""
        environment = self.make(authorities={"users": Authority("users")}, listeners=["a"])
        self.assertTrue(verifyObject(IPolicyEnvironment, environment))
        self.assertEqual((environment.policy_id, environment.listeners), ("acl", ("a",)))
        self.assertEqual(list(environment.authorities), ["users"])
        self.assertIs(environment.clock, self.clock)

    def test_paths_start_at_the_file_that_names_them(self) -> None:
        """The working folder, which a daemon changes, plays no part."""
        environment = self.make()
        self.assertEqual(environment.resolve("users"), Path("/etc/mqttsecure/users"))
        self.assertEqual(environment.resolve("/srv/users"), Path("/srv/users"))
        self.assertTrue(self.make(base_directory=Path("etc")).resolve("users").is_absolute())

    def test_systemd_credentials(self) -> None:
        """A secret can come from LoadCredential=; a name cannot lead elsewhere."""
        environment = self.make()
        self.patch(os, "environ", {})
        self.assertRaises(ConfigError, environment.resolve, "credential:users")
        self.patch(os, "environ", {"CREDENTIALS_DIRECTORY": "/run/credentials/x"})
        self.assertEqual(environment.resolve("credential:users"), Path("/run/credentials/x/users"))
        for name in ("", "..", ".", "a/b"):
            self.assertRaises(ConfigError, environment.resolve, f"credential:{name}")

    def test_problems_name_the_place(self) -> None:
        """A problem is told with file, line, policy and key, as near as it is known."""
        lines = {
            ("rules", 2): Source("b.toml", 12),
            ("rules", None): Source("b.toml", 9),
            (None, None): Source("b.toml", 5),
        }
        environment = self.make(locate=lambda option, index: lines.get((option, index)))
        self.assertEqual(environment.problem("rules", "is bad", 2), "b.toml:12: policy 'acl': rules[2]: is bad")
        self.assertEqual(environment.problem("rules", "is bad", 7), "b.toml:9: policy 'acl': rules[7]: is bad")
        self.assertEqual(environment.problem("file", "is bad"), "b.toml:5: policy 'acl': file: is bad")
        self.assertEqual(environment.problem(None, "is bad"), "b.toml:5: policy 'acl': is bad")
        self.assertEqual(self.make().source(), Source("configuration", 0))

    def test_time_and_chance(self) -> None:
        """The time of day is in UTC, and randomness is what was injected."""
        environment = self.make(wall_clock=lambda: NOON, random_bytes=bytes)
        self.assertEqual(environment.wall_clock().hour, 12)
        self.assertEqual(environment.wall_clock().utcoffset(), datetime.timedelta(0))
        self.assertEqual(environment.random_bytes(3), b"\0\0\0")
        self.assertIsNotNone(self.make().wall_clock().tzinfo)
        self.assertEqual(len(self.make().random_bytes(16)), 16)

    def test_work_goes_to_the_pool(self) -> None:
        """Blocking work waits in the bounded pool."""
        environment = self.make()
        self.assertNoResult(environment.defer_to_thread(int, "7"))
        self.failureResultOf(environment.defer_to_thread(int, "7"), QuotaExceeded)
