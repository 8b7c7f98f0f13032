"""Tests for mqttsecure.store.merging."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.records import Batch
from mqttsecure.store.contract import entry, message, session
from mqttsecure.store.memory import Contents
from mqttsecure.store.merging import merge
from tests.store.model import Model


class MergeTests(SynchronousTestCase):
    """Several batches as one."""

    @given(st.integers(0, 2**32), st.integers(1, 12))
    @settings(max_examples=60, deadline=None)
    def test_comes_to_the_same(self, seed: int, count: int) -> None:
        """However many batches go into one transaction, what is on disk is what they say one after the other."""
        model = Model(seed)
        batches = [model.batch() for _ in range(count)]
        contents = Contents()
        for batch in merge(batches):
            contents.apply(batch)
        self.assertEqual(contents, model.contents)

    def test_what_comes_and_goes_is_not_written(self) -> None:
        """A message that is acknowledged before it was written costs the disk nothing."""
        (merged,) = merge(
            [
                Batch(1, messages=[message(1), message(2)], entries=[entry(5, 1, 1), entry(5, 2, 2)]),
                Batch(2, removed=[(5, 1)], references={1: -1}),
            ]
        )
        self.assertEqual(([row.id for row in merged.messages], merged.references), ([2], {}))
        self.assertEqual(merged.entries, [entry(5, 2, 2)])

    def test_one_is_left_alone(self) -> None:
        """A single batch is not looked through."""
        batch = Batch(1, sessions=[session(1)])
        self.assertIs(merge([batch])[0], batch)
