# -*- test-case-name: tests.service.test_config -*-
"""What must hold between the tables of a configuration, and between it and the file system."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mqttsecure.service.files import is_development_file, secret_problem, unreadable_problem
from mqttsecure.service.problems import Problems, did_you_mean
from mqttsecure.service.schema import ListenerTable, split_address
from mqttsecure.service.tables import Tables
from mqttsecure.service.toml_lines import KeyPath

if TYPE_CHECKING:
    from mqttsecure.service.config import BrokerConfig

__all__ = ["check_tables", "is_loopback"]

_FileCheck = Callable[[Path], str | None]


def check_tables(tables: Tables, config: BrokerConfig, problems: Problems) -> None:
    """Add everything that is wrong with tables that are each valid by themselves."""
    # A table that was read without a wrong key would be blamed for what that key's absence brings.
    problems.ignored = tables.mended
    for check in _CHECKS:
        check(tables, problems)
    problems.ignored = set()
    _check_files(config, problems)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the IP address ``host``."""
    address = ipaddress.ip_address(host)
    # ::ffff:127.0.0.1 is IPv4's loopback, and ::ffff:10.0.0.1 is not IPv6's.
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _check_there(tables: Tables, problems: Problems) -> None:
    if not tables.document.get("listener"):
        problems.add((), "there is no `[[listener]]`; add one with name, bind and tls")
    if not tables.policy:
        problems.add(
            (), "there is no `[[policy]]`; an empty chain denies everything, see etc/broker.toml for one to start from"
        )


def _check_unique(tables: Tables, problems: Problems) -> None:
    _unique_in("listener", "name", {index: table.name for index, table in tables.listener.items()}, problems)
    _unique_in("authority", "name", {index: table.name for index, table in tables.authority.items()}, problems)
    _unique_in("policy", "id", {index: table.id for index, table in tables.policy.items()}, problems)
    _unique_in("alias", "principal", {index: table.principal for index, table in tables.alias.items()}, problems)


def _unique_in(table: str, key: str, values: dict[int, str], problems: Problems) -> None:
    first: dict[str, int] = {}
    for index, value in values.items():
        if value in first:
            line = problems.line_of((table, first[value], key))
            problems.add((table, index, key), f'"{value}" is taken by line {line}; choose another')
        first.setdefault(value, index)


def _check_addresses(tables: Tables, problems: Problems) -> None:
    first: dict[tuple[str, int], KeyPath] = {}
    for index, listener in tables.listener.items():
        for item, text in enumerate(listener.bind):
            address = split_address(text)
            path: KeyPath = ("listener", index, "bind", item)
            if address[1] != 0 and address in first:
                problems.add(path, f'"{text}" is bound by line {problems.line_of(first[address])} already; remove one')
            first.setdefault(address, path)


def _check_security_of_listeners(tables: Tables, problems: Problems) -> None:
    for index, listener in tables.listener.items():
        path: KeyPath = ("listener", index)
        if listener.tls is None and not listener.plaintext:
            problems.add(
                path,
                "has no TLS; add `tls = { certificate = ..., key = ... }`, or `plaintext = true` "
                "to send passwords and messages in the clear",
            )
        if listener.tls is not None and listener.plaintext:
            problems.add((*path, "plaintext"), "contradicts `tls`; remove one of the two")
        if listener.plaintext_beyond_loopback and not listener.plaintext:
            problems.add((*path, "plaintext_beyond_loopback"), "has no effect without `plaintext = true`; remove it")
        _check_reach(listener, path, tables.development.generate, problems)


def _check_reach(listener: ListenerTable, path: KeyPath, generates: bool, problems: Problems) -> None:
    for item, text in enumerate(listener.bind):
        if is_loopback(split_address(text)[0]):
            continue
        if generates:
            problems.add(
                (*path, "bind", item),
                f'"{text}" is reached by other machines, and with `[development] generate = true` only loopback is '
                "allowed; name certificates and users of your own and remove `generate`, or bind 127.0.0.1",
            )
        if listener.plaintext and not listener.plaintext_beyond_loopback:
            problems.add(
                (*path, "bind", item),
                f'"{text}" is reached by other machines, which could read passwords and messages; use `tls`, bind '
                "127.0.0.1, or add `plaintext_beyond_loopback = true`",
            )


