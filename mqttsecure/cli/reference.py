# -*- test-case-name: tests.cli.test_reference -*-
"""Makes ``docs/reference/config.md`` from the configuration models and the built-in policies' options.

Run ``python -m mqttsecure.cli.reference docs/reference/config.md`` after a change of either; a test compares.
"""

from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mqttsecure.core.decisions import Role, Stage
from mqttsecure.policy.discovery import BUILT_IN
from mqttsecure.policy.registry import FoundFactory, PolicyRegistry
from mqttsecure.service.explain_errors import keys_of
from mqttsecure.service.quantities import format_duration, format_size
from mqttsecure.service.schema import ConfigTables, TlsTable

__all__ = ["Key", "describe_keys", "reference_page"]

"""The distribution whose policies the page describes."""

_KINDS = {str: "string", int: "whole number", float: "number", bool: "true or false", dict: "table"}

_HEAD = """\
# Configuration reference

`broker.toml` is [TOML](https://toml.io). The order of `[[policy]]` tables is the order of the chain. An unknown key is
an error, and so is a value of the wrong type: nothing is converted, nothing is ignored. Paths are relative to the file
that names them; a path `credential:NAME` is the systemd credential of that name. `mqttsecure check FILE` tells every
problem at once, with file, line, key and mend.

This page is made from the models that read the file: `python -m mqttsecure.cli.reference docs/reference/config.md`.
"""

_POLICIES = """
## Options of the built-in policies

They stand in the `[[policy]]` table beside the keys above. At each stage a policy *grants* (it may permit) or
*restricts* (it can only deny or demand); see [the chain](chain.md).
"""


@dataclass(slots=True, frozen=True)
class Key:
    """One key of a table, in words."""

    name: str
    kind: str
    default: str
    example: str
    description: str


def describe_keys(model: type[BaseModel]) -> list[Key]:
    """The keys of a table, in the order in which they are declared."""
    return [_describe(name, field) for name, field in keys_of(model).items()]


def _describe(name: str, field: FieldInfo) -> Key:
    quantity = _quantity_of(field)
    example = "" if not field.examples else _toml(field.examples[0])
    return Key(name, quantity or _kind(field.annotation), _default(field, quantity), example, field.description or "")


def _quantity_of(field: FieldInfo) -> str:
    """ "size" or "time" for a key that takes units, which its example shows."""
    example = field.examples[0] if field.examples else None
    if not isinstance(example, str) or field.annotation not in (int, float):
        return ""
    return "size" if example.endswith("B") else "time"


def _default(field: FieldInfo, quantity: str) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "none"
    if quantity:
        return _toml(format_size(int(value)) if quantity == "size" else format_duration(float(value)))
    return _toml(value)


def _toml(value: Any) -> str:
    """A value as it is written in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, BaseModel):
        value = value.model_dump(by_alias=True)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + " }" if value else "{}"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _kind(annotation: Any) -> str:
    """A type in the words of TOML."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return " or ".join(_toml(each) for each in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(each) for each in arguments if each is not type(None))
    if origin in (list, tuple, set, frozenset):
        return f"array of {_plural(_kind(arguments[0]))}" if arguments else "array"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    return _KINDS.get(origin or annotation, "value")


def _plural(kind: str) -> str:
    return f"{kind}s" if kind in {"string", "number", "whole number", "table"} else kind


def reference_page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name, field in ConfigTables.model_fields.items():
        model = _model_of(field.annotation)
        parts.append(_section(f"## {_summary_title(name, model)}", model))
        if name == "listener":
            parts.append(_section("### `tls` of a listener", TlsTable))
    parts.append(_POLICIES)
    parts += [_policy_section(found) for found in PolicyRegistry().all() if found.distribution == BUILT_IN]
    return "\n".join(parts)


def _model_of(annotation: Any) -> type[BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return _model_of(get_args(annotation)[0])


def _summary_title(name: str, model: type[BaseModel]) -> str:
    """``[[listener]]`` or ``[limits]``: the docstring of each model begins with it."""
    return (model.__doc__ or name).partition(":")[0]


def _section(title: str, model: type[BaseModel]) -> str:
    text = (model.__doc__ or "").partition(": ")[2].strip() or (model.__doc__ or "")
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    if paragraphs and paragraphs[0]:
        paragraphs[0] = paragraphs[0][0].upper() + paragraphs[0][1:]
    return "\n".join([title, "", "\n\n".join(paragraphs), "", _rows(describe_keys(model))])


def _rows(keys: list[Key]) -> str:
    if not keys:
        return "It has no options.\n"
    lines = ["| key | type | default | effect | example |", "| --- | --- | --- | --- | --- |"]
    for key in keys:
        cells = [_code(key.name), _cell(key.kind), _code(key.default), _cell(key.description)]
        cells.append(_code(f"{key.name} = {key.example}") if key.example else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: str) -> str:
    return text if text in {"required", "none"} else f"`{_cell(text)}`"


def _policy_section(found: FoundFactory) -> str:
    factory = found.factory
    stages = [f"{stage.value} {_ROLES[factory.stages[stage]]}" for stage in Stage if stage in factory.stages]
    summary = str(factory.summary)
    head = [f"### `{found.name}`", "", f"{summary[0].upper()}{summary[1:]}. Stages: {', '.join(stages)}.", ""]
    return "\n".join([*head, _rows(describe_keys(factory.options))])


_ROLES = {Role.GRANTS: "(grants)", Role.RESTRICTS: "(restricts)"}


def main(arguments: list[str]) -> int:
    """Write the page to the file named, or to stdout."""
    page = reference_page()
    if arguments:
        Path(arguments[0]).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
