"""The adapter that feeds the core: faults stay with one connection, writes come once a turn, time is kept."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial import unittest

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import Stage
from mqttsecure.core.events import Disconnected, Event
from mqttsecure.core.limits import Limits
from mqttsecure.transport import driver as module
from mqttsecure.transport.driver import CoreDriver
from mqttsecure.wire.packets import Disconnect
from tests.support.policies import make_facts
from tests.support.transport import Listening, ObservedChain, connect_bytes, subscribe_bytes

INTERNAL = "internal error; please report it"


class Recorder:
    """An adapter that writes down when it was flushed, and takes all there is."""

    def __init__(self, driver: CoreDriver) -> None:
        self.driver = driver
        self.connection: Connection = driver.core.connection_made(
            make_facts(connection_id=driver.next_connection_id(), accepted_at=driver.clock.seconds())
        )
        self.connection.adapter = self
        self.facts = self.connection.facts
        self.writes: list[bytes] = []
        self.aborted = 0
        self.on_flush: Any = None
        driver.arrived(self)

    def flush(self) -> None:
        if self.on_flush is not None:
            self.on_flush()
        self.writes.append(b"".join(self.connection.outbox))
        self.connection.outbox = []
        self.connection.outbox_bytes = 0

    def abort(self) -> None:
        self.aborted += 1
        self.connection.adapter = None
        self.driver.lost(self.connection)
        self.driver.left(self)


class DriverCase(unittest.SynchronousTestCase):
    """A driver in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.chain = ObservedChain()
        self.reports: list[list[Event]] = []
        self.driver = CoreDriver(
            Limits(), self.chain, self.clock, lambda count: b"r" * count, report=self.reports.append
        )

    def connected(self, client_id: str = "c", topic_filter: str = "") -> Recorder:
        recorder = Recorder(self.driver)
        self.driver.receive(recorder.connection, connect_bytes(client_id))
        if topic_filter:
            self.driver.receive(recorder.connection, subscribe_bytes(topic_filter))
        self.clock.advance(0)
        self.assertTrue(recorder.connection.is_connected)
        recorder.writes.clear()
        return recorder

    def events(self, kind: type[Any]) -> list[Any]:
        return [event for events in self.reports for event in events if isinstance(event, kind)]

    def assert_internal_errors(self, count: int) -> None:
        self.assertEqual(self.driver.core.counters.internal_errors, count)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), count)


def broken(*arguments: Any, **more: Any) -> Any:
    """What no part of the core should do."""
    raise RuntimeError("a bug")


class FlushTests(DriverCase):
    """Writing at the end of a turn."""

    def take_time(self, recorder: Recorder, seconds: float) -> None:
        """Have each write of ``recorder`` take time."""
        recorder.on_flush = lambda: setattr(self.clock, "rightNow", self.clock.rightNow + seconds)

    def test_once_a_turn(self) -> None:
        """However many messages came meanwhile, a connection is written once."""
        reader = self.connected("r", "a/#")
        for number in range(50):
            self.driver.publish("a/b", str(number).encode())
        self.assertEqual(reader.writes, [])
        self.clock.advance(0)
        self.assertEqual(len(reader.writes), 1)
        self.assertEqual(reader.writes[0].count(b"a/b"), 50)

    def test_nothing_to_do(self) -> None:
        """Bytes that lead to nothing schedule nothing."""
        recorder = self.connected()
        self.driver.receive(recorder.connection, b"\xc0")
        self.assertFalse(self.driver._flush_is_due)

    def test_events_are_reported(self) -> None:
        """At the end of the turn, in order, once."""
        recorder = self.connected()
        self.driver.lost(recorder.connection)
        self.clock.advance(0)
        self.assertEqual(
            [type(each).__name__ for events in self.reports for each in events], ["Connected", "Disconnected"]
        )

    def test_touched_by_flushing(self) -> None:
        """What flushing leads to is written in the next turn."""
        one, other = self.connected("one", "a"), self.connected("other", "b")
        one.on_flush = lambda: self.driver.publish("b", b"x")
        self.driver.publish("a", b"x")
        self.driver.flush()
        one.on_flush = None
        self.assertEqual(other.writes, [])
        self.clock.advance(0)
        self.assertEqual(len(other.writes), 1)

    def test_rest_after_a_long_round(self) -> None:
        """A round to a multitude that took long is followed by a rest of a quarter of that, once."""
        self.patch(module, "_MANY", 2)
        readers = [self.connected(f"r{number}", "a") for number in range(3)]
        self.clock.advance(1)  # the driver's zero means no time at all
        self.take_time(readers[0], 0.1)
        self.driver.publish("a", b"1")
        self.clock.advance(0)
        readers[0].on_flush = None
        self.driver.publish("a", b"2")
        self.clock.advance(0.02)
        self.assertEqual(len(readers[1].writes), 1)
        self.clock.advance(0.006)
        self.assertEqual(len(readers[1].writes), 2)
        self.driver.publish("a", b"3")
        self.clock.advance(0)
        self.assertEqual(len(readers[1].writes), 3)

    def test_no_rest_after_small_or_short_rounds(self) -> None:
        """Few connections, or many that took no time: the next round comes with the next turn."""
        for many in (2, 1000):
            with self.subTest(many=many):
                self.setUp()
                self.patch(module, "_MANY", many)
                readers = [self.connected(f"r{number}", "a") for number in range(3)]
                if many == 1000:
                    self.take_time(readers[0], 0.1)
                for count in (1, 2, 3):
                    self.driver.publish("a", b"1")
                    self.clock.advance(0)
                    self.assertEqual(len(readers[1].writes), count)

    def test_rest_that_is_over(self) -> None:
        """A message that comes later than the rest is written at once."""
        self.patch(module, "_MANY", 0)
        reader = self.connected("r", "a")
        self.clock.advance(1)
        self.take_time(reader, 0.1)
        self.driver.publish("a", b"1")
        self.clock.advance(0)
        reader.on_flush = None
        self.clock.advance(1)
        self.driver.publish("a", b"2")
        self.clock.advance(0)
        self.assertEqual(len(reader.writes), 2)


