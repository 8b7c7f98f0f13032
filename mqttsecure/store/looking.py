# -*- test-case-name: tests.cli.test_store -*-
"""Looks into a store without changing it, also while a broker writes to it: what is in it, and whether it is sound."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from mqttsecure.errors import ConfigError
from mqttsecure.store.damage import DAMAGE, is_damage
from mqttsecure.store.invariants import find_faults
from mqttsecure.store.places import beside
from mqttsecure.store.schema import Damaged, Schema
from mqttsecure.store.tables import ALL

__all__ = ["Unsound", "describe", "find_damage", "opened_to_read"]

_PATIENCE: Final = 10.0
"""Seconds to wait while a broker makes the WAL anew."""

_MOST_FAULTS: Final = 20
"""Lines of `PRAGMA integrity_check` that are told; a damaged page brings hundreds."""


class Unsound(ConfigError):
    """The file is damaged so much that it cannot be looked into."""


@contextmanager
def opened_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads, and sees one state of the file as long as it is in a transaction.

    Raises:
        ConfigError: there is no such store.
        Unsound: it is damaged.
    """
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; is it the `file` of [store], and has the broker run?")
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=_PATIENCE, isolation_level=None
        )
        connection.execute("PRAGMA temp_store = MEMORY")
        Schema().check(connection, path)
        yield connection
    except DAMAGE as error:
        if isinstance(error, UnicodeDecodeError | Damaged) or is_damage(error):
            raise Unsound(f"{path} is damaged: {error}; start the broker, which keeps what can be read") from error
        raise ConfigError(f"{path} cannot be read: {error}; check the owner and mode of it and its folder") from error
    finally:
        if connection is not None:
            connection.close()


def describe(connection: sqlite3.Connection, path: Path) -> dict[str, Any]:
    """What is in it: counts, bytes, whose it is, and what was lost last."""
    connection.execute("BEGIN")
    try:
        rows = {table.name: _number(connection, f"SELECT count(*) FROM {table.name}") for table in ALL}  # noqa: S608
        return {
            "file": str(path),
            "schema": _number(connection, "PRAGMA user_version"),
            "bytes": path.stat().st_size,
            "wal_bytes": beside(path, "-wal").stat().st_size if beside(path, "-wal").exists() else 0,
            "rows": rows,
            "message_bytes": _number(
                connection, "SELECT coalesce(sum(length(payload) + coalesce(length(properties), 0)), 0) FROM messages"
            ),
            "connected_sessions": _number(connection, "SELECT count(*) FROM sessions WHERE left_at IS NULL"),
            "wills": _number(connection, "SELECT count(*) FROM sessions WHERE will IS NOT NULL"),
            "principals": _principals(connection),
            "losses": [
                {"at": at, "text": text}
                for at, text in connection.execute("SELECT at, text FROM losses ORDER BY rowid DESC LIMIT 100")
            ],
        }
    finally:
        connection.rollback()


def _number(connection: sqlite3.Connection, text: str) -> int:
    ((number,),) = connection.execute(text).fetchall()
    return int(number)


def _principals(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """What each principal has in it, those with the most bytes first."""
    found: dict[str, dict[str, Any]] = {}

    def of(authority: str | None, name: str | None) -> dict[str, Any]:
        principal = f"{authority}:{name}"
        empty = {"principal": principal, "sessions": 0, "queued": 0, "queued_bytes": 0, "retained": 0}
        return found.setdefault(principal, empty)

    for authority, name, sessions, queued, octets in connection.execute(
        """
        SELECT authority, name, count(*), total(queued), total(octets) FROM sessions
        LEFT JOIN (SELECT session, count(*) AS queued, sum(octets) AS octets FROM entries GROUP BY session)
            ON session = key
        GROUP BY authority, name
        """
    ):
        of(authority, name).update(sessions=sessions, queued=int(queued), queued_bytes=int(octets))
    for authority, name, retained in connection.execute(
        """
        SELECT json_extract(CAST(w.content AS TEXT), '$.principal.authority'),
            json_extract(CAST(w.content AS TEXT), '$.principal.name'), count(*)
        FROM retained AS r JOIN messages AS m ON m.id = r.message JOIN writers AS w ON w.id = m.writer GROUP BY 1, 2
        """
    ):
        of(authority, name)["retained"] = retained
    return sorted(found.values(), key=lambda each: (-each["queued_bytes"], each["principal"]))


def find_damage(connection: sqlite3.Connection) -> tuple[list[str], dict[str, int]]:
    """What SQLite finds wrong with the file, and how many rows do not fit, by what is wrong with them."""
    found = [text for (text,) in connection.execute(f"PRAGMA integrity_check({_MOST_FAULTS})")]
    if found != ["ok"]:
        return found, {}
    connection.execute("BEGIN")
    try:
        faults = find_faults(connection)
    finally:
        connection.rollback()
    return [f"{fault.rows} {fault.text}" for fault in faults], {fault.name: fault.rows for fault in faults}
