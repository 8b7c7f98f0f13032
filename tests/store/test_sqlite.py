"""Tests for mqttsecure.store.sqlite."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mqttsecure.store.contract import StoreContract
from mqttsecure.store.sqlite import SqliteStore


class SqliteContractTests(StoreContract, TestCase):
    """The store in a file does what a store has to."""

    timeout = 60
    interval: float | None = None

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute() / "state.sqlite"
        self.path.parent.parent.mkdir(exist_ok=True, parents=True)

    def make_store(self) -> SqliteStore:
        return SqliteStore(self.path, reactor, interval=self.interval)


class IntervalContractTests(SqliteContractTests):
    """The same where what is written comes to disk every second."""

    interval = 1.0
