# -*- test-case-name: tests.system.attacks.test_guessing -*-
"""Row A11: who guesses passwords has to wait, then is banned, and shuts out nobody else."""

from __future__ import annotations

import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.packets import Connack, Connect
from tests.support.config import USERS, BrokerFiles, write_config
from tests.support.process import BrokerProcess
from tests.system.attacks.case import AttackCase, allow_many_connections
from tests.system.attacks.client import AttackClient

_BANS = '[[policy]]\nid = "bans"\nuse = "ban"\nfile = "bans.json"\n\n'
_FIRST = '[[policy]]\nid = "connections"\n'
_GUESSER = "127.0.0.66"
_ELSEWHERE = "127.0.0.2"


def with_bans(files: BrokerFiles) -> BrokerFiles:
    """Put a ban policy with its default options near the top of the chain."""
    text = files.config.read_text()
    assert _FIRST in text
    files.config.write_text(text.replace(_FIRST, _BANS + _FIRST))
    return files


def attempt(port: int, source: str, password: str, username: str = "alice") -> int | None:
    """Try to log in; the Reason Code, None where the connection is closed without a word."""
    try:
        with AttackClient(port, source=source) as client:
            client.send(Connect(MQTT_5_0, f"c-{source}", username=username, password=password.encode()))
            answer = client.receive()
    except OSError:
        return None
    return answer.reason_code if isinstance(answer, Connack) else None


class GuessingTests(AttackCase):
    """A broker with the default limits of connections and bans."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return with_bans(write_config(directory, plaintext=True))

    def test_300_wrong_passwords_from_one_address(self) -> None:
        """Five are looked at, some are told to wait, then none is heard; alice logs in from elsewhere meanwhile."""
        port = self.broker.ports["plain"]
        answers = []
        for number in range(300):
            answers.append(attempt(port, _GUESSER, f"guess-{number}"))
            if number % 60 == 7:
                self.assertEqual(0, attempt(port, _ELSEWHERE, USERS["alice"]))
        looked_at = [number for number, answer in enumerate(answers) if answer == 0x86]
        told_to_wait = [number for number, answer in enumerate(answers) if answer == 0x9F]
        self.assertEqual(looked_at[:5], [0, 1, 2, 3, 4])
        self.assertLessEqual(len(looked_at), 8)  # a slow machine may take longer than the first waits
        self.assertGreaterEqual(len(told_to_wait), 1)
        self.assertLessEqual(len(looked_at) + len(told_to_wait), 12)
        self.assertEqual(set(answers[12:]), {None})
        self.assert_logged("127.0.0.66/32 is banned for 60 s")
        self.assertIsNone(attempt(port, _GUESSER, USERS["alice"]))
        self.assertEqual(0, attempt(port, _ELSEWHERE, USERS["alice"]))

    def test_right_password_after_the_wait(self) -> None:
        """I mistype five times, wait as long as it says, and am in."""
        port = self.broker.ports["plain"]
        mine = "127.0.0.67"
        for _ in range(5):
            self.assertEqual(0x86, attempt(port, mine, "mistyped", "bob"))
        self.assertEqual(0x9F, attempt(port, mine, USERS["bob"], "bob"))
        time.sleep(1.1)
        self.assertEqual(0, attempt(port, mine, USERS["bob"], "bob"))

    def test_many_names_from_one_address(self) -> None:
        """A guess or two at each of many names is no way around it."""
        port = self.broker.ports["plain"]
        answers = [attempt(port, "127.0.0.68", "secret", f"user{number}") for number in range(30)]
        self.assertEqual(answers, [0x86] * 10 + [None] * 20)

    def test_garbage(self) -> None:
        """Who sends what is no MQTT is not listened to for long."""
        port, source = self.broker.ports["plain"], "127.0.0.69"
        for _ in range(10):
            with AttackClient(port, source=source) as client:
                client.send(b"GET / HTTP/1.1\r\n\r\n")
                client.remaining()
        self.assert_logged("127.0.0.69/32 is banned", "malformed packet")
        self.assertIsNone(attempt(port, source, USERS["alice"]))


class GatewayTests(AttackCase):
    """Five hundred good devices and a bad one behind one address."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return with_bans(allow_many_connections(write_config(directory, plaintext=True)))

    def test_good_devices_stay(self) -> None:
        """The bad one guesses and sends garbage; the others are connected all the while, and may come back."""
        port, gateway = self.broker.ports["plain"], "127.0.0.70"
        good = [
            self.login("alice" if number % 2 else "bob", f"device-{number}", source=gateway) for number in range(500)
        ]
        answers = [attempt(port, gateway, "wrong") for _ in range(30)]
        self.assertIn(0x9F, answers)
        self.assertNotIn(None, answers)
        for _ in range(30):
            with AttackClient(port, source=gateway) as client:
                client.send(b"\xf0\xff\xff\xff\xff\xff")
                client.remaining()
        for client in good:
            client.ping()
        for number in range(0, 500, 25):
            good[number].close()
            again = self.login("alice" if number % 2 else "bob", f"device-{number}", source=gateway)
            self.assertEqual(again.ping(), [])
        self.assertNotIn("is banned", self.new_log)


class RestartTests(SynchronousTestCase):
    """Bans outlive the process."""

    def test_restart(self) -> None:
        """A ban is in force after a stop and a start, and so it is after a kill."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        files = with_bans(write_config(directory, plaintext=True))
        for end in (BrokerProcess.stop, BrokerProcess.kill):
            broker = BrokerProcess(files.config, directory)
            self.addCleanup(broker.kill)
            port = broker.start(2).ports["plain"]
            answers = [attempt(port, _GUESSER, "x", f"user{number}") for number in range(12)]
            if end is BrokerProcess.stop:
                self.assertEqual(answers, [0x86] * 10 + [None] * 2)
                self.assertEqual(0, end(broker))
            else:
                self.assertEqual(set(answers), {None})
                end(broker)
        broker = BrokerProcess(files.config, directory)
        self.addCleanup(broker.kill)
        port = broker.start(2).ports["plain"]
        self.assertIsNone(attempt(port, _GUESSER, USERS["alice"]))
        self.assertEqual(0, attempt(port, _ELSEWHERE, USERS["alice"]))
