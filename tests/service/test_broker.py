"""The broker as a service: from the bind to the last goodbye, in this process and as a daemon."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.logger import ILogObserver, LogLevel, globalLogPublisher
from twisted.trial import unittest
from zope.interface import implementer

from mqttsecure.service import exit_code
from mqttsecure.service.broker import BrokerService
from mqttsecure.service.config import load_config
from mqttsecure.service.exit_code import StartFailed
from mqttsecure.service.logging import format_json, format_text
from mqttsecure.transport.tls import ServerContext
from mqttsecure.wire.constants import MQTT_3_1_1
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Connack, Disconnect, Publish, Subscribe, SubscriptionRequest, Will
from tests.support.config import ALICE_PASSWORD, BrokerFiles, write_config
from tests.support.process import BrokerProcess
from tests.support.transport import Far, HandReactor, connect_bytes, subscribe_bytes
from tests.system.attacks.client import AttackClient

PATIENCE = 10.0
"""Real seconds: a password is checked in a thread."""


@implementer(ILogObserver)
class Lines:
    """The log as it would be written."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, event: dict[str, Any]) -> None:
        if event.get("log_namespace", "").startswith("mqttsecure") and event["log_level"] >= LogLevel.info:
            self.events.append(event)

    @property
    def text(self) -> list[str]:
        return [format_text(event).partition(": ")[2] for event in self.events]

    def with_words(self, *words: str) -> list[str]:
        """The lines that have all of these words."""
        return [line for line in self.text if all(word in line for word in words)]


