# -*- test-case-name: tests.cli.test_progress -*-
"""A progress bar for what takes a while, on a terminal's stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from twisted.internet.interfaces import IDelayedCall

__all__ = ["Progress", "Shown"]

_PATIENCE: Final = 0.5
"""Seconds before anything is shown: what is done by then needs no bar."""

_EVERY: Final = 0.1
"""Seconds between two looks: fast enough to seem live, slow enough to cost nothing."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a bar shows.

    Attributes:
        total: how many messages there are, if that is known.
        size: bytes of all of them, where the bar is to follow these.
        now: messages done, and bytes sent.
    """

    total: int | None
    size: int | None
    now: Callable[[], tuple[int, int]]


class Progress:
    """Shows a bar from within the reactor's turns: no thread draws."""

    def __init__(self, clock: Any, shown: Shown, *, enabled: bool) -> None:
        self._clock = clock
        self._shown = shown
        self._is_enabled = enabled
        self._call: IDelayedCall | None = None
        self._bar: Bar | None = None

    def __enter__(self) -> Progress:
        if self._is_enabled:
            self._call = self._clock.callLater(_PATIENCE, self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is not None:
            self._call.cancel()
        if self._bar is not None:
            self._show()
            self._bar.stop()

    def _start(self) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[done]}"),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr),
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task("published", total=self._shown.size or self._shown.total, done="")
        self._bar.start()
        self._look()

    def _look(self) -> None:
        self._show()
        self._call = self._clock.callLater(_EVERY, self._look)

    def _show(self) -> None:
        if self._bar is not None:
            messages, size = self._shown.now()
            total = "" if self._shown.total is None else f" of {self._shown.total:,}"
            done = f"{messages:,}{total} messages, {size / 1024:,.0f} KiB sent"
            self._bar.update(self._task, completed=size if self._shown.size else messages, done=done)
            self._bar.refresh()
