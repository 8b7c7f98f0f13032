# -*- test-case-name: tests.system.attacks.test_credentials -*-
"""Who gets in: rows A0, A1 and A2, and the classes about passwords."""

from __future__ import annotations

import shutil
import socket
import ssl
import statistics
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire.constants import MQTT_3_1, MQTT_3_1_1, MQTT_5_0
from mqttsecure.wire.packets import Connack, Connect, Publish, Subscribe, SubscriptionRequest
from tests.support.config import ALICE_PASSWORD, BrokerFiles, write_config
from tests.support.process import CHECKOUT, BrokerProcess
from tests.system.attacks.case import AttackCase, allow_many_connections
from tests.system.attacks.client import HOST, AttackClient

_VERSIONS = (MQTT_3_1, MQTT_3_1_1, MQTT_5_0)


class PlaintextTests(SynchronousTestCase):
    """A0: what is not encrypted is refused beyond loopback, unless it is named."""

    def _refused(self, bind: str, keys: str) -> str:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        files = write_config(directory)
        text = files.config.read_text()
        files.config.write_text(text + f'\n[[listener]]\nname = "open"\nbind = "{bind}"\n{keys}\n')
        broker = BrokerProcess(files.config, directory)
        self.addCleanup(broker.kill)
        broker.spawn()
        self.assertNotEqual(0, broker.wait())
        self.assertNotIn("listening on", broker.log)
        return broker.log

    def test_plaintext_is_refused_unless_named(self) -> None:
        """I forget the TLS table of a listener; the broker does not start in the clear."""
        log = self._refused("127.0.0.1:0", "")
        self.assertIn("plaintext = true", log)
        self.assertRegex(log, r"broker\.toml:\d+")

    def test_plaintext_beyond_loopback_is_refused(self) -> None:
        """I allow plaintext for my machine and bind all addresses; the broker does not start."""
        log = self._refused("0.0.0.0:0", "plaintext = true")
        self.assertIn("plaintext_beyond_loopback", log)

    def test_chain_has_to_name_it_too(self) -> None:
        """A plaintext listener is named, but tls-requirements says never: the connection is closed unheard."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        files = write_config(directory, plaintext=True)
        files.config.write_text(files.config.read_text().replace('plaintext = "loopback"', 'plaintext = "never"'))
        broker = BrokerProcess(files.config, directory)
        self.addCleanup(broker.kill)
        broker.start(2)
        with AttackClient(broker.ports["plain"]) as client:
            client.send(Connect(MQTT_5_0, "c", username="alice", password=ALICE_PASSWORD.encode()))
            self.assertEqual([], client.remaining())
        self.assertIn("the connection has no TLS", broker.log)


class DefaultConfigurationTests(SynchronousTestCase):
    """A1: the configuration as it comes lets nobody in without credentials."""

    def setUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        (directory / "etc").mkdir(parents=True)
        (directory / "certs").mkdir()
        text = (CHECKOUT / "etc" / "broker.toml").read_text().replace("127.0.0.1:8883", "127.0.0.1:0")
        (directory / "etc" / "broker.toml").write_text(text)
        shutil.copy(CHECKOUT / "certs" / "README.md", directory / "certs")
        self.broker = BrokerProcess(directory / "etc" / "broker.toml", directory)
        self.addCleanup(self.broker.kill)
        self.broker.start()

    def _client(self, version: int) -> AttackClient:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        client = AttackClient(self.broker.ports["tls"], version=version, context=context)
        self.addCleanup(client.close)
        return client

    def test_anonymous_is_refused(self) -> None:
        """I connect without a name, subscribe to everything and publish, without waiting for an answer."""
        for version in _VERSIONS:
            client = self._client(version)
            client.send(
                Connect(version, "somebody"),
                Subscribe(1, [SubscriptionRequest("#")]),
                Publish("a", b"x", 1, packet_id=2),
            )
            answers = client.remaining()
            self.assertEqual(1, len(answers), answers)
            assert isinstance(answers[0], Connack)
            self.assertEqual(0x87 if version == MQTT_5_0 else 5, answers[0].reason_code)

    def test_listens_on_loopback_only(self) -> None:
        """From another machine the default broker cannot even be reached."""
        port = self.broker.ports["tls"]
        bound = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
        bound += [line.split()[1] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:] if " 0A " in line]
        own = [address for address in bound if address.endswith(f":{port:04X}")]
        self.assertEqual([f"0100007F:{port:04X}"], own)  # 127.0.0.1, as the kernel writes it


class CredentialTests(AttackCase):
    """A2 and the classes about passwords, at a broker that knows alice and bob."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return allow_many_connections(write_config(directory, plaintext=True))

    def _refusal(self, version: int, username: str | None, password: str | None, **more: object) -> int:
        client = self.client(tls=False, version=version)
        code = client.connect("c", username, password, **more)
        self.assertEqual([], client.remaining())
        return code

    def test_no_credentials(self) -> None:
        """Without credentials the answer is 0x87, in 3.x 5."""
        self.assertEqual(0x87, self._refusal(MQTT_5_0, None, None))
        for version in (MQTT_3_1, MQTT_3_1_1):
            self.assertEqual(5, self._refusal(version, None, None))

    def test_wrong_credentials(self) -> None:
        """A wrong password, an unknown user and a user without a name are told the same."""
        for username in ("alice", "nobody", "", "alice ", "ALICE", "alice:"):
            self.assertEqual(0x86, self._refusal(MQTT_5_0, username, "wrong"), username)
            self.assertIn(self._refusal(MQTT_3_1_1, username, "wrong"), (4, 5), username)

    def test_missing_and_empty_passwords(self) -> None:
        """A user name without a password, or with an empty one, lets nobody in."""
        for username in ("alice", ""):
            self.assertEqual(0x87, self._refusal(MQTT_5_0, username, None))
            self.assertEqual(0x86, self._refusal(MQTT_5_0, username, ""))

    def test_password_without_user(self) -> None:
        """MQTT 5.0 allows a password without a user name; it is nobody's."""
        self.assertIn(self._refusal(MQTT_5_0, None, ALICE_PASSWORD), (0x86, 0x87))

    def test_password_is_compared_whole(self) -> None:
        """A password that begins like the right one, has a NUL behind it or is very long, is wrong."""
        for password in (ALICE_PASSWORD[:-1], ALICE_PASSWORD + "\0", ALICE_PASSWORD + " ", "x" * 60_000):
            self.assertEqual(0x86, self._refusal(MQTT_5_0, "alice", password))

    def test_unknown_authentication_method(self) -> None:
        """A made-up Authentication Method leads nowhere, also with a right password beside it."""
        code = self._refusal(MQTT_5_0, None, None, properties={"authentication_method": "NONE"})
        self.assertIn(code, (0x87, 0x8C))

    def test_log_never_shows_passwords(self) -> None:
        """What was tried as a password is nowhere in the log."""
        self._refusal(MQTT_5_0, "alice", "hunter2-tried")
        self.assert_logged("denied", "alice", "password")
        self.assertNotIn("hunter2-tried", self.broker.log)

    def test_user_name_cannot_forge_log_lines(self) -> None:
        """A user name or Client Identifier with line ends and escapes stays within one log line."""
        evil = "x\n2026-01-01T00:00:00.000Z info mqttsecure: tls: lab:alice connected\x1b[2J"
        client = self.client(tls=False)
        self.assertNotEqual(0, client.connect(evil, evil, "wrong"))
        self.assert_logged("denied", "\\n2026")
        self.assertNotIn("\x1b", self.new_log)
        self.assertFalse([line for line in self.new_log.splitlines() if line.startswith("2026-01-01")])

    def test_unknown_user_takes_as_long(self) -> None:
        """I measure answers to find out which users exist, and cannot tell."""
        ratios = []
        for _ in range(3):
            known, unknown = self._median("alice"), self._median("zelda")
            ratios.append(unknown / known)
            if 0.6 < ratios[-1] < 1.67:
                return
        self.fail(f"an unknown user's answer takes {ratios} times as long as a known one's")

    def _median(self, username: str) -> float:
        times = []
        for _ in range(7):
            client = self.client(tls=False)
            started = time.monotonic()
            client.connect("c", username, "wrong")
            times.append(time.monotonic() - started)
            client.close()
        return statistics.median(times)


