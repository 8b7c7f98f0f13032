# -*- test-case-name: tests.service.test_config -*-
"""Reads ``broker.toml``: every problem of the file at once, each with file, line, key and the mend.

What is checked here is all that can be known without the policies themselves; the options of a policy are checked
by :mod:`mqttsecure.service.assembly`, which finds its factory.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mqttsecure.core.decisions import Principal, Source
from mqttsecure.core.limits import Limits
from mqttsecure.errors import ConfigError
from mqttsecure.service.config_checks import check_tables
from mqttsecure.service.files import resolve_path
from mqttsecure.service.limits_table import limits_of
from mqttsecure.service.problems import Problems
from mqttsecure.service.schema import (
    Address,
    AuditTable,
    AuthorityTable,
    ListenerTable,
    PolicyTable,
    StoreTable,
    split_address,
)
from mqttsecure.service.tables import Tables, read_tables
from mqttsecure.service.toml_lines import TomlLines, toml_lines

__all__ = [
    "AuditConfig",
    "AuthorityConfig",
    "BrokerConfig",
    "ListenerConfig",
    "PolicyConfig",
    "StoreConfig",
    "TlsConfig",
    "load_config",
    "read_config",
]

MAXIMUM_FILE: Final = 16 * 1024 * 1024
"""Bytes of a configuration file: a hundred thousand rules fit, a device or a log given by mistake does not."""

_TOML_LINE: Final = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(slots=True, frozen=True)
class TlsConfig:
    """TLS of one listener; all paths are absolute."""

    certificate: Path
    key: Path
    client_certificate: str
    authorities: tuple[str, ...]
    minimum_version: str
    legacy_ciphers: bool


@dataclass(slots=True, frozen=True)
class ListenerConfig:
    """One listener. ``addresses`` are pairs of an IP address and a port; ``tls`` is None for plaintext."""

    position: int
    name: str
    addresses: tuple[Address, ...]
    protocol: str
    tls: TlsConfig | None
    denied_publish_v3: str
    reason_strings: bool
    maximum_connections: int
    backlog: int
    source: Source


@dataclass(slots=True, frozen=True)
class AuthorityConfig:
    """One identity source; all paths are absolute."""

    position: int
    name: str
    ca: tuple[Path, ...]
    crl: tuple[Path, ...]
    password_file: Path | None
    source: Source


@dataclass(slots=True, frozen=True)
class PolicyConfig:
    """One ``[[policy]]`` table; ``options`` are the keys that its factory's model is to check.

    ``on`` names the listeners, all of them where the table names none. ``position`` counts from 0.
    """

    position: int
    id: str
    use: str
    on: tuple[str, ...]
    timeout: float
    concurrency: int
    final: tuple[str, ...]
    required: tuple[str, ...]
    options: dict[str, Any]
    source: Source


@dataclass(slots=True, frozen=True)
class AuditConfig:
    """The audit log. ``permits`` is the share of permits to record."""

    file: Path
    maximum_size: int
    keep: int
    permits: float


@dataclass(slots=True, frozen=True)
class StoreConfig:
    """Where durable state is kept. ``interval`` is in seconds, 0 where acknowledgements wait for the disk."""

    file: Path
    interval: float


@dataclass(slots=True, frozen=True)
class BrokerConfig:
    """A configuration file, checked and resolved; all paths are absolute."""

    path: Path
    listeners: tuple[ListenerConfig, ...]
    authorities: tuple[AuthorityConfig, ...]
    policies: tuple[PolicyConfig, ...]
    aliases: dict[Principal, Principal]
    limits: Limits
    plugin_paths: tuple[Path, ...]
    plugin_distributions: tuple[str, ...] | None
    development: Path | None
    """Where development files are made, None where none are."""
    log_format: str
    log_level: str
    lines: TomlLines
    test_files: tuple[Path, ...] = ()
    tests_required: bool = False
    audit: AuditConfig | None = None
    control: Path | None = None
    """The control socket."""
    shadow: Path | None = None
    """The configuration of the candidate."""
    watch: float | None = None
    """For how many seconds files that were changed must have been left alone to be read again; None: they are not."""
    store: StoreConfig | None = None
    """Where durable state is kept, None where it is in memory alone."""

    @property
    def directory(self) -> Path:
        """The folder to which the paths in the file are relative."""
        return self.path.parent

    def resolve(self, path: str) -> Path:
        """An absolute path for one written in the file."""
        return resolve_path(self.path.parent, path)

    def source_of(self, *path: str | int) -> Source:
        """File and line of a key path."""
        return Source(str(self.path), self.lines.line_of(path))


def load_config(path: Path | str) -> BrokerConfig:
    """Read and check a configuration file.

    Files that ``[development] generate`` is still to make count as being there.

    Raises:
        ConfigError: with every problem that was found.
    """
    config, problems = read_config(path)
    problems.raise_if_any()
    return config


def read_config(path: Path | str) -> tuple[BrokerConfig, Problems]:
    """The same, for who wants to go on and look for more problems: with any, the configuration is not to be used.

    Raises:
        ConfigError: the file cannot be read, or is not TOML.
    """
    file = Path(path).absolute()
    text = _read_text(file)
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(_syntax_problem(file, text, error)) from error
    lines = toml_lines(text)
    problems = Problems(file, lines)
    tables = read_tables(document, problems)
    config = _resolve(file, lines, tables)
    check_tables(tables, config, problems)
    return config, problems


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(MAXIMUM_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}; name a readable file with --config") from error
    if len(data) > MAXIMUM_FILE:
        raise ConfigError(f"{file}: larger than {MAXIMUM_FILE} bytes; is this the right file?")
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}:{line}: not UTF-8 text; save the file as UTF-8") from error


def _syntax_problem(file: Path, text: str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"{file}:1: arrays or tables are nested too deeply"
    message = str(error)
    match = _TOML_LINE.search(message)
    line = text.count("\n") + 1 if match is None or match[1] is None else int(match[1])
    what = message if match is None else message[: match.start()]
    return f"{file}:{line}: not valid TOML: {what}; see https://toml.io for how it is written"


def _listener(file: Path, lines: TomlLines, index: int, table: ListenerTable, limits: Limits) -> ListenerConfig:
    tls = None
    if table.tls is not None:
        tls = TlsConfig(
            certificate=resolve_path(file.parent, table.tls.certificate),
            key=resolve_path(file.parent, table.tls.key),
            client_certificate=table.tls.client_certificate,
            authorities=table.tls.authorities,
            minimum_version=table.tls.minimum_version,
            legacy_ciphers=table.tls.legacy_ciphers,
        )
    return ListenerConfig(
        position=index,
        name=table.name,
        addresses=tuple(split_address(address) for address in table.bind),
        protocol=table.protocol,
        tls=tls,
        denied_publish_v3=table.denied_publish_v3,
        reason_strings=table.reason_strings,
        maximum_connections=table.maximum_connections or limits.maximum_connections,
        backlog=table.backlog,
        source=Source(str(file), lines.line_of(("listener", index))),
    )


def _policy(file: Path, lines: TomlLines, index: int, table: PolicyTable, listeners: tuple[str, ...]) -> PolicyConfig:
    return PolicyConfig(
        position=index,
        id=table.id,
        use=table.use,
        on=listeners if table.on is None else table.on,
        timeout=table.timeout_ms / 1000,
        concurrency=table.concurrency,
        final=table.final,
        required=table.required,
        options=dict(table.model_extra or {}),
        source=Source(str(file), lines.line_of(("policy", index))),
    )


def _principal(text: str) -> Principal:
    authority, _, name = text.partition(":")
    return Principal(authority, name)


def _authority(file: Path, lines: TomlLines, index: int, table: AuthorityTable) -> AuthorityConfig:
    return AuthorityConfig(
        position=index,
        name=table.name,
        ca=tuple(resolve_path(file.parent, name) for name in table.ca),
        crl=tuple(resolve_path(file.parent, name) for name in table.crl),
        password_file=None if table.password_file is None else resolve_path(file.parent, table.password_file),
        source=Source(str(file), lines.line_of(("authority", index))),
    )


def _resolve(file: Path, lines: TomlLines, tables: Tables) -> BrokerConfig:
    limits = limits_of(tables.limits)
    directory = file.parent
    names = tuple(listener.name for listener in tables.listener.values())
    development = tables.development
    return BrokerConfig(
        path=file,
        listeners=tuple(_listener(file, lines, i, table, limits) for i, table in tables.listener.items()),
        authorities=tuple(_authority(file, lines, i, table) for i, table in tables.authority.items()),
        policies=tuple(_policy(file, lines, i, table, names) for i, table in tables.policy.items()),
        aliases={_principal(table.principal): _principal(table.is_) for table in tables.alias.values()},
        limits=limits,
        plugin_paths=tuple(resolve_path(directory, name) for name in tables.plugins.path),
        plugin_distributions=tables.plugins.distributions,
        development=resolve_path(directory, development.directory) if development.generate else None,
        log_format=tables.log.format,
        log_level=tables.log.level,
        lines=lines,
        test_files=tuple(resolve_path(directory, name) for name in tables.tests.files),
        tests_required=tables.tests.required,
        audit=_audit(directory, tables.audit),
        control=None if tables.control.socket is None else resolve_path(directory, tables.control.socket),
        store=_store(directory, tables.store),
        shadow=None if tables.shadow.config is None else resolve_path(directory, tables.shadow.config),
        watch=float(tables.reload.settle_seconds) if tables.reload.watch else None,
    )


def _store(directory: Path, table: StoreTable) -> StoreConfig | None:
    if table.durability == "memory":
        return None
    return StoreConfig(resolve_path(directory, table.file), table.interval if table.durability == "interval" else 0.0)


def _audit(directory: Path, table: AuditTable) -> AuditConfig | None:
    if table.file is None:
        return None
    return AuditConfig(resolve_path(directory, table.file), table.maximum_size, table.keep, table.permits)
