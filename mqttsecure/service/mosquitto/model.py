# -*- test-case-name: tests.interop.test_mosquitto_import -*-
"""What mosquitto decides, by its files: the measure of the rules that are written in their place.

It is kept apart from the translation, so that each is a check of the other; a test compares it with the real broker.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

from mqttsecure.service.mosquitto.acl import Access, AclFile, AclLine
from mqttsecure.service.mosquitto.dynsec import DynamicSecurity, RoleAcl
from mqttsecure.wire.topics import contains, matches

__all__ = ["AclModel", "DecidesAsMosquitto", "DynsecModel", "OpenModel"]

_BRIDGE_STATE: Final = "$SYS/broker/connection/+/state"
_SUBSCRIBE_TYPES: Final = ("subscribeLiteral", "subscribePattern")


class DecidesAsMosquitto(Protocol):
    """Says what mosquitto says."""

    def decide(self, user: str | None, client_id: str, action: str, topic: str) -> bool:
        """Whether a client may do ``action`` ("publish", "receive" or "subscribe"); no ``user``: it gave no name."""


def _dollar_forbids(action: str, topic: str) -> bool:
    """What mosquitto forbids about ``$SYS`` before it asks anyone."""
    return action == "publish" and topic.startswith("$SYS") and not matches(_BRIDGE_STATE, topic)


class OpenModel:
    """Without an access control file everything is permitted to whoever is let in."""

    def decide(self, user: str | None, client_id: str, action: str, topic: str) -> bool:
        return not _dollar_forbids(action, topic)


class AclModel:
    """An access control file: a user's own lines first, then the patterns; of each the denials first."""

    def __init__(self, acl: AclFile) -> None:
        patterns = [line for line in acl.lines if line.is_pattern]
        self._patterns = _denials_first(patterns)
        own: dict[str | None, list[AclLine]] = {}
        for line in acl.lines:
            if not line.is_pattern:
                own.setdefault(line.user, []).append(line)
        self._own = {user: _denials_first(lines) for user, lines in own.items()}

    def decide(self, user: str | None, client_id: str, action: str, topic: str) -> bool:
        if action == "subscribe":
            return True  # what may not be read is left out at delivery
        if _dollar_forbids(action, topic):
            return False
        answer = self._first(self._own.get(user, []), action, topic, None)
        if answer is not None:
            return answer
        if any(character in (user or "") + client_id for character in "+#"):
            return False
        return bool(self._first(self._patterns, action, topic, (user, client_id)))

    def _first(
        self, lines: list[AclLine], action: str, topic: str, filling: tuple[str | None, str] | None
    ) -> bool | None:
        for line in lines:
            pattern: str | None = line.topic
            if filling is not None:
                pattern = _filled(line.topic, *filling)
            if pattern is None or (topic[0] == "$" and line.topic[0] != "$") or not matches(pattern, topic):
                continue
            if line.access is Access.DENY:
                return False
            if line.writes if action == "publish" else line.reads:
                return True
        return None


def _denials_first(lines: list[AclLine]) -> list[AclLine]:
    return sorted(lines, key=lambda line: line.access is not Access.DENY)


def _filled(pattern: str, user: str | None, client_id: str) -> str | None:
    if "%u" in pattern and user is None:
        return None
    return pattern.replace("%c", client_id).replace("%u", user or "")


class DynsecModel:
    """The dynamic security plugin: the first entry that is about it decides, by the order of priorities."""

    def __init__(self, dynsec: DynamicSecurity) -> None:
        self._dynsec = dynsec

    def decide(self, user: str | None, client_id: str, action: str, topic: str) -> bool:
        if _dollar_forbids(action, topic):
            return False
        for acls in self._asked(user):
            for acl in acls:
                if _is_about(acl, action, topic):
                    return acl.allow
        default = {"publish": "publishClientSend", "receive": "publishClientReceive", "subscribe": "subscribe"}
        return self._dynsec.defaults[default[action]]

    def _asked(self, user: str | None) -> Iterator[list[RoleAcl]]:
        """The entries of each role in turn; of a role, literal subscriptions before patterns."""
        dynsec = self._dynsec
        names: list[str] = []
        if user is None:
            names = list(dynsec.groups.get(dynsec.anonymous_group or "", ()))
        elif user in dynsec.clients:
            client = dynsec.clients[user]
            names = [*client.roles, *(role for group in client.groups for role in dynsec.groups[group])]
        for name in names:
            yield sorted(dynsec.roles[name], key=lambda acl: acl.type != "subscribeLiteral")


def _is_about(acl: RoleAcl, action: str, topic: str) -> bool:
    if action == "subscribe":
        if acl.type == "subscribeLiteral":
            return acl.topic == topic
        return acl.type == "subscribePattern" and contains(acl.topic, topic)
    wanted = "publishClientSend" if action == "publish" else "publishClientReceive"
    return acl.type == wanted and matches(acl.topic, topic)
