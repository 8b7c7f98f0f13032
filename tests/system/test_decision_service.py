"""Tests of the example service, started as its README says, and asked by the policy over mutual TLS."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import trustme
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mqttsecure.core.decisions import Decision, Principal, Stage
from mqttsecure.policy.builtin.http_options import HttpOptions
from mqttsecure.policy.builtin.http_service import HttpFactory
from tests.policy.builtin.helpers import facts, request
from tests.support.environment import FakeEnvironment
from tests.support.https import key_pair_pem
from tests.support.process import CHECKOUT

EXAMPLE = CHECKOUT / "examples" / "decision-service"


class DecisionServiceTests(TestCase):
    """Somebody tries the example."""

    timeout = 60

    async def test_it_decides(self) -> None:
        """A login with the right password, a wrong one, a topic that is granted, one that is not, and no service."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        certificate, key = key_pair_pem(ca.issue_cert("localhost"), folder, "service")
        key_pair_pem(ca.issue_cert("broker.example"), folder, "broker-client")
        arguments = ["--port", "0", "--certificate", certificate, "--key", key, "--clients", folder / "ca.pem"]
        service = subprocess.Popen(
            [sys.executable, EXAMPLE / "service.py", *map(str, arguments), EXAMPLE / "rules.json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(service.wait)
        self.addCleanup(service.kill)
        stdout: Any = service.stdout
        self.addCleanup(stdout.close)
        said = await deferToThread(stdout.readline)
        port = int(said.rstrip("/\n").rpartition(":")[2])
        environment = FakeEnvironment("people", folder=folder)
        environment.clock = reactor  # type: ignore[assignment]
        options = {
            "url": f"https://localhost:{port}/",
            "stages": ["AUTHENTICATE", "PUBLISH"],
            "role": "grants",
            "send_password": True,
            "ca_file": "ca.pem",
            "certificate": "broker-client.pem",
            "key": "broker-client.key",
            "answer_seconds": 30.0,
            "cache_seconds": 0,
        }
        policy = HttpFactory().build(HttpOptions.model_validate(options), environment)

        async def ask(stage: Stage, **more: Any) -> Decision:
            connection = facts(username="alice", principal=Principal("people", "alice"))
            decision: Decision = await maybeDeferred(policy.decide, request(stage, connection, **more))
            return decision

        permitted = await ask(Stage.AUTHENTICATE, password=b"pencil")
        self.assertEqual((permitted.principal, permitted.groups), (Principal("people", "alice"), frozenset({"staff"})))
        self.assertEqual((await ask(Stage.AUTHENTICATE, password=b"pen")).effect.value, "deny")
        self.assertEqual((await ask(Stage.PUBLISH, topic="plant/1/set")).effect.value, "permit")
        self.assertEqual((await ask(Stage.PUBLISH, topic="plant/2/set")).effect.value, "abstain")
        service.kill()
        await deferToThread(service.wait)
        denied = await ask(Stage.PUBLISH, topic="plant/1/set")
        self.assertEqual((denied.effect.value, denied.rule), ("deny", "service"))

    def test_its_rules_can_be_read(self) -> None:
        """They are JSON, and no password is in them."""
        text = (EXAMPLE / "rules.json").read_text()
        self.assertIn("alice", json.loads(text)["users"])
        self.assertNotIn("pencil", text)
