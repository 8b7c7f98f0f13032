"""Messages handed to the application one by one."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.consuming import INBOX_BYTES, INBOX_MESSAGES, Inbox
from mqttsecure.client.events import Arrived, Message
from mqttsecure.wire.packets import Publish


class InboxTests(SynchronousTestCase):
    """An application that takes its time."""

    def setUp(self) -> None:
        self.taken: list[bytes] = []
        self.done: list[tuple[bytes, int]] = []
        self.answers: list[Deferred[None]] = []
        self.inbox = Inbox(self.take, self.finished)

    def take(self, message: Message) -> Deferred[None]:
        self.taken.append(message.payload[:9])
        self.answers.append(Deferred())
        return self.answers[-1]

    def finished(self, arrived: Arrived, reason_code: int) -> None:
        self.done.append((arrived.publish.payload[:9], reason_code))

    def add(self, payload: bytes, qos: int = 1) -> None:
        self.inbox.add(Arrived(Publish("t", payload, qos, packet_id=qos), 1))

    def test_one_at_a_time(self) -> None:
        """The next message comes when the last one is dealt with, in order."""
        self.add(b"1")
        self.add(b"2")
        self.assertEqual((self.taken, self.done), ([b"1"], []))
        self.answers[0].callback(None)
        self.assertEqual((self.taken, self.done), ([b"1", b"2"], [(b"1", 0)]))

    def test_full(self) -> None:
        """With the room used up it says so; QoS 0 is dropped and counted if more comes, QoS 1 is not."""
        for number in range(INBOX_MESSAGES + 1):
            self.assertFalse(self.inbox.is_full)
            self.add(b"%d" % number)
        self.assertTrue(self.inbox.is_full)
        self.add(b"lost", 0)
        self.add(b"kept", 1)
        self.assertEqual(self.inbox.dropped, 1)
        self.assertFalse(self.inbox.is_overfull)
        for _ in range(3 * INBOX_MESSAGES):
            self.add(b"more")
        self.assertTrue(self.inbox.is_overfull)
        while self.answers:
            self.answers.pop(0).callback(None)
        self.assertIn(b"kept", self.taken)
        self.assertNotIn(b"lost", self.taken)
        self.assertFalse(self.inbox.is_full)

    def test_full_by_bytes(self) -> None:
        """A few large messages fill it as well."""
        self.add(b"")
        self.add(b"x" * INBOX_BYTES)
        self.assertTrue(self.inbox.is_full)

    def test_failure(self) -> None:
        """An application that fails is heard of in the log; the next message comes all the same."""
        self.add(b"1")
        self.add(b"2")
        self.answers[0].errback(RuntimeError("no disk"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual((self.taken, self.done), ([b"1", b"2"], [(b"1", 0x83)]))

    def test_plain_functions_and_coroutines(self) -> None:
        """Neither needs a Deferred; hundreds that wait do not pile up on the stack."""

        async def later(message: Message) -> None:
            self.taken.append(message.payload)

        inbox = Inbox(later, self.finished)
        inbox.add(Arrived(Publish("t", b"1"), 1))
        self.assertEqual(self.done, [(b"1", 0)])
        first: Deferred[None] = Deferred()
        count = 0

        def at_once(message: Message) -> Deferred[None] | None:
            nonlocal count
            count += 1
            return first if count == 1 else None

        inbox = Inbox(at_once, self.finished)
        for _ in range(4 * INBOX_MESSAGES):
            inbox.add(Arrived(Publish("t", b"", 1, packet_id=1), 1))
        first.callback(None)
        self.assertEqual(count, 4 * INBOX_MESSAGES)

    def test_closed(self) -> None:
        """After the end nothing more is handed over or acknowledged."""
        self.add(b"1")
        self.add(b"2")
        self.inbox.close()
        self.answers[0].callback(None)
        self.assertEqual((self.taken, self.done), ([b"1"], []))
