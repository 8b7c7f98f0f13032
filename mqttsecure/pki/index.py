# -*- test-case-name: tests.pki.test_index -*-
"""All that a CA ever issued and revoked: one file of JSON lines that only grows.

A certificate is noted, and the note is on the disk, before it is handed out: none exists that could not be revoked. The
note holds the certificate itself, so after a crash in between nothing is lost either. What a crash leaves of a last
line was never acted upon, and is cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.files import PRIVATE
from mqttsecure.pki.names import common_name, name_text, names_of

__all__ = ["Entry", "Index", "serial_text"]

MAXIMUM_BYTES: Final = 1024 * 1024 * 1024
"""Of the file: some hundred thousand certificates; it is read whole."""


def serial_text(serial: int) -> str:
    """As OpenSSL prints it: hexadecimal, in pairs of digits."""
    text = f"{serial:x}"
    return text if len(text) % 2 == 0 else f"0{text}"


@dataclass(slots=True)
class Entry:
    """One certificate that was issued. ``revoked`` and ``reason`` are None for one that was not revoked."""

    serial: int
    name: str
    names: tuple[str, ...]
    purpose: str
    ends: datetime
    pem: str
    revoked: datetime | None = None
    reason: str | None = None

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.pem.encode())

    def is_live(self, now: datetime) -> bool:
        return self.revoked is None and now < self.ends


class Index:
    """The index of one CA, read when it is opened.

    Attributes:
        entries: by serial number, in the order of issue.
        crl_number: of the last revocation list; 0 before the first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[int, Entry] = {}
        self.crl_number = 0
        self._descriptor: int | None = None

    @contextmanager
    def open(self, *, create: bool = True) -> Iterator[Index]:
        """Read it and keep it for this process alone until it is closed; others wait.

        Raises:
            CertificateProblem: it cannot be read, or is damaged; without ``create``: is not there.
        """
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        try:
            descriptor = os.open(self.path, flags, PRIVATE)
        except OSError as error:
            raise CertificateProblem(
                f"{self.path} cannot be opened: {error.strerror}; mend its owner or mode"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._read(descriptor)
            self._descriptor = descriptor
            yield self
        finally:
            self._descriptor = None
            os.close(descriptor)

    def _read(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if size > MAXIMUM_BYTES:
            raise CertificateProblem(f"{self.path} is larger than {MAXIMUM_BYTES} bytes; is it the right file?")
        with os.fdopen(os.dup(descriptor), "rb") as stream:
            stream.seek(0)
            content = stream.read()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            os.ftruncate(descriptor, whole)
        self.entries, self.crl_number = {}, 0
        for number, line in enumerate(content[:whole].splitlines(), 1):
            self._take(line, number)
        os.lseek(descriptor, 0, os.SEEK_END)

    def _take(self, line: bytes, number: int) -> None:
        try:
            event = json.loads(line)
            _HANDLERS[event["event"]](self, event)
        except (ValueError, KeyError, TypeError) as error:
            raise CertificateProblem(
                f"{self.path}:{number}: this line is damaged ({error!r}); put the file back from a copy: without it "
                "nothing can be revoked"
            ) from None

    def _issued(self, event: dict[str, Any]) -> None:
        serial = int(event["serial"], 16)
        names = tuple(map(str, event["names"]))
        ends = datetime.fromisoformat(event["ends"])
        self.entries[serial] = Entry(serial, event["name"], names, event["purpose"], ends, event["certificate"])

    def _revoked(self, event: dict[str, Any]) -> None:
        entry = self.entries[int(event["serial"], 16)]
        entry.revoked, entry.reason = datetime.fromisoformat(event["at"]), str(event["reason"])

    def _crl(self, event: dict[str, Any]) -> None:
        self.crl_number = int(event["number"])

    def note_issued(self, certificate: x509.Certificate, purpose: str, now: datetime) -> Entry:
        """Note a certificate that is about to be handed out."""
        if certificate.serial_number in self.entries:
            raise CertificateProblem("a serial number came twice; is the random number generator broken?")
        event = {
            "event": "issued",
            "at": _moment(now),
            "serial": serial_text(certificate.serial_number),
            "name": common_name(certificate.subject) or "",
            "names": list(map(name_text, names_of(certificate))),
            "purpose": purpose,
            "ends": _moment(certificate.not_valid_after_utc),
            "sha256": certificate.fingerprint(SHA256()).hex(),
            "certificate": certificate.public_bytes(Encoding.PEM).decode(),
        }
        self._append(event)
        self._issued(event)
        return self.entries[certificate.serial_number]

    def note_revoked(self, serial: int, reason: str, now: datetime) -> None:
        """Note that a certificate of this index is revoked."""
        event = {"event": "revoked", "at": _moment(now), "serial": serial_text(serial), "reason": reason}
        self._append(event)
        self._revoked(event)

    def note_crl(self, number: int, ends: datetime, now: datetime) -> None:
        """Note that a revocation list is about to be written."""
        event = {"event": "crl", "at": _moment(now), "number": number, "ends": _moment(ends)}
        self._append(event)
        self._crl(event)

    def _append(self, event: dict[str, Any]) -> None:
        if self._descriptor is None:
            raise RuntimeError("the index is not open")
        line = json.dumps(event, ensure_ascii=False).encode() + b"\n"
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):
                raise OSError(0, "the disk is full")
            os.fsync(self._descriptor)
        except OSError as error:
            raise CertificateProblem(f"{self.path} cannot be written: {error.strerror}; nothing was issued") from error

    def with_name(self, name: str) -> list[Entry]:
        """What was issued for this common name, the newest last."""
        return [entry for entry in self.entries.values() if entry.name == name]

    def revoked(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.revoked is not None]


_HANDLERS: Final[dict[str, Callable[[Index, dict[str, Any]], None]]] = {
    "issued": Index._issued,
    "revoked": Index._revoked,
    "crl": Index._crl,
}


def _moment(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds")
