# -*- test-case-name: tests.service.mosquitto.test_dynsec -*-
"""The JSON file of mosquitto's dynamic security plugin: clients, groups, roles and their priorities."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mqttsecure.core.decisions import Source
from mqttsecure.errors import ConfigError, MqttError
from mqttsecure.policy.builtin.password_hash import User
from mqttsecure.service.mosquitto.notes import Notes, read_text_file
from mqttsecure.service.mosquitto.passwords import take_user
from mqttsecure.wire.topics import check_topic_filter

__all__ = ["Client", "DynamicSecurity", "RoleAcl", "read_dynsec"]

_DEFAULTS: Final = {
    "publishClientSend": False,
    "publishClientReceive": True,
    "subscribe": False,
    "unsubscribe": True,
}
"""Of ``defaultACLAccess``, where the file says nothing else."""

_TYPES: Final = (
    "publishClientSend",
    "publishClientReceive",
    "subscribeLiteral",
    "subscribePattern",
    "unsubscribeLiteral",
    "unsubscribePattern",
)


@dataclass(slots=True, frozen=True)
class RoleAcl:
    """One entry of a role's ``acls``."""

    role: str
    type: str
    topic: str
    allow: bool
    source: Source


@dataclass(slots=True, frozen=True)
class Client:
    """A client that may log in. ``roles`` and ``groups`` stand in the order in which they are asked."""

    name: str
    roles: tuple[str, ...]
    groups: tuple[str, ...]
    source: Source


@dataclass(slots=True, frozen=True)
class DynamicSecurity:
    """The file, as it decides. Roles and their entries stand in the order in which they are asked."""

    path: Path
    clients: Mapping[str, Client]
    groups: Mapping[str, tuple[str, ...]]
    roles: Mapping[str, Sequence[RoleAcl]]
    anonymous_group: str | None
    defaults: Mapping[str, bool]
    users: Mapping[str, User]


def read_dynsec(path: Path, notes: Notes) -> DynamicSecurity:
    """Read the file.

    Raises:
        ConfigError: it cannot be read, or is not what the plugin writes.
    """
    text = read_text_file(path)
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise ConfigError(f"{path}:{line}: not valid JSON: {error}; name the plugin's own file") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path}:1: not an object; name the file of the dynamic security plugin")
    return _Reader(path, text, document, notes).read()


