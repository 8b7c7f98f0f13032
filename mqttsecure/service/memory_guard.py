# -*- test-case-name: tests.service.test_memory_guard -*-
"""Watches how much memory the process holds, so that the kernel never has to end it.

Near the ceiling, new connections and large messages are refused; when that does not help, the clients for whom most is
kept are cut. Everyone else is served on.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from mqttsecure.transport.driver import CoreDriver

__all__ = ["MemoryGuard", "resident_bytes"]

_log = Logger()

_INTERVAL: Final = 0.25
"""Seconds from look to look: a gigabit a second brings 30 MB in that time, less than is between the two marks."""

_REFUSE: Final = 0.9
_CUT: Final = 0.97
_CALM: Final = 0.85
"""Shares of the ceiling: from which on things are refused, from which on clients are cut, and when it is over."""


def resident_bytes() -> int:
    """What this process holds in memory, 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _give_back() -> None:
    """Have the C library give memory that is free back to the system, where it has a word for that."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return


class MemoryGuard:
    """Presses the core when memory is scarce.

    Args:
        driver: of the broker; its limits hold the ceiling.
        clock: the reactor.
        resident: how many bytes the process holds.
        give_back: gives free memory back to the system.
    """

    def __init__(
        self,
        driver: CoreDriver,
        clock: IReactorTime,
        resident: Callable[[], int] = resident_bytes,
        give_back: Callable[[], None] = _give_back,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._resident = resident
        self._give_back = give_back
        self._loop: Any = LoopingCall(self.look)
        self._loop.clock = clock
        self.resident = 0

    def start(self) -> None:
        """Look from now on."""
        self._loop.start(_INTERVAL, now=True)

    def stop(self) -> None:
        """Look no more."""
        if self._loop.running:
            self._loop.stop()

    def look(self) -> None:
        """Look once, and do what has to be done."""
        ceiling = self._driver.limits.maximum_memory_bytes
        self.resident = self._resident()
        core = self._driver.core
        was = core.state.pressure
        if not ceiling or self.resident < ceiling * (_CALM if was else _REFUSE):
            if was:
                self._driver.press(0)
                _log.info("memory is no longer scarce; everything is taken again")
            return
        if not was:
            self._driver.press(1)
            _log.warn(
                "memory is scarce, {resident} of {ceiling} MiB: new connections and large messages are refused; raise "
                "`maximum_memory_bytes` of [limits] where the machine has more",
                resident=self.resident >> 20,
                ceiling=ceiling >> 20,
            )
        self._give_back()
        self.resident = self._resident()
        if self.resident >= ceiling * _CUT:
            cut = self._driver.relieve(self.resident - int(ceiling * _REFUSE))
            if cut:
                _log.warn("memory is scarce: cut the {count} clients for whom most was kept", count=cut)
                self._give_back()
