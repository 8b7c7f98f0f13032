"""Tests for mqttsecure.service.audit_reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.service.audit_reading import AuditReader


def line(topic: str, **more: Any) -> bytes:
    return json.dumps({"v": 1, "time": "2026-11-23T00:00:00.000Z", "topic": topic, **more}).encode() + b"\n"


class ReadingTests(SynchronousTestCase):
    """An administrator looks into the audit log, whatever state it is in."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "audit.jsonl"

    def topics(self, reader: AuditReader, containing: str = "") -> list[str]:
        return [str(each["topic"]) for each in reader.records(containing)]

    def test_files_put_aside(self) -> None:
        """The oldest comes first, and a file that was put aside twice by name is read once."""
        self.path.write_bytes(line("three"))
        (self.folder / "audit.jsonl.1").write_bytes(line("two"))
        (self.folder / "audit.jsonl.2").write_bytes(line("one", time="2026-11-22T00:00:00.000Z"))
        (self.folder / "audit.jsonl.3").hardlink_to(self.path)
        reader = AuditReader(self.path)
        self.assertEqual(self.topics(reader), ["one", "two", "three"])
        self.assertEqual((reader.read, reader.since), (3, "2026-11-22T00:00:00.000Z"))

    def test_damage(self) -> None:
        """Half a record, another version, and what is no text at all are passed over and counted."""
        self.path.write_bytes(line("a")[:20] + b"\n" + b'{"v": 2}\n[]\n\xff\n' + b"[" * 100_000 + b"\n" + line("b"))
        reader = AuditReader(self.path)
        self.assertEqual(self.topics(reader), ["b"])
        self.assertEqual(reader.unreadable, 5)

    def test_line_without_end(self) -> None:
        """A file that is no audit log is read in pieces, and not into memory as a whole."""
        self.path.write_bytes(b"x" * (3 * 1024 * 1024))
        reader = AuditReader(self.path)
        self.assertEqual((self.topics(reader), reader.unreadable), ([], 3))

    def test_containing(self) -> None:
        """What is looked for is found, also where JSON writes it in another way."""
        self.path.write_bytes(line("other") + line("ünï"))
        reader = AuditReader(self.path)
        self.assertEqual(self.topics(reader, "ünï"), ["ünï"])
        self.assertEqual(reader.read, 2)

    def test_nothing_there(self) -> None:
        """Neither file nor those put aside; a folder in its place."""
        self.assertIn("there is no audit log", str(self.assertRaises(ConfigError, self.topics, AuditReader(self.path))))
        self.path.mkdir()
        self.assertIn("cannot be read", str(self.assertRaises(ConfigError, self.topics, AuditReader(self.path))))
