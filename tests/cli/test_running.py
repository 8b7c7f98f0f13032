"""Tests for mqttsecure.cli.running: what is said when there is no broker, or something else, at the socket.

What the commands do at a broker that runs is in tests.service.test_control.
"""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Thread

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli import running
from mqttsecure.cli.main import main

COMMANDS: Sequence[Sequence[str]] = (
    ["status"],
    ["reload"],
    ["clients", "list"],
    ["clients", "show", "c"],
    ["clients", "disconnect", "c"],
    ["clients", "block", "c"],
    ["clients", "unblock", "c"],
    ["clients", "blocked"],
    ["bans", "list"],
    ["bans", "add", "192.0.2.7"],
    ["bans", "remove", "192.0.2.7"],
)


class NobodyThereTests(SynchronousTestCase):
    """Exit code 1 and one line that says what to do; never a traceback, and nothing on stdout for programs."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mqttsecure-test-"))  # a short name, for sockets
        self.addCleanup(self.folder.rmdir)
        self.path = self.folder / "control"
        self.addCleanup(self.path.unlink, missing_ok=True)

    def all_say(self, expected: str) -> None:
        for command in COMMANDS:
            for option in ([], ["--json"]):
                result = self.ask(*command, *option)
                self.assertEqual((result.exit_code, result.stdout), (1, ""), (command, result.output))
                self.assertIn(expected, result.stderr, command)

    def ask(self, *command: str) -> Result:
        result = CliRunner().invoke(main, [*command, "--socket", str(self.path)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def answer(self, data: bytes) -> None:
        """Answer the next question by this, and close."""
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(str(self.path))
        server.listen()

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                lines.readline()
                connection.sendall(data)

        thread = Thread(target=serve)
        thread.start()
        self.addCleanup(thread.join, 30)

    def test_no_socket(self) -> None:
        """The broker does not run, or with another configuration."""
        self.all_say("is the broker running with this configuration?")

    def test_nobody_listens(self) -> None:
        """The broker was killed, and its socket is still there."""
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(self.path))
        self.all_say("nobody listens on")

    def test_no_socket_but_a_file(self) -> None:
        """Somebody named the wrong file."""
        self.path.write_text("")
        self.all_say("nobody listens on")

    def test_no_answer(self) -> None:
        """The broker hangs: the command does not."""
        self.patch(running, "_PATIENCE", 0.05)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(self.path))
            server.listen()
            self.assertIn("no answer on", self.ask("status").stderr)

    def test_half_an_answer(self) -> None:
        """The broker ended meanwhile."""
        self.answer(b'{"ok": true, "res')
        self.assertIn("the broker ended before it had answered", self.ask("status").stderr)

    def test_something_else_answers(self) -> None:
        """What is there is no broker."""
        for data in (b"SSH-2.0-OpenSSH\n", b"[]\n", b"\n"):
            self.answer(data)
            result = self.ask("status")
            self.assertEqual((result.exit_code, result.stdout), (1, ""))
            self.assertIn("no broker of this version", result.stderr)
            self.path.unlink()

    def test_broker_says_no(self) -> None:
        """In its own words, each problem a line; without any that is said."""
        self.answer(json.dumps({"ok": False, "problems": ["one", "two"]}).encode() + b"\n")
        self.assertEqual(self.ask("reload").stderr, "one\ntwo\n")
        self.path.unlink()
        self.answer(b'{"ok": false}\n')
        self.assertIn("gave no reason", self.ask("reload").stderr)

    def test_usage(self) -> None:
        """Without a broker named, an unknown command or a missing name: exit code 2."""
        for command in (
            ["status"],
            ["clients", "show"],
            ["clients", "throw"],
            ["bans", "add"],
            ["bans", "add", "x", "--for", "y"],
        ):
            self.assertEqual(CliRunner().invoke(main, command).exit_code, 2, command)
        for command in COMMANDS:
            text = CliRunner().invoke(main, [*command[:2], "--help"]).output
            self.assertIn("Example", text, command)
            self.assertIn("Exit codes", text, command)
