"""What pub and sub share."""

from __future__ import annotations

import getpass
import importlib
import os
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.client_options import client_options, options_of
from mqttsecure.client.failures import OptionsInvalid
from mqttsecure.client.options import NEVER, ClientOptions
from mqttsecure.client.scram import ScramAuthenticator
from mqttsecure.errors import ConfigError


def options(*arguments: object) -> ClientOptions:
    """What the arguments come to."""
    found: list[ClientOptions] = []

    @click.command()
    @client_options
    def command(**given: Any) -> None:
        found.append(options_of(given))

    result = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    if not found:
        raise AssertionError(result.output)
    return found[0]


class OptionsTests(SynchronousTestCase):
    """Someone types options."""

    def setUp(self) -> None:
        self.patch(os, "environ", dict(os.environ))

    def test_defaults(self) -> None:
        """MQTT 5, verification on, no session kept, reconnecting."""
        found = options()
        self.assertEqual((found.version, found.session_expiry, found.clean_start), (5, 0, True))
        self.assertTrue(found.tls.verify)
        self.assertIsNotNone(found.backoff)

    def test_sessions(self) -> None:
        """How long a session is kept, in words; 3.1.1 has one flag for all of it."""
        self.assertEqual(options("-x", "1h").session_expiry, 3600)
        self.assertEqual(options("-x", "90").session_expiry, 90)
        self.assertEqual(options("-x", "never").session_expiry, NEVER)
        self.assertEqual(options("-c", "-V", "311", "-i", "a").session_expiry, NEVER)
        self.assertFalse(options("-c").clean_start)
        self.assertIsNone(options("--no-reconnect").backoff)

    def test_will(self) -> None:
        """Topic, payload, QoS, retain and properties."""
        will = options(
            "--will-topic", "w", "--will-payload", "gone", "--will-qos", 1, "--will-property", "will-delay-interval", 5
        ).will
        assert will is not None
        self.assertEqual((will.topic, will.payload, will.qos), ("w", b"gone", 1))
        self.assertEqual(will.properties, {"will_delay_interval": 5})

    def test_connect_properties(self) -> None:
        """User properties of CONNECT."""
        found = options("--connect-property", "user-property", "a=b=c")
        self.assertEqual(found.properties, {"user_property": [("a", "b=c")]})
        self.assertRaises(OptionsInvalid, options, "--connect-property", "user-property", "a")

    def test_tls(self) -> None:
        """A key that others can read is refused; verification is not turned off without a pin."""
        key = Path(self.mktemp())
        key.write_text("key")
        key.chmod(0o644)
        self.assertRaises(ConfigError, options, "--cert", "c.pem", "--key", key)
        self.assertRaises(OptionsInvalid, options, "--insecure")
        self.assertFalse(options("--insecure", "--pin", f"sha256:{'0' * 64}").tls.verify)

    def test_prompt(self) -> None:
        """On a terminal the password is asked for, unseen; with a certificate it is not."""
        asked = []
        self.patch(getpass, "getpass", lambda prompt: asked.append(prompt) or "typed")
        self.assertIsNone(options("-u", "alice").password)

        class Terminal:
            def isatty(self) -> bool:
                return True

        class Sys:
            stdin = Terminal()

        self.patch(importlib.import_module("mqttsecure.cli.client_options"), "sys", Sys)
        self.assertEqual(options("-u", "alice").password, b"typed")
        self.assertEqual(asked, ["Password of alice: "])
        self.assertIsNone(options("-u", "alice", "--cert", "c.pem").password)

    def test_empty_password_file(self) -> None:
        """An empty line is no password."""
        file = Path(self.mktemp())
        file.touch(0o600)
        self.assertRaises(ConfigError, options, "-u", "alice", "--password-file", file)


class AuthTests(SynchronousTestCase):
    """Someone proves a password, and does not send it."""

    def setUp(self) -> None:
        self.patch(os, "environ", {**os.environ, "SECRET": "pencil"})
        self.patch(os, "environb", {b"SECRET": b"pencil", b"BYTES": b"\xff"})

    def test_scram(self) -> None:
        """The password goes to the authenticator and not into CONNECT; bound to TLS unless it is told not to."""
        for way, method in (("scram", "SCRAM-SHA-256-PLUS"), ("scram-unbound", "SCRAM-SHA-256")):
            found = options("-u", "alice", "--password-env", "SECRET", "--auth", way)
            self.assertIsNone(found.password)
            authenticator = found.authenticator
            assert isinstance(authenticator, ScramAuthenticator)
            authenticator.bind(b"b" * 32)
            self.assertEqual(authenticator.method, method)
        self.assertIsNone(options("-u", "alice", "--password-env", "SECRET").authenticator)

    def test_what_is_missing(self) -> None:
        """A name, a password, or a version that can."""
        self.patch(os, "environ", {**os.environ, "BYTES": "x"})
        for arguments in (
            ("--auth", "scram"),
            ("--auth", "scram", "-u", "alice"),
            ("--auth", "scram", "--password-env", "SECRET"),
            ("--auth", "scram", "-u", "alice", "--password-env", "BYTES"),
            ("--auth", "scram", "-u", "alice", "--password-env", "SECRET", "-V", "311"),
        ):
            error = self.assertRaises(OptionsInvalid, options, *arguments)
            self.assertNotIn("pencil", str(error))
