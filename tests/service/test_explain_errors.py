# -*- test-case-name: tests.service.test_explain_errors -*-
"""pydantic's errors in words, also for options that others wrote the models of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from twisted.trial import unittest

from mqttsecure.service.explain_errors import location_of, what_is_wrong
from mqttsecure.service.problems import Problems
from mqttsecure.service.toml_lines import toml_lines


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Inner(Strict):
    prefix: str = Field(examples=["10.0.0.0/8"])
    count: int | None = Field(default=None, ge=1)


class Options(Strict):
    overrides: list[Inner] = []
    mode: Literal["slow", "fast"] = "slow"
    words: list[str] = Field(default=[], min_length=1)
    name: str = Field(default="", pattern="^[a-z]*$")


class ExplainTests(unittest.SynchronousTestCase):
    """Someone makes a mistake in the options of a policy."""

    def explain(self, options: dict[str, Any]) -> dict[str, str]:
        with self.assertRaises(ValidationError) as raised:
            Options.model_validate(options)
        problems = Problems(Path("x"), toml_lines("[[policy]]"))
        return {
            ".".join(map(str, location_of(detail))): what_is_wrong(detail, Options, ("policy", 0), problems, ("use",))
            for detail in raised.exception.errors()
        }

    def test_unknown_keys(self) -> None:
        """The nearest of the option's keys, of the table's own, and of a table inside."""
        found = self.explain({"ovrrides": [], "us": "x", "overrides": [{"prefix": "a", "cuont": 1}]})
        self.assertEqual(found["ovrrides"], "unknown key; did you mean `overrides`?")
        self.assertEqual(found["us"], "unknown key; did you mean `use`?")
        self.assertEqual(found["overrides.0.cuont"], "unknown key; did you mean `count`?")

    def test_missing_key(self) -> None:
        """With an example."""
        self.assertEqual(
            self.explain({"overrides": [{}]})["overrides.0.prefix"], 'is missing; add it, such as "10.0.0.0/8"'
        )

    def test_wrong_types_and_values(self) -> None:
        """What is expected, and what is there."""
        found = self.explain({"overrides": [{"prefix": 5, "count": 0}], "mode": "fats", "words": [], "name": "A"})
        self.assertEqual(found["overrides.0.prefix"], 'must be a string, not 5, such as "10.0.0.0/8"')
        self.assertEqual(found["overrides.0.count"], "must be greater than or equal to 1, not 0")
        self.assertEqual(found["mode"], 'must be "slow" or "fast", not "fats"; did you mean `fast`?')
        self.assertIn("at least 1 item", found["words"])
        self.assertIn("pattern", found["name"])

    def test_wrong_type_of_a_table(self) -> None:
        """A string where a table belongs."""
        self.assertEqual(
            self.explain({"overrides": ["10.0.0.0/8"]})["overrides.0"], 'must be a table, not "10.0.0.0/8"'
        )
