"""Tests for mqttsecure.cli.store, store_copies and store_owners."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.core.decisions import ConnectionFacts, Peer, Principal, Writer
from mqttsecure.core.records import Batch, RetainedRow, WriterRow
from mqttsecure.core.stored_json import (
    facts_from_json,
    facts_to_json,
    will_from_json,
    will_to_json,
    writer_from_json,
    writer_to_json,
)
from mqttsecure.store.contract import entry, message, session, subscription
from mqttsecure.store.database import Database
from mqttsecure.wire.packets import Will
from tests.store.rows import dump, opened
from tests.support.config import write_config

_ALICE = Principal("lab", "alice")
_BOB = Principal("lab", "bob")


def _facts(principal: Principal) -> ConnectionFacts:
    return ConnectionFacts(connection_id=1, listener="tls", peer=Peer(None, 0, None), principal=principal)


class StoreCase(SynchronousTestCase):
    """A store with a session, a will and a retained message of alice, whose messages bob has queued."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True, mode=0o700)
        self.path = self.folder / "s.db"
        alice, bob = (writer_to_json(Writer(each, "c", frozenset({"g"}))) for each in (_ALICE, _BOB))
        will = will_to_json(Will("t", b"gone", 1, True, {}), Writer(_ALICE), _facts(_ALICE))
        with opened(self.path) as database:
            database.write(
                [
                    Batch(
                        1,
                        writers=[WriterRow(1, alice), WriterRow(2, bob)],
                        messages=[message(1, 2, payload=b"\xff\x00"), message(2, writer=2), message(3, writer=1)],
                        sessions=[
                            session(1, "a", name="alice", facts=facts_to_json(_facts(_ALICE)), will=will),
                            session(2, "b", name="bob", facts=facts_to_json(_facts(_BOB)), left_at=5.0),
                        ],
                        subscriptions=[subscription(1, "x/#"), subscription(2, "ü")],
                        entries=[entry(1, 1, 1), entry(2, 1, 1), entry(1, 2, 2)],
                        incoming=[(1, 9)],
                        retained=[RetainedRow("", "r", 3)],
                    )
                ]
            )

    def run_command(self, *arguments: str, code: int = 0, text: str | None = None) -> Result:
        result = CliRunner().invoke(main, ["store", *arguments], input=text)
        self.assertEqual(result.exit_code, code, result.output)
        return result

    def file(self, path: Path | None = None) -> tuple[str, str]:
        return "--file", str(self.path if path is None else path)

    def ask_json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run_command(*arguments, *self.file(), "--json", code=code).stdout)


class LookTests(StoreCase):
    """Somebody wants to know what is in the store."""

    def test_info(self) -> None:
        """Counts, bytes, and whose it is."""
        found = self.ask_json("info")
        self.assertEqual(found["rows"]["entries"], 3)
        self.assertEqual((found["connected_sessions"], found["wills"], found["schema"]), (1, 1, 1))
        self.assertEqual(
            found["principals"],
            [
                {"principal": "lab:alice", "sessions": 1, "queued": 2, "queued_bytes": 200, "retained": 1},
                {"principal": "lab:bob", "sessions": 1, "queued": 1, "queued_bytes": 100, "retained": 0},
            ],
        )
        self.assertIn("lab:alice", self.run_command("info", *self.file()).stdout)

    def test_by_configuration(self) -> None:
        """The configuration names the file."""
        files = write_config(self.folder, extra=f'[store]\nfile = "{self.path}"\n')
        self.assertIn(str(self.path), self.run_command("info", "-c", str(files.config)).stdout)
        files = write_config(self.folder, extra='[store]\ndurability = "memory"\n')
        self.assertIn("there is no file", self.run_command("info", "-c", str(files.config), code=1).stderr)

    def test_no_store(self) -> None:
        """A wrong name is told, and no file is made of it."""
        missing = self.folder / "missing.db"
        for command in (("info",), ("check",), ("reassign", "a:b", "c:d"), ("release", "a:b", "--yes")):
            self.assertIn("does not exist", self.run_command(*command, *self.file(missing), code=1).stderr)
        self.assertFalse(missing.exists())
        self.assertIn("say which store", self.run_command("info", code=2).stderr)

    def test_check(self) -> None:
        """A sound file, one whose rows do not fit, and a damaged one."""
        self.assertIn("is sound", self.run_command("check", *self.file()).stdout)
        with sqlite3.connect(self.path) as connection:
            connection.execute("UPDATE messages SET refs = 7")
            connection.execute("DELETE FROM sessions WHERE key = 1")
        connection.close()
        found = self.ask_json("check", code=3)
        self.assertEqual(
            found["faults"],
            {
                "subscriptions_without_session": 1,
                "incoming_without_session": 1,
                "entries_without_session": 2,
                "wrong_references": 3,
            },
        )
        with self.path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4096)
        self.assertFalse(self.ask_json("check", code=3)["sound"])
        with self.path.open("r+b") as file:
            file.write(b"\xff" * 4096)
        self.assertFalse(self.ask_json("check", code=3)["sound"])
        self.run_command("info", *self.file(), code=3)

    def test_while_a_broker_writes(self) -> None:
        """What only looks works at a running broker; what changes does not, and says who has the file."""
        with opened(self.path) as database:
            database.write([Batch(2, sessions=[session(9)])])
            self.assertEqual(self.ask_json("info")["rows"]["sessions"], 3)
            self.assertTrue(self.ask_json("check")["sound"])
            self.run_command("backup", str(self.folder / "b"), *self.file())
            self.run_command("export", str(self.folder / "e"), *self.file())
            for command in (("reassign", "lab:alice", "c:d"), ("release", "lab:alice", "--yes"), ("import", __file__)):
                told = self.run_command(*command, *self.file(), code=1).stderr
                self.assertIn(f"in use by process {os.getpid()}", told)
                self.assertIn("broker stopped", told)
            database.write([Batch(3, sessions=[session(10)])])


