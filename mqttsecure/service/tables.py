# -*- test-case-name: tests.service.test_config -*-
"""Validates a parsed file table by table, so that a fault in one does not hide those in the others.

A table with a wrong key is kept without that key, or left out where it cannot be read without it; either way its
problem is noted, and the rest of the file is checked as if it were right. Nothing that was mended so is ever served.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mqttsecure.service.explain_errors import keys_of, location_of, what_is_wrong
from mqttsecure.service.limits_table import LimitsTable
from mqttsecure.service.problems import Problems
from mqttsecure.service.schema import (
    AliasTable,
    AuditTable,
    AuthorityTable,
    ConfigTables,
    ControlTable,
    DevelopmentTable,
    ListenerTable,
    LogTable,
    PluginsTable,
    PolicyTable,
    ReloadTable,
    ShadowTable,
    StoreTable,
    TestsTable,
)

__all__ = ["Tables", "read_tables"]

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(slots=True)
class Tables:
    """The tables that could be read; arrays of tables by their position in the file, counted from 0.

    ``mended`` holds the paths of tables that were read without some wrong key of theirs.
    """

    document: dict[str, Any]
    limits: LimitsTable
    plugins: PluginsTable
    development: DevelopmentTable
    log: LogTable
    tests: TestsTable
    audit: AuditTable
    control: ControlTable
    shadow: ShadowTable
    reload: ReloadTable
    store: StoreTable
    listener: dict[int, ListenerTable] = field(default_factory=dict)
    authority: dict[int, AuthorityTable] = field(default_factory=dict)
    policy: dict[int, PolicyTable] = field(default_factory=dict)
    alias: dict[int, AliasTable] = field(default_factory=dict)
    mended: set[tuple[str | int, ...]] = field(default_factory=set)

    def names_of(self, section: str, key: str = "name") -> set[str]:
        """All names in an array of tables, also of those that could not be read."""
        items = self.document.get(section)
        if not isinstance(items, list):
            return set()
        return {item[key] for item in items if isinstance(item, dict) and isinstance(item.get(key), str)}


def read_tables(document: dict[str, Any], problems: Problems) -> Tables:
    """Validate ``document``, noting every problem of every table."""
    _check_top_level(document, problems)
    reader = _Reader(document, problems)
    tables = Tables(
        document,
        limits=reader.one("limits", LimitsTable),
        plugins=reader.one("plugins", PluginsTable),
        development=reader.one("development", DevelopmentTable),
        log=reader.one("log", LogTable),
        tests=reader.one("tests", TestsTable),
        audit=reader.one("audit", AuditTable),
        control=reader.one("control", ControlTable),
        shadow=reader.one("shadow", ShadowTable),
        reload=reader.one("reload", ReloadTable),
        store=reader.one("store", StoreTable),
    )
    tables.listener = reader.many("listener", ListenerTable)
    tables.authority = reader.many("authority", AuthorityTable)
    tables.policy = reader.many("policy", PolicyTable)
    tables.alias = reader.many("alias", AliasTable)
    tables.mended = reader.mended
    return tables


def _check_top_level(document: dict[str, Any], problems: Problems) -> None:
    valid = keys_of(ConfigTables)
    for name in document:
        if name not in valid:
            problems.add_unknown_key((name,), valid)


class _Reader:
    """Reads tables one by one."""

    def __init__(self, document: dict[str, Any], problems: Problems) -> None:
        self._document = document
        self._problems = problems
        self.mended: set[tuple[str | int, ...]] = set()

    def one(self, section: str, model: type[_Model]) -> _Model:
        value = self._document.get(section, {})
        if not isinstance(value, dict):
            self._problems.add((section,), f"must be a table; write `[{section}]`")
            return model()
        return self._read(value, model, (section,)) or model()

    def many(self, section: str, model: type[_Model]) -> dict[int, _Model]:
        value = self._document.get(section, [])
        if not isinstance(value, list):
            self._problems.add((section,), f"must be an array of tables; write `[[{section}]]`")
            return {}
        found: dict[int, _Model] = {}
        for index, item in enumerate(value):
            table = self._read(item, model, (section, index))
            if table is not None:
                found[index] = table
        return found

    def _read(self, value: object, model: type[_Model], path: tuple[str | int, ...]) -> _Model | None:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            details = error.errors()
        self.mended.add(path)
        for detail in details:
            what = what_is_wrong(detail, model, path, self._problems)
            self._problems.add(path + location_of(detail), what)
        for detail in details:
            value = _without(value, location_of(detail))
        try:
            return model.model_validate(value)
        except ValidationError:
            return None  # its problems are noted above; what is new comes from the keys just taken away


def _without(value: Any, location: tuple[str | int, ...]) -> Any:
    """``value`` less the key at ``location``; an array with a wrong item goes as a whole, to keep no numbers wrong."""
    if not location or not isinstance(value, dict) or location[0] not in value:
        return value
    key = location[0]
    rest = dict(value)
    if len(location) > 1 and isinstance(value[key], dict):
        rest[key] = _without(value[key], location[1:])
    else:
        del rest[key]
    return rest
