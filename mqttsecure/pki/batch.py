# -*- test-case-name: tests.pki.test_batch -*-
"""Client certificates by the thousand: one after the other, each whole or not at all, and resumed where it ended.

For each device the key is on the disk first, then the note in the index (with the certificate in it), then the
certificate. Whatever ends it in between, the next run finds what is there and goes on from it; a finished device is not
touched again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from mqttsecure.pki.authority import Authority
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.files import PRIVATE, NewFile, read_bytes, write_new
from mqttsecure.pki.keys import DEFAULT_KIND, PrivateKey, key_pem, new_key, read_key
from mqttsecure.pki.loading import read_certificates
from mqttsecure.pki.names import check_common_name, file_stem, parse_names, subject
from mqttsecure.pki.profiles import Purpose, Wanted

__all__ = ["MAXIMUM_DEVICES", "Device", "issue_all", "read_devices"]

MAXIMUM_DEVICES: Final = 100_000
"""In one file; more are more than one index should hold."""

_LONGEST_LINE: Final = 4096
_COMMENT: Final = re.compile(r"\s*(#.*)?")


@dataclass(slots=True, frozen=True)
class Device:
    """One line: its name, and the alternative names after it."""

    name: str
    names: tuple[x509.GeneralName, ...] = ()


def read_devices(path: Path) -> list[Device]:
    """The devices of a file, a line for each: ``NAME``, and after it, with spaces between, names such as
    ``URI:urn:device:7``.

    Raises:
        CertificateProblem: with every line that cannot be used.
    """
    try:
        lines = read_bytes(path).decode().splitlines()
    except UnicodeDecodeError:
        raise CertificateProblem(f"{path} is not text in UTF-8; save it as that") from None
    devices: dict[str, Device] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if _COMMENT.fullmatch(line):
            continue
        try:
            device = _read_line(line)
            if device.name in devices:
                raise CertificateProblem(f"{device.name!r} is there twice; remove one")
            devices[device.name] = device
        except CertificateProblem as error:
            problems.append(f"{path}:{number}: {error}")
    if problems:
        raise CertificateProblem("\n".join(problems[:100]))
    if not devices:
        raise CertificateProblem(f"{path} names no device; write one name on each line")
    if len(devices) > MAXIMUM_DEVICES:
        raise CertificateProblem(f"{path} names {len(devices)} devices; {MAXIMUM_DEVICES} fit, split the file")
    return list(devices.values())


def _read_line(line: str) -> Device:
    if len(line) > _LONGEST_LINE:
        raise CertificateProblem(f"this line is longer than {_LONGEST_LINE} characters; is it the right file?")
    name, *names = line.split()
    return Device(check_common_name(name), tuple(parse_names(names)))


def issue_all(
    authority: Authority,
    devices: Sequence[Device],
    folder: Path,
    now: datetime,
    *,
    groups: Sequence[str] = (),
    kind: str = DEFAULT_KIND,
    lifetime: timedelta | None = None,
) -> Iterator[tuple[Device, bool]]:
    """Issue one certificate after the other; yields each device, and whether something had to be made.

    Raises:
        CertificateProblem: one cannot be issued; those before it are finished.
    """
    for device in devices:
        wanted = Wanted(subject(device.name, groups), Purpose.CLIENT, device.names, lifetime)
        yield device, _issue_one(authority, device, folder, now, wanted, kind)


def _issue_one(authority: Authority, device: Device, folder: Path, now: datetime, wanted: Wanted, kind: str) -> bool:
    stem = file_stem(device.name)
    key_file, certificate_file = folder / f"{stem}.key", folder / f"{stem}.pem"
    if certificate_file.exists():
        _check_finished(authority, device, certificate_file, key_file)
        return False
    key = _key_of(key_file, kind)
    noted = _noted_for(authority, device, key, now)
    certificate = authority.issue(wanted, key.public_key(), now) if noted is None else noted
    write_new(NewFile(certificate_file, authority.with_chain(certificate)))
    return True


def _check_finished(authority: Authority, device: Device, certificate_file: Path, key_file: Path) -> None:
    entry = authority.entry_of(read_certificates(certificate_file)[0], str(certificate_file))
    if entry.name != device.name:
        raise CertificateProblem(
            f"{certificate_file} is {entry.name!r}'s, not {device.name!r}'s; name another --out folder"
        )
    if not key_file.exists():
        raise CertificateProblem(
            f"{key_file} is missing, while {certificate_file} is there; put it back, or remove the certificate to have "
            "both made anew"
        )


def _key_of(file: Path, kind: str) -> PrivateKey:
    """The key that a run before this one left, or a new one."""
    if file.exists():
        return read_key(read_bytes(file), str(file))
    key = new_key(kind)
    write_new(NewFile(file, key_pem(key), PRIVATE))
    return key


def _noted_for(authority: Authority, device: Device, key: PrivateKey, now: datetime) -> x509.Certificate | None:
    """The certificate of this key that was noted, but never written."""
    for entry in authority.index.with_name(device.name):
        if entry.is_live(now) and entry.certificate.public_key() == key.public_key():
            return entry.certificate
    return None
