# -*- test-case-name: tests.service.test_limits_table -*-
"""``[limits]`` is the core's Limits, no more and no less."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pydantic import ValidationError
from twisted.trial import unittest

from mqttsecure.core.limits import Limits
from mqttsecure.service.explain_errors import keys_of
from mqttsecure.service.limits_table import LimitsTable, limits_of
from mqttsecure.service.problems import Problems
from mqttsecure.service.tables import read_tables
from mqttsecure.service.toml_lines import toml_lines


class LimitsTableTests(unittest.SynchronousTestCase):
    """Someone changes a limit."""

    def test_defaults_are_the_cores(self) -> None:
        """A file without the table means what the core means."""
        self.assertEqual(limits_of(LimitsTable()), Limits())

    def test_every_limit_is_explained(self) -> None:
        """Each key has a text, which is the dataclass's."""
        keys = keys_of(LimitsTable)
        self.assertEqual(set(keys), {field.name for field in dataclasses.fields(Limits)})
        for name, field in keys.items():
            self.assertTrue(field.description, name)

    def test_every_example_can_be_copied(self) -> None:
        """What the reference page shows is accepted."""
        for name, field in keys_of(LimitsTable).items():
            low_enough = {"receive_maximum", "maximum_inflight"}  # twice the default is within what the standard takes
            value = (field.examples or [None])[0]
            try:
                LimitsTable.model_validate({name: value})
            except ValidationError:
                self.assertNotIn(name, low_enough)
                raise

    def test_values_that_cannot_work_are_refused(self) -> None:
        """Zero where the standard forbids it, beyond a Two Byte Integer, below nothing."""
        for name, value in (
            ("receive_maximum", 0),
            ("receive_maximum", 65_536),
            ("maximum_session_expiry", 0x1_0000_0000),
            ("maximum_packet_size", 2),
            ("maximum_keep_alive", 0.5),
            ("connect_timeout", 0),
            ("maximum_sessions", -1),
            ("maximum_sessions", "5"),
            ("maximum_sessions", True),
        ):
            problems = Problems(Path("broker.toml"), toml_lines(""))
            read_tables({"limits": {name: value}}, problems)
            self.assertEqual(len(problems.texts), 1, (name, value))
