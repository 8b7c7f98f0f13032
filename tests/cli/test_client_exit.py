"""Exit codes."""

from __future__ import annotations

import inspect

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.client_exit import EXIT_CODES_HELP, exit_code_of
from mqttsecure.client import failures
from mqttsecure.client.failures import ClientError, ConnectRefused, SubscribeRefused


class ExitCodeTests(SynchronousTestCase):
    """A script looks at the code."""

    def test_every_error_has_one(self) -> None:
        """And each code is told by --help."""
        for _, kind in inspect.getmembers(failures, inspect.isclass):
            if not issubclass(kind, ClientError):
                continue
            error = (
                SubscribeRefused("a", "b", reason_code=0x87, reason_codes={})
                if kind is SubscribeRefused
                else kind("a", "b")
            )
            code = exit_code_of(error)
            self.assertGreater(code, 0)
            self.assertIn(f" {code} ", EXIT_CODES_HELP)

    def test_refused_connections(self) -> None:
        """A wrong password is another thing than a busy broker."""
        self.assertEqual(exit_code_of(ConnectRefused("a", "b", reason_code=0x86)), 5)
        self.assertEqual(exit_code_of(ConnectRefused("a", "b", reason_code=0x89, transient=True)), 6)
