# -*- test-case-name: tests.pki.test_index -*-
"""What a CA remembers."""

from __future__ import annotations

import json
import stat
import threading

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.index import Index, serial_text
from mqttsecure.pki.profiles import Purpose
from tests.pki.case import PkiCase


class IndexTests(PkiCase):
    """Certificates are noted, and the notes survive."""

    def test_notes_are_read_again(self) -> None:
        """Names, purpose, end, the certificate itself, and what became of it."""
        ca = self.make_ca()
        made = self.issue(ca, Purpose.SERVER, "broker", "broker.test", "10.0.0.1")
        with self.open(ca) as authority:
            authority.revoke(authority.find("broker", self.now), "superseded", self.now)
        with Index(ca / "index.jsonl").open() as index:
            entry = index.entries[made.serial_number]
            self.assertEqual((entry.name, entry.purpose), ("broker", "server"))
            self.assertEqual(entry.names, ("DNS:broker.test", "IP:10.0.0.1"))
            self.assertEqual(entry.certificate, made)
            self.assertEqual((entry.revoked, entry.reason), (self.now, "superseded"))
            self.assertEqual(index.crl_number, 1)

    def test_half_a_line_is_cut_off(self) -> None:
        """A crash in the middle of a note: it was never acted upon, and the next note stands on its own line."""
        ca = self.make_ca()
        first = self.issue(ca, Purpose.CLIENT, "a")
        file = ca / "index.jsonl"
        whole = file.read_bytes()
        for cut in (1, 20, 200):
            file.write_bytes(whole + whole.splitlines(keepends=True)[-1][:cut])
            self.issue(ca, Purpose.CLIENT, f"b{cut}")
            with Index(file).open() as index:
                self.assertIn(first.serial_number, index.entries)
                self.assertEqual(len(index.entries), 2)
            file.write_bytes(whole)

    def test_a_damaged_line_is_told_and_nothing_is_issued(self) -> None:
        """With the line; a CA that forgot half of what it issued must not go on as if nothing were."""
        ca = self.make_ca()
        self.issue(ca, Purpose.CLIENT, "a")
        file = ca / "index.jsonl"
        for line in (b"nonsense\n", b"[]\n", b'{"event": "other"}\n', b'{"event": "revoked", "serial": "ff"}\n'):
            whole = file.read_bytes()
            file.write_bytes(whole + line)
            with self.assertRaisesRegex(CertificateProblem, r"index.jsonl:3: this line is damaged .*from a copy"):
                self.issue(ca, Purpose.CLIENT, "b")
            file.write_bytes(whole)

    def test_nobody_else_reads_it(self) -> None:
        """It says who has which certificate."""
        self.assertEqual(stat.S_IMODE((self.make_ca() / "index.jsonl").stat().st_mode), 0o600)

    def test_two_at_once_wait_for_each_other(self) -> None:
        """Neither loses the other's notes."""
        ca = self.make_ca()

        def issue(number: int) -> None:
            for each in range(5):
                self.issue(ca, Purpose.CLIENT, f"c{number}-{each}")

        threads = [threading.Thread(target=issue, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        with Index(ca / "index.jsonl").open() as index:
            self.assertEqual(len(index.entries), 20)

    def test_lines_are_json(self) -> None:
        """For other programs to read."""
        ca = self.make_ca()
        made = self.issue(ca, Purpose.CLIENT, "a")
        last = json.loads((ca / "index.jsonl").read_text().splitlines()[-1])
        self.assertEqual((last["event"], last["serial"]), ("issued", serial_text(made.serial_number)))

    def test_no_index_where_none_is_made(self) -> None:
        """Looking makes no file."""
        with (
            self.assertRaisesRegex(CertificateProblem, "cannot be opened"),
            Index(self.folder / "x").open(create=False),
        ):
            pass
        self.assertFalse((self.folder / "x").exists())
