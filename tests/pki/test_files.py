# -*- test-case-name: tests.pki.test_files -*-
"""New files."""

from __future__ import annotations

import errno
import os
import stat

from mqttsecure.pki import files
from mqttsecure.pki.errors import CertificateProblem, FileIsThere
from mqttsecure.pki.files import PRIVATE, NewFile, check_absent, make_folder, read_bytes, write_new
from tests.pki.case import PkiCase


class WriteTests(PkiCase):
    """Keys and certificates are put on the disk."""

    def test_mode_holds_from_the_start_whatever_the_umask(self) -> None:
        """A key is never readable by others, not even for a moment; a certificate is."""
        seen: list[int] = []
        fdopen = os.fdopen

        def watch(descriptor: int, *args: object, **options: object) -> object:
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
            return fdopen(descriptor, *args, **options)  # type: ignore[call-overload]

        for umask in (0o000, 0o077):
            self.patch(os, "fdopen", watch)
            old = os.umask(umask)
            try:
                key = write_new(NewFile(self.folder / f"{umask}.key", b"key", PRIVATE))
                pem = write_new(NewFile(self.folder / f"{umask}.pem", b"pem"))
            finally:
                os.umask(old)
            self.assertEqual(stat.S_IMODE(key.stat().st_mode), 0o600)
            self.assertEqual(stat.S_IMODE(pem.stat().st_mode), 0o644)
        self.assertTrue(all(mode & 0o077 == 0 for mode in seen), seen)

    def test_nothing_is_overwritten(self) -> None:
        """Neither a file nor a link; the mend is told."""
        file = self.folder / "a.key"
        file.write_bytes(b"old")
        link = self.folder / "b.key"
        link.symlink_to(self.folder / "target")
        for path in (file, link):
            with self.assertRaisesRegex(FileIsThere, "is there already, and is kept; .*--force"):
                write_new(NewFile(path, b"new", PRIVATE))
            with self.assertRaises(FileIsThere):
                check_absent([path])
        self.assertEqual(file.read_bytes(), b"old")
        self.assertFalse((self.folder / "target").exists())

    def test_force_replaces_as_a_whole(self) -> None:
        """A link is replaced, not followed."""
        link = self.folder / "b.key"
        target = self.folder / "target"
        target.write_bytes(b"kept")
        link.symlink_to(target)
        write_new(NewFile(link, b"new", PRIVATE), force=True)
        self.assertEqual((link.read_bytes(), target.read_bytes()), (b"new", b"kept"))

    def test_an_end_in_between_leaves_nothing(self) -> None:
        """Ctrl-C at any call into the system: no half file, nothing beside it."""
        for name in ("fsync", "link", "fchmod"):

            def stop(*args: object, **options: object) -> None:
                raise KeyboardInterrupt

            patched = self.patch(files.os, name, stop)
            with self.assertRaises(KeyboardInterrupt):
                write_new(NewFile(self.folder / "a.key", b"new", PRIVATE))
            patched.restore()
            self.assertEqual(os.listdir(self.folder), [], name)

    def test_without_hard_links(self) -> None:
        """A memory card has none; the file is made all the same, and never over an old one."""

        def refuse(*args: object, **options: object) -> None:
            raise OSError(errno.EPERM, "no links here")

        self.patch(files.os, "link", refuse)
        write_new(NewFile(self.folder / "a.key", b"one", PRIVATE))
        with self.assertRaises(FileIsThere):
            write_new(NewFile(self.folder / "a.key", b"two", PRIVATE))
        self.assertEqual((self.folder / "a.key").read_bytes(), b"one")

    def test_folders_that_cannot_be(self) -> None:
        """In plain words."""
        (self.folder / "file").write_bytes(b"x")
        with self.assertRaisesRegex(CertificateProblem, "file is no folder; name another"):
            make_folder(self.folder / "file")
        with self.assertRaisesRegex(CertificateProblem, "cannot be written: No such file"):
            write_new(NewFile(self.folder / "missing" / "a.key", b"x"))


class ReadTests(PkiCase):
    """Files that someone names."""

    def test_what_cannot_be_read(self) -> None:
        """Each with its reason."""
        (self.folder / "empty").touch()
        os.mkfifo(self.folder / "fifo")
        for name, text in (
            ("missing", "does not exist; mend the name"),
            ("empty", "is empty"),
            ("fifo", "is not a regular file"),
            ("", "is a folder"),
        ):
            with self.assertRaisesRegex(CertificateProblem, text):
                read_bytes(self.folder / name)

    def test_too_large(self) -> None:
        """A disk image is not read into memory."""
        file = self.write("large", b"x" * 11)
        with self.assertRaisesRegex(CertificateProblem, "larger than 10 bytes"):
            read_bytes(file, 10)
