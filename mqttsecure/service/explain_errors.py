# -*- test-case-name: tests.service.test_explain_errors -*-
"""Turns pydantic's errors into words that name what is wrong with a key, and the mend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mqttsecure.service.problems import Problems, did_you_mean, shown
from mqttsecure.service.schema import ConfigTables
from mqttsecure.service.toml_lines import KeyPath

__all__ = ["keys_of", "location_of", "what_is_wrong"]

_KINDS: Final = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "an array",
    "list_type": "an array",
    "set_type": "an array",
    "frozen_set_type": "an array",
    "dict_type": "a table",
    "model_type": "a table",
    "mapping_type": "a table",
}
"""What pydantic's types are called in TOML."""


def location_of(detail: ErrorDetails) -> KeyPath:
    """Where the error is, less what pydantic adds for members of a union, such as ``function-plain[f]``."""
    return tuple(part for part in detail["loc"] if isinstance(part, int) or "[" not in part)


def keys_of(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """The keys of a table, as they are written, with their fields."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def what_is_wrong(
    detail: ErrorDetails, model: type[BaseModel], prefix: KeyPath, problems: Problems, more_keys: tuple[str, ...] = ()
) -> str:
    """One error in words.

    Args:
        detail: from pydantic.
        model: the model of the table at ``prefix``.
        prefix: where the validated table stands in the file.
        problems: of this file, for its lines.
        more_keys: further keys that are valid directly in this table.
    """
    kind = detail["type"]
    location = location_of(detail)
    if kind == "extra_forbidden":
        return _unknown_key(model, prefix, location, problems, more_keys)
    if kind == "missing":
        return "is missing; add it" + _example_of(model, location)
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {shown(detail['input'])}" + _example_of(model, location)
    if kind == "literal_error":
        return _not_one_of(detail)
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind == "string_pattern_mismatch" and detail["ctx"]["pattern"].startswith("^[A-Za-z0-9]"):
        return f"{shown(detail['input'])} is not a valid name here; use 1 to 64 of the characters A-Z a-z 0-9 _ . -"
    message = detail["msg"].removeprefix("Input should ")
    return f"must {message}, not {shown(detail['input'])}" if message != detail["msg"] else message


def _not_one_of(detail: ErrorDetails) -> str:
    expected = str(detail["ctx"]["expected"]).replace("'", '"')
    words = [word.strip('" ') for part in expected.split(",") for word in part.split(" or ")]
    value = detail["input"]
    hint = did_you_mean(value, words) if isinstance(value, str) else ""
    return f"must be {expected}, not {shown(value)}" + (hint if "did you mean" in hint else "")


def _unknown_key(
    model: type[BaseModel], prefix: KeyPath, location: KeyPath, problems: Problems, more_keys: tuple[str, ...]
) -> str:
    name = str(location[-1])
    if name in keys_of(ConfigTables):
        misplaced = problems.misplaced(name)
        if misplaced is not None:
            return misplaced
    owner = _model_at(model, location[:-1])
    valid = set(keys_of(owner)) if owner is not None else set()
    if len(location) == 1:
        valid.update(more_keys)
    return "unknown key" + did_you_mean(name, valid)


def _example_of(model: type[BaseModel], location: KeyPath) -> str:
    """An example for the key at ``location``, where its model has one."""
    names = [part for part in location if isinstance(part, str)]
    owner = _model_at(model, location[: location.index(names[-1])]) if names else None
    field = None if owner is None else keys_of(owner).get(names[-1])
    if field is None or not field.examples or isinstance(field.examples[0], dict | list):
        return ""
    return f", such as {shown(field.examples[0])}"


def _model_at(model: type[BaseModel], location: KeyPath) -> type[BaseModel] | None:
    """The model of the table at ``location`` below ``model``."""
    found: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            continue
        field = None if found is None else keys_of(found).get(part)
        found = None if field is None else _model_within(field.annotation)
    return found


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """The table model inside ``tuple[Model, ...]``, ``Model | None`` and the like."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        model = _model_within(argument)
        if model is not None:
            return model
    return None
