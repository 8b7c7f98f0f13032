"""A policy environment for tests of single policies: a Clock, a fixed time of day, threads that are awaited by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.task import Clock
from twisted.logger import Logger
from zope.interface import implementer

from mqttsecure.core.decisions import Source
from mqttsecure.errors import QuotaExceeded
from mqttsecure.interfaces import IAuthority, IPolicyEnvironment
from mqttsecure.policy.environment import NoUsage

__all__ = ["FakeAuthority", "FakeEnvironment"]


@implementer(IAuthority)
class FakeAuthority:
    """An ``[[authority]]`` as the configuration would give it."""

    def __init__(
        self,
        name: str,
        ca_certificates: tuple[bytes, ...] = (),
        crl_files: tuple[Path, ...] = (),
        password_file: Path | None = None,
    ) -> None:
        self.name = name
        self.ca_certificates = ca_certificates
        self.crl_files = crl_files
        self.password_file = password_file


@implementer(IPolicyEnvironment)
class FakeEnvironment:
    """Work for threads runs at once, waits in ``waiting`` (``hold = True``), or is refused (``full = True``)."""

    def __init__(
        self,
        policy_id: str = "policy",
        authorities: Mapping[str, FakeAuthority] | None = None,
        folder: Path = Path("."),
        listeners: tuple[str, ...] = ("lab",),
    ) -> None:
        self.policy_id = policy_id
        self.clock = Clock()
        self.log = Logger(namespace=f"tests.{policy_id}")
        self.authorities: Mapping[str, FakeAuthority] = authorities or {}
        self.listeners = listeners
        self.folder = folder
        self.midnight = datetime(2026, 6, 1, tzinfo=UTC)
        self.full = False
        self.hold = False
        self.waiting: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self.threads = 0
        self.rejudged: list[set[int] | None] = []
        self.usage: Any = NoUsage()
        self._random = 0

    def wall_clock(self) -> datetime:
        return self.midnight + timedelta(seconds=self.clock.seconds())

    def random_bytes(self, count: int) -> bytes:
        self._random += 1
        return (self._random % 256).to_bytes(1, "big") * count

    def resolve(self, path: str, *, written: bool = False) -> Path:
        return self.folder / path

    def source(self, option: str | None = None, index: int | None = None) -> Source:
        """Lines are made up so that a test can tell them apart: 1 the table, 10 a key, 100 + n its item n."""
        line = 1 if option is None else 10 if index is None else 100 + index
        return Source("broker.toml", line)

    def problem(self, option: str | None, text: str, index: int | None = None) -> str:
        key = "" if option is None else f" {option}" if index is None else f" {option}[{index}]"
        return f"{self.source(option, index)}: {self.policy_id}{key}: {text}"

    def defer_to_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if self.full:
            return fail(QuotaExceeded("the worker pool is full"))
        self.threads += 1
        if not self.hold:
            return execute(function, *arguments)
        deferred: Deferred[Any] = Deferred()
        self.waiting.append((deferred, function, arguments))
        return deferred

    def request_rejudging(self, connection_ids: Iterable[int] | None = None) -> None:
        self.rejudged.append(None if connection_ids is None else set(connection_ids))

    def release(self) -> None:
        """Run what was held back."""
        waiting, self.waiting = self.waiting, []
        for deferred, function, arguments in waiting:
            try:
                result = function(*arguments)
            except Exception as error:
                deferred.errback(error)
            else:
                deferred.callback(result)