class BrokerCase(unittest.SynchronousTestCase):
    """Has a configuration, a reactor that turns by hand, and the log."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.reactor = HandReactor()
        self.lines = Lines()
        globalLogPublisher.addObserver(self.lines)
        self.addCleanup(globalLogPublisher.removeObserver, self.lines)
        self.fars: list[Far] = []

    def start(self, files: BrokerFiles) -> BrokerService:
        """A broker that serves."""
        self.files = files
        service: Any = BrokerService(load_config(files.config), self.reactor)
        self.service: Any = service
        service.privilegedStartService()
        service.startService()
        self.addCleanup(self.stop)
        return service

    def stop(self) -> None:
        """Stop it, and see that nothing of it is left."""
        for far in self.fars:
            far.close()
        done = self.service.stopService()
        self.until(lambda: done.called)
        self.assertEqual(self.reactor.getReaders() + self.reactor.getWriters(), [])

    def turn(self) -> None:
        self.reactor.turn(0.002)
        for far in self.fars:
            far.pump()

    def until(self, condition: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                self.fail(f"did not come about; the log: {self.lines.text}")
            self.turn()

    def address(self, name: str) -> tuple[str, int]:
        for listener, port in self.service._ports:
            if listener.name == name:
                return port.getHost().host, port.getHost().port
        raise AssertionError(name)

    def connect(self, name: str = "tls", context: ssl.SSLContext | None = None) -> Far:
        if name == "tls" and context is None:
            context = self.files.client_context()
        far = Far(self.address(name), context)
        self.fars.append(far)
        return far

    def connected(self, client_id: str, name: str = "tls", **more: Any) -> Far:
        """Alice, who has her CONNACK."""
        far = self.connect(name)
        more.setdefault("username", "alice")
        more.setdefault("password", ALICE_PASSWORD.encode())
        far.send(connect_bytes(client_id, **more))
        packets: list[Any] = []
        self.until(lambda: packets.extend(far.packets()) or packets)
        self.assertIsInstance(packets[0], Connack)
        self.assertEqual(packets[0].reason_code, 0)
        return far


class StartTests(BrokerCase):
    """A start that succeeds, and some that do not."""

    def test_listens_and_says_where(self) -> None:
        """One line for each address, IPv6 with its brackets; warnings too."""
        six = _has_ipv6()
        extra = '[[listener]]\nname = "six"\nbind = "[::1]:0"\nplaintext = true\n' if six else ""
        self.start(write_config(self.directory, plaintext=True, extra=extra))
        for name in ("tls", "plain", *(("six",) if six else ())):
            host, port = self.address(name)
            shown = f"[{host}]" if ":" in host else host
            self.assertEqual(self.lines.with_words(f"listening on {name} "), [f"listening on {name} {shown}:{port}"])

    def test_ipv6(self) -> None:
        """Clients are served over it, and named with it in the log."""
        if not _has_ipv6():
            raise unittest.SkipTest("this machine has no ::1")
        extra = '[[listener]]\nname = "six"\nbind = "[::1]:0"\nplaintext = true\n'
        self.start(write_config(self.directory, plaintext=True, extra=extra))
        self.connected("c", "six")
        self.assertEqual(len(self.lines.with_words("six: lab:alice connected as 'c' from [::1]:")), 1)

    def test_port_that_is_taken(self) -> None:
        """It does not start, says what to do, and lets go of the ports that it had."""
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        extra = f'[[listener]]\nname = "second"\nbind = "127.0.0.1:{port}"\nplaintext = true\n'
        text = self.refused(write_config(self.directory, plaintext=True, extra=extra), "privilegedStartService")
        self.assertRegex(text, rf"broker\.toml:\d+: listener 'second' cannot bind 127\.0\.0\.1:{port}: .*ss -ltnp")

    def test_address_of_another_machine(self) -> None:
        """The mend is another one."""
        files = write_config(self.directory)
        files.config.write_text(files.config.read_text().replace("127.0.0.1:0", "192.0.2.1:0"))
        self.assertIn("this machine has no such address", self.refused(files, "privilegedStartService"))

    def test_port_that_is_taken_at_the_same_time(self) -> None:
        """The bind succeeds and the listen does not."""

        def listen(*arguments: Any) -> Any:
            raise OSError(errno.EADDRINUSE, "Address already in use")

        self.patch(self.reactor, "listenTCP", listen)
        text = self.refused(write_config(self.directory), "privilegedStartService")
        self.assertIn("Address already in use; stop what listens there", text)

    def test_file_that_vanished(self) -> None:
        """What was checked before the fork and is gone now stops the start."""
        files = write_config(self.directory)
        self.refusing = files.users
        self.assertIn("users", self.refused(files, "startService"))

    def test_tls_that_cannot_be_set_up(self) -> None:
        """The listener is named."""

        def load(*arguments: Any, **more: Any) -> Any:
            raise SSL.Error([("ssl", "", "ca md too weak")])

        self.patch(ServerContext, "load", load)
        text = self.refused(write_config(self.directory), "startService")
        self.assertRegex(text, r"broker\.toml:\d+: listener 'tls': TLS cannot be set up: .*ca md too weak")

    refusing: Path | None = None

    def refused(self, files: BrokerFiles, stage: str) -> str:
        """Why it did not start; nothing is left of it."""
        self.reactor.running = False
        self.patch(exit_code, "_say", lambda line: None)
        self.patch(sys, "excepthook", sys.excepthook)
        service: Any = BrokerService(load_config(files.config), self.reactor)
        if self.refusing is not None:
            self.refusing.unlink()
        if stage == "startService":
            service.privilegedStartService()
        error = self.assertRaises(StartFailed, getattr(service, stage))
        self.reactor.turn()
        self.reactor.turn()
        self.assertEqual(self.reactor.getReaders(), [])
        self.assertIsNone(service.driver)
        done = service.stopService()
        self.until(lambda: done.called)
        return str(error)

    def test_failure_while_the_reactor_runs(self) -> None:
        """The reactor is stopped in order."""
        files = write_config(self.directory)
        self.patch(exit_code, "_say", lambda line: None)
        self.patch(exit_code, "_exit_with_failure", lambda: None)
        service: Any = BrokerService(load_config(files.config), self.reactor)
        service.privilegedStartService()
        files.users.unlink()
        service.startService()
        self.assertTrue(self.reactor.stopped)
        self.reactor.turn()
        self.reactor.turn()
        self.assertEqual(self.reactor.getReaders(), [])

    def test_no_thread_before_it_serves(self) -> None:
        """A fork takes no threads along; a checked password shows that they are there afterwards."""
        before = set(threading.enumerate())
        files = write_config(self.directory)
        service: Any = BrokerService(load_config(files.config), self.reactor)
        service.privilegedStartService()
        self.assertEqual(set(threading.enumerate()) - before, set())
        service._unbind()
        self.reactor.turn()
        self.reactor.turn()
        self.start(files)
        self.connected("c")


class StopTests(BrokerCase):
    """The end, in order."""

    def test_everyone_is_told(self) -> None:
        """0x8B over TLS and plain; connections without a CONNECT and those that do not answer end too."""
        self.start(write_config(self.directory, plaintext=True))
        told = [self.connected("one"), self.connected("two", "plain")]
        silent = self.connect()
        self.until(lambda: silent.is_up)
        raw = self.connect("plain")
        stubborn = self.connected("stubborn")
        stubborn.reads = False
        done = self.service.stopService()
        self.assertIsNone(done.called or None)
        self.until(lambda: all(far.ended for far in (*told, silent, raw)))
        for far in told:
            self.assertEqual([(type(each), each.reason_code) for each in far.packets()], [(Disconnect, 0x8B)])
            far.close()
        silent.close(), raw.close()
        for _ in range(20):
            self.turn()
        self.assertFalse(done.called)
        self.reactor.advance(1.0)
        self.until(lambda: done.called)
        self.assertEqual(self.service.driver.connections, 0)
        self.assertEqual(len(self.lines.with_words("the broker shuts down", "[0x8b]")), 5)
        self.assertEqual([call for call in self.reactor.getDelayedCalls() if call.active()], [])

    def test_no_will_is_sent(self) -> None:
        """The broker leaves, not its clients."""
        self.start(write_config(self.directory))
        reader = self.connected("reader")
        reader.send(subscribe_bytes("lab/will"))
        self.until(lambda: reader.packets())
        self.connected("dying", will=Will("lab/will", b"gone", 0, False, {}))
        done = self.service.stopService()
        self.until(lambda: reader.ended)
        self.assertEqual([type(each) for each in reader.packets()], [Disconnect])
        self.reactor.advance(1.0)
        self.until(lambda: done.called)

    def test_before_it_has_started(self) -> None:
        """A stop without a start waits for nothing."""
        service: Any = BrokerService(load_config(write_config(self.directory).config), self.reactor)
        self.assertTrue(service.stopService().called)


class SessionLogTests(BrokerCase):
    """The log of a whole session."""

    SECRET = "MarkerPassword-7f3a"
    PAYLOAD = b"MarkerPayload-91cc"

    def test_one_line_each_and_no_secret(self) -> None:
        """Logins right and wrong, publications, denials, a will: who, where, what, which rule; nothing secret."""
        files = write_config(
            self.directory, users={"alice": self.SECRET, "bob": "x"}, plaintext=True, limits="sys_interval = 0"
        )
        self.start(files)
        alice = self.connected("alice-1", password=self.SECRET.encode())
        alice.send(subscribe_bytes("lab/a"))
        self.until(lambda: alice.packets())
        alice.send(encode_packet(Publish("lab/a", self.PAYLOAD, 1, True, False, 1, {}), 5))
        alice.send(encode_packet(Publish("forbidden/a", self.PAYLOAD, 1, False, False, 2, {}), 5))
        alice.send(encode_packet(Subscribe(3, [SubscriptionRequest("lab/secret/#", 0)], {}), 5))
        got: list[Any] = []
        self.until(lambda: got.extend(alice.packets()) or len(got) >= 4)
        for name, username, password, will in (
            ("wrong", "alice", b"wrong-" + self.SECRET.encode(), None),
            ("nobody", "carol", self.SECRET.encode(), None),
            ("dying", "alice", self.SECRET.encode(), Will("forbidden/will", self.PAYLOAD, 0, True, {})),
        ):
            far = self.connect()
            far.send(connect_bytes(name, username=username, password=password, will=will))
            self.until(lambda far=far: far.ended)
        old = self.connect("plain")
        old.send(connect_bytes("old", MQTT_3_1_1, username="alice", password=self.SECRET.encode()))
        self.until(lambda: old.received)
        old.send(encode_packet(Publish("forbidden/b", self.PAYLOAD, 0, False, False, 0, {}), MQTT_3_1_1))
        self.until(lambda: old.ended)
        alice.send(encode_packet(Disconnect(0, {}), 5))
        self.until(lambda: self.lines.with_words("left: disconnected"))
        for words in (
            ("tls: lab:alice connected as 'alice-1' from 127.0.0.1:", "MQTT 5.0, TLSv1.3", "new session"),
            ("denied PUBLISH to 'forbidden/a' qos 1", "lab:alice ('alice-1')", "0x87"),
            ("denied SUBSCRIBE to 'lab/secret/#'", "lab:alice", "policy topics, rule", "broker.toml:"),
            ("denied AUTHENTICATE", "someone who says 'alice' ('wrong')", "policy password", "0x86"),
            ("denied AUTHENTICATE", "someone who says 'carol' ('nobody')", "0x86"),
            ("denied a will on 'forbidden/will' qos 0 retain", "0x87"),
            ("plain: lab:alice connected as 'old'", "MQTT 3.1.1, no TLS"),
            ("denied PUBLISH to 'forbidden/b'", "('old')"),
            ("lab:alice ('alice-1')", "left: disconnected"),
            ("('wrong')", "closed: "),
            ("('nobody')", "closed: "),
            ("('dying')", "closed: "),
            ("('old')", "closed: "),
        ):
            self.assertEqual(len(self.lines.with_words(*words)), 1, (words, self.lines.text))
        self.assertEqual(
            len(self.lines.text), 13 + 4, self.lines.text
        )  # and two that listen, a warning, and the durability
        for event in self.lines.events:
            for line in (format_text(event), format_json(event), repr(event)):
                for secret in (self.SECRET, self.PAYLOAD.decode(), self.PAYLOAD.hex()):
                    self.assertNotIn(secret, line)
            json.loads(format_json(event))


class SysTopicsTests(BrokerCase):
    """``$SYS`` on a broker that serves."""

    def test_whom_the_chain_permits(self) -> None:
        """A member of the group that may reads the counters; another user may not even subscribe."""
        self.start(write_config(self.directory, groups={"alice": ["admins"]}))
        alice, bob = self.connected("a"), self.connected("b", username="bob", password=b"battery staple")
        for far in (alice, bob):
            far.send(subscribe_bytes("$SYS/#"))
        suback: list[Any] = []
        self.until(lambda: suback.extend(bob.packets()) or suback)
        self.assertEqual(suback[0].reason_codes, [0x87])
        values: dict[str, bytes] = {}

        def read(*names: str) -> None:
            def there() -> bool:
                values.update({each.topic: each.payload for each in alice.packets() if isinstance(each, Publish)})
                return all(f"$SYS/broker/{name}" in values for name in names)

            self.until(there)

        read("uptime", "connections/open", "errors/internal")
        self.assertEqual(values["$SYS/broker/errors/internal"], b"0")
        values.clear()
        self.reactor.advance(10.0)
        read("uptime", "connections/open")
        self.assertEqual(values["$SYS/broker/uptime"], b"10")
        self.assertEqual(values["$SYS/broker/connections/open"], b"2")
        self.assertEqual(bob.packets(), [])


class ProcessTests(unittest.SynchronousTestCase):
    """A really started broker."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.files = write_config(self.directory)

    def assert_told(self, client: AttackClient) -> None:
        self.assertEqual([each.reason_code for each in client.remaining()], [0x8B])  # type: ignore[attr-defined]

    def test_sigterm(self) -> None:
        """Clients hear 0x8B, the exit code is 0, and Twisted's own chatter is not in the log."""
        broker = BrokerProcess(self.files.config, self.directory)
        self.addCleanup(broker.kill)
        broker.start()
        with AttackClient(broker.ports["tls"], context=self.files.client_context()) as client:
            self.assertEqual(client.connect("c", "alice", ALICE_PASSWORD), 0)
            broker.signal(signal.SIGTERM)
            self.assert_told(client)
        self.assertEqual(broker.wait(), 0, broker.log)
        self.assertNotIn("starting on", broker.log)
        self.assertNotIn("Traceback", broker.log)

    def test_daemon(self) -> None:
        """In the background it checks passwords too, for which it needs its threads and files after the fork."""
        log, pid_file = self.directory / "daemon.log", self.directory / "pid"
        arguments = ["--rundir", "/", "--pidfile", str(pid_file), "--logfile", str(log)]
        starter = BrokerProcess(self.files.config, self.directory, twistd_arguments=arguments)
        starter.spawn()
        self.assertEqual(starter.wait(30), 0, starter.log)
        pid = int(pid_file.read_text())
        self.addCleanup(_kill, pid, pid_file)
        port = int(log.read_text().partition("listening on tls 127.0.0.1:")[2].split()[0])
        with AttackClient(port, context=self.files.client_context()) as client:
            self.assertEqual(client.connect("c", "alice", ALICE_PASSWORD), 0)
            os.kill(pid, signal.SIGTERM)
            self.assert_told(client)
        deadline = time.monotonic() + PATIENCE
        while pid_file.exists():
            self.assertLess(time.monotonic(), deadline, log.read_text())
            time.sleep(0.02)
        self.assertNotIn("Traceback", log.read_text())


def _kill(pid: int, pid_file: Path) -> None:
    """End a daemon that a failed test has left behind."""
    if pid_file.exists():
        os.kill(pid, signal.SIGKILL)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
