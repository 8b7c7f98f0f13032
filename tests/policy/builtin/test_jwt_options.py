"""Tests for mqttsecure.policy.builtin.jwt_options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.builtin.jwt import JwtFactory, JwtPolicy
from mqttsecure.policy.builtin.jwt_options import JwtOptions
from tests.policy.builtin.helpers import problems_of
from tests.support.environment import FakeAuthority, FakeEnvironment
from tests.support.tokens import Issuer


class JwtOptionsTests(SynchronousTestCase):
    """What refuses the start."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.environment = FakeEnvironment("tokens", {"people": FakeAuthority("people")}, self.folder)
        self.write("keys.pem", Issuer().pem)

    def write(self, name: str, content: bytes, mode: int = 0o600) -> None:
        (self.folder / name).write_bytes(content)
        (self.folder / name).chmod(mode)

    def options(self, **options: Any) -> JwtOptions:
        full = {"issuer": "i", "audience": ["a"], "keys_file": "keys.pem", **options}
        return JwtOptions.model_validate({key: value for key, value in full.items() if value is not None})

    def test_good_ones(self) -> None:
        """A file, or a service."""
        for options in (
            {"authority": "people"},
            {"keys_file": None, "jwks_url": "https://id.example/keys"},
            {"grants_claim": "mqtt", "grants_within": ["a/#"]},
        ):
            self.assertIsInstance(JwtFactory().build(self.options(**options), self.environment), JwtPolicy)

    def test_table_of_problems(self) -> None:
        """Each names the policy, the line, the key, and how to mend it."""
        self.write("open.pem", Issuer().pem, 0o644)
        self.write("private.pem", Issuer().private_pem)
        self.write("ca.pem", b"nothing")
        self.write("large.pem", b"x" * 300_000)
        remote = {"keys_file": None, "jwks_url": "https://id.example/keys"}
        for options, text in (
            ({"keys_file": None}, "broker.toml:1: tokens: give one of"),
            ({"jwks_url": "https://id.example/"}, "give one of"),
            ({"keys_file": "none.pem"}, "broker.toml:10: tokens keys_file: "),
            ({"keys_file": "open.pem"}, "chmod 600"),
            ({"keys_file": "private.pem"}, "private key"),
            ({"keys_file": "large.pem"}, "larger than"),
            ({"ca_file": "ca.pem"}, "it is for jwks_url"),
            ({**remote, "jwks_url": "http://id.example/"}, "no https URL"),
            ({**remote, "jwks_url": "https://user:secret@id.example/"}, "password"),
            ({**remote, "ca_file": "ca.pem"}, "holds no PEM certificate"),
            ({**remote, "ca_file": "none.pem"}, "cannot be read"),
            ({**remote, "lifetime_seconds": 10}, "shorter than refresh_seconds"),
            ({"authority": "peopel"}, "did you mean 'people'"),
            ({"grants_claim": "mqtt"}, "give both"),
            ({"grants_within": ["a/#"]}, "give both"),
            ({"grants_claim": "mqtt", "grants_within": ["a/#/b"]}, "broker.toml:100: tokens grants_within[0]"),
            ({"grants_claim": "mqtt", "grants_within": ["a/{user}"]}, "plain Topic Filter"),
            ({"grants_claim": "mqtt", "grants_within": ["$share/g/a"]}, "plain Topic Filter"),
        ):
            found = "\n".join(problems_of(JwtFactory().build, self.options(**options), self.environment))
            self.assertIn(text, found)
            self.assertNotIn("secret@", found)

    def test_table_of_options_that_are_none(self) -> None:
        """No audience, no issuer, no bound: each is an error before anything is built."""
        for options in (
            {"issuer": ""},
            {"audience": []},
            {"audience": "a"},
            {"leeway_seconds": 301},
            {"maximum_lifetime_seconds": 10**9},
            {"refresh_seconds": 1},
            {"username": "nobody"},
            {"algorithms": ["none"]},
        ):
            self.assertRaises(ValidationError, self.options, **options)
