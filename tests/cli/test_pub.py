"""``mqttsecure pub`` against a started broker."""

from __future__ import annotations

import importlib
import json
import signal
import subprocess

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.pub import pub
from tests.cli.client_case import ClientCase, run_command


class PublishingTests(ClientCase):
    """Messages arrive."""

    def test_every_source(self) -> None:
        """From an argument, files, all of stdin, its lines, or nothing at all; any bytes, in order."""
        subscriber = self.subscribe("reader", "-t", "lab/x", "-q", "2", "-F", "{payload:hex} {qos}")
        one, two = self.directory / "one", self.directory / "two"
        one.write_bytes(bytes(range(256)))
        two.write_bytes(b"")
        self.run_client("pub", "-t", "lab/x", "-m", "text \u00e9", "-q", "0")
        self.run_client("pub", "-t", "lab/x", "-f", one, "-f", two, "-q", "1")
        self.run_client("pub", "-t", "lab/x", "-s", "-q", "2", stdin=b"a\nb\n")
        self.run_client("pub", "-t", "lab/x", "-l", "-q", "1", stdin=b"first\r\nsecond\nlast")
        self.run_client("pub", "-t", "lab/x", "-n", "-q", "1")
        self.run_client("pub", "-t", "lab/x", "-m", "x", "-q", "1", "--repeat", "3", "--interval", "10ms")
        _, stdout, _ = self.stop(subscriber)
        found = [line for line in stdout.decode().split("\n") if line]
        expected = [
            ("text \u00e9".encode(), 0),
            (bytes(range(256)), 1),
            (b"", 1),
            (b"a\nb\n", 2),
            (b"first", 1),
            (b"second", 1),
            (b"last", 1),
            (b"", 1),
            *[(b"x", 1)] * 3,
        ]
        self.assertEqual(found, [f"{each.hex()} {qos}" for each, qos in expected])

    def test_retained_will_and_properties(self) -> None:
        """What is retained comes with its properties to a later subscriber."""
        properties = [
            "-D",
            "content-type",
            "text/plain",
            "-D",
            "user-property",
            "unit=C",
            "-D",
            "correlation-data",
            "7",
        ]
        self.run_client("pub", "-t", "lab/kept", "-m", "21", "-r", "-q", "1", *properties)
        done = self.run_client("sub", "-t", "lab/kept", "-C", "1", "--json")
        message = json.loads(done.stdout)
        self.assertEqual((message["topic"], message["payload"], message["retain"]), ("lab/kept", "21", True))
        self.assertEqual(message["properties"]["content_type"], "text/plain")
        self.assertEqual(message["properties"]["user_property"], [["unit", "C"]])
        self.run_client("pub", "-t", "lab/kept", "-n", "-r")
        self.run_client("sub", "-t", "lab/kept", "-C", "1", "-W", "300ms", code=9)
        will = ["--will-topic", "lab/will", "--will-payload", "gone", "--will-qos", "1"]
        watcher = self.subscribe("watcher", "-t", "lab/will")
        victim = self.subscribe("victim", *will)
        victim.kill()
        while b"gone" not in (line := watcher.process.stdout.readline()):  # type: ignore[union-attr]  # it is a pipe
            self.assertNotEqual(line, b"", "no will came")

    def test_who_and_what(self) -> None:
        """The older version, a report for a program, a note for me where nobody listens, a certificate as proof."""
        done = self.run_client("pub", "-V", "3.1.1", "-t", "lab/unheard", "-m", "x", "-q", "2", "--json")
        self.assertEqual(json.loads(done.stdout)["messages"], 1)
        answer = json.loads(self.run_client("pub", "-t", "lab/unheard", "-m", "abc", "-q", "1", "--json").stdout)
        self.assertEqual((answer["messages"], answer["bytes"]), (1, 3))
        done = self.run_client("pub", "-t", "lab/unheard", "-m", "abc", "-q", "1")
        self.assertIn(b"nobody subscribes to 'lab/unheard'", done.stderr)
        self.assertEqual(self.run_client("pub", "-t", "lab/unheard", "-m", "abc", "-q", "1", "--quiet").stderr, b"")
        certificate, key = self.files.issue("alice")
        url = f"mqtts://localhost:{self.broker.ports['tls']}"
        base = ["pub", "-L", url, "--cafile", self.files.ca, "-t", "lab/unheard", "-m", "x", "-q", "1"]
        self.assertEqual(run_command(*base, "--cert", certificate, "--key", key).returncode, 0)
        self.assertEqual(run_command(*base).returncode, 5)


