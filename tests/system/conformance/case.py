"""The ground of the conformance tests: one broker on ``tests/interop/open.toml`` for all, and tables of cases."""

from __future__ import annotations

import atexit
import re
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.packets import Connack
from tests.support.process import CHECKOUT, BrokerProcess
from tests.system.conformance.client import Client

__all__ = ["Broken", "ConformanceCase", "after_connack", "instead_of_connect"]

_FAULT: Final = re.compile(r"^.*(?:Traceback|internal error|Unhandled).*$", re.MULTILINE)
_Case = TypeVar("_Case", bound="ConformanceCase")


class _Served:
    """The broker, started once in a process and ended with it."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="mqttsecure-conformance-"))
        config = (CHECKOUT / "tests" / "interop" / "open.toml").read_text()
        config = re.sub(r'(bind = "127\.0\.0\.1):\d+"', r'\1:0"', config).replace("../../certs/open", "certs")
        (self.directory / "open.toml").write_text(config)
        self.broker = BrokerProcess(self.directory / "open.toml", self.directory)
        atexit.register(self.end)
        self.broker.start(2)
        self.judged = 0

    def end(self) -> None:
        self.broker.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def new_faults(self) -> list[str]:
        """What the broker has logged of its own faults since the last call."""
        log = self.broker.log
        fresh, self.judged = log[self.judged :], len(log)
        return _FAULT.findall(fresh)


class ConformanceCase(SynchronousTestCase):
    """Gives clients; after each test the broker must have had no fault of its own."""

    version: ClassVar[int] = MQTT_5_0
    _served: ClassVar[list[_Served]] = []

    def setUp(self) -> None:
        if not self._served:
            self._served.append(_Served())
        self._clients: list[Client] = []

    def tearDown(self) -> None:
        for client in self._clients:
            client.drop()
        self.assertEqual(self._served[0].new_faults(), [])

    def socket(self, version: int | None = None) -> Client:
        """A Network Connection on which nothing was said yet."""
        client = Client(self._served[0].broker.ports["plain"], version or self.version)
        self._clients.append(client)
        return client

    def tls_socket(self) -> Client:
        """The same over TLS, with the broker's certificate verified."""
        context = ssl.create_default_context(cafile=str(self._served[0].directory / "certs" / "ca.pem"))
        client = Client(self._served[0].broker.ports["tls"], self.version, context)
        self._clients.append(client)
        return client

    def client(self, client_id: str | None = None, *, version: int | None = None, **arguments: Any) -> Client:
        """A connected client."""
        client = self.socket(version)
        client.connect(client_id, **arguments)
        return client


class Broken(NamedTuple):
    """Bytes that break a rule, and the Reason Code that 5.0 answers with: None for silence, () for any or none."""

    name: str
    statement: str
    data: bytes
    code: int | tuple[int, ...] | None = ()


def instead_of_connect(cases: Iterable[Broken]) -> Callable[[type[_Case]], type[_Case]]:
    """Make a test of each case: sent in place of a CONNECT, it ends the connection, maybe after a CONNACK."""

    def test(self: ConformanceCase, case: Broken) -> None:
        client = self.socket()
        client.send(case.data)
        if isinstance(case.code, int):
            client.expect(Connack, reason_code=case.code, session_present=False)
            client.expect_end()
        else:
            self.assertIsNone(client.expect_closed())

    return _add_tests(cases, test)


def after_connack(cases: Iterable[Broken]) -> Callable[[type[_Case]], type[_Case]]:
    """Make a test of each case: sent by a connected client, it ends the connection, in 5.0 with DISCONNECT."""

    def test(self: ConformanceCase, case: Broken) -> None:
        client = self.client()
        client.send(case.data)
        code = client.expect_closed()
        if self.version != MQTT_5_0:
            self.assertIsNone(code)
        elif isinstance(case.code, tuple) and case.code:
            self.assertIn(code, case.code)
        elif isinstance(case.code, int):
            self.assertEqual(code, case.code)

    return _add_tests(cases, test)


def _add_tests(
    cases: Iterable[Broken], test: Callable[[ConformanceCase, Broken], None]
) -> Callable[[type[_Case]], type[_Case]]:
    def decorate(case_class: type[_Case]) -> type[_Case]:
        for case in cases:
            name = f"test_{case.name}"
            assert not hasattr(case_class, name), f"two cases are named {case.name}"
            setattr(case_class, name, _bound(test, case))
        return case_class

    return decorate


def _bound(test: Callable[[ConformanceCase, Broken], None], case: Broken) -> Callable[[ConformanceCase], None]:
    def run(self: ConformanceCase) -> None:
        test(self, case)

    run.__doc__ = f"[{case.statement}] I am cut off for this: {case.name.replace('_', ' ')}."
    return run
