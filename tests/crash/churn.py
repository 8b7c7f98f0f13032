"""A real broker under clients that come and go without end: does it grow? ``python -m tests.crash.churn --minutes 20``.

Clients connect, subscribe, publish, take each other over, break off with wills, come back and are forgotten, all with
names, topics and numbers from a bounded stock: in the first quarter as fast as they can, so that caches, compiled
statements and the heap get as large as they ever do, and then at one rate to the end. What is measured is the resident
memory of the broker's process (VmRSS of /proc), four times a second. Memory goes up and down with what happens to be
queued, and an allocator gives back late; so the median of the eighth of the time that follows the first
quarter is compared with that of the last eighth. The exit code is 0 where the latter is above the former by 5 % at
most and the broker is in order, else 1. Examples::

    python -m tests.crash.churn --minutes 20
    python -m tests.crash.churn --minutes 2 --seed 7
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mqttsecure.wire.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Subscribe,
    SubscriptionRequest,
    Unsubscribe,
    Will,
)
from tests.crash.killing import write_broker
from tests.crash.lines import SocketLine, wait_for
from tests.support.process import BrokerProcess

__all__ = ["Report", "churn", "main"]

_GROWTH: Final = 1.05
_NAMES: Final = 60
_TOPICS: Final = 100
_RATE: Final = 150
"""Things done in a second after the first quarter: what a core can do while others are at work on it."""

_LIMITS: Final = """\
maximum_session_expiry = "10s"
maximum_queued_messages = 200
sys_interval = "1s"
"""
"""Sessions expire soon, so that a minute sees as many of them begin and end as a day does elsewhere."""


@dataclass(slots=True)
class Report:
    """What was done, and what was measured: (seconds, bytes)."""

    done: int = 0
    connects: int = 0
    received: int = 0
    samples: list[tuple[float, int]] = field(default_factory=list)
    problem: str = ""

    def median(self, begin: float, end: float) -> float:
        """The median of the bytes between two parts of the time, 0 to 1."""
        whole = self.samples[-1][0]
        return statistics.median(octets for at, octets in self.samples if begin * whole <= at <= end * whole)

    @property
    def growth(self) -> float:
        return self.median(0.875, 1.0) / self.median(0.25, 0.375)

    def __str__(self) -> str:
        mebibyte = 1024 * 1024
        return (
            f"{self.done} things done, {self.connects} connects, {self.received} packets received in "
            f"{self.samples[-1][0]:.0f} s; resident memory {self.median(0.25, 0.375) / mebibyte:.1f} MiB after the "
            f"first quarter, {self.median(0.875, 1.0) / mebibyte:.1f} MiB at the end: {100 * (self.growth - 1):+.1f} %"
        )


class _Guest:
    """One client: answers what it is sent, unless it is lazy."""

    def __init__(self, port: int, version: int, connect: Connect, lazy: bool) -> None:
        self.line = SocketLine(port, version)
        self.is_here = False
        self._lazy = lazy
        self.line.send(connect)
        self._next = 0

    def packet_id(self) -> int:
        self._next = self._next % 1000 + 1
        return self._next

    def hear(self) -> int:
        packets = self.line.received()
        for packet in packets:
            self._take(packet)
        return len(packets)

    def _take(self, packet: Packet) -> None:
        if isinstance(packet, Connack):
            self.is_here = packet.reason_code == 0
        elif isinstance(packet, Pubrec):
            self.line.send(Pubrel(packet.packet_id))
        elif self._lazy:
            return
        elif isinstance(packet, Publish) and packet.qos == 1:
            self.line.send(Puback(packet.packet_id))
        elif isinstance(packet, Publish) and packet.qos == 2:
            self.line.send(Pubrec(packet.packet_id))
        elif isinstance(packet, Pubrel):
            self.line.send(Pubcomp(packet.packet_id))


class _Crowd:
    """All clients of one broker."""

    def __init__(self, port: int, seed: int, report: Report) -> None:
        self._port = port
        self._random = random.Random(seed)
        self._guests: dict[str, _Guest] = {}
        self._report = report

    def turn(self, things: int) -> None:
        """Do so many things, and hear what has come."""
        wait_for([guest.line for guest in self._guests.values()], 0.005)
        for name, guest in list(self._guests.items()):
            self._report.received += guest.hear()
            if guest.line.closed:
                guest.line.lose()
                del self._guests[name]
        for _ in range(things):
            self._report.done += 1
            self._act(f"c{self._random.randrange(_NAMES)}")

    def _act(self, name: str) -> None:
        guest = self._guests.get(name)
        choice = self._random.random()
        if guest is None or choice < 0.05:
            self._connect(name)
        elif not guest.is_here:
            return
        elif choice < 0.1:
            guest.line.send(Disconnect())
        elif choice < 0.15:
            guest.line.lose()
            del self._guests[name]
        elif choice < 0.25:
            shared = self._random.choice(("", "", "$share/g/"))
            asked = SubscriptionRequest(shared + self._filter(), self._random.randrange(3))
            guest.line.send(Subscribe(guest.packet_id(), [asked]))
        elif choice < 0.3:
            guest.line.send(Unsubscribe(guest.packet_id(), [self._filter()]))
        else:
            self._publish(guest)

    def _connect(self, name: str) -> None:
        """Connect, or take over."""
        self._report.connects += 1
        older = self._guests.pop(name, None)
        version = self._random.choice((4, 5, 5))
        five = version == 5
        expiry = self._random.choice((0, 3, 10))
        will = None
        if self._random.random() < 0.3:
            delay = {"will_delay_interval": self._random.choice((0, 2, 30))} if five else {}
            will = Will(self._topic(), b"gone", 1, self._random.random() < 0.3, delay)
        properties = {"session_expiry_interval": expiry} if five and expiry else {}
        clean = self._random.random() < 0.3
        connect = Connect(version, name, clean, 30, None, None, will, properties)
        self._guests[name] = _Guest(self._port, version, connect, self._random.random() < 0.2)
        if older is not None:
            older.line.lose()

    def _publish(self, guest: _Guest) -> None:
        qos = self._random.randrange(3)
        properties = {"message_expiry_interval": 5} if guest.line.version == 5 and self._random.random() < 0.5 else {}
        payload = b"x" * self._random.choice((10, 100, 1000))
        retain = self._random.random() < 0.2
        packet_id = guest.packet_id() if qos else 0
        guest.line.send(Publish(self._topic(), payload, qos, retain, False, packet_id, properties))

    def _topic(self) -> str:
        return f"t/{self._random.randrange(_TOPICS)}"

    def _filter(self) -> str:
        return self._topic() if self._random.random() < 0.9 else "t/+"


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def churn(seconds: float, seed: int, folder: Path, *, talks: bool = False) -> Report:
    """Have clients come and go for so long."""
    report = Report()
    broker = BrokerProcess(write_broker(folder, _LIMITS), folder)
    broker.start(listeners=2)
    try:
        _measure(broker, seconds, _Crowd(broker.ports["peers"], seed, report), report, talks=talks)
        if "internal error" in broker.log or "Traceback" in broker.log:
            report.problem = f"the broker has an internal error:\n{broker.log[-3000:]}"
    finally:
        broker.kill()
    if not report.problem and report.growth > _GROWTH:
        report.problem = "it grows"
    return report


def _measure(broker: BrokerProcess, seconds: float, crowd: _Crowd, report: Report, *, talks: bool) -> None:
    started = time.monotonic()
    told = due = last = 0.0
    while (passed := time.monotonic() - started) < seconds:
        due = due + (passed - last) * _RATE if passed > seconds / 4 else 20.0
        last = passed
        crowd.turn(min(20, int(due)))
        due -= min(20, int(due))
        if not report.samples or passed - report.samples[-1][0] > 0.25:
            if broker.has_ended:
                report.problem = f"the broker ended:\n{broker.log[-3000:]}"
                return
            report.samples.append((passed, resident(broker.pid)))
        if talks and passed - told > 10:
            told = passed
            print(f"{passed:.0f} s, {report.samples[-1][1] / 2**20:.1f} MiB, {report.done} things done", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash.churn", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=20.0, help="how long (default: 20)")
    parser.add_argument("--seed", type=int, help="of what is done; random unless given")
    asked = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="mqttsecure-churn-") as folder:
        report = churn(asked.minutes * 60, seed, Path(folder), talks=True)
    print(report)
    if report.problem:
        print(report.problem)
    return 1 if report.problem else 0


if __name__ == "__main__":
    raise SystemExit(main())
