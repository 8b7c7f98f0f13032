# -*- test-case-name: tests.service.mosquitto.test_importing -*-
"""An access control file as rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mqttsecure.core.decisions import Source
from mqttsecure.service.mosquitto.acl import Access, AclFile, AclLine
from mqttsecure.service.mosquitto.notes import Notes
from mqttsecure.service.mosquitto.tiers import RuleLine, Tiers, arranged
from mqttsecure.wire.topics import intersects

__all__ = [
    "DOLLAR_TOPICS",
    "SYSTEM_TOPICS",
    "rules_of_acl",
    "rules_without_acl",
    "topic_in_rules",
    "without_system_writes",
]

SYSTEM_TOPICS: Final = "$SYS/#"

DOLLAR_TOPICS: Final = (
    "# does not reach topics that begin with $, other than $SYS to be read; write a rule for those that are in use"
)
"""Of what is permitted without a rule."""

_ACTIONS: Final[dict[Access, tuple[str, ...]]] = {
    Access.READ: ("read",),
    Access.WRITE: ("publish",),
    Access.READWRITE: ("publish", "read"),
    Access.DENY: ("publish", "read"),
}


def rules_of_acl(acl: AclFile, notes: Notes) -> Tiers:
    """The rules that decide as the file does; what cannot be written as a rule is noted."""
    _note_meaning(acl, notes)
    rules = {line: rule for line in acl.lines if (rule := _rule(line, notes)) is not None}
    patterns = _denials_first([rule for line, rule in rules.items() if line.is_pattern])
    own: dict[str | None, list[RuleLine]] = {}
    for line, rule in rules.items():
        if not line.is_pattern:
            own.setdefault(line.user, []).append(rule)
    sequences: list[Sequence[RuleLine]] = [[*_denials_first(each), *patterns] for each in own.values()]
    sequences.append(patterns)
    found = arranged(without_system_writes(sequences, Source(str(acl.path), 1)))
    if not found.rules[0]:
        nothing = RuleLine(False, "everyone", "", ("publish", "read"), "#", Source(str(acl.path), 1))
        return Tiers([[nothing]], [])
    return found


def rules_without_acl(path: Path, notes: Notes) -> Tiers:
    """Where there is no access control file, mosquitto lets everyone do everything but write ``$SYS``."""
    source = Source(str(path), 1)
    notes.differs(source, f"without an access control file everything is permitted: {DOLLAR_TOPICS}")
    everything = RuleLine(True, "everyone", "", ("publish", "read"), "#", source)
    return Tiers([[everything, RuleLine(True, "everyone", "", ("read",), SYSTEM_TOPICS, source)]], [])


def without_system_writes(sequences: Sequence[Sequence[RuleLine]], source: Source) -> list[Sequence[RuleLine]]:
    """The same with a denial in front where a rule lets someone write ``$SYS``, which mosquitto never does."""
    may_write = any(
        rule.permits and "publish" in rule.actions and rule.topic[:1] == "$" and intersects(rule.topic, SYSTEM_TOPICS)
        for sequence in sequences
        for rule in sequence
        if "{" not in rule.topic
    )
    if not may_write:
        return list(sequences)
    denial = RuleLine(False, "everyone", "", ("publish",), SYSTEM_TOPICS, source)
    return [[denial, *sequence] for sequence in sequences]


def _denials_first(rules: list[RuleLine]) -> list[RuleLine]:
    return sorted(rules, key=lambda rule: rule.permits)


def _rule(line: AclLine, notes: Notes) -> RuleLine | None:
    permits = line.access is not Access.DENY
    topic = topic_in_rules(line.topic, line.is_pattern, permits, line.source, notes)
    if topic is None:
        return None
    kind = "everyone" if line.is_pattern else "anonymous" if line.user is None else "user"
    return RuleLine(permits, kind, line.user or "", _ACTIONS[line.access], topic, line.source)


def topic_in_rules(topic: str, is_pattern: bool, permits: bool, source: Source, notes: Notes) -> str | None:
    """A topic as rules write it; None where a permit cannot be written. A denial is made wider instead."""
    if "{" in topic or "}" in topic:
        if permits:
            notes.left(source, f"{topic!r} has braces, which stand for attributes in rules; rename that topic")
            return None
        notes.differs(source, f"{topic!r} has braces; + stands in their place, so that more is denied")
        topic = "/".join("+" if "{" in level or "}" in level else level for level in topic.split("/"))
    return topic.replace("%u", "{user}").replace("%c", "{client}") if is_pattern else topic


def _note_meaning(acl: AclFile, notes: Notes) -> None:
    """What every access control file means a little differently, told at the first line that it is about."""
    reads = next((line for line in acl.lines if line.reads), None)
    if reads is not None:
        notes.differs(
            reads.source,
            "mosquitto grants every SUBSCRIBE and leaves out what may not be read; here one that could never bring "
            "anything is refused (0x87), any other is granted and filtered in the same way",
        )
    filled = next((line for line in acl.lines if line.is_pattern and ("%u" in line.topic or "%c" in line.topic)), None)
    if filled is not None:
        notes.differs(
            filled.source,
            "%u and %c stand for one level or a part of one: a user name or Client Identifier with / in it matches "
            "nothing here, and several levels there",
        )
    literal = next(
        (line for line in acl.lines if line.is_pattern and not ("%u" in line.topic or "%c" in line.topic)), None
    )
    if literal is not None:
        notes.differs(
            literal.source,
            "a pattern without %u and %c is about everyone here; mosquitto leaves out clients whose user name or "
            "Client Identifier has + or # in it",
        )
    by_client = next((line for line in acl.lines if line.is_pattern and "%c" in line.topic), None)
    if by_client is not None:
        notes.differs(
            by_client.source,
            "%c is what a client says of itself; bind identifiers to users with the policy client-id, as in "
            'patterns = ["{user}", "{user}-*"]',
        )
