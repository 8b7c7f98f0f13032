"""The broker around one policy, as its tests see it."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mqttsecure.errors import QuotaExceeded
from mqttsecure.interfaces import IAuthority, IPolicyEnvironment
from mqttsecure.testing.environment import TestAuthority, TestEnvironment, Workers


class EnvironmentTests(SynchronousTestCase):
    """Time, threads and files are the test's."""

    def setUp(self) -> None:
        self.environment = TestEnvironment("guard", folder=Path("/etc/x"), authorities={"lab": TestAuthority("lab")})

    def test_is_what_policies_are_promised(self) -> None:
        """It has all that the broker's own has."""
        verifyObject(IPolicyEnvironment, self.environment)
        verifyObject(IAuthority, self.environment.authorities["lab"])
        self.assertEqual(self.environment.resolve("users"), Path("/etc/x/users"))
        self.assertEqual(
            self.environment.problem("days", "is empty", 2), "broker.toml:102: policy 'guard': days[2]: is empty"
        )

    def test_time(self) -> None:
        """The time of day moves with the clock, and with nothing else."""
        before = self.environment.wall_clock()
        self.environment.clock.advance(90)
        self.assertEqual((self.environment.wall_clock() - before).total_seconds(), 90)

    def test_random_bytes(self) -> None:
        """No two are the same."""
        self.assertEqual(len({self.environment.random_bytes(32) for _ in range(100)}), 100)
        self.assertEqual([len(self.environment.random_bytes(count)) for count in (0, 1, 8, 100)], [0, 1, 8, 100])

    def test_threads(self) -> None:
        """Work is done at once, held back and done in any order, refused, or fails; what is cancelled is not done."""
        done: list[int] = []
        self.successResultOf(self.environment.defer_to_thread(done.append, 1))
        self.environment.workers = Workers.HELD
        waiting = [self.environment.defer_to_thread(done.append, number) for number in (2, 3, 4)]
        waiting[1].cancel()
        self.failureResultOf(waiting[1])
        self.assertEqual((self.environment.held, done), (2, [1]))
        self.environment.release(backwards=True)
        self.assertEqual(done, [1, 4, 2])
        failing = self.environment.defer_to_thread(lambda: 1 / 0)
        self.environment.release()
        self.failureResultOf(failing, ZeroDivisionError)
        self.environment.workers = Workers.FULL
        self.failureResultOf(self.environment.defer_to_thread(done.append, 5), QuotaExceeded)
        self.environment.workers = Workers.FAILING
        self.failureResultOf(self.environment.defer_to_thread(done.append, 5), RuntimeError)
        self.assertEqual((self.environment.refused, done), (2, [1, 4, 2]))

    def test_rejudging(self) -> None:
        """What it asked for is noted."""
        self.environment.request_rejudging()
        self.environment.request_rejudging([1, 2])
        self.assertEqual(self.environment.rejudged, [None, {1, 2}])
