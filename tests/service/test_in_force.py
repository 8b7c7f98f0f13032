"""Tests for mqttsecure.service.in_force, and for reloading a broker that is really started."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.policy.workers import WorkerPool
from mqttsecure.service.config import load_config
from mqttsecure.service.in_force import make_ready, restart_needed
from tests.support.config import write_config
from tests.support.process import BrokerProcess
from tests.system.conformance.client import Client


class MakeReadyTests(SynchronousTestCase):
    """All is made before any of it is used."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.files = write_config(self.folder, plaintext=True)

    def test_everything_of_a_configuration(self) -> None:
        """Chain, limits and a TLS context for each listener that has one."""
        clock = Clock()
        ready = make_ready(load_config(self.files.config), clock=clock, workers=WorkerPool(clock), version=3)
        self.assertEqual(ready.assembly.chain.version, 3)
        self.assertIsNotNone(ready.contexts["tls"])
        self.assertIsNone(ready.contexts["plain"])

    def test_broken_certificate(self) -> None:
        """A file that is damaged refuses all of it, and says which listener."""
        config = load_config(self.files.config)
        tls = next(listener.tls for listener in config.listeners if listener.tls is not None)
        tls.certificate.write_text("nothing of the kind")
        clock = Clock()
        error = self.assertRaises(ConfigError, make_ready, config, clock=clock, workers=WorkerPool(clock))
        self.assertIn(str(tls.certificate), str(error))

    def test_what_a_reload_cannot_do(self) -> None:
        """Sockets stay as they are until the next start, and each such key is told."""
        old = load_config(self.files.config)
        self.assertEqual(restart_needed(old, old), [])
        text = self.files.config.read_text()
        self.files.config.write_text(text.replace('name = "plain"', 'name = "other"') + '\n[log]\nlevel = "warn"\n')
        told = " ".join(restart_needed(old, load_config(self.files.config)))
        for word in ("'other' is new", "'plain' is gone", "[log] changes"):
            self.assertIn(word, told)


class ReloadTests(SynchronousTestCase):
    """SIGHUP on a started broker, with clients that are connected."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        rules = ["permit everyone publish,read open/#", "permit everyone publish,read later/#"]
        self.files = write_config(
            self.folder, plaintext=True, rules=rules, extra='[audit]\nfile = "audit.jsonl"\npermits = 1.0\n'
        )
        self.broker = BrokerProcess(self.files.config, self.folder)
        self.addCleanup(self.broker.kill)
        self.broker.start(listeners=2)

    def client(self, name: str, **connect: Any) -> Client:
        client = Client(self.broker.ports["plain"])
        self.addCleanup(client.drop)
        password = self.files.passwords["alice"].encode()
        client.connect(f"alice-{name}", username="alice", password=password, **connect)
        return client

    def reload(self, expect: str) -> None:
        before = len(self.broker.log)
        self.broker.signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while expect not in self.broker.log[before:]:
            self.assertLess(time.monotonic(), deadline, self.broker.log)
            time.sleep(0.02)

    def change(self, old: str, new: str) -> None:
        text = self.files.config.read_text()
        self.assertIn(old, text)
        self.files.config.write_text(text.replace(old, new))

    def test_revocation_reaches_who_is_connected(self) -> None:
        """What a rule no longer grants ends at once; who is not concerned stays connected."""
        concerned, other = self.client("1"), self.client("2")
        concerned.subscribe("later/#")
        other.subscribe("open/#")
        self.change("permit everyone publish,read later/#", "permit everyone publish later/#")
        self.reload("judged again")
        concerned.expect_closed([0x87])
        self.client("3").publish("open/x", b"still here")
        other.expect_messages(b"still here")
        self.assertEqual(self.client("1").subscribe("later/#"), [0x87])

    def test_a_right_that_was_lost_while_the_broker_was_down(self) -> None:
        """A subscription that came back from disk is judged when its client does: it gets no message by it."""
        lasting: dict[str, Any] = {"clean": False, "session_expiry_interval": 600}
        self.assertEqual(self.client("1", **lasting).subscribe("later/#", qos=1), [1])
        self.assertEqual(self.broker.stop(), 0)
        self.change("permit everyone publish,read later/#", "permit everyone publish,receive later/#")
        self.broker = BrokerProcess(self.files.config, self.folder)
        self.addCleanup(self.broker.kill)
        self.broker.start(listeners=2)
        self.client("2").publish("later/x", b"secret", qos=1)
        self.client("1", **lasting).expect_closed([0x87])

    def test_anything_wrong_keeps_all_of_the_old(self) -> None:
        """A configuration with a mistake changes nothing, and the mistake is told."""
        client = self.client("1")
        client.subscribe("open/#")
        self.change("permit everyone publish,read later/#", "permit everyone publsh later/#")
        self.reload("not reloaded; policy version 1 stays in force")
        self.assertIn("publsh", self.broker.log)
        self.client("3").publish("open/x", b"still here")
        client.expect_messages(b"still here")
        self.assertEqual(self.client("2").subscribe("later/#"), [0])

    def test_audit(self) -> None:
        """Denials of the running broker are in the audit log with rule and line, and so are permits that are wanted."""
        client = self.client("1")
        self.assertEqual(client.subscribe("forbidden/#"), [0x87])
        self.assertEqual(self.broker.stop(), 0)
        records = [json.loads(line) for line in (self.folder / "audit.jsonl").read_text().splitlines()]
        denied = [record for record in records if record.get("effect") == "deny"]
        self.assertEqual([record["topic"] for record in denied], ["forbidden/#"])
        self.assertEqual(
            {record.get("stage") for record in records} & {"ACCEPT", "AUTHENTICATE"}, {"ACCEPT", "AUTHENTICATE"}
        )