class _Reader:
    """Takes over what can be understood and notes the rest."""

    def __init__(self, path: Path, text: str, document: dict[str, Any], notes: Notes) -> None:
        self._path = path
        self._lines = text.split("\n")
        self._document = document
        self._notes = notes

    def read(self) -> DynamicSecurity:
        roles = {name: self._acls(name, each) for name, each in self._named("roles", "rolename")}
        groups = {
            name: self._ordered(each, "roles", "rolename", roles) for name, each in self._named("groups", "groupname")
        }
        clients: dict[str, Client] = {}
        users: dict[str, User] = {}
        for name, each in self._named("clients", "username"):
            client = self._client(name, each, roles, groups)
            if client is not None and self._take_user(users, client, each):
                clients[name] = client
        anonymous = self._document.get("anonymousGroup")
        if anonymous is not None and anonymous not in groups:
            self._notes.left(self._source("anonymousGroup"), f"there is no group {anonymous!r}; make it or remove this")
            anonymous = None
        return DynamicSecurity(self._path, clients, groups, roles, anonymous, self._defaults(), users)

    def _source(self, word: str, second: str = "") -> Source:
        """About where ``word`` stands: the first line with it, behind the first with ``second`` where that is given."""
        quoted = json.dumps(word, ensure_ascii=False)
        for number, line in enumerate(self._lines, 1):
            if quoted in line:
                return Source(str(self._path), number)
        return Source(str(self._path), 1)

    def _named(self, key: str, name: str) -> Iterable[tuple[str, dict[str, Any]]]:
        """The objects of a list by their names."""
        found = self._document.get(key, [])
        if not isinstance(found, list):
            raise ConfigError(f"{self._source(key)}: {key} is no list; name the file of the dynamic security plugin")
        seen: set[str] = set()
        for each in found:
            if not isinstance(each, dict) or not isinstance(each.get(name), str) or not each[name]:
                self._notes.left(self._source(key), f"an entry of {key} has no {name}")
            elif each[name] in seen:
                self._notes.left(self._source(each[name]), f"{each[name]!r} is in {key} twice; the first one counts")
            else:
                seen.add(each[name])
                yield each[name], each

    def _ordered(
        self, owner: dict[str, Any], key: str, name: str, known: Iterable[str] | Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Names in a list of an object by falling priority; of equal ones as they stand."""
        found = [each for each in owner.get(key) or [] if isinstance(each, dict) and isinstance(each.get(name), str)]
        found.sort(key=lambda each: -_priority(each))
        for each in found:
            if each[name] not in known:
                self._notes.left(self._source(each[name]), f"{each[name]!r} is used in {key} and is not there")
        return tuple(dict.fromkeys(each[name] for each in found if each[name] in known))

    def _client(
        self, name: str, each: dict[str, Any], roles: Mapping[str, Any], groups: Mapping[str, Any]
    ) -> Client | None:
        source = self._source(name)
        if each.get("disabled") is True:
            self._notes.left(source, f"client {name!r} is disabled, and so is no user here")
            return None
        if each.get("clientid"):
            text = (
                f"client {name!r} is bound to a Client Identifier; bind identifiers to users with the policy client-id"
            )
            self._notes.left(source, text)
        mine = list(self._ordered(each, "groups", "groupname", groups))
        # Membership may be written on either side.
        others = [
            (group, _priority(member))
            for group, owner in self._named("groups", "groupname")
            for member in owner.get("clients") or []
            if isinstance(member, dict) and member.get("username") == name
        ]
        mine += [group for group, _ in sorted(others, key=lambda pair: -pair[1]) if group not in mine]
        return Client(name, self._ordered(each, "roles", "rolename", roles), tuple(mine), source)

    def _take_user(self, users: dict[str, User], client: Client, each: dict[str, Any]) -> bool:
        password, salt, iterations = each.get("password"), each.get("salt"), each.get("iterations", 101)
        if not isinstance(password, str) or not isinstance(salt, str) or not isinstance(iterations, int):
            text = f"client {client.name!r} has no password, and cannot log in; set one: mqttsecure passwd users NAME"
            self._notes.left(client.source, text)
            return False
        return take_user(
            users, User(client.name, f"$7${iterations}${salt}${password}", client.groups), client.source, self._notes
        )

    def _acls(self, role: str, each: dict[str, Any]) -> list[RoleAcl]:
        entries = [acl for acl in each.get("acls") or [] if isinstance(acl, dict)]
        entries.sort(key=lambda acl: -_priority(acl))
        found = []
        for acl in entries:
            kind, topic, allow = acl.get("acltype"), acl.get("topic"), acl.get("allow")
            source = self._source(topic) if isinstance(topic, str) else self._source(role)
            if kind not in _TYPES or not isinstance(topic, str) or not isinstance(allow, bool):
                self._notes.left(source, f"role {role!r} has an entry that is none of the plugin's: {kind!r:.100}")
                continue
            try:
                check_topic_filter(topic)
            except MqttError as error:
                self._notes.left(source, f"role {role!r}: {topic!r}: {error}")
                continue
            found.append(RoleAcl(role, kind, topic, allow, source))
        return found

    def _defaults(self) -> dict[str, bool]:
        said = self._document.get("defaultACLAccess")
        said = said if isinstance(said, dict) else {}
        return {key: said[key] if isinstance(said.get(key), bool) else default for key, default in _DEFAULTS.items()}


def _priority(each: Mapping[str, Any]) -> int:
    value = each.get("priority", -1)
    return value if isinstance(value, int) else -1