class CopyTests(StoreCase):
    """Somebody keeps a copy."""

    def rows(self, path: Path) -> Any:
        with opened(path) as database:
            return dump(database)

    def test_backup(self) -> None:
        """The copy has all rows, is private, can be opened, and never replaces a file unasked."""
        target = self.folder / "copy.db"
        self.run_command("backup", str(target), *self.file())
        self.assertEqual(stat.S_IMODE(target.stat().st_mode), 0o600)
        self.assertIn("is sound", self.run_command("check", *self.file(target)).stdout)
        self.assertEqual(self.rows(target), self.rows(self.path))
        self.assertIn("there already", self.run_command("backup", str(target), *self.file(), code=1).stderr)
        self.run_command("backup", "--force", str(target), *self.file())
        nowhere = str(self.folder / "no" / "x")
        self.assertIn("no folder", self.run_command("backup", nowhere, *self.file(), code=1).stderr)

    def test_export_and_import(self) -> None:
        """All rows come back in another file, byte for byte; into a file with rows they do not."""
        lines, other = self.folder / "lines", self.folder / "other.db"
        self.run_command("export", str(lines), *self.file())
        self.assertEqual(stat.S_IMODE(lines.stat().st_mode), 0o600)
        self.assertEqual(
            self.run_command("export", "-", *self.file()).stdout.split("\n", 1)[1], lines.read_text().split("\n", 1)[1]
        )
        self.run_command("import", str(lines), *self.file(other))
        self.assertEqual(self.rows(other), self.rows(self.path))
        told = self.run_command("import", "-", *self.file(), code=1, text=lines.read_text()).stderr
        self.assertIn("not empty", told)

    def test_mistakes_in_what_is_imported(self) -> None:
        """A wrong, missing or foreign line is told with its number, and nothing is taken in."""
        lines = self.run_command("export", "-", *self.file()).stdout.splitlines(keepends=True)
        other = self.folder / "other.db"
        wrong = {
            "": "1: it breaks off",
            "{}\n": "1: this is no export",
            lines[0].replace('"version":1', '"version":2'): "use the release that wrote it",
            "".join(lines[:-1]): f"{len(lines)}: it breaks off",
            "".join([*lines[:2], *lines[3:]]): "rows came where there were",
            "".join([lines[0], "[\n"]): "2: ",
            "".join([lines[0], '{"table":"nothing"}\n']): "2: 'nothing' is missing",
            "".join([lines[0], '{"table":"incoming","session":1}\n']): "2: 'packet_id' is missing",
            "".join([lines[0], '{"table":"incoming","session":1,"packet_id":70000}\n']): "2: it is out of range",
            "".join([lines[0], '{"table":"incoming","session":"1","packet_id":1}\n']): "2: it is of another type",
            "".join([lines[0], '{"table":"incoming","session":5,"packet_id":1}\n{"end":1}\n']): "not there",
            "".join([*lines, "{}\n"]): "nothing may follow",
        }
        for text, told in wrong.items():
            result = self.run_command("import", "-", *self.file(other), code=1, text=text)
            self.assertIn(told, result.stderr)
        self.assertEqual(self.rows(other)["sessions"], [])


class OwnerTests(StoreCase):
    """Certificates change their names, and devices go."""

    def test_reassign(self) -> None:
        """All that was alice's belongs to her new name, wherever it was written."""
        new = Principal("devices", "alice:2")
        told = self.run_command("reassign", "lab:alice", "devices:alice:2", *self.file()).stdout
        self.assertIn("1 sessions (1 with a will, 2 queued messages), 1 retained messages", told)
        with opened(self.path) as database:
            rows = dump(database)
        alice, bob = rows["sessions"]
        self.assertEqual((alice[3], alice[4], bob[4]), ("devices", "alice:2", "bob"))
        self.assertEqual(facts_from_json(alice[7]).principal, new)
        _, writer, facts = will_from_json(alice[8])
        self.assertEqual((writer.principal, facts.principal), (new, new))
        self.assertEqual([writer_from_json(content).principal for _, content in rows["writers"]], [new, _BOB])
        self.assertIn("is sound", self.run_command("check", *self.file()).stdout)
        self.assertIn("nothing belongs", self.run_command("reassign", "lab:alice", "x:y", *self.file(), code=1).stderr)
        self.assertIn("no principal", self.run_command("reassign", "alice", "x:y", *self.file(), code=2).stderr)

    def test_release(self) -> None:
        """What is alice's goes once I say yes; what others queue of hers stays."""
        result = self.run_command("release", "lab:alice", *self.file(), code=1, text="n\n")
        self.assertIn("Drop 1 sessions", result.stderr)
        self.assertEqual(self.ask_json("release", "lab:alice", "--yes")["retained"], 1)
        with opened(self.path) as database:
            while database.is_untidy:
                database.tidy()
            rows = dump(database)
        self.assertEqual([row[4] for row in rows["sessions"]], ["bob"])
        self.assertEqual([row[0] for row in rows["messages"]], [1])
        self.assertEqual(rows["retained"], [])
        self.assertIn("is sound", self.run_command("check", *self.file()).stdout)
        self.assertEqual(Database(self.path).losses, [])
