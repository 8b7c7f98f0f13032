# -*- test-case-name: tests.policy.test_environment -*-
"""What a policy may ask of the broker around it (the policy information point)."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from mqttsecure.core.decisions import Principal, Source
from mqttsecure.core.usage import Usage
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import IAuthority, IPolicyEnvironment, IUsage
from mqttsecure.policy.secrets import check_private, read_secret
from mqttsecure.policy.workers import WorkerPool

__all__ = ["Authority", "NoUsage", "PolicyEnvironment", "check_private", "read_secret", "utc_now"]

_CREDENTIAL: Final = "credential:"
_MAXIMUM_CA_BYTES: Final = 4 * 1024 * 1024
"""Of one CA file: the largest public trust bundles are a quarter of that."""


@implementer(IAuthority)
@dataclass(slots=True, frozen=True)
class Authority:
    """A named identity source of the configuration."""

    name: str
    password_file: Path | None = None
    ca_certificates: tuple[bytes, ...] = ()
    crl_files: tuple[Path, ...] = ()

    @classmethod
    def load(
        cls,
        name: str,
        *,
        ca_files: Sequence[Path] = (),
        crl_files: Sequence[Path] = (),
        password_file: Path | None = None,
    ) -> Authority:
        """Read an authority's CA certificates (PEM, one or more a file).

        Raises:
            ConfigError: with one line for each file that cannot be used.
        """
        problems: list[str] = []
        certificates: list[bytes] = []
        for path in ca_files:
            try:
                certificates += [each for each in _read_ca(path) if each not in certificates]
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return cls(name, password_file, tuple(certificates), tuple(crl_files))


def _read_ca(path: Path) -> list[bytes]:
    """The certificates of one PEM file as DER."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAXIMUM_CA_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > _MAXIMUM_CA_BYTES:
        raise ConfigError(f"{path}: is larger than {_MAXIMUM_CA_BYTES} bytes; is it the right file?")
    try:
        certificates = x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise ConfigError(f"{path}: holds no PEM certificate that can be read: {error}") from error
    for certificate in certificates:
        if not _is_ca(certificate):
            subject = certificate.subject.rfc4514_string()
            raise ConfigError(f"{path}: {subject!r} is not a CA certificate; name the CA, not what it signed")
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def utc_now() -> datetime.datetime:
    """The time of day."""
    return datetime.datetime.now(datetime.UTC)


@implementer(IUsage)
class NoUsage:
    """What there is where no broker runs: nothing."""

    def of(self, principal: Principal) -> Usage:
        return Usage()

    def has_session(self, principal: Principal, namespace: str, client_id: str) -> bool:
        return False

    def has_subscription(self, namespace: str, client_id: str, topic_filter: str) -> bool:
        return False

    def retained(self, namespace: str, topic: str) -> tuple[Principal, int] | None:
        return None


@implementer(IPolicyEnvironment)
class PolicyEnvironment:
    """The broker as one policy sees it."""

    def __init__(
        self,
        policy_id: str,
        *,
        clock: IReactorTime,
        workers: WorkerPool,
        authorities: Mapping[str, Authority] | None = None,
        listeners: Sequence[str] = (),
        base_directory: Path,
        locate: Callable[[str | None, int | None], Source | None] = lambda option, index: None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        wall_clock: Callable[[], datetime.datetime] = utc_now,
        rejudge: Callable[[Iterable[int] | None], None] = lambda connection_ids: None,
        note_file: Callable[[Path], object] = lambda path: None,
        usage: IUsage | None = None,
    ) -> None:
        """
        Args:
            policy_id: the ``id`` of its table.
            clock: monotonic time and timers.
            workers: threads for work that would block.
            authorities: by name.
            listeners: those the policy is on.
            base_directory: of the file that names the policy; relative paths start there.
            locate: tells where an option of the policy's table, or item ``index`` of it, or with None the table
                itself stands; None where that is not known.
            random_bytes: unpredictable bytes.
            wall_clock: the time of day, with its time zone.
            rejudge: has connections judged again, by their ids, or all that lives.
            note_file: is told of each file that the policy names and does not write itself.
            usage: what the broker holds, and whose it is; None where there is none.
        """
        self.policy_id = policy_id
        self.clock = clock
        self.log = Logger(namespace=f"mqttsecure.policy.{policy_id}")
        self.authorities = dict(authorities or {})
        self.listeners = tuple(listeners)
        self.usage = NoUsage() if usage is None else usage
        self._workers = workers
        self._base_directory = base_directory.absolute()
        self._locate = locate
        self._random_bytes = random_bytes
        self._wall_clock = wall_clock
        self._rejudge = rejudge
        self._note_file = note_file

    def wall_clock(self) -> datetime.datetime:
        """The time of day in UTC."""
        return self._wall_clock().astimezone(datetime.UTC)

    def random_bytes(self, count: int) -> bytes:
        """``count`` unpredictable bytes."""
        return self._random_bytes(count)

    def resolve(self, path: str | os.PathLike[str], *, written: bool = False) -> Path:
        """The absolute path of a file named in the configuration; ``written`` says that the policy itself writes it.

        ``credential:NAME`` is the systemd credential of that name (``LoadCredential=``).

        Raises:
            ConfigError: a credential is named where the broker was given none.
        """
        found = self._found(os.fspath(path))
        if not written:
            self._note_file(found)
        return found

    def _found(self, text: str) -> Path:
        if not text.startswith(_CREDENTIAL):
            return self._base_directory / text
        name = text.removeprefix(_CREDENTIAL)
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise ConfigError(f"{text}: no credentials were given; add LoadCredential={name}:FILE to the systemd unit")
        if not name or "/" in name or name in (".", ".."):
            raise ConfigError(f"{text}: a credential's name is a plain file name")
        return Path(directory) / name

    def source(self, option: str | None = None, index: int | None = None) -> Source:
        """Where the policy's table, one of its keys, or one item of a list stands."""
        found = self._locate(option, index) or self._locate(option, None) or self._locate(None, None)
        return found or Source("configuration", 0)

    def problem(self, option: str | None, text: str, index: int | None = None) -> str:
        """One line for a ConfigError; without ``option`` it is about the table as a whole."""
        where = f"{self.source(option, index)}: policy {self.policy_id!r}"
        if option is None:
            return f"{where}: {text}"
        return f"{where}: {option if index is None else f'{option}[{index}]'}: {text}"

    def defer_to_thread(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Run ``function`` in the broker's bounded worker pool."""
        return self._workers.defer(function, *arguments)

    def request_rejudging(self, connection_ids: Iterable[int] | None = None) -> None:
        """Have live connections judged again, soon: those named, or all of them."""
        self._rejudge(connection_ids)
