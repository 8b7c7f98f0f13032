"""Random batches as the core makes them, each of which fits what is there, for properties."""

from __future__ import annotations

import random

from mqttsecure.core.records import Batch, RetainedRow, WriterRow
from mqttsecure.store.contract import entry, message, session, subscription
from mqttsecure.store.memory import Contents

__all__ = ["Model"]


class Model:
    """Makes batches; ``contents`` is what there is after all of them."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.contents = Contents()
        self._number = 0
        self._message = 0
        self._key = 0

    def batch(self) -> Batch:
        """The next one; it has been applied to ``contents``."""
        self._number += 1
        batch = Batch(self._number)
        if self._number == 1:
            batch.writers.append(WriterRow(1, b"{}"))
        self._end(batch)
        live = [key for key in self.contents.sessions if key not in batch.ended]
        while len(live) < 3 or self.random.random() < 0.2:
            self._key += 1
            live.append(self._key)
            batch.sessions.append(session(self._key))
        for key in live:
            self._change(batch, key)
        self._publish(batch, live)
        self._settle(batch)
        self._retain(batch)
        self.contents.apply(batch)
        return batch

    def _end(self, batch: Batch) -> None:
        for key in self.contents.sessions:
            if self.random.random() < 0.05:
                batch.ended.append(key)

    def _change(self, batch: Batch, key: int) -> None:
        if self.random.random() < 0.2 and key in self.contents.sessions:
            batch.sessions.append(session(key, left_at=float(self._number)))
        for topic in "abc":
            choice = self.random.random()
            if choice < 0.2:
                batch.subscriptions.append(subscription(key, topic, qos=self.random.randrange(3)))
            elif choice < 0.3:
                batch.unsubscribed.append((key, topic))
        packet_id = self.random.randrange(1, 5)
        (batch.incoming if self.random.random() < 0.5 else batch.completed).append((key, packet_id))

    def _publish(self, batch: Batch, live: list[int]) -> None:
        for _ in range(self.random.randrange(6)):
            self._message += 1
            readers = self.random.sample(live, self.random.randrange(1, len(live)))
            batch.messages.append(message(self._message, len(readers)))
            batch.entries += [entry(key, self._message, self._message) for key in readers]

    def _settle(self, batch: Batch) -> None:
        for row in list(self.contents.entries.values()):
            if row.session in batch.ended:
                continue
            choice = self.random.random()
            if choice < 0.3:
                batch.removed.append((row.session, row.number))
                self._lower(batch, row.message)
            elif choice < 0.4 and row.message:
                batch.entries.append(row._replace(message=0, octets=0, released=self._number, packet_id=3))
                self._lower(batch, row.message)
            elif choice < 0.5:
                batch.entries.append(row._replace(packet_id=7))

    def _retain(self, batch: Batch) -> None:
        for topic in "xyz":
            choice = self.random.random()
            old = self.contents.retained.get(("", topic))
            if choice < 0.4 and old is not None:
                self._lower(batch, old.message)
            if choice < 0.2:
                batch.forgotten.append(("", topic))
            elif choice < 0.4:
                self._message += 1
                batch.messages.append(message(self._message))
                batch.retained.append(RetainedRow("", topic, self._message))

    @staticmethod
    def _lower(batch: Batch, of: int) -> None:
        if of:
            batch.references[of] = batch.references.get(of, 0) - 1
