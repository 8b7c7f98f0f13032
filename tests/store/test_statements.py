"""Tests for mqttsecure.store.statements."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.store.schema import Schema
from mqttsecure.store.statements import _text, pieces
from mqttsecure.store.tables import ALL, MESSAGES


class PiecesTests(SynchronousTestCase):
    """Many rows, few statements."""

    @given(st.integers(0, 20_000), st.sampled_from([1, 8, 2048]))
    def test_each_row_goes_once(self, count: int, most: int) -> None:
        """The pieces cover all rows, in sizes that are powers of two, with few rows twice."""
        at = 0
        for start, end, size in pieces(count, most):
            self.assertEqual(start, at)
            self.assertTrue(0 < end - start <= size <= most)
            self.assertEqual(size & (size - 1), 0)
            self.assertLessEqual(size - (end - start), size // 8)
            at = end
        self.assertEqual(at, count)

    def test_they_are_few(self) -> None:
        """Ten thousand rows are ten statements, not ten thousand."""
        self.assertLessEqual(max(len(list(pieces(count))) for count in range(9_000, 10_001)), 15)


class PlanTests(SynchronousTestCase):
    """Statements look rows up by their key."""

    def test_no_statement_reads_a_whole_table(self) -> None:
        """A table of a million rows costs a deletion no more than one of ten."""
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            Schema().make_ready(connection, None)
            texts = [(kind, MESSAGES) for kind in ("drop", "lower", "change", "sweep")]
            for kind, table in [*texts, *(("delete", table) for table in ALL)]:
                text = _text(kind, table, 4)
                plan = connection.execute(f"EXPLAIN QUERY PLAN {text}", (1,) * text.count("?")).fetchall()
                steps = [step for *_, step in plan]
                self.assertFalse([step for step in steps if step == f"SCAN {table.name}"], (text, steps))
                self.assertTrue([step for step in steps if step.startswith(f"SEARCH {table.name}")], (text, steps))
