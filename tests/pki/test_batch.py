# -*- test-case-name: tests.pki.test_batch -*-
"""Certificates by the thousand."""

from __future__ import annotations

import os
from pathlib import Path

from mqttsecure.pki import batch
from mqttsecure.pki.batch import issue_all, read_devices
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.index import Index
from mqttsecure.pki.keys import read_key
from mqttsecure.pki.loading import read_certificates
from mqttsecure.pki.names import name_text, names_of
from mqttsecure.pki.profiles import Purpose, purpose_of
from tests.pki.case import PkiCase
from tests.support.openssl import openssl


class FileTests(PkiCase):
    """Someone lists devices."""

    def devices(self, text: str) -> Path:
        return self.write("devices.txt", text.encode())

    def test_lines(self) -> None:
        """A name, and names after it; comments and empty lines are passed over."""
        found = read_devices(self.devices("# pumps\npump-1\n\npump-2 URI:urn:device:2 pump-2.plant.test\n"))
        self.assertEqual([device.name for device in found], ["pump-1", "pump-2"])
        self.assertEqual(list(map(name_text, found[1].names)), ["URI:urn:device:2", "DNS:pump-2.plant.test"])

    def test_all_mistakes_at_once_with_their_lines(self) -> None:
        """Before anything is made."""
        with self.assertRaises(CertificateProblem) as caught:
            read_devices(self.devices("a\na\nb IP:x\n" + "c" * 65 + "\n" + "d" * 5000 + "\n"))
        lines = str(caught.exception).splitlines()
        for number, reason in (
            (2, "'a' is there twice"),
            (3, "no IP address"),
            (4, "longer than 64"),
            (5, "longer than 4096"),
        ):
            self.assertTrue(any(f"devices.txt:{number}: " in line and reason in line for line in lines), lines)

    def test_files_that_are_none(self) -> None:
        """Empty, no text, too many."""
        for content, reason in ((b"# nothing\n", "names no device"), (b"\xff\xfe\n", "not text in UTF-8")):
            with self.assertRaisesRegex(CertificateProblem, reason):
                read_devices(self.write("devices.txt", content))
        self.patch(batch, "MAXIMUM_DEVICES", 2)
        with self.assertRaisesRegex(CertificateProblem, "names 3 devices; 2 fit, split the file"):
            read_devices(self.devices("a\nb\nc\n"))


class BatchTests(PkiCase):
    """They are issued, and the work is stopped and taken up again."""

    def setUp(self) -> None:
        super().setUp()
        self.ca = self.make_ca()
        self.out = self.folder / "out"
        self.out.mkdir()

    def run_batch(self, count: int, groups: tuple[str, ...] = ()) -> list[bool]:
        devices = [batch.Device(f"pump-{number}") for number in range(count)]
        with self.open(self.ca) as authority:
            return [new for _, new in issue_all(authority, devices, self.out, self.now, groups=groups)]

    def check(self, count: int) -> None:
        """Each has a key and the certificate of that key, which is in the index."""
        expected = sorted(f"pump-{number}.{end}" for number in range(count) for end in ("key", "pem"))
        self.assertEqual(sorted(os.listdir(self.out)), expected)
        with Index(self.ca / "index.jsonl").open() as index:
            for number in range(count):
                (certificate,) = read_certificates(self.out / f"pump-{number}.pem")
                key = read_key((self.out / f"pump-{number}.key").read_bytes(), "key")
                self.assertEqual(key.public_key(), certificate.public_key())
                self.assertEqual(index.entries[certificate.serial_number].certificate, certificate)
                self.assertIs(purpose_of(certificate), Purpose.CLIENT)
                self.assertEqual(names_of(certificate), [])

    def test_all_are_made_and_the_second_run_makes_none(self) -> None:
        """What is finished is not touched again."""
        self.assertEqual(self.run_batch(20, ("sensors",)), [True] * 20)
        before = {path.name: path.read_bytes() for path in self.out.iterdir()}
        self.assertEqual(self.run_batch(20, ("sensors",)), [False] * 20)
        self.assertEqual({path.name: path.read_bytes() for path in self.out.iterdir()}, before)
        openssl("verify", "-CAfile", self.ca / "ca.pem", "-purpose", "sslclient", *sorted(self.out.glob("*.pem")))
        self.check(20)

    def test_nothing_is_lost_wherever_it_is_stopped(self) -> None:
        """Ctrl-C at every single call into the system of three devices: the next run completes them, and none is noted
        twice."""
        stopped = True
        stop_at = 0
        while stopped:
            stopped = self.run_stopped_at(stop_at)
            self.assertEqual(len([name for name in os.listdir(self.out) if name.startswith(".")]), 0)
            self.run_batch(3)
            self.check(3)
            with Index(self.ca / "index.jsonl").open() as index:
                self.assertEqual(len(index.entries), 3, f"stopped at call {stop_at}")
            for path in self.out.iterdir():
                path.unlink()
            (self.ca / "index.jsonl").write_bytes(b"")
            stop_at += 1
        self.assertGreater(stop_at, 20)

    def run_stopped_at(self, stop_at: int) -> bool:
        """Whether it was stopped before it came to its end."""
        count = 0
        patches = []
        for name in ("open", "fchmod", "fsync", "link", "write", "dup"):
            real = getattr(os, name)

            def counted(*args: object, real: object = real, **options: object) -> object:
                nonlocal count
                count += 1
                if count == stop_at + 1:
                    raise KeyboardInterrupt
                return real(*args, **options)  # type: ignore[operator]

            patches.append(self.patch(os, name, counted))
        try:
            self.run_batch(3)
        except KeyboardInterrupt:
            return True
        finally:
            for each in patches:
                each.restore()
        return False

    def test_a_lost_key_is_told(self) -> None:
        """A certificate without a key is of no use, and not made up for silently."""
        self.run_batch(1)
        (self.out / "pump-0.key").unlink()
        with self.assertRaisesRegex(CertificateProblem, "pump-0.key is missing, while .*pump-0.pem is there"):
            self.run_batch(1)

    def test_files_of_another_ca_are_not_taken_for_ours(self) -> None:
        """Another folder, or another CA's folder, was meant."""
        self.run_batch(1)
        self.ca = self.make_ca("other")
        with self.assertRaisesRegex(CertificateProblem, "was not issued by other CA"):
            self.run_batch(1)
