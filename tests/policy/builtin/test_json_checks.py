"""Tests for mqttsecure.policy.builtin.json_checks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.json_checks import MAXIMUM_PATTERN_TEXT, JsonFault, JsonSchema, check_shape, parse_json

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


class ParseTests(SynchronousTestCase):
    """What is JSON."""

    @given(_json)
    def test_what_json_writes_is_read(self, document: Any) -> None:
        """Any document comes through."""
        self.assertEqual(parse_json(json.dumps(document).encode()), document)

    @settings(deadline=None)
    @given(st.binary(max_size=100))
    def test_anything_else_is_a_fault(self, payload: bytes) -> None:
        """No bytes lead to another exception."""
        try:
            parse_json(payload)
        except JsonFault:
            pass

    def test_table_of_faults(self) -> None:
        """Other encodings, names twice, numbers that are none, depths without end."""
        for payload, text in (
            (b"", "no JSON"),
            (b"{", "no JSON"),
            (b"\xff", "no UTF-8"),
            ('{"a": 1}'.encode("utf-16"), "no UTF-8"),
            (b"\xef\xbb\xbf{}", "no JSON"),
            (b'{"a": 1, "a": 2}', "a name twice"),
            (b"NaN", "NaN"),
            (b"[-Infinity]", "Infinity"),
            (b"[" * 100_000, "nested too deeply"),
            (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
            (b"1" * 5000, "no JSON"),
            (b"[1e999]", "too large"),
        ):
            self.assertIn(text, str(self.assertRaises(JsonFault, parse_json, payload)))

    def test_shape(self) -> None:
        """Depth, number of values and length of texts are bounded, names of objects included."""
        check_shape([[1, 2], {"a": "b"}], 3, 6, 1)
        for document, bounds in (
            ([[1]], (2, 100, None)),
            ([1, 2], (10, 2, None)),
            (["ab"], (10, 10, 1)),
            ({"ab": 1}, (10, 10, 1)),
        ):
            self.assertRaises(JsonFault, check_shape, document, *bounds)


class SchemaTests(SynchronousTestCase):
    """Schemas out of files."""

    def schema(self, content: Any) -> JsonSchema:
        path = Path(self.mktemp())
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return JsonSchema(path)

    def fault(self, content: Any) -> str:
        return str(self.assertRaises(ConfigError, self.schema, content))

    def test_checks(self) -> None:
        """What fulfils it passes; what does not is told with the place and the keyword, and not with the value."""
        schema = self.schema(
            {
                "type": "object",
                "properties": {"t": {"$ref": "#/$defs/number"}, "id": {"type": "string", "pattern": "^[a-z]+-[0-9]+$"}},
                "required": ["t"],
                "$defs": {"number": {"type": "number", "maximum": 100}},
            }
        )
        self.assertTrue(schema.has_patterns)
        schema.check({"t": 21.5, "id": "pump-7"})
        for document, text in (
            ({"t": "secret"}, "type of its schema does not hold at /t"),
            ({"t": 101}, "maximum of its schema does not hold at /t"),
            ({}, "required of its schema does not hold at /"),
            ({"t": 1, "id": "secret"}, "pattern of its schema does not hold at /id"),
        ):
            fault = str(self.assertRaises(JsonFault, schema.check, document))
            self.assertIn(text, fault)
            self.assertNotIn("secret", fault)

    def test_table_of_faults(self) -> None:
        """Each refuses the start with what is wrong."""
        for content, text in (
            (b"", "no JSON"),
            (b"[]", "no object"),
            ({"$schema": "http://json-schema.org/draft-07/schema#"}, "another draft"),
            ({"$schema": 7}, "no text"),
            ({"type": "number?"}, "no schema"),
            ({"$ref": "https://elsewhere.example/schema"}, "nothing is fetched"),
            ({"$ref": "#/$defs/missing"}, "nothing is fetched"),
            ({"$dynamicRef": "#x"}, "write $ref"),
            ({"uniqueItems": True}, "uniqueItems"),
            ({"pattern": "("}, "is no schema"),
            ({"patternProperties": {"(": {}}}, "is no"),
            ({"patternProperties": {"(a+)+": {}}}, "stands within another"),
            (b"x" * 300_000, "larger than"),
        ):
            self.assertIn(text, self.fault(content))
        self.assertIn("cannot be read", str(self.assertRaises(ConfigError, JsonSchema, Path(self.mktemp()))))

    def test_patterns_that_take_for_ever_are_refused(self) -> None:
        """The ones of which books warn; two repetitions behind a ^ are the most."""
        for pattern in (
            r"(a+)+$",
            r"^(a|aa)+$",
            r"^(a|a)*$",
            r"^(.*)*x$",
            r"^.*.*.*x$",
            r"a*b*c",
            r"^a*|b*c*$",
            r"^(\w+\s?)*$",
            r"^(a{0,30}){0,30}$",
            r"^((a*)b){1,3}c$",
            r"(a)\1",
            r"(?=a*)a",
            "x" * 600,
        ):
            self.assertTrue(self.fault({"pattern": pattern}), pattern)
        for pattern in (r"^[a-z]+-[0-9]+$", r"^\d{4}-\d{2}-\d{2}$", r"^(on|off)$", r"x+", r"^a*b*$"):
            self.schema({"pattern": pattern})

    def test_those_that_are_taken_take_no_time(self) -> None:
        """At the longest text that a pattern is tried on."""
        schema = self.schema({"pattern": r"^a*a*$"})
        text = "a" * (MAXIMUM_PATTERN_TEXT - 1) + "b"
        started = time.process_time()
        self.assertRaises(JsonFault, schema.check, text)
        self.assertLess(time.process_time() - started, 2.0)

    def test_numbers_beyond_all_bounds(self) -> None:
        """A whole number that no float can hold is the document's fault, and no error of ours."""
        schema = self.schema({"multipleOf": 0.1, "maximum": 1e300})
        for number in (10**400, -(10**400)):
            self.assertRaises(JsonFault, schema.check, number)

    def test_any_document_fulfils_it_or_not(self) -> None:
        """Whatever the schema asks."""
        schema = self.schema(
            {
                "multipleOf": 0.5,
                "minLength": 2,
                "items": {"type": ["number", "string"], "multipleOf": 3},
                "additionalProperties": {"exclusiveMinimum": 0.1, "pattern": "^a+$"},
                "not": {"const": 1},
            }
        )

        @settings(deadline=None, max_examples=200)
        @given(_json | st.integers(-(10**400), 10**400))
        def check(document: Any) -> None:
            try:
                schema.check(document)
            except JsonFault:
                pass

        check()

    def test_a_schema_without_end_is_a_fault_of_the_document(self) -> None:
        """A reference to itself, met by a document, ends."""
        schema = self.schema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}})
        self.assertRaises(JsonFault, schema.check, 1)
