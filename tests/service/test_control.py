"""Tests for mqttsecure.service.control and commands, and for the commands of mqttsecure.cli.running."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from tests.support.config import write_config
from tests.support.process import BrokerDidNotStart, BrokerProcess
from tests.system.conformance.client import Client

CONTROL = '[control]\nsocket = "control"\n'


class ControlTests(SynchronousTestCase):
    """An administrator at a broker that is really started."""

    def setUp(self) -> None:
        # Under /tmp: a socket's name has room for a hundred bytes.
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.socket = Path(f"/tmp/mqttsecure-test-{id(self):x}")
        self.addCleanup(self.socket.unlink, missing_ok=True)
        self.files = write_config(self.folder, plaintext=True, extra=f'[control]\nsocket = "{self.socket}"\n')
        self.broker = BrokerProcess(self.files.config, self.folder)
        self.addCleanup(self.broker.kill)
        self.broker.start(listeners=2)
        self.client = Client(self.broker.ports["plain"])
        self.addCleanup(self.client.drop)
        self.client.connect("alice-1", username="alice", password=self.files.passwords["alice"].encode())
        self.client.subscribe("lab/x/#", qos=1)

    def run_command(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [*arguments, "--config", str(self.files.config)])
        self.assertEqual(result.exit_code, code, result.output)
        return result

    def ask_json(self, *arguments: str) -> Any:
        return json.loads(self.run_command(*arguments, "--json").stdout)

    def test_gone(self) -> None:
        """A user who was deleted, and whose session is still there."""
        self.assertEqual(self.ask_json("clients", "gone"), {"total": 0, "gone": []})
        self.assertIn("0 principals are gone", self.run_command("clients", "gone").stdout)
        self.assertEqual(self.ask_json("status")["gauges"]["principals_gone"], 0)

    def raw(self, line: bytes) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(self.socket))
            connection.sendall(line)
            answer: dict[str, Any] = json.loads(connection.makefile("rb").readline())
            return answer

    def test_for_its_owner_alone(self) -> None:
        """Nobody else on the machine can steer the broker."""
        self.assertEqual(stat.S_IMODE(self.socket.stat().st_mode), 0o600)

    def test_status(self) -> None:
        """Whether it serves, and figures for people, programs and Prometheus."""
        answer = self.ask_json("status")
        self.assertTrue(answer["ready"])
        self.assertEqual((answer["policy_version"], answer["pid"]), (1, self.broker.pid))
        self.assertEqual((answer["gauges"]["connections"], answer["gauges"]["subscriptions"]), (1, 1))
        self.assertIn("messages received", self.run_command("status").stdout)
        text = self.run_command("status", "--prometheus").stdout
        self.assertIn("\nmqttsecure_connections 1\n", text)
        self.assertIn("\n# TYPE mqttsecure_messages_received_total counter\n", text)

    def test_clients(self) -> None:
        """Who is there, and all about one of them, with its last denial."""
        self.assertEqual(self.client.subscribe("forbidden"), [0x87])
        listed = self.ask_json("clients", "list")
        self.assertEqual([row["client_id"] for row in listed["clients"]], ["alice-1"])
        self.assertEqual(self.ask_json("clients", "list", "nobody")["total"], 0)
        shown = self.ask_json("clients", "show", "alice-1")
        self.assertEqual(shown["subscriptions"][0]["filter"], "lab/x/#")
        self.assertEqual(shown["last_denial"]["topic"], "forbidden")
        self.assertTrue(any("lab/#" in rule for rule in shown["grants"]), shown["grants"])
        self.assertFalse(any("bob" in rule for rule in shown["grants"]), shown["grants"])
        self.assertIn("lab/x/#", self.run_command("clients", "show", "alice-1").stdout)
        self.assertIn("alice-1", self.run_command("clients", "list").stdout)

    def test_disconnect(self) -> None:
        """A client is sent away with 0x98."""
        self.assertEqual(self.ask_json("clients", "disconnect", "alice-1"), {"client_id": "alice-1"})
        self.client.expect_closed([0x98])
        self.assertIn("there is no client", self.run_command("clients", "show", "alice-1", code=1).output)

    def test_reload(self) -> None:
        """The same as SIGHUP, with the answer where the command was typed."""
        answer = self.ask_json("reload")
        self.assertEqual((answer["policy_version"], answer["notes"]), (2, []))
        self.assertLess(answer["rejudged_seconds"], 2)
        self.assertEqual(self.ask_json("status")["policy_version"], 2)
        self.files.config.write_text(self.files.config.read_text() + "\n[limit]\n")
        self.assertIn("did you mean `limits`", self.run_command("reload", code=1).output)
        self.assertEqual(self.ask_json("status")["policy_version"], 2)

    def test_nonsense(self) -> None:
        """What is no request is told so, and the broker serves on."""
        for line in (b"\n", b"no json\n", b"[]\n", b'{"command": "stop the world"}\n', b'{"command": 7}\n'):
            self.assertFalse(self.raw(line)["ok"], line)
        self.assertFalse(self.raw(b'{"command": "client", "client_id": ["x"]}\n')["ok"])
        self.assertFalse(self.raw(b'{"command": "clients", "match": 7}\n')["ok"])
        self.assertTrue(self.ask_json("status")["ready"])

    def test_gone_with_the_broker(self) -> None:
        """No socket is left behind, and a command says that nobody is there."""
        self.assertEqual(self.broker.stop(), 0)
        self.assertFalse(self.socket.exists())
        self.assertIn("is the broker running", self.run_command("status", code=1).output)


class ControlSocketProblemsTests(SynchronousTestCase):
    """What is wrong is said, with the mend."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def test_folder_that_is_missing(self) -> None:
        """A start without its control socket is refused: it would be missed when it is needed."""
        files = write_config(self.folder, extra='[control]\nsocket = "/nowhere/control"\n')
        broker = BrokerProcess(files.config, self.folder)
        self.addCleanup(broker.kill)
        error = self.assertRaises(BrokerDidNotStart, broker.start)
        self.assertIn("there is no folder /nowhere", str(error))

    def test_none_configured(self) -> None:
        """The command says what to add."""
        files = write_config(self.folder)
        result = CliRunner().invoke(main, ["status", "--config", str(files.config)])
        self.assertEqual(result.exit_code, 1)
        self.assertIn("[control]", result.output)

    def test_no_broker_named(self) -> None:
        """One has to say which."""
        self.assertEqual(CliRunner().invoke(main, ["status"]).exit_code, 2)
