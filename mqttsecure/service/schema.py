# -*- test-case-name: tests.service.test_config -*-
"""The tables and keys of ``broker.toml``, as strict pydantic models.

These models say what may be written and explain it: ``docs/reference/config.md`` is made from them. They hold a file
as it is written; :mod:`mqttsecure.service.config` checks it as a whole and resolves names and paths.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mqttsecure.service.limits_table import LimitsTable
from mqttsecure.service.quantities import parse_duration, parse_size

__all__ = [
    "STAGES",
    "AliasTable",
    "AuditTable",
    "AuthorityTable",
    "ConfigTables",
    "ControlTable",
    "DevelopmentTable",
    "ListenerTable",
    "LogTable",
    "PluginsTable",
    "PolicyTable",
    "ReloadTable",
    "ShadowTable",
    "StoreTable",
    "TestsTable",
    "TlsTable",
    "split_address",
]

Address = tuple[str, int]
StageName = Literal["ACCEPT", "HANDSHAKE", "CONNECT", "AUTHENTICATE", "PUBLISH", "SUBSCRIBE", "DELIVER"]
STAGES: tuple[StageName, ...] = ("ACCEPT", "HANDSHAKE", "CONNECT", "AUTHENTICATE", "PUBLISH", "SUBSCRIBE", "DELIVER")

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
RESERVED_AUTHORITIES = ("anonymous", "broker")
"""Names that the broker itself gives principals: an identity source of that name could pass for them."""


def _as_tuple(value: object) -> object:
    """TOML arrays arrive as lists; a frozen model holds tuples."""
    return tuple(value) if isinstance(value, list) else value


def _as_share(value: object) -> object:
    """TOML has 1 and 1.0; a share may be written as either."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _one_or_many(value: object) -> object:
    return (value,) if isinstance(value, str) else _as_tuple(value)


def split_address(text: str) -> Address:
    """The IP address and port of ``"127.0.0.1:8883"`` or ``"[::1]:8883"``.

    Raises:
        ValueError: no such thing; the text says how to write it.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f'"{text}" has no port from 0 to 65535; write it as "127.0.0.1:8883" or "[::1]:8883"')
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(_no_address(host)) from None
    if address.version == 6 and not bracketed:
        raise ValueError(f'the IPv6 address wants brackets: "[{host}]:{port}"')
    return str(address), int(port)


def _no_address(host: str) -> str:
    if host == "localhost":
        return '"localhost" is a name; write the addresses: ["127.0.0.1:8883", "[::1]:8883"]'
    if host in {"", "*"}:
        return 'name the address; "0.0.0.0:8883" and "[::]:8883" are every address of this machine'
    return f'"{host}" is not an IP address'


def _check_address(text: str) -> str:
    split_address(text)
    return text


def _check_authority_name(name: str) -> str:
    if name in RESERVED_AUTHORITIES:
        raise ValueError(f'"{name}" is the broker\'s own word; choose another name')
    return name


def _check_principal(text: str) -> str:
    authority, colon, name = text.partition(":")
    if not (authority and colon and name):
        raise ValueError(f'"{text}" is not a principal; write "AUTHORITY:NAME", such as "devices:sensor-1"')
    return text


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ValueError(f'"{value}" is there twice')
    return values


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError('is empty; write an address and port, such as "127.0.0.1:8883"')
    return values


Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_check_address)], ...], BeforeValidator(_one_or_many), AfterValidator(_some)
]
Strings = Annotated[tuple[str, ...], BeforeValidator(_as_tuple), AfterValidator(_unique)]
StageNames = Annotated[tuple[StageName, ...], BeforeValidator(_as_tuple), AfterValidator(_unique)]
FileName = Annotated[str, Field(min_length=1)]
FileNames = Annotated[tuple[FileName, ...], BeforeValidator(_as_tuple), AfterValidator(_unique)]
Name = Annotated[str, Field(pattern=_NAME)]
Principal = Annotated[str, AfterValidator(_check_principal)]


def documented(description: str, *, example: Any = None, default: Any = ...) -> Any:
    """A documented key: what it does, its default, and an example other than the default."""
    return Field(default, description=description, examples=None if example is None else [example])


class Table(BaseModel):
    """What all tables share: nothing is converted, nothing unknown is let through, nothing changes later."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class TlsTable(Table):
    """TLS of a listener."""

    certificate: FileName = documented("PEM file: the server's certificate, then its chain.", example="server.pem")
    key: FileName = documented(
        "PEM file: the certificate's private key, not readable by others and without a pass phrase.",
        example="server.key",
    )
    client_certificate: Literal["none", "optional", "required"] = documented(
        "Whether a client is asked for a certificate, and whether the handshake fails without one.",
        default="none",
        example="required",
    )
    authorities: Strings = documented(
        "The `[[authority]]` names whose CAs may sign client certificates.", default=(), example=["devices"]
    )
    minimum_version: Literal["TLSv1.2", "TLSv1.3"] = documented(
        "The lowest TLS version spoken; nothing below 1.2 exists here.", default="TLSv1.2", example="TLSv1.3"
    )
    legacy_ciphers: bool = documented(
        "Also take TLS 1.2 cipher suites with CBC or without forward secrecy, for devices that know no others. A "
        "`tls-requirements` policy refuses the latter until it has `forward_secrecy = false`.",
        default=False,
        example=True,
    )


