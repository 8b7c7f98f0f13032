# -*- test-case-name: tests.pki.test_bad -*-
"""The six bad certificates, against real clients."""

from __future__ import annotations

import stat

from mqttsecure.pki.bad import BAD, make_bad, throwaway_ca
from mqttsecure.pki.errors import CertificateProblem, FileIsThere
from mqttsecure.pki.loading import load
from tests.pki.case import PkiCase


class BadTests(PkiCase):
    """A lesson is prepared."""

    def test_files(self) -> None:
        """Each with its key, which fits; the README names them all."""
        folder = self.folder / "bad"
        made = make_bad(folder, ["localhost"], throwaway_ca(self.now), self.now)
        text = (folder / "README.md").read_text()
        for path, certificate in made:
            (key,) = load(path.with_suffix(".key"))
            self.assertEqual(key.public_key(), certificate.public_key())  # type: ignore[union-attr]
            self.assertEqual(stat.S_IMODE(path.with_suffix(".key").stat().st_mode), 0o600)
            self.assertIn(f"`{path.name}`", text)
        self.assertEqual([each.row for each in BAD], ["B1", "B2", "B3", "B4", "B5", "B6"])
        self.assertEqual(len(list(folder.iterdir())), 7 * 2 + 2)

    def test_nothing_is_overwritten(self) -> None:
        """A second lesson needs a second folder, or force."""
        folder = self.folder / "bad"
        ca = throwaway_ca(self.now)
        make_bad(folder, ["localhost"], ca, self.now)
        self.assertRaises(FileIsThere, make_bad, folder, ["localhost"], ca, self.now)
        make_bad(folder, ["localhost"], ca, self.now, force=True)

    def test_a_host_that_is_none(self) -> None:
        """Before anything is made."""
        with self.assertRaises(CertificateProblem):
            make_bad(self.folder / "bad", ["a b"], throwaway_ca(self.now), self.now)
        self.assertFalse((self.folder / "bad").exists())