class FaultTests(DriverCase):
    """A bug of ours is logged with its traceback, counted, and costs one connection."""

    def test_receiving(self) -> None:
        """The connection whose bytes met the bug ends with 0x83; others live."""
        one, other = self.connected("one"), self.connected("other")
        self.patch(self.driver.core._inbound, "receive", broken)
        self.driver.receive(one.connection, b"\xc0\x00")
        self.clock.advance(0)
        self.assert_internal_errors(1)
        self.assertTrue(one.connection.closing)
        self.assertEqual(one.writes, [b"\xe0\x01\x83"])
        self.assertEqual([event.reason_code for event in self.events(Disconnected)], [0x83])
        self.assertFalse(other.connection.closing)

    def test_losing(self) -> None:
        """A connection that is gone is forgotten whatever its end met."""
        one = self.connected("one")
        self.patch(self.driver.core, "connection_lost", broken)
        self.driver.lost(one.connection)
        self.assert_internal_errors(1)
        self.assertEqual(self.driver.core.state.connections, set())
        self.clock.advance(1000)

    def test_closing(self) -> None:
        """The adapter closes it all the same."""
        one = self.connected("one")
        self.patch(self.driver.core, "close", broken)
        self.driver.end(one.connection, 0x80, "test")
        self.assert_internal_errors(1)
        self.assertTrue(one.connection.closing)
        self.clock.advance(0)
        self.assertEqual(len(one.writes), 1)

    def test_writing(self) -> None:
        """One connection that cannot be written is aborted, those behind it are written."""
        readers = [self.connected(f"r{number}", "a") for number in range(3)]
        readers[1].on_flush = broken
        self.driver.publish("a", b"x")
        self.clock.advance(0)
        self.assert_internal_errors(1)
        self.assertEqual([len(reader.writes) for reader in readers], [1, 0, 1])
        self.assertEqual([reader.aborted for reader in readers], [0, 1, 0])

    def test_verdict(self) -> None:
        """A verdict that meets a bug raises nothing into the policy that gave it."""
        self.chain.delay(Stage.CONNECT)
        recorder = Recorder(self.driver)
        self.driver.receive(recorder.connection, connect_bytes())
        self.patch(self.driver.core, "verdict", broken)
        self.chain.answer()
        self.assert_internal_errors(1)

    def test_time(self) -> None:
        """Deadlines go on."""
        recorder = self.connected()
        self.driver.core.state.deadlines.at(5.0, broken)
        self.driver.schedule_flush()
        self.clock.advance(10)
        self.assert_internal_errors(1)
        self.clock.advance(90)
        self.assertTrue(recorder.connection.closing)

    def test_publishing(self) -> None:
        """What the broker says of itself is not worth a fault."""
        self.patch(self.driver.core, "publish", broken)
        self.driver.publish("$SYS/a", b"1")
        self.assert_internal_errors(1)

    def test_reporting(self) -> None:
        """A log that fails keeps nobody waiting, and no deadline from being met."""
        self.driver._report = broken
        recorder = Recorder(self.driver)
        self.driver.receive(recorder.connection, connect_bytes())
        self.clock.advance(0)
        self.assert_internal_errors(1)
        self.assertEqual(len(recorder.writes), 1)
        self.driver._report = self.reports.append
        self.clock.advance(100)
        self.assertTrue(recorder.connection.closing)


class TimerTests(DriverCase):
    """One timer, for the nearest deadline."""

    def calls(self) -> list[float]:
        return sorted(call.getTime() for call in self.clock.getDelayedCalls())

    def test_one(self) -> None:
        """However many deadlines there are."""
        for number in range(5):
            self.connected(f"c{number}")
        self.assertEqual(len(self.calls()), 1)

    def test_nearest(self) -> None:
        """A nearer one moves it; one that was cancelled leaves an early call, after which it is right again."""
        self.connected()
        self.assertEqual(self.calls(), [90.0])
        self.clock.advance(10)
        recorder = Recorder(self.driver)
        self.driver.schedule_flush()
        self.clock.advance(0)
        self.assertEqual(self.calls(), [20.0])
        self.driver.lost(recorder.connection)
        self.clock.advance(0)
        self.assertEqual(self.calls(), [20.0])
        self.clock.advance(10)
        self.assertEqual(self.calls(), [90.0])

    def test_nothing_due(self) -> None:
        """No deadline, no call."""
        self.driver.flush()
        self.assertEqual(self.calls(), [])


