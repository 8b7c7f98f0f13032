# -*- test-case-name: tests.cli.test_store -*-
"""Moves what belongs to a principal to another, or lets it go: sessions with their wills, and what it has written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mqttsecure.store.applying import apply_references
from mqttsecure.store.statements import ManyRows
from mqttsecure.store.tables import ENDED, RETAINED, SESSIONS

__all__ = ["Belongings", "Owner", "belongings", "reassign", "release"]


@dataclass(slots=True, frozen=True)
class Owner:
    """A principal: ``authority:name``."""

    authority: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Owner:
        """
        Raises:
            ValueError: it is none.
        """
        authority, colon, name = text.partition(":")
        if not authority or not colon or not name:
            raise ValueError(f"{text!r} is no principal; write authority:name, as `mqttsecure store info` shows them")
        return cls(authority, name)

    def __str__(self) -> str:
        return f"{self.authority}:{self.name}"


@dataclass(slots=True, frozen=True)
class Belongings:
    """How much belongs to a principal. ``messages`` counts all that it has written and that are kept somewhere."""

    sessions: int
    wills: int
    queued: int
    retained: int
    messages: int


def belongings(connection: sqlite3.Connection, owner: Owner) -> Belongings:
    """What belongs to ``owner``."""
    whose = (owner.authority, owner.name)
    ((sessions, wills),) = connection.execute(
        "SELECT count(*), count(will) FROM sessions WHERE authority = ? AND name = ?", whose
    ).fetchall()
    ((queued,),) = connection.execute(
        "SELECT count(*) FROM entries WHERE session IN (SELECT key FROM sessions WHERE authority = ? AND name = ?)",
        whose,
    ).fetchall()
    ((retained,),) = connection.execute(f"SELECT count(*) {_RETAINED_OF}", whose).fetchall()
    ((messages,),) = connection.execute(
        f"SELECT count(*) FROM messages WHERE writer IN ({_WRITERS_OF})",  # noqa: S608 - constants
        whose,
    ).fetchall()
    return Belongings(sessions, wills, queued, retained, messages)


_WRITERS_OF = (
    "SELECT id FROM writers WHERE json_extract(CAST(content AS TEXT), '$.principal.authority') = ? "
    "AND json_extract(CAST(content AS TEXT), '$.principal.name') = ?"
)
_RETAINED_OF = f"FROM retained AS r JOIN messages AS m ON m.id = r.message WHERE m.writer IN ({_WRITERS_OF})"


def reassign(connection: sqlite3.Connection, old: Owner, new: Owner) -> Belongings:
    """Let ``new`` have all that is ``old``'s, in one transaction; what that was."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = belongings(connection, old)
        changed = [(*row, key) for key, *row in _sessions_of(connection, old, new)]
        connection.executemany(
            "UPDATE sessions SET authority = ?, name = ?, facts = ?, will = ? WHERE key = ?", changed
        )
        writers = connection.execute(
            f"SELECT id, content FROM writers WHERE id IN ({_WRITERS_OF})",  # noqa: S608 - constants
            (old.authority, old.name),
        ).fetchall()
        connection.executemany(
            "UPDATE writers SET content = ? WHERE id = ?",
            [(_renamed(content, old, new), key) for key, content in writers],
        )
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.rollback()
    return found


def _sessions_of(connection: sqlite3.Connection, old: Owner, new: Owner) -> Iterator[tuple[Any, ...]]:
    rows = connection.execute("SELECT key, authority, name, facts, will FROM sessions").fetchall()
    for key, authority, name, facts, will in rows:
        is_old = (authority, name) == (old.authority, old.name)
        new_facts = _renamed(facts, old, new) if is_old else facts
        new_will = None if will is None else _renamed(will, old, new)
        if is_old or new_will != will:
            owner = new if is_old else Owner(authority, name)
            yield key, owner.authority, owner.name, new_facts, new_will


def _renamed(content: bytes, old: Owner, new: Owner) -> bytes:
    """The JSON with the one principal wherever the other was, spelled as the broker spells it."""
    return json.dumps(_rename(json.loads(content), old, new), separators=(",", ":"), sort_keys=True).encode()


def _rename(value: Any, old: Owner, new: Owner) -> Any:
    """Principals stand under the key ``principal``, also in what is within: a will has a writer and facts."""
    if not isinstance(value, dict):
        return value
    renamed = {key: _rename(each, old, new) for key, each in value.items() if key != "principal"}
    if "principal" in value:
        principal = value["principal"]
        if isinstance(principal, dict) and (principal.get("authority"), principal.get("name")) == (
            old.authority,
            old.name,
        ):
            principal = {**principal, "authority": new.authority, "name": new.name}
        renamed["principal"] = principal
    return renamed


def release(connection: sqlite3.Connection, owner: Owner) -> Belongings:
    """Let go of the sessions, wills and retained messages of ``owner``; what that was.

    What hangs on the sessions is removed by whoever opens the store next.
    """
    whose = (owner.authority, owner.name)
    rows = ManyRows(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = belongings(connection, owner)
        keys = connection.execute("SELECT key FROM sessions WHERE authority = ? AND name = ?", whose).fetchall()
        rows.delete(SESSIONS, keys)
        rows.put(ENDED, keys)
        retained = connection.execute(f"SELECT r.namespace, r.topic, r.message {_RETAINED_OF}", whose).fetchall()
        rows.delete(RETAINED, [(namespace, topic) for namespace, topic, _ in retained])
        apply_references({message: -1 for _, _, message in retained}, rows)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.rollback()
    return found
