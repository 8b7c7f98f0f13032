"""Kills a real broker while many clients are at it, and looks whether it keeps its promises.

The clients are :class:`~tests.support.peers.Peer`, which remember what they were promised and complain; the model of
`tests/core/test_durable_model.py` uses the same. What was lost is looked for whenever all come to rest.
"""

from __future__ import annotations

import errno
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.packets import (
    Connack,
    Connect,
    Packet,
    Pingreq,
    Pingresp,
    Publish,
    Suback,
    Subscribe,
    SubscriptionRequest,
)
from tests.crash.faults import Disk
from tests.crash.lines import SocketLine, wait_for
from tests.crash.nursery import Nursery, QuickBroker
from tests.support.peers import SHARED, Message, Peer, require
from tests.support.process import BrokerProcess

__all__ = ["FAULTS", "Killing", "Outcome", "write_broker"]

_CONFIG: Final = """\
[[listener]]
name = "peers"
bind = "127.0.0.1:0"
plaintext = true

[[listener]]
name = "strangers"
bind = "127.0.0.1:0"
plaintext = true

[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.0/8"]

[[policy]]
id = "handshake"
use = "tls-requirements"
plaintext = "loopback"

[[policy]]
id = "peers"
use = "anonymous"
on = ["peers"]
ignore_username = true
as_user = "peers"

[[policy]]
id = "strangers"
use = "anonymous"
on = ["strangers"]
ignore_username = true
as_user = "strangers"

[[policy]]
id = "client-ids"
use = "client-id"
patterns = ["*"]

[[policy]]
id = "everything"
use = "topic-acl"
rules = ["permit everyone publish,read #"]

[store]
durability = "commit"
file = "state/mqttsecure.db"

[limits]
{limits}
"""

_PATIENCE: Final = 60.0
"""Seconds until all must have come to rest; it takes a fraction of one, on a machine that has nothing else to do."""

FAULTS: Final = {
    "full": ("w", errno.ENOSPC),
    "read-only": ("wc", errno.EROFS),
    "write-error": ("w", errno.EIO),
    "sync-error": ("s", errno.EIO),
}
"""What the disk does for a while: the operations that fail, and how."""


