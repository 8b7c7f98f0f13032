# -*- test-case-name: tests.cli.test_reference -*-
"""The reference page of the configuration."""

from __future__ import annotations

import io
import sys
import tomllib
from pathlib import Path

from pydantic import BaseModel, Field
from twisted.trial import unittest

from mqttsecure.cli.reference import describe_keys, main, reference_page
from mqttsecure.service import schema
from mqttsecure.service.limits_table import LimitsTable
from tests.support.process import CHECKOUT


class Inner(BaseModel):
    n: int = 1


class Sample(BaseModel):
    text: str = Field(description="a | b", examples=["x"])
    many: list[str] = ["a"]
    maybe: int | None = None
    inner: Inner = Inner()
    other: object = None


class ReferenceTests(unittest.SynchronousTestCase):
    """Someone looks up a key."""

    def test_committed_page_is_up_to_date(self) -> None:
        """Else run: python -m mqttsecure.cli.reference docs/reference/config.md."""
        self.assertEqual((CHECKOUT / "docs" / "reference" / "config.md").read_text(), reference_page())

    def test_every_key_has_its_effect(self) -> None:
        """No row without a text, and each optional key with an example or a default."""
        tables = [schema.ListenerTable, schema.TlsTable, schema.AuthorityTable, schema.PolicyTable, schema.AliasTable]
        tables += [schema.PluginsTable, schema.DevelopmentTable, schema.LogTable, schema.TestsTable, LimitsTable]
        for table in tables:
            for key in describe_keys(table):
                self.assertTrue(key.description, (table, key))

    def test_examples_are_toml(self) -> None:
        """They can be copied into the file."""
        for table in (schema.ListenerTable, schema.TlsTable, LimitsTable):
            for key in describe_keys(table):
                if key.example:
                    tomllib.loads(f"{key.name} = {key.example}")

    def test_kinds(self) -> None:
        """Types in the words of TOML."""
        self.assertEqual(
            [(key.kind, key.default) for key in describe_keys(Sample)],
            [
                ("string", "required"),
                ("array of strings", '["a"]'),
                ("whole number", "none"),
                ("table", "{ n = 1 }"),
                ("value", "none"),
            ],
        )

    def test_written_where_asked(self) -> None:
        """To a file, or to stdout."""
        target = Path(self.mktemp())
        self.assertEqual(main([str(target)]), 0)
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertEqual(main([]), 0)
        self.assertEqual(out.getvalue(), target.read_text())
