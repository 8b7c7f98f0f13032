# -*- test-case-name: tests.lab.attacks.test_table -*-
"""The attacks on a broker of ours that is as it comes, and on one that resists nothing."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import LabError
from mqttsecure.lab.attacks.outcome import Outcome, Result
from mqttsecure.lab.attacks.table import ATTACKS, GROUPS, run_attacks, select
from mqttsecure.lab.attacks.target import Account, Target
from mqttsecure.wire.constants import MQTT_3_1_1, MQTT_5_0
from tests.support.config import ALICE_PASSWORD, BOB_PASSWORD, BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections


class SelectTests(SynchronousTestCase):
    """Someone names attacks."""

    def test_rows_and_groups(self) -> None:
        """In the order of the table, each once."""
        self.assertEqual([each.row for each in select(["mitm", "a9", "A9"])], ["A9", *GROUPS["mitm"]])
        self.assertEqual(len(select([])), len(ATTACKS))
        self.assertEqual(len({each.row for each in ATTACKS}), len(ATTACKS))

    def test_names_that_are_none(self) -> None:
        """With what was meant."""
        with self.assertRaisesRegex(LabError, "there is no attack 'mitn'; did you mean mitm?"):
            select(["mitn"])
        with self.assertRaisesRegex(LabError, "groups: all, quick"):
            select(["xyzzy"])


class OurBrokerTests(AttackCase):
    """A broker with users and topic rules, else as it comes."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        return allow_many_connections(write_config(directory))

    listeners = 1

    def target(self, version: int) -> Target:
        return Target(
            host="127.0.0.1",
            port=self.broker.ports["tls"],
            tls=True,
            server_name="localhost",
            ca_file=str(self.files.ca),
            writer=Account("alice", ALICE_PASSWORD),
            reader=Account("bob", BOB_PASSWORD),
            version=version,
            patience=120,  # a busy machine takes its time to close
        )

    def test_it_resists(self) -> None:
        """Rights, sessions, sizes, frames and TLS, in both versions."""
        both = [*GROUPS["rights"], "A22", "A23"]
        for version, rows in (
            (MQTT_5_0, [*both, "A20", "A21", "A26", *GROUPS["tls"]]),
            (MQTT_3_1_1, both),
        ):
            results = list(run_attacks(self.target(version), select(rows)))
            bad = [each for each in results if each.outcome in (Outcome.SUCCEEDED, Outcome.UNCLEAR)]
            self.assertEqual(bad, [])
            self.assertEqual(len(results), len(rows))

    def test_users_that_are_not_let_in(self) -> None:
        """Then nothing could be told, and that is told."""
        target = Target("127.0.0.1", self.broker.ports["tls"], True, "localhost", str(self.files.ca),
                        Account("alice", "wrong"), Account("bob", BOB_PASSWORD))  # fmt: skip
        with self.assertRaisesRegex(LabError, "alice was not let in: code 0x86.*nothing can be told"):
            list(run_attacks(target, select(["A1"])))


class Naive:
    """A broker that takes everybody, acknowledges everything, and gives every message to everyone."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listening.close()
        for each in self.clients:
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                self.clients.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            stream = client.makefile("rb")
            while head := stream.read(1):
                length, shift = 0, 0
                while True:
                    byte = stream.read(1)[0]
                    length |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                self._answer(client, head[0], stream.read(length))

    def _answer(self, client: socket.socket, first: int, body: bytes) -> None:
        match first >> 4:
            case 1:
                client.sendall(b"\x20\x02\x00\x00")
            case 3:
                size = int.from_bytes(body[:2], "big")
                identifier = body[2 + size : 4 + size] if first & 6 else b""
                payload = body[2 + size + len(identifier) :]
                message = body[: 2 + size] + payload
                for each in self.clients:
                    with contextlib.suppress(OSError):
                        each.sendall(b"\x30" + bytes((len(message),)) + message)
                if identifier:
                    client.sendall(b"\x40\x02" + identifier)
            case 8:
                client.sendall(b"\x90\x03" + body[:2] + b"\x00")
            case 12:
                client.sendall(b"\xd0\x00")


class NaiveBrokerTests(SynchronousTestCase):
    """What must be seen is seen: the same attacks on a broker that resists nothing."""

    def test_it_is_told(self) -> None:
        """Each row has succeeded that can on such a broker."""
        naive = Naive()
        self.addCleanup(naive.close)
        target = Target("127.0.0.1", naive.port, False, "x", None, Account("alice", "a"), Account("bob", "b"),
                        version=MQTT_3_1_1, patience=2)  # fmt: skip
        rows = ["A0", "A1", "A2", "A3", "A4", "A5", "A11", "A12", "A22"]
        results = {each.row: each for each in run_attacks(target, select(rows))}
        self.assertEqual({row for row in rows if results[row].outcome is not Outcome.SUCCEEDED}, set())
        self.assertEqual(Result.read(results["A1"].as_json()), results["A1"])
