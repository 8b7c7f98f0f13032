# -*- test-case-name: tests.service.mosquitto.test_dynsec -*-
"""Clients, groups and roles of the dynamic security plugin as rules.

A role's entries become rules about each group and each user that has the role.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mqttsecure.core.decisions import Source
from mqttsecure.service.mosquitto.dynsec import Client, DynamicSecurity, RoleAcl
from mqttsecure.service.mosquitto.notes import Notes
from mqttsecure.service.mosquitto.rules_of_acl import (
    DOLLAR_TOPICS,
    SYSTEM_TOPICS,
    topic_in_rules,
    without_system_writes,
)
from mqttsecure.service.mosquitto.tiers import RuleLine, Tiers, arranged

__all__ = ["rules_of_dynsec"]

_ACTION: Final = {
    "publishClientSend": "publish",
    "publishClientReceive": "receive",
    "subscribeLiteral": "subscribe",
    "subscribePattern": "subscribe",
}
_DEFAULT: Final = {"publishClientSend": "publish", "publishClientReceive": "receive", "subscribe": "subscribe"}


def rules_of_dynsec(dynsec: DynamicSecurity, notes: Notes) -> Tiers:
    """The rules that decide as the plugin does; what cannot be written as a rule is noted."""
    for acls in dynsec.roles.values():
        for acl in acls:
            _note_meaning(acl, notes)
    defaults = _defaults(dynsec)
    if defaults:
        notes.differs(Source(str(dynsec.path), 1), f"defaultACLAccess: {DOLLAR_TOPICS}")
    sequences: list[Sequence[RuleLine]] = [defaults]
    sequences += [[*_of_client(dynsec, client, notes), *defaults] for client in dynsec.clients.values()]
    # A group without members keeps its rules, for those who will be in it.
    sequences += [
        [*_of_roles(dynsec, "group", group, roles, notes), *defaults] for group, roles in dynsec.groups.items()
    ]
    if dynsec.anonymous_group is not None:
        roles = dynsec.groups[dynsec.anonymous_group]
        sequences.append([*_of_roles(dynsec, "anonymous", "", roles, notes), *defaults])
    source = Source(str(dynsec.path), 1)
    found = arranged(without_system_writes(sequences, source))
    for permit, denial in found.broken:
        notes.differs(
            denial.source,
            f"it stands behind the permit of line {permit.source.line} for some clients and before it for others; "
            "here it holds for all of them",
        )
    if not found.rules[0]:
        return Tiers([[RuleLine(False, "everyone", "", ("publish", "read"), "#", source)]], [])
    return found


def _of_client(dynsec: DynamicSecurity, client: Client, notes: Notes) -> Iterator[RuleLine]:
    yield from _of_roles(dynsec, "user", client.name, client.roles, notes)
    for group in client.groups:
        yield from _of_roles(dynsec, "group", group, dynsec.groups[group], notes)


def _of_roles(dynsec: DynamicSecurity, kind: str, name: str, roles: Sequence[str], notes: Notes) -> Iterator[RuleLine]:
    for role in roles:
        for acl in sorted(dynsec.roles[role], key=lambda acl: acl.type != "subscribeLiteral"):
            action = _ACTION.get(acl.type)
            topic = topic_in_rules(acl.topic, False, acl.allow, acl.source, notes)
            if action is not None and topic is not None:
                yield RuleLine(acl.allow, kind, name, (action,), topic, acl.source)


def _defaults(dynsec: DynamicSecurity) -> list[RuleLine]:
    """What is permitted to everyone where no entry is about it."""
    source = Source(str(dynsec.path), 1)
    rules = []
    for key, action in _DEFAULT.items():
        if dynsec.defaults[key]:
            rules.append(RuleLine(True, "everyone", "", (action,), "#", source))
            if action != "publish":
                rules.append(RuleLine(True, "everyone", "", (action,), SYSTEM_TOPICS, source))
    return rules


def _note_meaning(acl: RoleAcl, notes: Notes) -> None:
    if acl.type == "subscribeLiteral":
        notes.differs(
            acl.source,
            f"subscribeLiteral {acl.topic!r} is about that very filter; here it is about each filter that matches no "
            "more" + ("" if acl.allow else ", and a denial about each that matches some of it"),
        )
    elif acl.type == "subscribePattern" and not acl.allow:
        notes.differs(
            acl.source,
            f"a SUBSCRIBE that reaches into {acl.topic!r} and beyond it is refused here; mosquitto grants it where "
            "another entry does",
        )
    elif acl.type.startswith("unsubscribe") and not acl.allow:
        notes.left(acl.source, f"{acl.type}: nobody is kept from giving up a subscription here")
    if "%u" in acl.topic or "%c" in acl.topic:
        notes.differs(acl.source, f"{acl.topic!r} is taken as it stands; mosquitto from 2.1 on fills in %u and %c")
