# -*- test-case-name: tests.core.test_rejudging -*-
"""Judging again what lives: after a reload, a ban, or the end of a credential.

Each connection is asked about anew at the stages it has passed (purpose RECHECK), then each of its subscriptions, those
of sessions whose client is away, and those of a session that is taken up again: it may come from a disk on which older
policies have left it, or by another listener than before. What no longer holds ends. Queued and retained messages need
nothing here: they are judged when they are delivered. The work is done in small steps, so that the adapter can do other
things between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from mqttsecure.core.connection import Connection
from mqttsecure.core.decisions import NAMESPACE, ConnectionFacts, Effect, Pending, Purpose, Request, Stage, Verdict
from mqttsecure.core.events import Denied
from mqttsecure.core.session import Session
from mqttsecure.core.state import BrokerState
from mqttsecure.core.subscriptions import Subscription
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.topics import split_shared

__all__ = ["Rejudging"]

_PASSED_BY_ALL: Final = (Stage.ACCEPT, Stage.HANDSHAKE)
_PASSED_WHEN_CONNECTED: Final = (Stage.ACCEPT, Stage.HANDSHAKE, Stage.CONNECT, Stage.AUTHENTICATE)


class Rejudging:
    """Works off connections and sessions one by one."""

    def __init__(self, state: BrokerState) -> None:
        self._state = state
        self._connections: deque[Connection] = deque()
        self._sessions: deque[Session] = deque()

    @property
    def has_work(self) -> bool:
        """Whether :meth:`step` has something to do; what waits for a policy's answer goes on by itself."""
        return bool(self._connections or self._sessions)

    def put(self, connections: Iterable[Connection], sessions: Iterable[Session]) -> None:
        """Have these judged; what is in already is judged anew, later."""
        self._connections = deque(dict.fromkeys([*self._connections, *connections]))
        self._sessions = deque(dict.fromkeys([*self._sessions, *sessions]))

    def put_all(self) -> None:
        """Have everything judged that lives now."""
        self.put(self._state.connections, self._state.sessions.values())

    def step(self, now: float) -> None:
        """Judge one connection, or the subscriptions of one session."""
        if self._connections:
            self.judge(self._connections.popleft(), now)
        elif self._sessions:
            self.judge_session(self._sessions.popleft(), now)

    def judge_session(self, session: Session, now: float) -> None:
        """Judge the subscriptions of one session, at once."""
        if not session.ended:
            self._judge_subscriptions(session, deque(session.subscriptions.values()), now)

    def judge(self, connection: Connection, now: float) -> None:
        """Judge one connection at the stages it has passed, at once."""
        if connection.is_open:
            stages = _PASSED_WHEN_CONNECTED if connection.is_connected else _PASSED_BY_ALL
            self._judge_stages(connection, deque(stages), now)

    # -- connections ---------------------------------------------------------------------------------------------

    def _judge_stages(self, connection: Connection, stages: deque[Stage], now: float) -> None:
        while stages and connection.is_open:
            stage = stages.popleft()
            request = Request(stage, _facts_at(connection, stage), now, Purpose.RECHECK)

            def judged(verdict: Verdict, now: float, request: Request = request) -> bool:
                if verdict.effect is not Effect.PERMIT:
                    self._end(connection, request, verdict, now)
                elif self._belongs_elsewhere(connection, verdict):
                    self._state.close(connection, ReasonCode.NOT_AUTHORIZED, "belongs into another namespace", now)
                return connection.is_open

            if not self._ask(request, judged, lambda now: self._judge_stages(connection, stages, now), now):
                return

    @staticmethod
    def _belongs_elsewhere(connection: Connection, verdict: Verdict) -> bool:
        """Whether the policies now put it into another namespace than the one it lives in."""
        namespace = connection.facts.namespace
        return connection.is_connected and verdict.attributes.get(NAMESPACE, namespace) != namespace

    def _end(self, connection: Connection, request: Request, verdict: Verdict, now: float) -> None:
        if not connection.is_open:
            return
        self._state.events.append(Denied(request, verdict))
        text = f"no longer permitted at {request.stage.value}"
        self._state.close(connection, ReasonCode.NOT_AUTHORIZED, text, now)

    # -- subscriptions -------------------------------------------------------------------------------------------

    def _judge_subscriptions(self, session: Session, subscriptions: deque[Subscription], now: float) -> None:
        while subscriptions and not session.ended:
            subscription = subscriptions.popleft()
            request = _subscribe_request(session.facts, subscription, now)

            def judged(
                verdict: Verdict, now: float, subscription: Subscription = subscription, request: Request = request
            ) -> bool:
                if verdict.effect is not Effect.PERMIT:
                    self._take_away(session, subscription, request, verdict, now)
                return True

            if not self._ask(request, judged, lambda now: self._judge_subscriptions(session, subscriptions, now), now):
                return

    def _take_away(
        self, session: Session, subscription: Subscription, request: Request, verdict: Verdict, now: float
    ) -> None:
        """Remove a subscription. Its client is disconnected, since MQTT has no other way to tell it.

        Where a policy has failed nobody has said that the right is gone: the subscription stays, and is judged again
        when its client comes back, which may be in a moment.
        """
        if session.subscriptions.get(subscription.topic_filter) is not subscription:
            return
        self._state.events.append(Denied(request, verdict))
        if not verdict.indeterminate:
            del session.subscriptions[subscription.topic_filter]
            self._state.tree.remove(subscription)
            self._state.journal.unsubscribe(session, subscription.topic_filter)
        if session.connection is not None:
            text = f"no longer permitted to subscribe to {subscription.topic_filter}"
            self._state.close(session.connection, ReasonCode.NOT_AUTHORIZED, text, now)

    # -- asking --------------------------------------------------------------------------------------------------

    def _ask(
        self,
        request: Request,
        judged: Callable[[Verdict, float], bool],
        go_on: Callable[[float], None],
        now: float,
    ) -> bool:
        """Ask; whether to go on at once. A verdict that comes later goes on with ``go_on`` by itself."""
        version = self._state.policy_version
        answer = self._state.decide(request)
        if not isinstance(answer, Pending):
            return judged(answer, now)

        def resume(verdict: Verdict, now: float) -> None:
            # A verdict of older policies says nothing; whoever changed them has put everything in again.
            if self._state.policy_version == version and judged(verdict, now):
                go_on(now)

        answer.resume = resume
        return False


def _facts_at(connection: Connection, stage: Stage) -> ConnectionFacts:
    """The facts as they were at ``stage``: a Client Identifier that was assigned later was not there at CONNECT."""
    facts = connection.facts
    if stage is Stage.CONNECT and connection.connect is not None and not connection.connect.client_id:
        return replace(facts, client_id="")
    return facts


def _subscribe_request(facts: ConnectionFacts, subscription: Subscription, now: float) -> Request:
    share_group, inner = split_shared(subscription.topic_filter)
    return Request(
        Stage.SUBSCRIBE,
        facts,
        now,
        Purpose.RECHECK,
        topic=inner,
        qos=subscription.qos,
        share_group=share_group,
    )
