"""The ground of all attack tests: a really started broker, shared by the tests of a class, and always ended."""

from __future__ import annotations

import atexit
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire.constants import MQTT_5_0
from tests.support.config import USERS, BrokerFiles, write_config
from tests.support.process import BrokerProcess
from tests.system.attacks.client import HOST, PATIENCE, AttackClient

__all__ = ["AttackCase", "allow_many_connections", "resident_bytes", "wait_until"]

_FAULT: Final = re.compile(r"^.*(?:Traceback|internal error|Unhandled| critical ).*$", re.MULTILINE)


def allow_many_connections(files: BrokerFiles) -> BrokerFiles:
    """Lift the limits on connections, for tests that are about something else and come from one address."""
    text = files.config.read_text()
    loose = 'rate = "100000/second"\nburst = 100000\nper_address = 10000\nper_prefix = 10000\nunauthenticated = 5000\n'
    marker = 'use = "connection-limit"\n'
    assert marker in text
    files.config.write_text(text.replace(marker, f"{marker}{loose}total_unauthenticated = 5000\n"))
    return files


def resident_bytes(pid: int) -> int:
    """The memory that a process holds (VmRSS)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None, status
    return int(found[1]) * 1024


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Look every few milliseconds whether ``condition`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


class _Served:
    """A running broker with its files."""

    def __init__(self, case: type[AttackCase], directory: Path) -> None:
        self.case = case
        self.files = case.configure(directory)
        self.broker = BrokerProcess(self.files.config, directory)
        atexit.register(self.broker.kill)
        self.broker.start(case.listeners)

    def stop(self) -> None:
        atexit.unregister(self.broker.kill)
        self.broker.kill()


class AttackCase(SynchronousTestCase):
    """One broker for the tests of a class; after each of them it must run, serve others, and have had no fault.

    trial knows no ``setUpClass``, so the broker starts with the first test and is ended when another class starts its
    own, or at the exit.
    """

    listeners: ClassVar[int] = 2
    source: ClassVar[str] = HOST
    _current: ClassVar[list[_Served]] = []

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        """Write the configuration: alice writes and reads ``lab/#``, bob reads it, nobody reads ``lab/secret/#``."""
        return write_config(directory, plaintext=True)

    def setUp(self) -> None:
        served = AttackCase._current
        if not served or served[0].case is not type(self):
            while served:
                served.pop().stop()
            directory = Path(self.mktemp()).absolute()
            directory.mkdir(parents=True)
            served.append(_Served(type(self), directory))
        self.broker = served[0].broker
        self.files = served[0].files
        self._seen = len(self.broker.log)
        self.addCleanup(self._assert_unhurt)

    def restart(self) -> None:
        """Have the next test start a broker of its own, after this one was made to end."""
        while AttackCase._current:
            AttackCase._current.pop().stop()

    @property
    def new_log(self) -> str:
        """What the broker wrote since this test began."""
        return self.broker.log[self._seen :]

    def _assert_unhurt(self) -> None:
        if not AttackCase._current:
            return
        faults = _FAULT.findall(self.new_log)
        if faults:
            raise AssertionError("the broker had a fault of its own:\n" + "\n".join(faults))
        self.assert_serves()

    # -- clients -------------------------------------------------------------------------------------------------

    def client(self, *, tls: bool = True, version: int = MQTT_5_0, source: str = "", buffer: int = 0) -> AttackClient:
        """A client that has said nothing yet."""
        client = AttackClient(
            self.broker.ports["tls" if tls else "plain"],
            version=version,
            context=self.files.client_context() if tls else None,
            source=source or self.source,
            receive_buffer=buffer,
        )
        self.addCleanup(client.close)
        return client

    def login(
        self, user: str, client_id: str = "", *, tls: bool = False, version: int = MQTT_5_0, **more: object
    ) -> AttackClient:
        """A connected client of a user."""
        buffer = int(str(more.pop("buffer", 0)))
        client = self.client(tls=tls, version=version, source=str(more.pop("source", "")), buffer=buffer)
        code = client.connect(client_id or f"{user}-{id(client):x}", user, USERS[user], **more)
        self.assertEqual(0, code, f"{user} could not connect")
        return client

    def assert_serves(self, seconds: float = PATIENCE) -> float:
        """Somebody else, from elsewhere, still gets a message through; the seconds that took after the login."""
        with AttackClient(self.broker.ports["tls"], context=self.files.client_context(), source="127.0.0.77") as client:
            self.assertEqual(0, client.connect("alice-canary", "alice", USERS["alice"]))
            started = time.monotonic()
            self.assertEqual([0], client.subscribe("lab/canary"))
            client.send(b"\x30\x12\x00\x0alab/canary\x00alive")
            wait_until(lambda: ("lab/canary", b"alive") in client.messages(), "the canary's message", seconds)
            return time.monotonic() - started

    def assert_logged(self, *parts: str, seconds: float = PATIENCE) -> str:
        """The log has (soon) one line with all ``parts``; that line."""

        def found() -> list[str]:
            return [line for line in self.new_log.splitlines() if all(part in line for part in parts)]

        wait_until(lambda: bool(found()), f"a log line with {parts}", seconds)
        return found()[0]
