# -*- test-case-name: tests.system.test_fuzz -*-
"""A fuzzer for really started brokers: ``python -m tests.system.fuzz --seconds 60 [--seed N]``.

Two brokers, one that lets anybody do anything and one with the usual chain, get packets of ``tests/vectors`` that were
mutated, in plain and in TLS. All the while a canary at each publishes to itself every 100 ms. It passes, with exit
code 0, if the canaries never missed a message, the brokers serve at the end, their memory did not grow, and they count
and log no error of their own. It prints one line; the same seed tries the same bytes.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mqttsecure.lab.attacks.hello import client_hello
from mqttsecure.wire.constants import MQTT_3_1_1, MQTT_5_0
from mqttsecure.wire.encoder import encode_packet, encode_remaining_length
from mqttsecure.wire.packets import Connect, Publish
from tests.support.config import USERS, BrokerFiles, write_config
from tests.support.process import CHECKOUT, BrokerProcess
from tests.system.attacks.case import allow_many_connections, resident_bytes
from tests.system.attacks.client import AttackClient, is_readable, open_socket, reset

__all__ = ["Outcome", "fuzz", "main"]

_LIMITS: Final = """\
maximum_retained_messages = 200
maximum_sessions = 500
maximum_session_expiry = "5s"
maximum_queued_bytes_total = "2MiB"
connect_timeout = "2s"
close_linger = "1s"
sys_interval = "1s"
"""
"""What peers may fill is small here, so that memory that grows is a leak and not a use."""

_OPEN_POLICIES: Final = """\
[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.0/8"]

[[policy]]
id = "handshake"
use = "tls-requirements"
plaintext = "loopback"

[[policy]]
id = "anybody"
use = "anonymous"
ignore_username = true
ignore_password = true
as_user = "guest"

[[policy]]
id = "client-ids"
use = "client-id"
patterns = ["*"]
charset = "utf-8"
maximum_length = 65535

[[policy]]
id = "everything"
use = "topic-acl"
subscribe = "filtered"
rules = ["permit everyone publish,read #", "permit everyone read $SYS/#"]
"""
_RULES: Final = (
    "permit user:alice publish,read lab/#",
    "permit user:bob read lab/#",
    "permit user:alice read $SYS/#",
    "deny user:bob read lab/secret/#",
)
_BEAT: Final = 0.1
_PATIENCE: Final = 3.0
"""Seconds that a canary's message may take: longer than two busy cores ever let it wait, shorter than a hang."""

_GROWTH: Final = 16 * 2**20
"""Bytes that a broker may grow after its warm-up: what its allocator keeps of the largest packets in the air."""

_GUESSES: Final = 12
"""Wrong passwords at once before the start: each thread that hashes keeps the 19 MiB of its first hash."""

_FAULT: Final = re.compile(r"^.*(?:Traceback|internal error|Unhandled| critical ).*$", re.MULTILINE)


@dataclass(slots=True)
class Outcome:
    """What came of a run; it passed where there are no ``problems``."""

    seed: int
    seconds: float = 0.0
    connections: int = 0
    octets: int = 0
    beats: int = 0
    slowest_beat: float = 0.0
    growth: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "passed" if not self.problems else "FAILED: " + "; ".join(self.problems)
        return (
            f"fuzz: {self.connections} connections and {self.octets} bytes in {self.seconds:.0f} s, seed {self.seed}, "
            f"{self.beats} canary messages, slowest {self.slowest_beat:.2f} s, "
            f"memory +{self.growth / 2**20:.1f} MiB after warm-up: {verdict}"
        )


class Seeds:
    """The packets that are mutated, by version, and those that are broken from the start."""

    def __init__(self, folder: Path = CHECKOUT / "tests" / "vectors") -> None:
        codec = json.loads((folder / "codec.json").read_text())
        recorded = json.loads((folder / "fuzz_seeds.json").read_text())
        broken = json.loads((folder / "malformed.json").read_text())
        self.by_version: dict[int, list[bytes]] = {3: [], 4: [bytes.fromhex(each["hex"]) for each in recorded], 5: []}
        for each in codec["valid"]:
            self.by_version[each["version"]].append(bytes.fromhex(each["hex"]))
        self.broken = [bytes.fromhex(each["hex"]) for each in (*broken, *codec["invalid"])]


class Mutator:
    """Makes what one connection sends. All chance comes from ``chance``."""

    def __init__(self, chance: random.Random, seeds: Seeds) -> None:
        self._chance = chance
        self._seeds = seeds

    def stream(self, connect: Callable[[int], bytes]) -> bytes:
        """The bytes of one connection; ``connect`` gives a CONNECT that the broker accepts, by version."""
        chance = self._chance
        version = chance.choice((3, 4, 5, 5))
        packets = [chance.choice(self._seeds.by_version[version]) for _ in range(chance.randint(1, 8))]
        if chance.random() < 0.3:
            packets.append(chance.choice(self._seeds.broken))
        chance.shuffle(packets)
        packets = [self._mutate(packet) if chance.random() < 0.5 else packet for packet in packets]
        if chance.random() < 0.75:
            packets.insert(0, connect(version))
        if chance.random() < 0.1:
            packets.append(chance.randbytes(chance.randint(1, 2000)))
        return b"".join(packets)

    def handshake(self) -> bytes:
        """What begins like TLS, at most."""
        chance = self._chance
        hello = client_hello((3, chance.randint(0, 4)))
        kind = chance.randrange(4)
        if kind == 0:
            return chance.randbytes(chance.randint(1, 3000))
        if kind == 1:
            return hello + chance.randbytes(chance.randint(0, 500))
        return self._mutate(hello) if kind == 2 else self._flip(hello)

    def _mutate(self, packet: bytes) -> bytes:
        kinds = (self._flip, self._cut, self._insert, self._splice, self._lie, self._repeat, self._overwrite)
        for _ in range(self._chance.choice((1, 1, 2, 3))):
            packet = self._chance.choice(kinds)(packet)
        return packet

    def _flip(self, packet: bytes) -> bytes:
        changed = bytearray(packet or b"\0")
        for _ in range(self._chance.randint(1, 4)):
            changed[self._chance.randrange(len(changed))] ^= 1 << self._chance.randrange(8)
        return bytes(changed)

    def _cut(self, packet: bytes) -> bytes:
        return packet[: self._chance.randint(0, len(packet))]

    def _insert(self, packet: bytes) -> bytes:
        at = self._chance.randint(0, len(packet))
        return packet[:at] + self._chance.randbytes(self._chance.randint(1, 20)) + packet[at:]

    def _splice(self, packet: bytes) -> bytes:
        other = self._chance.choice(self._seeds.by_version[self._chance.choice((3, 4, 5))])
        return packet[: self._chance.randint(0, len(packet))] + other[self._chance.randint(0, len(other)) :]

    def _lie(self, packet: bytes) -> bytes:
        """Say another length than there is."""
        length = self._chance.choice((0, 1, len(packet), 127, 128, 16_383, 65_000, 200_000, 268_435_455))
        return packet[:1] + encode_remaining_length(length) + packet[2:]

    def _repeat(self, packet: bytes) -> bytes:
        return packet * self._chance.randint(2, 20)

    def _overwrite(self, packet: bytes) -> bytes:
        """Put an extreme value where a length or an identifier may stand."""
        at = self._chance.randint(0, max(0, len(packet) - 2))
        return packet[:at] + self._chance.choice((b"\0\0", b"\xff\xff", b"\0\x01", b"\x7f\xff")) + packet[at + 2 :]


class Canary(threading.Thread):
    """A client that publishes to itself every 100 ms and never may be cut, kept waiting or sent something else."""

    def __init__(self, target: Target) -> None:
        super().__init__(daemon=True)
        self._target = target
        self._ending = threading.Event()
        self.beats = 0
        self.slowest = 0.0
        self.problem = ""

    def run(self) -> None:
        try:
            with self._target.client("127.0.0.99") as client:
                if client.connect("the-canary", "alice", USERS["alice"]):
                    raise AssertionError("not let in")
                if client.subscribe("lab/canary/at/work") != [0]:
                    raise AssertionError("subscription refused")
                while not self._ending.wait(_BEAT):
                    self._beat(client)
        except Exception as error:
            self.problem = f"the canary of the {self._target.name} broker: {type(error).__name__}: {error}"

    def _beat(self, client: AttackClient) -> None:
        started = time.monotonic()
        client.send(Publish("lab/canary/at/work", str(self.beats).encode()))
        message = client.expect(Publish, _PATIENCE)
        if message.payload != str(self.beats).encode():
            raise AssertionError(f"message {self.beats} came as {message.payload[:40]!r}")
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.beats += 1

    def stop(self) -> None:
        self._ending.set()
        self.join(_PATIENCE * 2)


class Target:
    """One broker, its canary, and what it held after its warm-up."""

    def __init__(self, name: str, directory: Path, files: BrokerFiles, connect: Callable[[int], bytes]) -> None:
        self.name = name
        self.connect = connect
        self._files = files
        self.context: ssl.SSLContext = files.client_context()
        self.broker = BrokerProcess(files.config, directory).start(2)
        self.canary = Canary(self)
        self.canary.start()
        self._guess()
        self.warm = 0

    def _guess(self) -> None:
        clients = [self.client("127.0.0.97") for _ in range(_GUESSES)]
        for client in clients:
            client.send(Connect(MQTT_5_0, "guess", username="alice", password=b"guess"))
        for client in clients:
            client.collect(_PATIENCE)
            client.close()

    def client(self, source: str) -> AttackClient:
        return AttackClient(self.broker.ports["tls"], context=self.context, source=source)

    def problems(self) -> list[str]:
        """What is wrong with it at the end."""
        self.canary.stop()
        found = [self.canary.problem] if self.canary.problem else []
        if self.broker.has_ended:
            return [*found, f"the {self.name} broker ended"]
        growth = resident_bytes(self.broker.pid) - self.warm
        if growth > _GROWTH:
            found.append(f"the {self.name} broker grew by {growth / 2**20:.1f} MiB")
        faults = _FAULT.findall(self.broker.log)
        if faults:
            found.append(f"the {self.name} broker logged {len(faults)} faults, the first: {faults[0][:2000]}")
        try:
            with self.client("127.0.0.98") as client:
                code = client.connect("alice-last", "alice", USERS["alice"])
                client.subscribe("$SYS/broker/errors/internal")
                counted = client.expect(Publish).payload
            if code or counted != b"0":
                found.append(f"the {self.name} broker counts {counted.decode()} internal errors")
        except Exception as error:
            found.append(f"the {self.name} broker does not serve: {type(error).__name__}: {error}")
        return found


def _open_target(directory: Path) -> Target:
    files = write_config(directory, plaintext=True, policies=_OPEN_POLICIES, limits=_LIMITS)
    return Target("open", directory, files, lambda version: encode_packet(Connect(version, "fuzz"), version))


def _guarded_target(directory: Path, chance: random.Random) -> Target:
    rates = '[[policy]]\nid = "rates"\nuse = "rate-limit"\nmessages = "1000/second"\n'
    config = write_config(directory, plaintext=True, rules=_RULES, limits=_LIMITS, extra_policies=rates)

    def connect(version: int) -> bytes:
        user = chance.choice(("alice", "bob"))
        clean = version == MQTT_3_1_1 and chance.random() < 0.5
        packet = Connect(version, f"fuzz-{user}-{chance.randrange(5)}", clean, 60, user, USERS[user].encode())
        if version == MQTT_5_0:
            packet.properties = {"session_expiry_interval": 5, "topic_alias_maximum": 5}
        return encode_packet(packet, version)

    return Target("guarded", directory, allow_many_connections(config), connect)


def _attack(target: Target, mutator: Mutator, chance: random.Random) -> int:
    """One connection: send something, look whether there is an answer, leave. How many bytes were sent."""
    source = f"127.0.1.{chance.randint(1, 250)}"
    where = chance.random()
    if where < 0.1:
        data = mutator.handshake()
        sock = open_socket(target.broker.ports["tls"], source)
    else:
        data = mutator.stream(target.connect)
        sock = open_socket(target.broker.ports["plain" if where < 0.8 else "tls"], source)
    try:
        if where >= 0.8:
            sock = target.context.wrap_socket(sock, server_hostname="localhost")
        _send_in_pieces(sock, data, chance)
        if is_readable(sock, 0.02 if chance.random() < 0.2 else 0.001) and chance.random() < 0.7:
            sock.recv(65536)
    except OSError:
        pass  # it was cut off, as it mostly should be
    finally:
        if chance.random() < 0.7:
            reset(sock)
        else:
            sock.close()
    return len(data)


def _send_in_pieces(sock: ssl.SSLSocket | object, data: bytes, chance: random.Random) -> None:
    send = sock.sendall  # type: ignore[attr-defined]  # a socket, with or without TLS
    if chance.random() < 0.7:
        send(data)
        return
    position = 0
    while position < len(data):
        size = chance.choice((1, 2, 3, 7, 50, 1000))
        send(data[position : position + size])
        position += size


def fuzz(seconds: float, seed: int, directory: Path) -> Outcome:
    """Fuzz for a time, in a folder for configurations and logs."""
    outcome = Outcome(seed)
    targets: list[Target] = []
    try:
        for name in ("open", "guarded"):
            folder = directory / name
            folder.mkdir(parents=True)
            targets.append(_open_target(folder) if name == "open" else _guarded_target(folder, random.Random(seed + 1)))
        _run(targets, seconds, random.Random(seed), outcome)
        for target in targets:
            outcome.problems += target.problems()
            outcome.beats += target.canary.beats
            outcome.slowest_beat = max(outcome.slowest_beat, target.canary.slowest)
            if not target.broker.has_ended:
                outcome.growth = max(outcome.growth, resident_bytes(target.broker.pid) - target.warm)
    finally:
        for target in targets:
            target.broker.kill()
    return outcome


def _run(targets: list[Target], seconds: float, chance: random.Random, outcome: Outcome) -> None:
    mutator = Mutator(chance, Seeds())
    started = time.monotonic()
    warm_at = started + seconds / 4
    while (now := time.monotonic()) < started + seconds:
        if now > warm_at:
            warm_at = started + 2 * seconds
            for target in targets:
                target.warm = resident_bytes(target.broker.pid)
        for target in targets:
            if target.broker.has_ended or target.canary.problem:
                outcome.seconds = now - started
                return
            outcome.octets += _attack(target, mutator, chance)
            outcome.connections += 1
    outcome.seconds = time.monotonic() - started


def main(arguments: list[str] | None = None) -> int:
    """Run from a command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.fuzz", description="Fuzz really started brokers.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, which is printed")
    parser.add_argument("--directory", type=Path, default=None, help="for configurations and logs, to be kept")
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory() as temporary:
        outcome = fuzz(options.seconds, seed, options.directory or Path(temporary))
    print(outcome)
    return 1 if outcome.problems else 0


if __name__ == "__main__":
    sys.exit(main())