class ChangeOfPolicyTests(DriverCase):
    """Other policies while connections live."""

    def test_new_policies_hear_of_what_there_is(self) -> None:
        """Each connection is opened for them once, and its end is told to them; one at the gate is no connection."""
        listening = Listening(self)
        far = listening.connected("c")
        raw = listening.connect()
        listening.turns()
        listening.chain.delay(Stage.ACCEPT)
        listening.connect()
        listening.turns()
        old, new = listening.chain, ObservedChain()
        new.version = 2
        listening.chain = new
        self.successResultOf(listening.driver.change_policy(new, 2, Limits(), ["lab"]))
        self.assertEqual((sorted(new.opened), new.authenticated), ([1, 2], [1]))
        old.answer(policy_version=1)  # an old verdict: the new policies are asked, and permit
        listening.turns()
        self.assertEqual(sorted(new.opened), [1, 2, 3])
        self.assertEqual(sorted(old.opened), [1, 2])
        far.close(), raw.close()
        listening.turns()
        self.assertEqual((sorted(new.closed), old.closed), ([1, 2], []))

    def test_in_slices(self) -> None:
        """Judging again lets the reactor do other things meanwhile, and says when all is done."""
        steps = [0.006] * 5

        def step(now: float) -> bool:
            self.clock.rightNow += steps.pop()
            if len(steps) == 3:
                raise RuntimeError("a bug")
            return bool(steps)

        self.patch(self.driver.core, "rejudge_step", step)
        done, too = self.driver.rejudge(), self.driver.rejudge()
        self.assertEqual(len(steps), 3)
        self.assertNoResult(done)
        self.clock.advance(0)
        self.assertEqual(steps, [])
        self.assertAlmostEqual(self.successResultOf(done), 0.03)
        self.assertAlmostEqual(self.successResultOf(too), 0.018)
        self.assertAlmostEqual(self.driver.longest_slice, 0.012)
        self.assert_internal_errors(1)

    def test_late(self) -> None:
        """When time is running out the slices are longer; what took longer than it may is told and counted."""
        slices: list[int] = [0]

        def step(now: float) -> bool:
            self.clock.rightNow += 0.006
            slices[-1] += 1
            return sum(slices) < 60

        def between() -> None:
            slices.append(0)
            self.clock.rightNow += 0.1  # the reactor is busy otherwise

        self.patch(self.driver.core, "rejudge_step", step)
        self.patch(self.driver, "schedule_flush", between)
        done = self.driver.rejudge()
        self.clock.advance(0)
        self.assertEqual((slices[0], max(slices)), (2, 7))
        self.assertLess(self.successResultOf(done), 2.0)
        self.assertEqual(self.driver.late_rejudgings, 0)
        self.driver.limits = Limits(revocation_timeout=0.1)
        slices[:] = [0]
        late = self.driver.rejudge(since=self.clock.seconds() - 1)
        self.clock.advance(0)
        self.assertGreater(self.successResultOf(late), 1.0)
        self.assertEqual((self.driver.late_rejudgings, self.driver.slowest_rejudging), (1, self.driver.last_rejudging))


class StopTests(DriverCase):
    """The end of the broker."""

    def test_without_connections(self) -> None:
        """It is over at once."""
        self.successResultOf(self.driver.close_all(1.0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits(self) -> None:
        """Every client hears 0x8B, and the stop waits until all are gone."""
        one, other = self.connected("one"), self.connected("other")
        done = self.driver.close_all(1.0)
        self.assertEqual((one.writes, other.writes), ([b"\xe0\x01\x8b"], [b"\xe0\x01\x8b"]))
        for recorder in (one, other):
            self.assertNoResult(done)
            self.driver.lost(recorder.connection)
            self.driver.left(recorder)
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.events(Disconnected)), 2)

    def test_aborts(self) -> None:
        """Those that do not go in time are aborted."""
        one = self.connected("one")
        done = self.driver.close_all(1.0)
        self.clock.advance(0.9)
        self.assertNoResult(done)
        self.clock.advance(0.1)
        self.successResultOf(done)
        self.assertEqual(one.aborted, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_on_sockets(self) -> None:
        """The same with real connections, one of which neither reads nor closes."""
        listening = Listening(self)
        good, bad = listening.connected("good"), listening.connected("bad")
        bad.reads = False
        done = listening.driver.close_all(1.0)
        listening.until(lambda: good.ended)
        self.assertEqual([type(each) for each in good.packets()], [Disconnect])
        good.close()
        listening.turns()
        self.assertNoResult(done)
        listening.advance(1.0)
        self.successResultOf(done)
        listening.check_counts()