class ListenerTable(Table):
    """`[[listener]]`: where clients connect. At least one."""

    name: Name = documented("What `on` of a policy, and the log, call it.", example="tls")
    bind: Addresses = documented(
        "IP address and port, or a list of them; IPv6 in brackets. Port 0 takes any free port, which the log tells.",
        example=["127.0.0.1:8883", "[::1]:8883"],
    )
    protocol: Literal["mqtt"] = documented("What is spoken on it.", default="mqtt")
    tls: TlsTable | None = documented(
        "TLS, as an inline table or as `[listener.tls]`. Without it the listener is refused unless `plaintext = true`.",
        default=None,
        example={"certificate": "server.pem", "key": "server.key"},
    )
    plaintext: bool = documented(
        "Speak MQTT without TLS: passwords and messages can be read on the way.", default=False, example=True
    )
    plaintext_beyond_loopback: bool = documented(
        "Let a plaintext listener bind an address that other machines reach.", default=False, example=True
    )
    denied_publish_v3: Literal["close", "acknowledge"] = documented(
        "What a 3.1 or 3.1.1 client sees of a denied PUBLISH, for which these versions have no answer: its connection "
        "is closed, or the message is acknowledged, dropped and logged.",
        default="close",
        example="acknowledge",
    )
    reason_strings: bool = documented(
        "Send 5.0 clients a Reason String with errors of the protocol. Why a policy denied is never sent.",
        default=False,
        example=True,
    )
    maximum_connections: Annotated[int, Field(ge=1, le=1_000_000)] | None = documented(
        "Network Connections of this listener at a time; default: `maximum_connections` of `[limits]`.",
        default=None,
        example=500,
    )
    backlog: Annotated[int, Field(ge=1, le=65_535)] = documented(
        "Connections the kernel keeps waiting for an accept.", default=512, example=128
    )


class AuthorityTable(Table):
    """`[[authority]]`: an identity source. Its name is the first part of the principals it vouches for."""

    name: Annotated[Name, AfterValidator(_check_authority_name)] = documented(
        "The part before the colon in `name:principal`.", example="devices"
    )
    ca: FileNames = documented(
        "PEM files with the CA certificates that sign its clients; several for a roll of the CA.",
        default=(),
        example=["devices-ca.pem"],
    )
    crl: FileNames = documented(
        "PEM files with revocation lists of these CAs. A missing or expired list refuses its CA's clients.",
        default=(),
        example=["devices.crl"],
    )
    password_file: FileName | None = documented(
        "File of users and password hashes, as `mqttsecure passwd` writes it.", default=None, example="users"
    )


class PolicyTable(Table):
    """`[[policy]]`: one link of the chain. Their order in the file is the order in which they are asked.

    All other keys are options of the policy; `mqttsecure policies` lists them.
    """

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    id: Name = documented("What the log, `check` and `explain` call this policy.", example="topics")
    use: Annotated[str, Field(min_length=1, max_length=200)] = documented(
        "Which kind of policy, as `name` or `distribution:name`; `local:name` for a single file of `[plugins] path`.",
        example="topic-acl",
    )
    on: Strings | None = documented("Listeners it applies to; default: all.", default=None, example=["tls"])
    timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = documented(
        "How long an answer may take; none in time is a denial.", default=5000, example=500
    )
    concurrency: Annotated[int, Field(ge=1, le=100_000)] = documented(
        "How many questions it may have under way; others wait their turn within the same time.",
        default=1024,
        example=64,
    )
    final: StageNames = documented(
        "Stages at which its PERMIT ends the stage, so that later policies are not asked.",
        default=(),
        example=["PUBLISH"],
    )
    required: StageNames = documented(
        "Stages at which it must permit: its ABSTAIN is a denial.", default=(), example=["AUTHENTICATE"]
    )


class AliasTable(Table):
    """`[[alias]]`: two principals that are the same person or device."""

    principal: Principal = documented("The principal as its authority names it.", example="devices:alice-laptop")
    is_: Principal = Field(
        alias="is", description="The principal it stands for from then on.", examples=["users:alice"]
    )


class PluginsTable(Table):
    """`[plugins]`: policies of your own, beside those of installed packages."""

    path: FileNames = documented(
        "Folders whose `.py` files are single-file policies, used as `local:name`. Neither folder nor files may be "
        "writable by others.",
        default=(),
        example=["plugins"],
    )
    distributions: Strings | None = documented(
        "Distributions (as pip names them) that may bring policies beside the broker's own; modules of others are not "
        "imported. Default: all. Files in `path` need no leave.",
        default=None,
        example=["acme-mqtt-policies"],
    )


class DevelopmentTable(Table):
    """`[development]`: certificates and a user made at the first start. Only for listeners on loopback."""

    generate: bool = documented(
        "Make what is missing in `directory`; nothing there is ever overwritten. Refused with a listener beyond "
        "loopback.",
        default=False,
        example=True,
    )
    directory: FileName = documented("Where it is made.", default="development", example="../certs")


