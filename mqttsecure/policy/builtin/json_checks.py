# -*- test-case-name: tests.policy.builtin.test_json_checks -*-
"""JSON as strict as RFC 8259 lets it be, and schemas for it, with what both may cost.

A schema is the configuration's and its author is trusted, but the documents are strangers'. So what a document can
make a check cost is bounded: its depth, how many values it has, and how long a text may be that a pattern is tried on.
Patterns that can take more than quadratic time are refused when the schema is read, and nothing is ever fetched.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.options import read_text

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import sre_constants
    import sre_parse

__all__ = ["JsonFault", "JsonSchema", "check_shape", "parse_json"]

MAXIMUM_SCHEMA_BYTES: Final = 256 * 1024
MAXIMUM_PATTERN: Final = 512
MAXIMUM_PATTERN_TEXT: Final = 1024
"""Characters of a text that a pattern is tried on: a million steps at worst, some milliseconds."""

_FEW: Final = 16
"""Repetitions up to which one counts as none: `\\d{1,16}` takes no time worth the name."""

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_SHOWN: Final = 80


class JsonFault(Exception):
    """Bytes that are no JSON, or none that may pass. The text holds nothing of them but short names."""


def parse_json(payload: bytes) -> Any:
    """The document.

    Raises:
        JsonFault: it is no JSON in UTF-8, or means different things to different readers.
    """
    try:
        text = payload.decode("utf-8")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number, parse_float=_finite)
    except UnicodeDecodeError:
        raise JsonFault("it is no UTF-8") from None
    except RecursionError:
        raise JsonFault("it is nested too deeply") from None
    except ValueError:
        raise JsonFault("it is no JSON") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonFault("an object in it has a name twice, of which readers take one or the other")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise JsonFault("a number in it is too large")
    return number


def _no_number(text: str) -> NoReturn:
    raise JsonFault(f"{text} is no number in JSON")


def check_shape(document: Any, maximum_depth: int, maximum_values: int, longest_text: int | None = None) -> None:
    """Refuse what would cost too much to look at.

    Raises:
        JsonFault: it is deeper, or has more values, or a longer text, than it may.
    """
    level = [document]
    depth = values = 0
    while level:
        depth += 1
        values += len(level)
        if depth > maximum_depth:
            raise JsonFault(f"it is nested more than {maximum_depth} deep")
        if values > maximum_values:
            raise JsonFault(f"it has more than {maximum_values} values")
        if longest_text is not None and any(len(text) > longest_text for text in _texts(level)):
            raise JsonFault(f"a text in it has more than {longest_text} characters, and a pattern is to be tried on it")
        level = list(_children(level))


def _texts(level: list[Any]) -> Iterator[str]:
    for each in level:
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            yield from each


def _children(level: list[Any]) -> Iterator[Any]:
    for each in level:
        if isinstance(each, dict):
            yield from each.values()
        elif isinstance(each, list):
            yield from each


class JsonSchema:
    """A schema (draft 2020-12) out of a file."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            ConfigError: the file cannot be used.
        """
        try:
            schema = parse_json(read_text(path, MAXIMUM_SCHEMA_BYTES).encode("utf-8"))
            if not isinstance(schema, dict):
                raise JsonFault('it is no object; write {"type": "object", ...}')
            if schema.get("$schema", _DRAFT).rstrip("#") != _DRAFT:
                raise JsonFault(f"its $schema is another draft; write {_DRAFT}, or leave it out")
            check_shape(schema, 64, 20_000)
            self._check(schema)
        except JsonFault as fault:
            raise ConfigError(f"{path}: {fault}") from None
        except AttributeError:
            raise ConfigError(f"{path}: its $schema is no text") from None

    def _check(self, schema: dict[str, Any]) -> None:
        try:
            Draft202012Validator.check_schema(schema)
        except (SchemaError, RecursionError) as error:
            what = getattr(error, "message", "nested too deeply")
            raise JsonFault(f"it is no schema: {what:.200}") from None
        self.has_patterns = False
        self._resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
        for keyword, value in _keywords(schema):
            self._check_keyword(keyword, value)
        # An empty registry: what a reference names is in this file or nowhere, and nothing is fetched.
        self._validator = Draft202012Validator(schema, registry=Registry())

    def _check_keyword(self, keyword: str, value: Any) -> None:
        if keyword in ("$dynamicRef", "$recursiveRef"):
            raise JsonFault(f"{keyword} is not taken; write $ref")
        if keyword == "$ref" and isinstance(value, str):
            try:
                self._resolver.lookup(value)
            except Unresolvable:
                raise JsonFault(f"$ref {value!r:.{_SHOWN}} is not in this file, and nothing is fetched") from None
        if keyword == "uniqueItems" and value is True:
            raise JsonFault("uniqueItems is not taken: it compares each item with each other")
        if keyword == "pattern" and isinstance(value, str):
            self._check_pattern(value)
        if keyword == "patternProperties" and isinstance(value, dict):
            for pattern in value:
                self._check_pattern(pattern)

    def _check_pattern(self, pattern: str) -> None:
        self.has_patterns = True
        try:
            if len(pattern) > MAXIMUM_PATTERN:
                raise ValueError(f"it is longer than {MAXIMUM_PATTERN} characters")
            parsed = sre_parse.parse(pattern)
            degree = _degree(parsed) + (0 if pattern.startswith(("^", r"\A")) and "|" not in pattern else 1)
        except (re.error, RecursionError, OverflowError) as error:
            raise JsonFault(f"pattern {pattern!r:.{_SHOWN}} is none: {error}") from None
        except ValueError as error:
            raise JsonFault(f"pattern {pattern!r:.{_SHOWN}}: {error}") from None
        if degree > 2:
            raise JsonFault(
                f"pattern {pattern!r:.{_SHOWN}} can take very long on some texts; begin it with ^ and repeat without "
                "an end (*, +) at most twice"
            )

    def check(self, document: Any) -> None:
        """
        Raises:
            JsonFault: the document is not as the schema wants it.
        """
        try:
            error: ValidationError | None = next(self._validator.iter_errors(document), None)
        except RecursionError:
            raise JsonFault("it is nested too deeply for its schema") from None
        except ArithmeticError:
            raise JsonFault("a number in it is too large for its schema") from None
        if error is not None:
            where = "/".join(str(each) for each in error.absolute_path)
            raise JsonFault(f"{error.validator} of its schema does not hold at {'/' + where:.{_SHOWN}}")


def _keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every member of every object in the schema: more than are keywords, and so all that are."""
    level = [schema]
    while level:
        for each in level:
            if isinstance(each, dict):
                yield from each.items()
        level = list(_children(level))


