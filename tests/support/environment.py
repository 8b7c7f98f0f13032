"""The public environment for tests of policies, in the shape that the tests of the built-in ones use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from mqttsecure.interfaces import IAuthority
from mqttsecure.testing.environment import TestAuthority, TestEnvironment, Workers

__all__ = ["FakeAuthority", "FakeEnvironment"]

FakeAuthority = TestAuthority


class FakeEnvironment(TestEnvironment):
    """Work for threads runs at once, waits until ``release`` (``hold = True``), or is refused (``full = True``)."""

    def __init__(
        self,
        policy_id: str = "policy",
        authorities: Mapping[str, IAuthority] | None = None,
        folder: Path = Path("."),
        listeners: tuple[str, ...] = ("lab",),
    ) -> None:
        start = datetime(2026, 6, 1, tzinfo=UTC)
        super().__init__(policy_id, folder=folder, authorities=authorities, listeners=listeners, start=start)
        self.full = False
        self.hold = False
        self.threads = 0

    @property
    def waiting(self) -> list[Any]:
        """The work that is held back."""
        return self._held

    def problem(self, option: str | None, text: str, index: int | None = None) -> str:
        """Shorter than the broker's, and told apart by its line."""
        key = "" if option is None else f" {option}" if index is None else f" {option}[{index}]"
        return f"{self.source(option, index)}: {self.policy_id}{key}: {text}"

    def defer_to_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        self.workers = Workers.FULL if self.full else Workers.HELD if self.hold else Workers.READY
        self.threads += not self.full
        return super().defer_to_thread(function, *arguments)
