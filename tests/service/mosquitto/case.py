"""What the tests of the import share: mosquitto's files in a folder."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.service.mosquitto.importing import Imported, import_mosquitto
from mqttsecure.service.mosquitto.notes import Notes

__all__ = ["ALICE", "ImportCase"]

ALICE = "alice:$7$101$VE22KWZNgFVJiAuV$" + "A" * 86 + "=="
"""A line of a password file, of no password."""


class ImportCase(SynchronousTestCase):
    """Writes files and reads notes."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.notes = Notes()

    def file(self, name: str, *lines: str) -> Path:
        """Write a file of these lines; in them {folder} is where it is."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines).replace("{folder}", str(self.folder)))
        return path

    def imported(self, *lines: str) -> Imported:
        """What becomes of a mosquitto.conf of these lines."""
        return import_mosquitto(self.file("mosquitto.conf", *lines))

    def told(self, notes: Notes | Imported | None = None) -> list[str]:
        """The notes without the folder."""
        found = (notes or self.notes).all() if not isinstance(notes, Imported) else notes.notes
        return [str(note).replace(f"{self.folder}/", "") for note in found]

    def assert_told(self, start: str, *words: str, notes: Notes | Imported | None = None) -> None:
        """One note begins so and has these words in it."""
        mine = [note for note in self.told(notes) if note.startswith(start)]
        self.assertTrue(any(all(word in note for word in words) for note in mine), f"{start}: {self.told(notes)}")

    def problems(self, *lines: str) -> str:
        """Why such a mosquitto.conf cannot be imported."""
        with self.assertRaises(ConfigError) as caught:
            self.imported(*lines)
        return "\n".join(caught.exception.problems).replace(f"{self.folder}/", "")
