# -*- test-case-name: tests.service.test_logging -*-
"""The log: one line per event, as text or as JSON, safe against what peers put into names.

Nothing here knows payloads or passwords: they never reach the log. But Client Identifiers, user names and topics come
from the network, so control characters are escaped and lengths bounded.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TextIO

from twisted.logger import FilteringLogObserver, ILogObserver, LogEvent, LogLevel, LogLevelFilterPredicate, formatEvent
from zope.interface import implementer

__all__ = ["LineLogObserver", "escape", "log_observer"]

MAXIMUM_LINE: Final = 4096
"""Characters of one event's text: longer than any line of ours; a peer cannot fill a disk with few."""

MAXIMUM_TRACEBACK: Final = 16_384
"""Characters of a traceback, which is our own text but may hold a peer's."""

MAXIMUM_FIELD: Final = 1024
"""Characters of one field of a JSON line."""

_OLD_KEYS: Final = frozenset({"message", "time", "isError", "format", "system", "logLevel", "why"})
"""What Twisted adds to events for its older logging interface."""

_JSON_SCALARS: Final = (str, int, float, bool, type(None))


def escape(text: str, maximum: int = MAXIMUM_LINE) -> str:
    """``text`` in one printable line of at most ``maximum`` characters (and a mark where it was cut).

    Whatever is not printable is written as an escape: line ends and terminal controls, but also the invisible and the
    right-to-left marks that make a line read as what it is not.
    """
    cut = text[:maximum]
    if not cut.isprintable():
        cut = "".join(_escaped(character) for character in cut)
    return cut if len(text) <= maximum else f"{cut}...({len(text) - maximum} more)"


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def _time_of(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level_of(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def _traceback_of(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return "" if failure is None else failure.getTraceback()


def format_text(event: LogEvent) -> str:
    """``2026-05-01T10:00:00.000Z info mqttsecure.service.broker: listening on tls 127.0.0.1:8883``.

    A traceback follows on the same line, its line ends escaped: one event, one line, so that no peer can forge one.
    """
    parts = [_time_of(event), _level_of(event), f"{escape(str(event.get('log_namespace', '-')), 128)}:"]
    parts.append(escape(formatEvent(event)))
    traceback = _traceback_of(event)
    if traceback:
        parts.append(f"[traceback: {escape(traceback, MAXIMUM_TRACEBACK)}]")
    return " ".join(part for part in parts if part)


def format_json(event: LogEvent) -> str:
    """One JSON object: time, level, source, message, the traceback if any, and the event's own fields in ``fields``."""
    line: dict[str, object] = {
        "time": _time_of(event),
        "level": _level_of(event),
        "source": escape(str(event.get("log_namespace", "-")), 128),
        "message": escape(formatEvent(event)),
    }
    traceback = _traceback_of(event)
    if traceback:
        line["traceback"] = traceback[:MAXIMUM_TRACEBACK]
    fields = {key: _json_value(value) for key, value in event.items() if _is_own_field(key)}
    if fields:
        line["fields"] = fields
    return json.dumps(line, ensure_ascii=True, allow_nan=False)


def _is_own_field(key: str) -> bool:
    # Twisted's own keys, and those it adds for its older logging interface.
    return not key.startswith("log_") and key not in {
        "message",
        "time",
        "isError",
        "format",
        "system",
        "logLevel",
        "why",
    }


def _json_value(value: object) -> object:
    if isinstance(value, str):
        return escape(value, MAXIMUM_FIELD)
    if isinstance(value, float) and value - value != 0:  # infinities and NaN are not JSON
        return str(value)
    if isinstance(value, _JSON_SCALARS):
        return value
    return escape(str(value), MAXIMUM_FIELD)


@implementer(ILogObserver)
class LineLogObserver:
    """Writes each event as one line to ``stream`` and flushes it, so that a log that is followed is never behind."""

    def __init__(self, stream: TextIO, format_event: Callable[[LogEvent], str]) -> None:
        self._stream = stream
        self._format_event = format_event

    def __call__(self, event: LogEvent) -> None:
        line = self._format_event(event)
        self._stream.write(f"{line}\n")
        self._stream.flush()


def log_observer(stream: TextIO, style: str = "text", level: str = "info") -> ILogObserver:
    """The observer for the ``[log]`` table.

    Args:
        stream: where the lines go.
        style: "text" or "json".
        level: the lowest level that is written: "debug", "info", "warn", "error" or "critical".
    """
    observer = LineLogObserver(stream, format_json if style == "json" else format_text)
    lowest = LogLevel.lookupByName(level)
    predicate = LogLevelFilterPredicate(defaultLogLevel=lowest)
    if lowest < LogLevel.warn:
        # Twisted's older parts tell of factories that start and ports that close, which is said better by ourselves.
        predicate.setLogLevelForNamespace("log_legacy", LogLevel.warn)
    return FilteringLogObserver(observer, [predicate])