class RefusalTests(ClientCase):
    """What goes wrong has a code of its own, and one line that says what helps."""

    def test_refusals(self) -> None:
        """By the broker."""
        done = self.run_client("pub", "-t", "secret/x", "-m", "x", "-q", "1", code=7)
        self.assertIn(b"'secret/x'", done.stderr)
        self.assertEqual(done.stderr.count(b"\n"), 1)
        self.run_client("pub", "-t", "secret/x", "-m", "x", "-q", "1", "-V", "3.1.1", "--no-reconnect", code=3)
        wrong = self.directory / "wrong.password"
        wrong.touch(0o600)
        wrong.write_text("wrong\n")
        refused = self.run_client("pub", "-t", "lab/x", "-m", "x", "--password-file", wrong, code=5)
        self.assertIn(b"password is wrong", refused.stderr)

    def test_password_sources(self) -> None:
        """From a file that nobody else may read, or from the environment; never from the command line."""
        url = f"mqtt://localhost:{self.broker.ports['plain']}"
        base = ["pub", "-L", url, "-t", "lab/x", "-m", "x", "-q", "1", "-u", "alice"]
        password = self.files.passwords["alice"]
        self.assertEqual(run_command(*base, more={"MQTTSECURE_PASSWORD": password}).returncode, 0)
        self.assertEqual(run_command(*base, "--password-env", "PW", more={"PW": password}).returncode, 0)
        self.assertIn(b"no variable PW", run_command(*base, "--password-env", "PW").stderr)
        done = run_command(*base, "-P", "s3cret")
        self.assertEqual(done.returncode, 2)
        self.assertNotIn(b"s3cret", done.stderr)
        self.assertIn(b"--password-file", done.stderr)
        file = self.directory / "open.password"
        file.write_text(password)
        file.chmod(0o644)
        done = run_command(*base, "--password-file", file)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"chmod 600", done.stderr)
        self.assertEqual(run_command(*base).returncode, 5)

    def test_lines_stop_at_the_first_refusal(self) -> None:
        """While stdin goes on: nobody waits for another line to be told."""
        running = self.start("pub", "-t", "secret/x", "-l", "-q", "1", stdin=subprocess.PIPE)
        assert running.process.stdin is not None
        running.process.stdin.write(b"one\n")
        running.process.stdin.flush()
        self.assertEqual(running.process.wait(60), 7)

    def test_interrupted(self) -> None:
        """Ctrl-C says goodbye to the broker, and tells what was not done."""
        running = self.start("pub", "-t", "lab/x", "-m", "x", "--repeat", "1000", "--interval", "1h", "-i", "alice-1")
        self.wait_for_log("connected as 'alice-1'")
        self.assertEqual(self.stop(running)[0], 128 + signal.SIGINT)
        self.wait_for_log(r"\('alice-1'\) from \S+ left: disconnected")

    def test_ports_that_are_none(self) -> None:
        """TLS to a port in the clear, and the other way round."""
        plain, tls = self.broker.ports["plain"], self.broker.ports["tls"]
        done = run_command("pub", "-L", f"mqtts://localhost:{plain}", "-t", "x", "-m", "x", "--timeout", "30s")
        self.assertIn(done.returncode, (3, 4), done.stderr)
        done = run_command("pub", "-L", f"mqtt://localhost:{tls}", "-t", "x", "-m", "x", "--timeout", "30s")
        self.assertIn(done.returncode, (3, 4), done.stderr)
        self.assertIn(b"mqtts://", done.stderr)


class MistakeTests(SynchronousTestCase):
    """What makes no sense."""

    def test_told(self) -> None:
        """Before there is a connection."""
        for arguments, code, words in (
            (("-t", "lab/x"), 2, "say what to publish"),
            (("-t", "lab/x", "-m", "x", "-n"), 2, "say what to publish"),
            (("-t", "lab/x", "-l", "--repeat", "2"), 2, "--repeat"),
            (("-t", "lab/#", "-m", "x"), 1, "wildcard"),
            (("-t", "lab/x", "-f", "/no/such"), 1, "No such file"),
            (("-t", "lab/x", "-m", "x", "-D", "content-tpe", "x"), 1, "did you mean content-type"),
            (("-t", "lab/x", "-m", "x", "-D", "topic-alias", "x"), 1, "no number"),
            (("-t", "lab/x", "-m", "x", "-D", "receive-maximum", "1"), 1, "receive_maximum"),
            (("-t", "lab/x", "-m", "x", "--insecure"), 1, "--pin sha256:"),
            (("-t", "lab/x", "-m", "x", "--pin", "yes"), 1, "no pin"),
            (("-t", "lab/x", "-m", "x", "--will-retain"), 1, "--will-topic"),
            (("-t", "lab/x", "-m", "x", "-x", "soon"), 1, "never"),
        ):
            with self.subTest(arguments=arguments):
                done = CliRunner().invoke(pub, [*arguments, "--timeout", "5s"])
                self.assertEqual(done.exit_code, code, done.output)
                self.assertIn(words, done.output)

    def test_interrupted_while_asked(self) -> None:
        """Ctrl-C at the question for a password ends it as Ctrl-C does."""

        def interrupt(*_: object) -> bytes:
            raise KeyboardInterrupt

        self.patch(importlib.import_module("mqttsecure.cli.pub"), "read_all", interrupt)
        self.assertEqual(CliRunner().invoke(pub, ["-t", "x", "-s"]).exit_code, 130)

    def test_addresses(self) -> None:
        """Where no broker is, or none that one should talk to."""
        for url, code, words in (
            ("mqtt://192.0.2.1", 2, "plaintext"),
            ("mqtts://a:b@c", 2, "user name"),
            ("mqtts://localhost:1", 3, "refused"),
            ("mqtts://no-such-host.invalid", 3, "no-such-host.invalid"),
        ):
            done = run_command("pub", "-t", "lab/x", "-m", "x", "-L", url, "--timeout", "30s")
            self.assertEqual(done.returncode, code, done.stderr.decode())
            self.assertIn(words, done.stderr.decode())
            self.assertNotIn("Traceback", done.stderr.decode())

    def test_help(self) -> None:
        """It has examples and the exit codes."""
        for name in ("pub", "sub"):
            text = run_command(name, "--help").stdout.decode()
            self.assertIn("Examples:", text)
            self.assertIn("Exit codes: 0 done", text)
            self.assertNotIn("--pw", text)