def _degree(parsed: Any) -> int:
    """How many repetitions without an end stand side by side.

    Raises:
        ValueError: one stands within another, or it looks back at what it matched.
    """
    found = 0
    for operator, argument in parsed:
        if operator in (sre_constants.GROUPREF, sre_constants.GROUPREF_EXISTS):
            raise ValueError("it refers back to a group; write it without")
        if operator in (sre_constants.ASSERT, sre_constants.ASSERT_NOT):
            raise ValueError("it looks ahead or behind; write it without")
        if operator in (sre_constants.MAX_REPEAT, sre_constants.MIN_REPEAT, sre_constants.POSSESSIVE_REPEAT):
            _, most, inner = argument
            below = _degree(inner)
            if most == sre_constants.MAXREPEAT or most > _FEW:
                if below or _repeats(inner):
                    raise ValueError("a repetition stands within another; write it without")
                found += 1
            else:
                found += below * most
        elif operator is sre_constants.BRANCH:
            found += max((_degree(each) for each in argument[1]), default=0)
        elif operator is sre_constants.SUBPATTERN:
            found += _degree(argument[3])
        elif operator is sre_constants.ATOMIC_GROUP:
            found += _degree(argument)
    return found


def _repeats(parsed: Any) -> bool:
    """Whether anything in it can match in more than one length or way."""
    for operator, argument in parsed:
        if operator in (sre_constants.MAX_REPEAT, sre_constants.MIN_REPEAT, sre_constants.BRANCH):
            return True
        if operator is sre_constants.SUBPATTERN and _repeats(argument[3]):
            return True
        if operator is sre_constants.ATOMIC_GROUP and _repeats(argument):
            return True
    return False
