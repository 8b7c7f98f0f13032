"""``mqttsecure sub`` against a started broker."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.sub import sub
from tests.cli.client_case import PATIENCE, ClientCase, lines


class ShowingTests(ClientCase):
    """Messages come to stdout."""

    def test_binary_safe(self) -> None:
        """Into a file every byte goes as it came."""
        self.client().publish("lab/bin", bytes(range(256)) * 300, 1, retain=True)
        done = self.run_client("sub", "-t", "lab/bin", "-C", "1", "-N")
        self.assertEqual(done.stdout, bytes(range(256)) * 300)

    def test_terminal_is_not_steered(self) -> None:
        """On a terminal what could clear it or forge a line is written out."""
        payload = "red \x1b[31m bell \a fake\rline \u202e \u00e9\n".encode()
        self.client().publish("lab/evil", payload, 1, retain=True)
        ours, theirs = pty.openpty()
        running = self.start("sub", "-t", "lab/evil", "-C", "1", "-v", stdout=theirs)
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 4096):
                shown += data
        except OSError:
            pass  # Linux says EIO where the other end of a terminal has closed
        os.close(ours)
        self.assertEqual(running.wait()[0], 0)
        self.assertIn("lab/evil red \\x1b[31m bell \\x07 fake\\rline \\u202e \u00e9", shown.decode())
        self.assertNotIn(b"\x1b", shown)

    def test_filters(self) -> None:
        """Several filters, and what is not to be shown; retained ones only if wanted."""
        client = self.client()
        for topic in ("lab/f/a", "lab/f/b", "lab/f/c"):
            client.publish(topic, topic.encode(), 1, retain=True)
        done = self.run_client("sub", "-t", "lab/f/a", "-t", "lab/f/+", "-T", "lab/f/b", "-v", "-C", "3")
        self.assertEqual(set(lines(done.stdout)), {b"lab/f/a lab/f/a", b"lab/f/c lab/f/c"})
        self.assertEqual(self.run_client("sub", "-t", "lab/f/#", "-R", "-W", "300ms").stdout, b"")

    def test_refused(self) -> None:
        """A subscription that the broker does not grant ends it."""
        done = self.run_client("sub", "-t", "lab/x", "-t", "secret/#", code=7)
        self.assertIn(b"'secret/#'", done.stderr)
        self.assertNotIn(b"Unhandled", done.stderr)


class MistakeTests(SynchronousTestCase):
    """What makes no sense."""

    def test_mistakes(self) -> None:
        """Told before there is a connection."""
        for arguments, words in (
            (("-t", "a#"), "#"),
            (("-F", "%t %p"), "braces"),
            (("-F", "{topc}"), "no field"),
            (("-V", "311", "--no-local"), "--no-local"),
            (("-V", "311", "-D", "user-property", "a=b"), "-D"),
            (("-F", "{topic}", "--json"), "exclude"),
            (("-T", "a/#/b"), "goes on after #"),
        ):
            done = CliRunner().invoke(sub, ["-t", "lab/x", *arguments])
            self.assertEqual(done.exit_code, 1, done.output)
            self.assertIn(words, done.output)


class EndingTests(ClientCase):
    """How it ends."""

    def test_signals(self) -> None:
        """Ctrl-C and SIGTERM both say goodbye, each with its own code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            running = self.subscribe(f"alice-{number}")
            code, _, stderr = self.stop(running, number)
            self.assertEqual((code, stderr), (128 + number, ""))
            self.wait_for_log(rf"\('alice-{number}'\) from \S+ left: disconnected")

    def test_nobody_reads(self) -> None:
        """``sub | head``: it notices, and says nothing."""
        running = self.subscribe("reader", "-t", "lab/x")
        assert running.process.stdout is not None
        running.process.stdout.close()
        running.process.stdout = None
        self.client().publish("lab/x", b"x", 1)
        code, _, stderr = running.wait()
        self.assertEqual((code, stderr), (141, ""))

    def test_session_that_lasts(self) -> None:
        """With a session that lasts each message is shown once, however often I begin anew; none is skipped unseen."""
        session = ("-i", "worker", "-x", "1h", "-c", "-t", "lab/jobs", "-q", "2")
        self.run_client("sub", *session, "-W", "100ms")
        client = self.client()
        for number in range(5):
            client.publish("lab/jobs", b"%d" % number, 1 + number % 2)
        shown = [self.run_client("sub", *session, "-C", "1").stdout for _ in range(3)]
        shown += self.run_client("sub", *session, "-C", "2").stdout.splitlines(keepends=True)
        self.assertEqual(shown, [b"%d\n" % number for number in range(5)])
        self.assertEqual(self.run_client("sub", *session, "-W", "300ms").stdout, b"")

    def test_slow_reader(self) -> None:
        """A reader that takes its time gets everything: reading pauses, and the broker holds the rest."""
        running = self.subscribe("reader", "-t", "lab/x", "-q", "1", "-k", "5")
        total = 200
        payload = b"y" * 20_000
        client = self.client()
        for _ in range(total):
            client.publish("lab/x", payload, 1)
        assert running.process.stdout is not None
        got = 0
        deadline = time.monotonic() + PATIENCE
        while got < total and time.monotonic() < deadline:
            got += running.process.stdout.readline().startswith(b"yyy")
        self.assertEqual(got, total)
        self.assertEqual(self.stop(running)[0], 130)


class ComingBackTests(ClientCase):
    """The broker goes, and comes back."""

    has_own_broker = True

    def test_reconnect(self) -> None:
        """It tells that it waits, comes back, subscribes again, and goes on."""
        port = self.broker.ports["tls"]
        running = self.subscribe("reader", "-t", "lab/x", "--json", stdout=subprocess.PIPE)
        self.broker.stop()
        self.files.config.write_text(self.files.config.read_text().replace('"127.0.0.1:0"', f'"127.0.0.1:{port}"', 1))
        self.broker.start(listeners=2)
        assert running.process.stdout is not None
        self.wait_for_subscriber("lab/x")
        self.client().publish("lab/x", b"after", 1)
        while (line := running.process.stdout.readline()) and json.loads(line)["payload"] != "after":
            pass
        self.assertTrue(line)
        _, _, stderr = self.stop(running)
        self.assertIn("trying again in", stderr)
        self.assertIn("connected again", stderr)
