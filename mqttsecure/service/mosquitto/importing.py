# -*- test-case-name: tests.service.mosquitto.test_importing -*-
"""Everything that is read from mosquitto's files, as the files of this broker."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.password_hash import User
from mqttsecure.service.assembly import check
from mqttsecure.service.config import read_config
from mqttsecure.service.mosquitto.acl import read_acl
from mqttsecure.service.mosquitto.broker_toml import DomainFiles, broker_toml
from mqttsecure.service.mosquitto.conf import MosquittoConf, read_conf
from mqttsecure.service.mosquitto.dynsec import read_dynsec
from mqttsecure.service.mosquitto.listeners import Domain, domains_of, listeners_of
from mqttsecure.service.mosquitto.model import AclModel, DecidesAsMosquitto, DynsecModel, OpenModel
from mqttsecure.service.mosquitto.notes import Note, Notes
from mqttsecure.service.mosquitto.passwords import read_passwords
from mqttsecure.service.mosquitto.policy_tests import Subjects, tests_of
from mqttsecure.service.mosquitto.rules_of_acl import rules_of_acl, rules_without_acl
from mqttsecure.service.mosquitto.rules_of_dynsec import rules_of_dynsec
from mqttsecure.service.mosquitto.settings import limits_of_conf, note_settings
from mqttsecure.service.mosquitto.tiers import RuleLine, Tiers
from mqttsecure.service.policy_test_file import read_tests
from mqttsecure.service.policy_tests import run_tests

__all__ = ["CONFIG", "Imported", "import_mosquitto", "verify", "write"]

CONFIG: Final = "broker.toml"
TESTS: Final = "policy-tests.toml"
NOTES: Final = "import-notes.txt"


@dataclass(slots=True, frozen=True)
class Imported:
    """What is to be written, by name, and what has to be known about it. ``models`` decide as mosquitto did, by the
    name of a listener."""

    files: Mapping[str, str]
    notes: Sequence[Note]
    models: Mapping[str, DecidesAsMosquitto]
    rules: int


@dataclass(slots=True, frozen=True)
class _Rights:
    """Users and rules of one domain."""

    users: Mapping[str, User]
    tiers: Tiers
    model: DecidesAsMosquitto
    members: Mapping[str, str]


def import_mosquitto(path: Path) -> Imported:
    """Read mosquitto.conf and the files that it names.

    Raises:
        ConfigError: one of them cannot be read, or no listener is left that could be opened.
    """
    notes = Notes()
    conf = read_conf(path)
    note_settings(conf, notes)
    domains = domains_of(conf, listeners_of(conf, notes), notes)
    if not domains:
        told = "; ".join(str(note) for note in notes.all() if "stays closed" in note.text)
        raise ConfigError(f"{path}: none of its listeners can be carried over; mend one of them: {told}")
    files: dict[str, str] = {}
    named: list[tuple[Domain, DomainFiles]] = []
    tests: list[str] = []
    models: dict[str, DecidesAsMosquitto] = {}
    rules = 0
    for domain in domains:
        rights = _rights(conf, domain, notes)
        written = _files_of(domain, rights, files, alone=len(domains) == 1)
        named.append((domain, written))
        groups = {name: user.groups for name, user in rights.users.items()}
        prefix = conf.general.get("clientid_prefixes")
        client_id = ("" if prefix is None else prefix.value) + "client-1"
        subjects = Subjects(domain.authority, domain.on[0], rights.members, groups, domain.anonymous, client_id)
        tests += tests_of(rights.tiers, rights.model, subjects)
        models |= dict.fromkeys(domain.on, rights.model)
        rules += sum(map(len, rights.tiers.rules))
    _note_manners(domains, notes)
    files[TESTS] = _TESTS_HEAD + "\n".join(tests)
    files[CONFIG] = broker_toml(conf, named, limits_of_conf(conf, notes), TESTS, len(tests), notes)
    found = notes.all()
    files[NOTES] = "".join(f"{note}\n" for note in found) or "Everything was carried over.\n"
    return Imported(files, found, models, rules)


_TESTS_HEAD: Final = """\
# What mosquitto decided about an example of each line of its files. Made by `mqttsecure import mosquitto`.
# Run it:  mqttsecure policy test -c broker.toml

