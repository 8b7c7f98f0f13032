# -*- test-case-name: tests.cli.test_stage_table -*-
"""The table of policies and stages in the page about the chain."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from twisted.trial import unittest

from mqttsecure.cli.stage_table import BEGIN, END, main, stage_table, with_table
from tests.policy.builtin.test_factory import FACTORIES
from tests.support.process import CHECKOUT


class StageTableTests(unittest.SynchronousTestCase):
    """Someone looks up which policy can permit what."""

    def test_committed_page_is_up_to_date(self) -> None:
        """Else run: python -m mqttsecure.cli.stage_table docs/reference/chain.md."""
        page = (CHECKOUT / "docs" / "reference" / "chain.md").read_text()
        self.assertEqual(page, with_table(page))

    def test_each_policy_has_a_row(self) -> None:
        """I see at which stages a policy grants, at which it restricts, and that it is asked nowhere else."""
        rows = {line.split("`")[1]: line.split(" | ")[1:] for line in stage_table().splitlines()[2:]}
        self.assertEqual(set(rows), {factory.name for factory in FACTORIES})
        self.assertEqual(rows["client-id"], ["-", "-", "**grants**", "restricts", "-", "-", "- |"])

    def test_page_without_marks_is_refused(self) -> None:
        """It is not written somewhere by guess."""
        self.assertRaises(ValueError, with_table, "# A page")
        self.assertRaises(ValueError, with_table, BEGIN)

    def test_written_where_asked(self) -> None:
        """Into a page, or to stdout."""
        page = Path(self.mktemp())
        page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
        self.assertEqual(main([str(page)]), 0)
        self.assertIn(stage_table(), page.read_text())
        self.assertTrue(page.read_text().endswith("\nafter\n"))
        self.assertNotIn("old", page.read_text())
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertEqual(main([]), 0)
        self.assertEqual(out.getvalue(), f"{stage_table()}\n")
