"""Tests for mqttsecure.store.memory."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from mqttsecure.store.contract import StoreContract
from mqttsecure.store.memory import Contents, MemoryStore


class MemoryContractTests(StoreContract, TestCase):
    """The store in memory does what a store has to."""

    def setUp(self) -> None:
        self.contents = Contents()

    def make_store(self) -> MemoryStore:
        return MemoryStore(self.contents)
