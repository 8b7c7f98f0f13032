"""A folder, a time, and a CA for each test."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.pki.authority import Authority, open_authority
from mqttsecure.pki.creating import create_root
from mqttsecure.pki.files import PRIVATE, NewFile, write_new
from mqttsecure.pki.keys import PrivateKey, key_pem, new_key
from mqttsecure.pki.names import parse_names, subject
from mqttsecure.pki.profiles import Purpose, Wanted

__all__ = ["PkiCase"]


class PkiCase(SynchronousTestCase):
    """``self.folder`` is empty; times are round, so that OpenSSL's clock and ours mean the same."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.now = datetime.now(UTC).replace(microsecond=0)

    def make_ca(self, name: str = "ca", *, path_length: int = 0, **options: object) -> Path:
        """The folder of a new root without a passphrase."""
        folder = self.folder / name
        constraints = options.pop("constraints", None)
        assert constraints is None or isinstance(constraints, x509.NameConstraints)
        lifetime = options.pop("lifetime", None)
        assert lifetime is None or isinstance(lifetime, timedelta)
        wanted = Wanted(subject(f"{name} CA"), Purpose.CA, (), lifetime, path_length, constraints)
        create_root(folder, wanted, self.now, **options)  # type: ignore[arg-type]
        return folder

    def open(self, folder: Path) -> AbstractContextManager[Authority]:
        return open_authority(folder)

    def issue(
        self,
        ca: Path,
        purpose: Purpose,
        name: str,
        *names: str,
        key: PrivateKey | None = None,
        lifetime: timedelta | None = None,
        now: datetime | None = None,
    ) -> x509.Certificate:
        """A certificate, with ``NAME.pem`` and ``NAME.key`` in the folder."""
        key = key or new_key()
        with self.open(ca) as authority:
            wanted = Wanted(subject(name), purpose, parse_names(names), lifetime)
            certificate = authority.issue(wanted, key.public_key(), now or self.now)
            self.write(f"{name}.pem", authority.with_chain(certificate))
        write_new(NewFile(self.folder / f"{name}.key", key_pem(key), PRIVATE), force=True)
        return certificate

    def write(self, name: str, data: bytes | x509.Certificate | x509.CertificateRevocationList) -> Path:
        content = data if isinstance(data, bytes) else data.public_bytes(Encoding.PEM)
        return write_new(NewFile(self.folder / name, content), force=True)
