"""Options that make no sense are refused when they are made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.failures import OptionsInvalid
from mqttsecure.client.options import NEVER, Backoff, ClientOptions, TlsOptions
from mqttsecure.wire.packets import Will


class OptionsTests(SynchronousTestCase):
    """Someone sets a client up."""

    def test_refused(self) -> None:
        """Each mistake is told with what helps."""
        cases: list[tuple[dict[str, Any], str]] = [
            ({"version": 3}, "use 5, or 4"),
            ({"version": 4, "authenticator": object()}, "no Authentication Methods"),
            ({"connect_timeout": 0}, "above 0"),
            ({"queue_messages": 0}, "room"),
            ({"in_flight": 0}, "room"),
            ({"session_expiry": NEVER + 1}, "Session Expiry"),
            ({"keep_alive": 70000}, "CONNECT"),
            ({"will": Will("a/#", b"")}, "wildcard"),
            ({"version": 4, "password": b"x"}, "user name"),
            ({"client_id": "\0"}, "CONNECT"),
            ({"client_id": "", "version": 4, "session_expiry": 1, "clean_start": False}, "Client Identifier"),
        ]
        for options, words in cases:
            error = self.assertRaises(OptionsInvalid, lambda options=options: ClientOptions(**options))
            self.assertIn(words, str(error), options)

    def test_backoff(self) -> None:
        """Waits that shrink, or that begin above their end, are refused."""
        for wrong in ({"first": 0}, {"first": 9, "longest": 1}, {"factor": 0.5}):
            self.assertRaises(OptionsInvalid, lambda wrong=wrong: Backoff(**wrong))

    def test_no_verification_needs_a_pin(self) -> None:
        """Nothing turns verification off without a fingerprint in its place."""
        self.assertIn("fingerprint", str(self.assertRaises(OptionsInvalid, lambda: TlsOptions(verify=False))))
        self.assertRaises(OptionsInvalid, lambda: TlsOptions(verify=False, pin="yes"))
        TlsOptions(verify=False, pin=f"sha256:{'0' * 64}")

    def test_key_without_certificate(self) -> None:
        """A key alone proves nothing."""
        self.assertRaises(OptionsInvalid, lambda: TlsOptions(key_file=Path("key")))

    def test_password_is_not_shown(self) -> None:
        """Options in a log hold no password."""
        self.assertNotIn("s3cret", repr(ClientOptions(username="u", password=b"s3cret")))