"""


def _rights(conf: MosquittoConf, domain: Domain, notes: Notes) -> _Rights:
    users: dict[str, User] = {}
    if domain.password_file is not None and domain.dynsec is not None:
        notes.left(domain.password_file.source, "dynamic security has its own users; those of this file are not taken")
    elif domain.password_file is not None:
        users = read_passwords(Path(domain.password_file.value).absolute(), notes)
    if domain.dynsec is not None:
        if domain.acl_file is not None:
            text = "dynamic security decides; what it leaves open is denied here, and not looked up in this file"
            notes.left(domain.acl_file.source, text)
        dynsec = read_dynsec(Path(domain.dynsec.value).absolute(), notes)
        members = {group: client.name for client in dynsec.clients.values() for group in client.groups}
        return _Rights(dynsec.users, rules_of_dynsec(dynsec, notes), DynsecModel(dynsec), members)
    if domain.acl_file is not None:
        acl = read_acl(Path(domain.acl_file.value).absolute(), notes)
        return _Rights(users, rules_of_acl(acl, notes), AclModel(acl), {})
    return _Rights(users, rules_without_acl(conf.path, notes), OpenModel(), {})


def _files_of(domain: Domain, rights: _Rights, files: dict[str, str], *, alone: bool) -> DomainFiles:
    suffix = "" if alone else f"-{domain.listeners[0].name}"
    users = ""
    if rights.users:
        users = f"users{suffix}"
        files[users] = "".join(f"{user.line()}\n" for user in rights.users.values())
    names = []
    for number, tier in enumerate(rights.tiers.rules, 1):
        name = f"topics{suffix}" + ("" if len(rights.tiers.rules) == 1 else f"-{number}") + ".rules"
        files[name] = _rules_text(tier)
        names.append(name)
    return DomainFiles(users, names)


def _rules_text(tier: Sequence[RuleLine]) -> str:
    """The rules, each below the line that it comes from."""
    lines: list[str] = []
    for rule in tier:
        lines += [f"# {rule.source}", rule.text]
    return "\n".join(lines) + "\n"


def _note_manners(domains: Sequence[Domain], notes: Notes) -> None:
    """What is different about how clients are met, whatever the files say."""
    for domain in domains:
        source = domain.listeners[0].source
        notes.differs(
            source,
            "a denied PUBLISH of 3.x is acknowledged and dropped, as mosquitto does "
            '(denied_publish_v3 = "acknowledge"); "close" would let the client notice',
        )
        notes.differs(source, "a Client Identifier in use by another user is refused (0x85) and not taken over")
        if domain.anonymous:
            notes.differs(
                source,
                "anonymous clients keep no session over their connection, since nobody proves to be the same again; "
                'with as_user = "guest" of the policy anonymous they all are one user that does',
            )
            if domain.password_file is None and domain.dynsec is None:
                text = "a user name without a password proves nothing: rules about users, and %u, are for nobody here"
                notes.differs(source, text)


def write(imported: Imported, folder: Path, *, force: bool = False) -> None:
    """Write all files, readable by their owner alone.

    Raises:
        ConfigError: one of them is there already and ``force`` is not given, or cannot be written.
    """
    if not force:
        there = [name for name in imported.files if (folder / name).exists() or (folder / name).is_symlink()]
        if there:
            raise ConfigError(
                [f"{folder / name}: is there already; name another folder, or add --force" for name in there]
            )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in imported.files.items():
            _write(folder / name, text)
    except OSError as error:
        raise ConfigError(f"{error.filename or folder}: cannot be written: {error.strerror}") from error


def _write(file: Path, text: str) -> None:
    """As a whole or not at all, and never to be read by others meanwhile."""
    temporary = file.with_name(f".{file.name}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(temporary, file)


def verify(folder: Path) -> list[str]:
    """What is wrong with what was written, its policy tests included; nothing, if all is well."""
    try:
        config, problems = read_config(folder / CONFIG)
        assembly = check(config, problems)
        if config.tests_required:
            return []
        results = run_tests(assembly, [test for file in config.test_files for test in read_tests(file)])
    except ConfigError as error:
        return error.problems
    return [line for result in results for line in result.lines]
