# -*- test-case-name: tests.core.test_waiting -*-
"""Messages behind a DELIVER verdict that is pending: they line up in their session, in order, within its budget.

Publishers never wait for it. ``Session.waiting`` is not None while anything about the session is being asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from mqttsecure.core.decisions import Pending, Verdict
from mqttsecure.core.judging import Judging
from mqttsecure.core.model import Message
from mqttsecure.core.session import Session
from mqttsecure.core.state import BrokerState

if TYPE_CHECKING:
    from mqttsecure.core.delivery import Deliveries, Target

__all__ = ["Waiting"]


class Waiting:
    """Keeps messages until the chain has answered, then works them off in their order."""

    def __init__(self, state: BrokerState, judging: Judging, deliveries: Deliveries) -> None:
        self._state = state
        self._judging = judging
        self._deliveries = deliveries

    def line_up(self, target: Target, message: Message) -> None:
        """Put ``message`` behind what its session waits for already."""
        session = target.session
        waiting = session.waiting
        if waiting is None:
            return
        limits = self._state.limits
        size = message.size
        behind = 0 if session.record is None else session.record.behind_octets
        if (
            len(waiting) >= limits.maximum_queued_messages
            or session.waiting_octets + session.queue_octets + behind + size > limits.maximum_queued_bytes
            or self._state.queued_octets + size > limits.maximum_queued_bytes_total
        ):
            self._state.drop(session, message.topic, "waits for too many verdicts")
            return
        session.waiting_octets += size
        self._state.queued_octets += size
        waiting.append((target, message, self._enter(target, message)))

    def start(self, target: Target, message: Message, pending: Pending) -> None:
        """``message`` is the first that has to wait."""
        session = target.session
        session.waiting = deque([(target, message, self._enter(target, message))])
        session.waiting_octets = message.size
        self._state.queued_octets += message.size
        self._await(session, pending)

    def _enter(self, target: Target, message: Message) -> int:
        """Keep the message on disk while it waits, since its publisher is told that it was taken; its number there."""
        record = target.session.record
        if record is None or not target.qos:
            return 0
        delivery = (message, target.qos, target.retain, target.identifiers, target.group, 0)
        return self._state.journal.enter(target.session, record, delivery)[5]

    def hold(self, session: Session, pending: Pending, resume: Callable[[Verdict, float], None]) -> None:
        """Have new messages line up while something older of the session is asked about.

        ``resume`` gets the verdict, and ends with :meth:`work_off`.
        """
        session.waiting = deque()
        session.pending = pending
        pending.resume = resume

    def work_off(self, session: Session, now: float) -> None:
        """Judge what has lined up, in order, until the next answer has to be waited for."""
        waiting = session.waiting
        while waiting:
            target, message, number = waiting[0]
            verdict = self._judging.decide(session, message, target.qos, target.retain, now)
            if isinstance(verdict, Pending):
                self._await(session, verdict)
                return
            self._take_first(session, waiting)
            self._deliveries.decided(target, message, verdict, now, number)
        session.waiting = None
        self._deliveries.drain(session, now)

    def stop(self, session: Session) -> None:
        """Ask no more: QoS 1 and 2 messages go to the queue, to be judged when they are sent."""
        if session.pending is not None:
            session.pending.cancel()
            session.pending = None
        if session.head is not None:
            session.put_back(session.head)
            session.head = None
        while session.waiting:
            target, message, number = self._take_first(session, session.waiting)
            if target.qos:
                delivery = (message, target.qos, target.retain, target.identifiers, target.group, number)
                self._deliveries.queues.put(session, delivery)
        session.waiting = None

    def _await(self, session: Session, pending: Pending) -> None:
        session.pending = pending
        pending.resume = partial(self._resumed, session)

    def _take_first(self, session: Session, waiting: deque[tuple[Target, Message, int]]) -> tuple[Target, Message, int]:
        first = waiting.popleft()
        session.waiting_octets -= first[1].size
        self._state.queued_octets -= first[1].size
        return first

    def _resumed(self, session: Session, verdict: Verdict, now: float) -> None:
        """The verdict on the first of ``session.waiting`` has come; go on with those behind it."""
        session.pending = None
        if session.waiting:
            target, message, number = session.waiting[0]
            learned = self._judging.learn(session, message, target.qos, target.retain, verdict, now)
            if learned is not None:
                self._take_first(session, session.waiting)
                self._deliveries.decided(target, message, learned, now, number)
        self.work_off(session, now)
