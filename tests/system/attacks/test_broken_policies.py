# -*- test-case-name: tests.system.attacks.test_broken_policies -*-
"""A plugin that raises, hangs, lies or answers twice: what it is asked is denied in time, and others are unaffected."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.packets import Publish
from tests.support.config import BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections
from tests.system.attacks.client import AttackClient

_PLUGIN: Final = '''
"""A policy with every fault, each provoked by the topic of a request, or by the Client Identifier at CONNECT."""

from pydantic import BaseModel
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mqttsecure.interfaces import INTERFACE_VERSION, Decision, IPolicy, IPolicyFactory, Role, Stage


class Options(BaseModel):
    model_config = {"extra": "forbid"}


@implementer(IPolicy)
class Faulty:
    def decide(self, request):
        word = request.topic or request.connection.client_id
        if "victim" in word:
            # A fault for one reader alone: "victim-raises" as a Client Identifier, its topic is harmless.
            word = ""
        if request.stage is Stage.DELIVER:
            word = request.connection.client_id
        if "raises" in word:
            raise RuntimeError("the plugin is broken")
        if "exits" in word:
            raise SystemExit(3)
        if "hangs" in word:
            return Deferred()
        if "wrong-type" in word:
            return True
        if "none" in word:
            return None
        if "oversteps" in word:
            return Decision.permit("all")
        if "unknown" in word:
            return Decision.abstain(obligations=("do as I say",))
        if "fails-later" in word:
            late = Deferred()
            reactor.callLater(0.01, late.errback, RuntimeError("the plugin is broken"))
            return late
        if "late" in word:
            late = Deferred(canceller=lambda deferred: None)
            reactor.callLater(1.0, _answer, late)
            return late
        if "wrong-later" in word:
            late = Deferred()
            reactor.callLater(0.01, late.callback, "yes")
            return late
        if "twice" in word:
            late = Deferred()
            reactor.callLater(0.01, _answer, late)
            reactor.callLater(0.02, _answer, late)
            return late
        return Decision.abstain()


def _answer(deferred):
    try:
        deferred.callback(Decision.abstain())
    except Exception:
        pass


@implementer(IPolicyFactory)
class FaultyFactory:
    interface_version = INTERFACE_VERSION
    name = "faulty"
    summary = "does everything wrong"
    stages = {stage: Role.RESTRICTS for stage in (Stage.CONNECT, Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER)}
    options = Options
    attributes = {}

    def build(self, options, environment):
        return Faulty()


factory = FaultyFactory()
'''
_FAULTS: Final = (
    "raises",
    "exits",
    "hangs",
    "wrong-type",
    "none",
    "oversteps",
    "unknown",
    "fails-later",
    "wrong-later",
    "late",
)
_TIMEOUT: Final = 0.4


class BrokenPolicyTests(AttackCase):
    """The chain of the other tests with such a plugin in it, which must answer within 400 ms."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        folder = directory / "plugins"
        folder.mkdir(mode=0o700)
        (folder / "faulty.py").write_text(_PLUGIN)
        (folder / "faulty.py").chmod(0o600)
        return allow_many_connections(
            write_config(
                directory,
                plaintext=True,
                rules=("permit user:alice publish,read lab/#", "permit user:bob read lab/#"),
                extra_policies='[[policy]]\nid = "faulty"\nuse = "local:faulty"\ntimeout_ms = 400\n',
                extra='[plugins]\npath = ["plugins"]\n',
            )
        )

    def setUp(self) -> None:
        # The breaker stops asking a policy that keeps failing, so each test takes a broker whose policy is fresh.
        self.restart()
        super().setUp()

    def _assert_unhurt(self) -> None:
        """The plugin's own faults are in the log; what must not be there is a fault of the broker."""
        self.assertNotIn("internal error", self.new_log)
        self.assertNotIn("Unhandled", self.new_log)
        self.assertFalse(self.broker.has_ended)

    def test_publish(self) -> None:
        """Each fault denies the one PUBLISH, within the time-out; the connection and other clients go on."""
        other = self.login("alice")
        other.subscribe("lab/good")
        for fault in _FAULTS:
            alice = self.login("alice")
            started = time.monotonic()
            self.assertGreaterEqual(alice.publish(f"lab/{fault}"), 0x80, fault)
            self.assertLess(time.monotonic() - started, _TIMEOUT + 1.0, fault)
            alice.close()
        self.assertEqual(0, self._publish_good())
        self.assertEqual([("lab/good", b"x")], other.messages())

    def _publish_good(self) -> int:
        return self.login("alice").publish("lab/good")

    def test_subscribe(self) -> None:
        """The same for SUBSCRIBE: the filter is refused, the others in the same packet are not."""
        for fault in _FAULTS:
            alice = self.login("alice")
            codes = alice.subscribe("lab/before", f"lab/{fault}", "lab/behind")
            self.assertEqual([0, True, 0], [codes[0], codes[1] >= 0x80, codes[2]], fault)
            alice.close()

    def test_connect(self) -> None:
        """The same for CONNECT: no connection."""
        for fault in _FAULTS:
            client = self.client(tls=False)
            self.assertGreaterEqual(client.connect(f"c-{fault}", "alice", self.files.passwords["alice"]), 0x80, fault)
            self.assertEqual([], client.remaining())

    def test_delivery(self) -> None:
        """A fault at DELIVER withholds the message from its reader; neither publisher nor other readers wait for it."""
        for fault in ("hangs", "raises", "wrong-type", "fails-later"):
            victim, other = self.login("bob", f"victim-{fault}"), self.login("bob")
            for reader in (victim, other):
                self.assertEqual([1], reader.subscribe("lab/good", qos=1))
            started = time.monotonic()
            self.assertEqual(0, self.login("alice").publish("lab/good"), fault)
            self.assertEqual([("lab/good", b"x")], other.messages())
            self.assertLess(time.monotonic() - started, _TIMEOUT - 0.05)
            time.sleep(_TIMEOUT)
            self.assertEqual([], victim.messages(), fault)
            for reader in (victim, other):
                reader.close()

    def test_others_do_not_wait(self) -> None:
        """While twenty requests hang, somebody else's are answered at once."""
        hanging = [self.login("alice") for _ in range(20)]
        other = self.login("alice")
        other.subscribe("lab/good")
        for client in hanging:
            client.send(Publish("lab/hangs", b"", 1, packet_id=1))
        started = time.monotonic()
        other.publish("lab/good")
        self.assertLess(time.monotonic() - started, _TIMEOUT)
        for client in hanging:
            packet = client.receive(_TIMEOUT + 3)
            self.assertGreaterEqual(getattr(packet, "reason_code", 0), 0x80)

    def test_answers_twice(self) -> None:
        """A policy that answers a question twice is heard once."""
        alice = self.login("alice")
        self.assertIn(alice.publish("lab/twice"), (0, 0x10))
        self.assertIn(alice.publish("lab/good"), (0, 0x10))

    def test_late_answer_changes_nothing(self) -> None:
        """The answer that comes after the time-out is not heard: no message appears from nowhere."""
        watcher = self.login("bob")
        watcher.subscribe("lab/x")
        alice = self.login("alice")
        self.assertGreaterEqual(alice.publish("lab/late"), 0x80)
        time.sleep(0.9)
        self.assertEqual([], watcher.messages())
        self.assertIn(alice.publish("lab/x"), (0, 0x10))
        self.assertEqual(1, len(watcher.messages()))

    def test_gone_while_it_hangs(self) -> None:
        """Clients that leave while the plugin thinks about them leave nothing behind."""
        for _ in range(30):
            client = self.client(tls=False)
            client.send(b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x04hang")
            client.close()
        self.assertEqual(0, self._login_code())

    def _login_code(self) -> int:
        with AttackClient(self.broker.ports["plain"], version=MQTT_5_0) as client:
            return client.connect("fine", "alice", self.files.passwords["alice"])

    def test_faults_are_told_and_counted(self) -> None:
        """The log names the policy and what it did wrong; a policy that goes on failing is not asked any more."""
        alice = self.login("alice")
        for _ in range(12):
            self.assertGreaterEqual(alice.publish("lab/raises"), 0x80)
        self.assert_logged("faulty", "the plugin is broken")
        self.assert_logged("denied PUBLISH to 'lab/raises'", "policy faulty")