def _check_client_certificates(tables: Tables, problems: Problems) -> None:
    with_ca = {authority.name for authority in tables.authority.values() if authority.ca}
    for index, listener in tables.listener.items():
        tls = listener.tls
        if tls is None:
            continue
        path: KeyPath = ("listener", index, "tls")
        if tls.client_certificate != "none" and not tls.authorities:
            problems.add(
                (*path, "client_certificate"),
                "wants `authorities = [...]`: the `[[authority]]` names whose CAs sign client certificates",
            )
        if tls.client_certificate == "none" and tls.authorities:
            problems.add(
                (*path, "authorities"), 'has no effect with client_certificate = "none"; write "optional" or "required"'
            )
        for item, name in enumerate(tls.authorities):
            if name not in with_ca:
                problems.add((*path, "authorities", item), _no_such_ca(name, tables, with_ca))


def _no_such_ca(name: str, tables: Tables, with_ca: Iterable[str]) -> str:
    if name in tables.names_of("authority"):
        return f'authority "{name}" has no `ca` to check certificates with; add it'
    return f'no `[[authority]]` is named "{name}"{did_you_mean(name, with_ca)}'


def _check_authorities(tables: Tables, problems: Problems) -> None:
    for index, authority in tables.authority.items():
        if not authority.ca and authority.password_file is None:
            problems.add(("authority", index), "vouches for nobody; add `ca` or `password_file`")
        if authority.crl and not authority.ca:
            problems.add(("authority", index, "crl"), "has no effect without `ca`; add the CA that signed it")


def _check_policies(tables: Tables, problems: Problems) -> None:
    listeners = tables.names_of("listener")
    for index, policy in tables.policy.items():
        if policy.on == ():
            problems.add(("policy", index, "on"), "names no listener; remove it to apply to all, or name one")
        for item, name in enumerate(policy.on or ()):
            if name not in listeners:
                what = f'no `[[listener]]` is named "{name}"{did_you_mean(name, listeners)}'
                problems.add(("policy", index, "on", item), what)


def _check_aliases(tables: Tables, problems: Problems) -> None:
    authorities = tables.names_of("authority")
    principals = {alias.principal for alias in tables.alias.values()}
    for index, alias in tables.alias.items():
        for key, text in (("principal", alias.principal), ("is", alias.is_)):
            name = text.partition(":")[0]
            if name not in authorities:
                what = f'no `[[authority]]` is named "{name}"{did_you_mean(name, authorities)}'
                problems.add(("alias", index, key), what)
        if alias.is_ in principals:
            problems.add(("alias", index, "is"), f'"{alias.is_}" is itself an alias; name the principal at its end')


def _check_shadow(tables: Tables, problems: Problems) -> None:
    if tables.shadow.config is not None and tables.audit.file is None:
        problems.add(("shadow", "config"), "has nowhere to record differences; add `[audit]` with `file`")


_CHECKS: Final[tuple[Callable[[Tables, Problems], None], ...]] = (
    _check_there,
    _check_unique,
    _check_addresses,
    _check_security_of_listeners,
    _check_client_certificates,
    _check_authorities,
    _check_policies,
    _check_aliases,
    _check_shadow,
)


def _check_files(config: BrokerConfig, problems: Problems) -> None:
    """Each named file is there and readable, and the secret ones are secret."""
    for path, file, problem_of in _named_files(config):
        # A file that development is still to make at the first start is no problem before it.
        if is_development_file(file, config.development) and not file.exists():
            continue
        problem = problem_of(file)
        if problem is not None:
            problems.add(path, problem)
    for index, folder in enumerate(config.plugin_paths):
        if not folder.is_dir():
            problems.add(("plugins", "path", index), f"{folder} is not a folder; make it, or mend the name")


def _named_files(config: BrokerConfig) -> Iterator[tuple[KeyPath, Path, _FileCheck]]:
    for listener in config.listeners:
        if listener.tls is not None:
            path: KeyPath = ("listener", listener.position, "tls")
            yield (*path, "certificate"), listener.tls.certificate, unreadable_problem
            yield (*path, "key"), listener.tls.key, secret_problem
    for authority in config.authorities:
        path = ("authority", authority.position)
        for key, files in (("ca", authority.ca), ("crl", authority.crl)):
            for item, file in enumerate(files):
                yield (*path, key, item), file, unreadable_problem
        if authority.password_file is not None:
            yield (*path, "password_file"), authority.password_file, secret_problem