class TestsTable(Table):
    """`[tests]`: what the policies must answer, as files of policy tests. `mqttsecure policy test` runs them."""

    files: FileNames = documented(
        "Files of `[[test]]` tables, see docs/howto/policy-as-code.md.", default=(), example=["policy-tests.toml"]
    )
    required: bool = documented(
        "Refuse a start, a check and a reload when one of them fails or a file is missing.", default=False, example=True
    )


class LogTable(Table):
    """`[log]`: what is logged, and how. Where to is twistd's `--logfile`."""

    format: Literal["text", "json"] = documented(
        "One line of text or one JSON object per event.", default="text", example="json"
    )
    level: Literal["debug", "info", "warn", "error", "critical"] = documented(
        "The lowest level that is logged.", default="info", example="warn"
    )


class AuditTable(Table):
    """`[audit]`: a file with one JSON object for every denial; see `docs/reference/audit.md`."""

    file: FileName | None = documented(
        "Where to; made readable by its owner alone. Without it there is no audit log.",
        default=None,
        example="/var/log/mqttsecure/audit.jsonl",
    )
    maximum_size: Annotated[int, BeforeValidator(parse_size), Field(ge=4096, le=1 << 40)] = documented(
        "Beyond this size the file is put aside as `FILE.1` and a new one begun.",
        default=64 * 1024 * 1024,
        example="256MiB",
    )
    keep: Annotated[int, Field(ge=0, le=9)] = documented("How many files put aside are kept.", default=5, example=9)
    permits: Annotated[float, Field(ge=0.0, le=1.0), BeforeValidator(_as_share)] = documented(
        "The share of permits that is recorded as well, from 0.0 to 1.0 (all that are decided; a remembered permit is "
        "not decided again).",
        default=0.0,
        example=0.01,
    )


class ShadowTable(Table):
    """`[shadow]`: a candidate configuration whose policies judge along; only the differences are recorded.

    Nothing of what they say is enforced. It needs an audit log; see `docs/reference/shadow.md`.
    """

    config: FileName | None = documented(
        "The configuration whose policies are the candidate. Without it there is none.",
        default=None,
        example="next.toml",
    )


class ControlTable(Table):
    """`[control]`: the socket through which `mqttsecure status`, `reload` and `clients` talk to the running broker."""

    socket: FileName | None = documented(
        "A Unix socket, made for its owner alone. Without it there is none.",
        default=None,
        example="/run/mqttsecure/control",
    )


class ReloadTable(Table):
    """`[reload]`: whether files that were changed are put in force without being asked to."""

    watch: bool = documented(
        "Reload when the configuration, or a file that it or a policy of it names, was changed and then left alone. "
        "As with SIGHUP, with any mistake the broker keeps what it had.",
        default=False,
        example=True,
    )
    settle_seconds: Annotated[int, Field(ge=1, le=3600)] = documented(
        "For how long none of these files may have changed, so that nothing is read that is only half written.",
        default=2,
        example=30,
    )


class StoreTable(Table):
    """`[store]`: what survives a restart, and how surely; see `docs/reference/store.md`."""

    durability: Literal["commit", "interval", "memory"] = documented(
        "`commit`: what is acknowledged is on disk, whatever happens next. `interval`: it survives the end of the "
        "process, and is brought to disk at intervals. `memory`: nothing is written, and a restart forgets everything.",
        default="commit",
        example="interval",
    )
    file: FileName = documented(
        "The database. Its folder is made, for its owner alone, where the one above it exists.",
        default="state/mqttsecure.db",
        example="/var/lib/mqttsecure/mqttsecure.db",
    )
    interval: Annotated[float, BeforeValidator(parse_duration), Field(ge=0.01, le=60.0)] = documented(
        "With `interval`: how much a crash of the operating system or a loss of power may lose.",
        default=1.0,
        example=0.2,
    )


class ConfigTables(Table):
    """A whole file."""

    listener: Annotated[tuple[ListenerTable, ...], BeforeValidator(_as_tuple)] = ()
    authority: Annotated[tuple[AuthorityTable, ...], BeforeValidator(_as_tuple)] = ()
    policy: Annotated[tuple[PolicyTable, ...], BeforeValidator(_as_tuple)] = ()
    alias: Annotated[tuple[AliasTable, ...], BeforeValidator(_as_tuple)] = ()
    limits: LimitsTable = Field(default_factory=LimitsTable)
    plugins: PluginsTable = Field(default_factory=PluginsTable)
    development: DevelopmentTable = Field(default_factory=DevelopmentTable)
    log: LogTable = Field(default_factory=LogTable)
    tests: TestsTable = Field(default_factory=TestsTable)
    audit: AuditTable = Field(default_factory=AuditTable)
    control: ControlTable = Field(default_factory=ControlTable)
    shadow: ShadowTable = Field(default_factory=ShadowTable)
    reload: ReloadTable = Field(default_factory=ReloadTable)
    store: StoreTable = Field(default_factory=StoreTable)
