# -*- test-case-name: tests.service.test_limits_table -*-
"""The ``[limits]`` table, made from :class:`mqttsecure.core.limits.Limits` so that the two cannot differ.

Keys, defaults and texts are those of the dataclass. Sizes and times may carry a unit.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from mqttsecure.core.limits import Limits
from mqttsecure.service.quantities import format_duration, format_size, parse_duration, parse_size

__all__ = ["LimitsTable", "limits_of"]

_SIZES: Final = frozenset(
    field.name
    for field in dataclasses.fields(Limits)
    if field.name.endswith(("_bytes", "_bytes_total", "_packet_size"))
)
_DURATIONS: Final = frozenset(
    field.name
    for field in dataclasses.fields(Limits)
    if field.name.endswith(("_timeout", "_linger", "_interval", "_expiry", "_keep_alive"))
)

_WORDS: Final[dict[str, tuple[str, ...]]] = {
    field.name: get_args(get_type_hints(Limits)[field.name])
    for field in dataclasses.fields(Limits)
    if isinstance(field.default, str)
}

_RANGES: Final[dict[str, tuple[float, float | None]]] = {
    # From the standard: a packet is at most what four length bytes can say (v5.0 section 2.1.4; not with its fixed
    # header on top, since clients refuse a CONNACK that announces more); the others are Two or Four Byte Integers, of
    # which 0 is a Protocol Error or means "none".
    "maximum_packet_size": (64, 268_435_455),
    "connect_packet_size": (64, 268_435_455),
    "receive_maximum": (1, 65_535),
    "maximum_inflight": (1, 65_535),
    "topic_alias_maximum": (0, 65_535),
    "maximum_keep_alive": (1, 65_535),
    "maximum_session_expiry": (0, 0xFFFFFFFF),
    "maximum_topic_bytes": (1, 65_535),
    "maximum_topic_levels": (1, 65_535),
    # Budgets of which "none" makes sense.
    "maximum_queued_messages": (0, None),
    "maximum_queued_bytes": (0, None),
    "maximum_stored_bytes": (0, None),
    "maximum_will_bytes_total": (0, None),
    "maximum_memory_bytes": (0, None),
    "maximum_retained_messages": (0, None),
    "maximum_retained_bytes": (0, None),
    "maximum_cached_decisions": (0, None),
    # A time-out of nothing would refuse everybody, one of days would be none.
    "connect_timeout": (0.1, 600),
    "close_linger": (0, 60),
    "revocation_timeout": (0.1, 60),
    "slow_reader_patience": (0.1, 3600),
    "sys_interval": (0, 86_400),
}


def _descriptions() -> dict[str, str]:
    """The strings below the dataclass's fields, which Python itself does not keep."""
    try:
        body = ast.parse(inspect.getsource(Limits)).body[0]
    except OSError:  # no source at hand, as in a compiled build; the page is made from a checkout
        return {}
    if not isinstance(body, ast.ClassDef):
        return {}
    texts: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            texts[field.target.id] = ast.literal_eval(text.value)
    return texts


def _whole_seconds(value: object) -> int:
    seconds = parse_duration(value)
    if seconds != int(seconds):
        raise ValueError('must be a whole number of seconds, such as "90s"')
    return int(seconds)


def _example(name: str, default: float) -> object:
    """A value other than the default, written as a person would."""
    if name in _SIZES:
        return format_size(int(default) * 2)
    if name in _DURATIONS:
        return format_duration(default * 2)
    return int(default) * 2


def _field(field: dataclasses.Field[Any], description: str) -> tuple[Any, Any]:
    low, high = _RANGES.get(field.name, (1, None))
    kind: Any = type(field.default)
    if field.name in _WORDS:
        words = _WORDS[field.name]
        other = next(each for each in words if each != field.default)
        return Literal[words], Field(field.default, description=description, examples=[other])
    if field.name in _SIZES:
        kind = Annotated[int, BeforeValidator(parse_size)]
    elif field.name in _DURATIONS:
        kind = Annotated[kind, BeforeValidator(_whole_seconds if kind is int else parse_duration)]
    default: Any = field.default
    example = _example(field.name, default)
    return kind, Field(field.default, ge=low, le=high, description=description, examples=[example])


def _make_table() -> type[BaseModel]:
    descriptions = _descriptions()
    fields: dict[str, Any] = {
        field.name: _field(field, descriptions.get(field.name, "")) for field in dataclasses.fields(Limits)
    }
    return create_model(
        "LimitsTable",
        __config__=ConfigDict(strict=True, extra="forbid", frozen=True),
        __doc__="`[limits]`: bounds on peers. Sizes are bytes or as in `256KiB`; times are seconds or as in `7d`.",
        **fields,
    )


if TYPE_CHECKING:

    class LimitsTable(BaseModel):
        """Stands for the model that is made below, which a type checker cannot see."""
else:
    LimitsTable = _make_table()


def limits_of(table: BaseModel) -> Limits:
    """The core's limits for a validated ``[limits]`` table."""
    return Limits(**table.model_dump())
