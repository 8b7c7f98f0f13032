# -*- test-case-name: tests.service.mosquitto.test_importing -*-
"""The configuration that is written, as text for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mqttsecure.service.mosquitto.conf import MosquittoConf, Setting, is_true
from mqttsecure.service.mosquitto.listeners import Domain, Listener
from mqttsecure.service.mosquitto.notes import Notes

__all__ = ["DomainFiles", "broker_toml"]

_HEAD = """\
# Made by `mqttsecure import mosquitto` from {path}.
# What could not be carried over, and what means something else here: import-notes.txt
# Check it:  mqttsecure check --table broker.toml     Test it:  mqttsecure policy test -c broker.toml
# All keys:  docs/reference/config.md
"""


_MOST_TESTS_AT_START: Final = 2000
"""Policy tests that are demanded at each start: they take about three seconds."""


@dataclass(slots=True, frozen=True)
class DomainFiles:
    """What was written for one domain: its users file, "" for none, and the rules file of each tier."""

    users: str
    rules: Sequence[str]


def broker_toml(
    conf: MosquittoConf,
    domains: Sequence[tuple[Domain, DomainFiles]],
    limits: Mapping[str, int],
    tests: str,
    count: int,
    notes: Notes,
) -> str:
    """The text of ``broker.toml``; ``tests`` is the file of policy tests, which has ``count`` of them."""
    parts = [_HEAD.format(path=conf.path)]
    for domain, files in domains:
        parts += [_listener(listener, domain) for listener in domain.listeners]
        if _has_authority(domain, files):
            parts.append(_authority(domain, files))
    parts += list(_gates(conf, domains))
    for domain, files in domains:
        parts += list(_identities(domain, files, alone=len(domains) == 1))
    parts += list(_client_ids(conf, [each for domain, _ in domains for each in domain.listeners]))
    for domain, files in domains:
        parts += list(_rights(conf, domain, files, notes, alone=len(domains) == 1))
    persistence = conf.general.get("persistence")
    if persistence is not None and not is_true(persistence):
        parts.append(_table("[store]", durability="memory"))
    if limits:
        parts.append("[limits]\n" + "".join(f"{key} = {value}\n" for key, value in limits.items()))
    parts.append(_tests(tests, count))
    return "\n".join(part for part in parts if part)


def _tests(file: str, count: int) -> str:
    if count <= _MOST_TESTS_AT_START:
        return "# The rules answer as mosquitto did, or nothing starts.\n" + _table(
            "[tests]", files=[file], required=True
        )
    why = f"# {count} tests would hold up each start; run `mqttsecure policy test` when the rules have changed.\n"
    return why + _table("[tests]", files=[file], required=False)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _table(header: str, **keys: object) -> str:
    """A table; keys that are None are left out."""
    lines = [header] + [f"{key} = {_text(value)}" for key, value in keys.items() if value is not None]
    return "\n".join(lines) + "\n"


def _listener(listener: Listener, domain: Domain) -> str:
    text = _table(
        "[[listener]]",
        name=listener.name,
        bind=list(listener.bind) if len(listener.bind) > 1 else listener.bind[0],
        plaintext=None if listener.speaks_tls else True,
        plaintext_beyond_loopback=None if listener.speaks_tls or listener.on_loopback else True,
        maximum_connections=_maximum(listener),
        denied_publish_v3="acknowledge",
    )
    if not listener.speaks_tls:
        return text
    return text + _table(
        "[listener.tls]",
        certificate=listener.certificate,
        key=listener.key,
        minimum_version=listener.minimum_version,
        client_certificate="required" if listener.certificate_required else None,
        authorities=[domain.authority] if listener.certificate_required else None,
    )


def _maximum(listener: Listener) -> int | None:
    value = listener.settings.get("max_connections") or ""
    return int(value) if value.isdigit() and 0 < int(value) <= 1_000_000 else None  # -1 is for no limit


def _has_authority(domain: Domain, files: DomainFiles) -> bool:
    """Whether anyone can prove to be someone."""
    return bool(files.users or domain.listeners[0].ca)


def _authority(domain: Domain, files: DomainFiles) -> str:
    first = domain.listeners[0]
    return _table(
        "[[authority]]",
        name=domain.authority,
        ca=[first.ca] if first.ca else None,
        crl=[first.crl] if first.crl else None,
        password_file=files.users or None,
    )


def _gates(conf: MosquittoConf, domains: Sequence[tuple[Domain, DomainFiles]]) -> Iterator[str]:
    """What comes before anyone is known: mosquitto asks nothing there, and bounds nothing."""
    listeners = [listener for domain, _ in domains for listener in domain.listeners]
    yield _table("[[policy]]", id="addresses", use="ip-allowlist", permit=["everywhere"])
    yield _table("[[policy]]", id="connections", use="connection-limit")
    encrypted = [each.name for each in listeners if each.speaks_tls]
    clear = [each for each in listeners if not each.speaks_tls]
    if encrypted:
        yield _table("[[policy]]", id="handshake", use="tls-requirements", on=encrypted, plaintext="never")
    if clear:
        where = "loopback" if all(each.on_loopback for each in clear) else "anywhere"
        on = [each.name for each in clear]
        yield _table("[[policy]]", id="no-handshake", use="tls-requirements", on=on, plaintext=where)


def _client_ids(conf: MosquittoConf, listeners: Sequence[Listener]) -> Iterator[str]:
    """Which Client Identifiers may be used: any, as in mosquitto, but where it says otherwise."""
    prefix = conf.general.get("clientid_prefixes")
    common: dict[str, Any] = {"use": "client-id", "charset": "utf-8", "maximum_length": 65_535}
    bound = [each.name for each in listeners if each.identifier_is_user]
    free = [each.name for each in listeners if not each.identifier_is_user]
    if free:
        yield _table(
            "[[policy]]",
            id="client-ids",
            on=free if bound else None,
            patterns=["*" if prefix is None else f"{prefix.value}*"],
            allow_empty=_allows_empty(conf),
            **common,
        )
    if bound:
        yield _table(
            "[[policy]]",
            id="client-ids-of-users",
            on=bound if free else None,
            patterns=["{user}"],
            allow_empty=False,
            **common,
        )


def _allows_empty(conf: MosquittoConf) -> bool:
    settings = [conf.security(each, "allow_zero_length_clientid") for each in conf.listeners]
    return all(is_true(setting, default=True) for setting in settings)


def _identities(domain: Domain, files: DomainFiles, *, alone: bool) -> Iterator[str]:
    """Who clients are."""
    on = None if alone else list(domain.on)
    suffix = "" if alone else f"-{domain.listeners[0].name}"
    if domain.listeners[0].names_by_certificate:
        yield _table(
            "[[policy]]",
            id=f"certificates{suffix}",
            use="client-certificate",
            on=on,
            authorities=[domain.authority],
            name_from=["cn"],
            groups_from_ou=False,
        )
    if files.users:
        yield _table(
            "[[policy]]", id=f"passwords{suffix}", use="password-file", on=on, authority=domain.authority, rehash=True
        )
    if domain.anonymous:
        nobody_has_a_password = domain.password_file is None and domain.dynsec is None
        yield _table(
            "[[policy]]",
            id=f"anonymous{suffix}",
            use="anonymous",
            on=on,
            addresses=["everywhere"],
            groups=["anonymous"],
            ignore_username=True if nobody_has_a_password else None,
            ignore_password=True if nobody_has_a_password else None,
        )


def _rights(conf: MosquittoConf, domain: Domain, files: DomainFiles, notes: Notes, *, alone: bool) -> Iterator[str]:
    """What they may do."""
    on = None if alone else list(domain.on)
    suffix = "" if alone else f"-{domain.listeners[0].name}"
    yield from _refusals(conf, domain, notes, suffix)
    for number, rules in enumerate(files.rules, 1):
        is_last = number == len(files.rules)
        yield _table(
            "[[policy]]",
            id=f"topics{suffix}" + ("" if len(files.rules) == 1 else f"-{number}"),
            use="topic-acl",
            on=on,
            authority=domain.authority if _has_authority(domain, files) else None,
            rules_file=rules,
            subscribe="contained" if domain.dynsec is not None else "filtered",
            final=None if is_last else ["PUBLISH", "SUBSCRIBE", "DELIVER"],
        )


def _refusals(conf: MosquittoConf, domain: Domain, notes: Notes, suffix: str) -> Iterator[str]:
    """Rules for what mosquitto says in other options."""
    retain = conf.general.get("retain_available")
    if retain is not None and not is_true(retain):
        rules = ["deny everyone publish # where retain=yes"]
        yield _table("[[policy]]", id=f"no-retain{suffix}", use="topic-acl", on=list(domain.on), rules=rules)
        notes.differs(retain.source, "clients are not told ahead that retained messages are refused")
    for listener in domain.listeners:
        limit = listener.settings.settings.get("max_qos")
        if limit is None or limit.value not in ("0", "1"):
            continue
        _note_qos(limit, notes)
        rules = [f"deny everyone publish # where qos>{limit.value}"]
        yield _table("[[policy]]", id=f"qos-{listener.name}", use="topic-acl", on=[listener.name], rules=rules)


def _note_qos(limit: Setting, notes: Notes) -> None:
    notes.differs(limit.source, "clients are not told ahead; a PUBLISH of a higher QoS is denied as any other")
