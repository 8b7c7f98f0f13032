"""What is done when memory is scarce."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.limits import Limits
from mqttsecure.service.memory_guard import MemoryGuard, resident_bytes

_MIB = 1024 * 1024


class _State:
    pressure = 0


class _Core:
    state = _State()


class _Driver:
    """Takes note of what it is told."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.core = _Core()
        self.core.state = _State()
        self.told: list[object] = []

    def press(self, level: int) -> None:
        self.core.state.pressure = level
        self.told.append(level)

    def relieve(self, octets: int) -> int:
        self.told.append(f"relieve {octets // _MIB}")
        return 2


class MemoryGuardTests(SynchronousTestCase):
    """A ceiling of 100 MiB."""

    def setUp(self) -> None:
        self.held = 50
        self.given_back = 0
        self.clock = Clock()
        self.driver = _Driver(Limits(maximum_memory_bytes=100 * _MIB))
        self.guard = MemoryGuard(self.driver, self.clock, lambda: self.held * _MIB, self.give_back)  # type: ignore[arg-type]
        self.guard.start()
        self.addCleanup(self.guard.stop)

    def give_back(self) -> None:
        self.given_back += 1

    def told_with(self, held: int) -> list[object]:
        """What the broker is told once the process holds as much."""
        self.held = held
        self.driver.told.clear()
        self.clock.advance(0.25)
        return self.driver.told

    def test_steps(self) -> None:
        """First things are refused, then clients are cut, and all is well again some way below."""
        self.assertEqual(self.told_with(80), [])
        self.assertEqual(self.told_with(91), [1])
        self.assertEqual(self.told_with(92), [])
        self.assertEqual(self.told_with(99), ["relieve 9"])
        self.assertEqual(self.told_with(88), [])
        self.assertEqual(self.told_with(84), [0])
        self.assertEqual(self.told_with(88), [])
        self.assertGreater(self.given_back, 2)

    def test_at_once(self) -> None:
        """From calm to the ceiling in one step."""
        self.assertEqual(self.told_with(120), [1, "relieve 30"])

    def test_giving_back_may_be_enough(self) -> None:
        """Nobody is cut for memory that is free already."""
        self.guard._give_back = lambda: setattr(self, "held", 60)
        self.assertEqual(self.told_with(99), [1])

    def test_off(self) -> None:
        """With 0 there is no ceiling."""
        self.driver.limits = Limits(maximum_memory_bytes=0)
        self.assertEqual(self.told_with(10_000), [])

    def test_this_process(self) -> None:
        """The kernel is asked."""
        self.assertGreater(resident_bytes(), 10 * _MIB)