class EavesdropTests(AttackCase):
    """A0: who records a connection to the default kind of listener reads no password."""

    listeners = 1

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return write_config(directory)

    def test_recorded_bytes_hold_no_password(self) -> None:
        """All bytes of a login, seen by someone in the middle, hold neither name nor password."""
        recorded: list[bytes] = []
        with socket.create_server((HOST, 0)) as middle:
            middle.settimeout(10)
            thread = threading.Thread(target=self._relay, args=(middle, recorded), daemon=True)
            thread.start()
            port = middle.getsockname()[1]
            with AttackClient(port, context=self.files.client_context()) as client:
                self.assertEqual(0, client.connect("eavesdropped", "alice", ALICE_PASSWORD))
            thread.join(10)
        self.assertGreater(len(b"".join(recorded)), 500)
        for secret in (b"alice", b"eavesdropped", ALICE_PASSWORD.encode()):
            self.assertNotIn(secret, b"".join(recorded))

    def _relay(self, middle: socket.socket, recorded: list[bytes]) -> None:
        near, _ = middle.accept()
        far = socket.create_connection((HOST, self.broker.ports["tls"]))

        def pump(source: socket.socket, sink: socket.socket) -> None:
            try:
                while data := source.recv(65536):
                    recorded.append(data)
                    sink.sendall(data)
            except OSError:
                pass
            for sock in (source, sink):
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it is gone already

        other = threading.Thread(target=pump, args=(far, near), daemon=True)
        other.start()
        pump(near, far)
        other.join(5)
        near.close()
        far.close()
