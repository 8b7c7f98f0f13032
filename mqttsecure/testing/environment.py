# -*- test-case-name: tests.testing.test_environment -*-
"""A broker around one policy, for its tests: time stands still until it is moved, threads run when they are told to."""

from __future__ import annotations

import enum
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
from mqttsecure.interfaces import IAuthority, IPolicyEnvironment, IUsage
from mqttsecure.policy.environment import NoUsage

__all__ = ["TestAuthority", "TestEnvironment", "Workers"]


class Workers(enum.Enum):
    """What becomes of work for threads: done at once, held back until ``release``, refused as too much, or failed."""

    READY = "ready"
    HELD = "held"
    FULL = "full"
    FAILING = "failing"


@implementer(IAuthority)
class TestAuthority:
    """An ``[[authority]]`` as a configuration would give it."""

    __test__ = False

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
class TestEnvironment:
    """Give it to ``factory.build``.

    Attributes:
        clock: a :class:`twisted.internet.task.Clock`; ``clock.advance(seconds)`` moves the time of day along.
        workers: what becomes of work for threads.
        held: how many pieces of work wait for :meth:`release`.
        refused: how many pieces of work were refused or failed.
        before: called before the time of day, random bytes or a thread is given; for tests of what happens meanwhile.
        rejudged: what was put to ``request_rejudging``, in order.
        usage: what the broker holds; nothing, unless a test puts another :class:`~mqttsecure.interfaces.IUsage` there.
    """

    __test__ = False

    def __init__(
        self,
        policy_id: str = "policy",
        *,
        folder: Path = Path("."),
        authorities: Mapping[str, IAuthority] | None = None,
        listeners: tuple[str, ...] = ("test",),
        start: datetime = datetime(2030, 1, 1, 12, tzinfo=UTC),
        clock: Clock | None = None,
    ) -> None:
        """
        Args:
            policy_id: the ``id`` of the table.
            folder: to which paths are relative.
            authorities: by name.
            listeners: those the policy is on.
            start: the time of day when the clock says 0.
            clock: another one's, where several policies share it.
        """
        self.policy_id = policy_id
        self.clock = clock or Clock()
        self.log = Logger(namespace=f"mqttsecure.testing.{policy_id}")
        self.authorities = dict(authorities or {})
        self.listeners = listeners
        self.workers = Workers.READY
        self.refused = 0
        self.before: Callable[[], None] | None = None
        self.rejudged: list[set[int] | None] = []
        self.usage: IUsage = NoUsage()
        self._folder = folder.absolute()
        self._start = start
        self._random = 0
        self._held: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    @property
    def held(self) -> int:
        return len(self._held)

    def _hook(self) -> None:
        if self.before is not None:
            self.before()

    def wall_clock(self) -> datetime:
        """The time of day."""
        self._hook()
        return self._start + timedelta(seconds=self.clock.seconds())

    def random_bytes(self, count: int) -> bytes:
        """Bytes that differ from call to call, and are the same in each run."""
        self._hook()
        self._random += 1
        return self._random.to_bytes(8, "big").rjust(count, b"\x5a")[-count:] if count else b""

    def resolve(self, path: str, *, written: bool = False) -> Path:
        """A path below ``folder``; ``written`` says that the policy itself writes the file."""
        return self._folder / path

    def source(self, option: str | None = None, index: int | None = None) -> Source:
        """Made up: line 1 is the table, 10 a key of it, 100 and on the items of a list."""
        return Source("broker.toml", 1 if option is None else 10 if index is None else 100 + index)

    def problem(self, option: str | None, text: str, index: int | None = None) -> str:
        """One line for a ConfigError."""
        key = "" if option is None else f"{option}: " if index is None else f"{option}[{index}]: "
        return f"{self.source(option, index)}: policy {self.policy_id!r}: {key}{text}"

    def defer_to_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Work for a thread, as ``workers`` says. Cancelled, work that is held back is never done."""
        self._hook()
        if self.workers in (Workers.FULL, Workers.FAILING):
            self.refused += 1
        if self.workers is Workers.FULL:
            return fail(QuotaExceeded("the worker pool is full"))
        if self.workers is Workers.FAILING:
            return fail(RuntimeError("the work failed"))
        if self.workers is Workers.READY:
            return execute(function, *arguments)
        deferred: Deferred[Any] = Deferred(self._drop)
        self._held.append((deferred, function, arguments))
        return deferred

    def _drop(self, deferred: Deferred[Any]) -> None:
        self._held = [each for each in self._held if each[0] is not deferred]

    def release(self, *, backwards: bool = False) -> None:
        """Do the work that is held back, in order or from the end."""
        held, self._held = self._held, []
        for deferred, function, arguments in reversed(held) if backwards else held:
            try:
                result = function(*arguments)
            except Exception as error:  # whatever it raises is the policy's to take
                deferred.errback(error)
            else:
                deferred.callback(result)

    def request_rejudging(self, connection_ids: Iterable[int] | None = None) -> None:
        """Noted in ``rejudged``."""
        self.rejudged.append(None if connection_ids is None else set(connection_ids))