def write_broker(folder: Path, limits: str = "") -> Path:
    """A configuration of a broker with a store in ``folder``/state."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    config = folder / "broker.toml"
    config.write_text(_CONFIG.format(limits=limits))
    return config


@dataclass(slots=True)
class Outcome:
    """What has been done, and found wrong."""

    kills: int = 0
    losses_of_power: int = 0
    faults: int = 0
    refused: int = 0
    acknowledged: int = 0
    received: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.losses_of_power} of them with a loss of power, {self.faults} failures of the "
            f"disk; {self.acknowledged} messages acknowledged, {self.received} received, {self.refused} refused; "
            f"{len(self.problems)} problems; {self.seconds:.0f} s"
        )


class Killing:
    """One broker, killed over and over, and its clients.

    Args:
        folder: for all files; made.
        seed: of what is done. When it is done depends on the machine.
        power_loss: what was not synced is lost with each kill.
    """

    def __init__(self, folder: Path, seed: int, *, power_loss: bool = False) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._power_loss = power_loss
        self._config = write_broker(folder)
        self._state = folder / "state"
        self._messages: dict[int, Message] = {}
        self._disk: Disk | None = None
        self._nursery = Nursery()
        self._lives = 0
        self._values = [0]
        self.outcome = Outcome()
        self._peers = [
            Peer(f"{'d' if durable else 'c'}{index}", "u", version, durable, maximum, self._messages)
            for index, (version, durable, maximum) in enumerate(
                [(5, True, 20), (5, True, 3), (4, True, 20), (4, True, 20), (5, True, 1)] * 2
                + [(5, False, 10), (4, False, 10)]
            )
        ]
        for peer in self._peers:
            peer.receivers = self._receivers
        self._keeper = self._peers[0]
        """The only one that publishes what is retained, so that its order is known."""
        self._keeper.on_retained = self._sent_to_retain
        self._unconfirmed: dict[int, Message] = {}
        self._broker = self._start()

    # -- the broker ----------------------------------------------------------------------------------------------

    def _start(self, failing: str = "") -> BrokerProcess:
        """Start it, on a disk that can fail or lose power where that is wanted."""
        self._lives += 1
        environment: dict[str, str] = {}
        if self._power_loss or failing:
            place = self._folder / f"disk-{self._lives}"
            place.mkdir()
            self._disk = Disk(place, self._state)
            operations, error = FAULTS[failing] if failing else ("", errno.EIO)
            environment = self._disk.environment(operations, error)
        directory = self._folder / f"life-{self._lives}"
        directory.mkdir()
        if environment:
            self._broker = BrokerProcess(self._config, directory, environment=environment)
        else:
            self._broker = QuickBroker(self._nursery, self._config, directory)
        return self._broker.start(listeners=2)

    def _kill(self, failing: str = "") -> None:
        """Kill it, hear what it had said, and start it again."""
        self._broker.kill()
        self.outcome.kills += 1
        self._work(lambda: any(peer.client is not None for peer in self._peers), busy=False)
        if self._disk is not None and self._power_loss:
            self._lose_power(self._disk)
        if self._disk is not None:
            shutil.rmtree(self._folder / f"disk-{self._lives}")
            self._disk = None
        shutil.rmtree(self._folder / f"life-{self._lives}")
        for peer in self._peers:
            peer.lost(time.monotonic(), crash=True)
        self._start(failing)

    def _lose_power(self, disk: Disk) -> None:
        target = self._folder / "after"
        disk.recording().lose_power(disk.position(), self._random, target)
        shutil.rmtree(self._state)
        target.rename(self._state)
        self.outcome.losses_of_power += 1

    def last_words(self) -> str:
        """The end of the broker's log."""
        return self._broker.log[-3000:]

    def close(self) -> None:
        """End it."""
        for peer in self._peers:
            if peer.client is not None:
                peer.client.lose()
        self._broker.kill()
        self._nursery.close()

    # -- what is expected ----------------------------------------------------------------------------------------

    def _receivers(self, message: Message) -> dict[Peer, int]:
        if not message.qos:
            return {}
        return {peer: peer.era for peer in self._peers if peer.durable and peer.certain_qos(message.topic)}

    def _missing(self) -> dict[str, list[int]]:
        missing = {peer.name: sorted(peer.owed - peer.got) for peer in self._peers}
        return {name: numbers for name, numbers in missing.items() if numbers}

    # -- the clients ---------------------------------------------------------------------------------------------

    def _work(self, goes_on: Callable[[], bool], *, busy: bool) -> None:
        """Have all clients read and answer, and publish where they are ``busy``."""
        deadline = time.monotonic() + _PATIENCE
        while goes_on():
            now = time.monotonic()
            require(
                now < deadline, "not at rest:", self._missing(), [peer.name for peer in self._peers if peer.answers]
            )
            lines = [peer.client for peer in self._peers if isinstance(peer.client, SocketLine)]
            wait_for(lines, 0.01)
            for peer in self._peers:
                peer.hear(now)
                if busy:
                    self._act(peer, now)
                peer.answer(100 if not busy else self._random.choice((0, 1, 1, 3)))
            self._confirm()

    def _sent_to_retain(self, message: Message) -> None:
        self._values.append(message.number)
        if message.qos:
            self._unconfirmed[message.number] = message

    def _confirm(self) -> None:
        """Once a retained message is acknowledged, none from before it may come back."""
        for message in [each for each in self._unconfirmed.values() if each.is_acknowledged]:
            del self._unconfirmed[message.number]
            if message.number in self._values:
                del self._values[: self._values.index(message.number)]

    def _act(self, peer: Peer, now: float) -> None:
        choice = self._random.random()
        if peer.client is None:
            peer.connect(SocketLine(self._broker.ports["peers"], peer.version), now, False)
        elif choice < 0.002:
            peer.client.lose()
            peer.lost(now)
        elif choice < 0.004:
            peer.connect(SocketLine(self._broker.ports["peers"], peer.version), now, False)
        elif choice < 0.3 and peer.is_here and len(peer.unacknowledged) < 20:
            self._publish(peer)

    def _publish(self, peer: Peer) -> None:
        topics = ("a", "b", "r", "s/1") if peer is self._keeper else ("a", "b", "s/1")
        topic = self._random.choice(topics)
        # Sent again, QoS 1 is taken again and QoS 2 is not: a topic that has both may go back to what was before.
        levels = (0, 1, 1) if topic == "r" else (0, 1, 1, 2, 2)
        message = Message(len(self._messages) + 1, peer, topic, self._random.choice(levels), topic == "r")
        self._messages[message.number] = message
        peer.publish(message)

    def _connect_all(self) -> None:
        for peer in self._peers:
            if peer.client is None:
                peer.connect(SocketLine(self._broker.ports["peers"], peer.version), time.monotonic(), False)

    def _all_here(self) -> bool:
        """Whether all are connected; those that were refused or cut try again."""
        if all(peer.is_here for peer in self._peers):
            return True
        self._connect_all()
        return False

    def begin(self) -> None:
        """Everybody connects and subscribes."""
        self._work(lambda: not self._all_here(), busy=False)
        for index, peer in enumerate(self._peers):
            for topic_filter in ("a", "+", "r", SHARED):
                if peer.durable and self._random.random() < 0.5 and (topic_filter != SHARED or index % 2):
                    peer.subscribe(topic_filter, self._random.choice((1, 2)))
                    self._work(lambda peer=peer: bool(peer.requests), busy=False)  # type: ignore[misc]

    # -- what is done --------------------------------------------------------------------------------------------

    def kill(self, failing: str = "") -> None:
        """Some traffic, a kill at a random moment, and another life."""
        end = time.monotonic() + self._random.choice((0.02, 0.1, 0.3, 0.6)) * self._random.random()
        self._work(lambda: time.monotonic() < end, busy=True)
        self._kill(failing)
        self._look()

    def fail(self, kind: str, seconds: float) -> None:
        """The disk fails for a while under traffic, and then works again."""
        self._kill(kind)
        require(self._disk is not None, "no disk")
        for peer in self._peers:
            peer.refusals = frozenset((ReasonCode.QUOTA_EXCEEDED, 3))
        if self._disk is not None:
            for begin in (True, False):
                if begin:
                    self._disk.switch.touch()
                else:
                    self._disk.switch.unlink()
                end = time.monotonic() + seconds
                self._work(lambda end=end: time.monotonic() < end, busy=True)  # type: ignore[misc]
                require(not self._broker.has_ended, "the broker ended on a disk that fails:", self._broker.log[-2000:])
        self.outcome.faults += 1
        self.rest()
        for peer in self._peers:
            peer.refusals = frozenset()

    def _look(self) -> None:
        """What is retained, and whether somebody else gets a session."""
        kept = self._retained()
        require(kept in self._values, "retained is", kept, "and may be", self._values)
        self._values = [kept]
        peer = self._random.choice([peer for peer in self._peers if peer.durable])
        stranger = SocketLine(self._broker.ports["strangers"], 5)
        stranger.send(Connect(5, peer.name, True, 60))
        answer = self._answers(stranger, Connack)[0]
        stranger.lose()
        code = answer.reason_code if isinstance(answer, Connack) else None
        require(code == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "a stranger got the session of", peer.name, answer)

    def _retained(self) -> int:
        """The number of what is retained under "r", 0 for nothing."""
        line = SocketLine(self._broker.ports["peers"], 5)
        line.send(Connect(5, "reader", True, 60), Subscribe(1, [SubscriptionRequest("r", 0)]))
        packets = self._answers(line, Suback)
        line.send(Pingreq())  # what is retained comes with SUBACK, and so before the answer to this
        packets += self._answers(line, Pingresp)
        line.lose()
        return max((int(each.payload.split()[0]) for each in packets if isinstance(each, Publish)), default=0)

    @staticmethod
    def _answers(line: SocketLine, kind: type[Packet]) -> list[Packet]:
        """All packets up to one of ``kind``, which is the last or among the last."""
        packets: list[Packet] = []
        deadline = time.monotonic() + _PATIENCE
        while not any(isinstance(each, kind) for each in packets):
            require(time.monotonic() < deadline and not line.closed, "no", kind.__name__, packets)
            wait_for([line], 0.1)
            packets += line.received()
        return packets

    def rest(self) -> None:
        """All come back and acknowledge; nothing that was acknowledged may be missing."""
        self._work(lambda: not self._all_here(), busy=False)
        self._work(lambda: not self._is_at_rest(), busy=False)
        for peer in self._peers:
            peer.owed.clear()

    def _is_at_rest(self) -> bool:
        return self._all_here() and not (
            self._missing() or any(peer.answers or peer.unacknowledged or peer.open for peer in self._peers)
        )

    def summary(self) -> Outcome:
        self.outcome.refused = sum(peer.refused for peer in self._peers)
        self.outcome.acknowledged = sum(message.is_acknowledged for message in self._messages.values())
        self.outcome.received = sum(len(peer.got) for peer in self._peers)
        return self.outcome
