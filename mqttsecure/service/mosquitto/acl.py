# -*- test-case-name: tests.service.mosquitto.test_acl -*-
"""Access control files of mosquitto, line by line."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mqttsecure.core.decisions import Source
from mqttsecure.errors import MqttError
from mqttsecure.service.mosquitto.notes import Notes, read_text_file
from mqttsecure.wire.topics import check_topic_filter

__all__ = ["Access", "AclFile", "AclLine", "read_acl"]


class Access(enum.Enum):
    """The words of an access control file; ``topic`` without one of them is readwrite."""

    READ = "read"
    WRITE = "write"
    READWRITE = "readwrite"
    DENY = "deny"


_WORDS: Final = {access.value: access for access in Access}


@dataclass(slots=True, frozen=True)
class AclLine:
    """One ``topic`` or ``pattern`` line; ``user`` is whom a ``topic`` is about, None for clients without a name."""

    is_pattern: bool
    user: str | None
    access: Access
    topic: str
    source: Source

    @property
    def reads(self) -> bool:
        return self.access in (Access.READ, Access.READWRITE)

    @property
    def writes(self) -> bool:
        return self.access in (Access.WRITE, Access.READWRITE)


@dataclass(slots=True, frozen=True)
class AclFile:
    """All lines, in order."""

    path: Path
    lines: Sequence[AclLine]


def read_acl(path: Path, notes: Notes) -> AclFile:
    """Read an access control file; lines that mosquitto would refuse as well are noted.

    Raises:
        ConfigError: it cannot be read.
    """
    user: str | None = None
    nobody = False
    lines: list[AclLine] = []
    for number, text in enumerate(read_text_file(path).split("\n"), 1):
        source = Source(str(path), number)
        word, _, rest = text.strip().partition(" ")
        rest = rest.strip()
        if not word or word.startswith("#"):
            continue
        if word == "user":
            if not rest:
                notes.left(source, "`user` without a name, with the lines below it; name the user")
            user, nobody = rest, not rest
        elif word in ("topic", "pattern"):
            line = _line(word == "pattern", user, rest, source, notes)
            if line is not None and not (nobody and word == "topic"):
                lines.append(line)
        else:
            notes.left(source, f"{word!r} begins no line of an access control file; remove the line")
    return AclFile(path, lines)


def _line(is_pattern: bool, user: str | None, text: str, source: Source, notes: Notes) -> AclLine | None:
    word, space, rest = text.partition(" ")
    if not space:
        access, topic = Access.READWRITE, text
    elif word in _WORDS:
        access, topic = _WORDS[word], rest.strip()
    else:
        notes.left(source, f"{word!r} is no access; write read, write, readwrite or deny, and run the import again")
        return None
    try:
        check_topic_filter(topic)
    except MqttError as error:
        notes.left(source, f"{topic!r}: {error}")
        return None
    return AclLine(is_pattern, None if is_pattern else user, access, topic, source)
