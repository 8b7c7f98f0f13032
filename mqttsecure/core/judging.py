# -*- test-case-name: tests.core.test_judging -*-
"""The DELIVER stage: whether a session may get a message, and whether its writer still may write it.

On the path of each message whose receivers are not settled ahead.
"""

from __future__ import annotations

from mqttsecure.core.decisions import (
    BROKER_PRINCIPAL,
    CapQos,
    ConnectionFacts,
    Effect,
    Peer,
    Pending,
    Purpose,
    Request,
    Stage,
    Verdict,
    Writer,
)
from mqttsecure.core.events import Denied
from mqttsecure.core.model import Message
from mqttsecure.core.session import Session
from mqttsecure.core.state import BrokerState

__all__ = ["Judging", "capped"]


def capped(qos: int, verdict: Verdict) -> int:
    """``qos``, or the lower one that the verdict obliges to."""
    for obligation in verdict.obligations:
        if isinstance(obligation, CapQos):
            qos = min(qos, obligation.qos)
    return qos


class Judging:
    """Asks the chain about deliveries, and remembers for each session what it said."""

    def __init__(self, state: BrokerState) -> None:
        self._state = state

    def decide(self, session: Session, message: Message, qos: int, retain: bool, now: float) -> Verdict | Pending:
        """Whether ``session`` may get ``message``: the reader's rights, and the writer's where they may have changed.

        A Pending is about the writer or about the reader, as its verdict's stage tells: see :meth:`learn`.
        """
        state = self._state
        if message.checked_version != state.policy_version:
            standing = self._decide_writer(message, now)
            if isinstance(standing, Pending) or standing.effect is not Effect.PERMIT:
                return standing
            message.checked_version = state.policy_version
        cached = session.verdicts.get(message.topic, qos, retain, state.policy_version, now)
        if cached is not None:
            if cached.residual is None:
                return cached
            return cached.residual(_reader_request(session.facts, message, qos, retain, now))
        request = _reader_request(session.facts, message, qos, retain, now)
        answer = state.decide(request)
        if not isinstance(answer, Pending):
            self._remember(session, message.topic, qos, retain, answer)
            if answer.effect is not Effect.PERMIT:
                state.events.append(Denied(request, answer))
        return answer

    def learn(
        self, session: Session, message: Message, qos: int, retain: bool, verdict: Verdict, now: float
    ) -> Verdict | None:
        """Take in a verdict that was waited for.

        Returns:
            The verdict on the delivery, or None where the question must be put again: the policies have changed
            since, or it was about the writer, who may, so that the reader is asked about next.
        """
        state = self._state
        if verdict.policy_version != state.policy_version:
            return None
        if verdict.stage is Stage.PUBLISH:
            if verdict.effect is Effect.PERMIT:
                message.checked_version = verdict.policy_version
                return None
            request = _writer_request(message, now)
        else:
            self._remember(session, message.topic, qos, retain, verdict)
            request = _reader_request(session.facts, message, qos, retain, now)
        if verdict.effect is not Effect.PERMIT:
            state.events.append(Denied(request, verdict))
        return verdict

    def _remember(self, session: Session, topic: str, qos: int, retain: bool, verdict: Verdict) -> None:
        session.verdicts.put(topic, qos, retain, verdict, self._state.limits.maximum_cached_decisions)

    def _decide_writer(self, message: Message, now: float) -> Verdict | Pending:
        if message.envelope.writer.principal is BROKER_PRINCIPAL:
            return Verdict(Effect.PERMIT, Stage.PUBLISH, policy_version=self._state.policy_version)
        request = _writer_request(message, now)
        answer = self._state.decide(request)
        if not isinstance(answer, Pending) and answer.effect is not Effect.PERMIT:
            self._state.events.append(Denied(request, answer))
        return answer


def _reader_request(facts: ConnectionFacts, message: Message, qos: int, retain: bool, now: float) -> Request:
    return Request(
        Stage.DELIVER,
        facts,
        now,
        topic=message.topic,
        qos=qos,
        retain=retain,
        payload=message.payload,
        properties=message.properties or {},
        writer=message.envelope.writer,
    )


def _writer_request(message: Message, now: float) -> Request:
    return Request(
        Stage.PUBLISH,
        _facts_of(message.envelope.writer, message.envelope.namespace),
        now,
        Purpose.RECHECK,
        topic=message.topic,
        qos=message.qos,
        retain=message.retain,
        payload=message.payload,
        properties=message.properties or {},
    )


def _facts_of(writer: Writer, namespace: str) -> ConnectionFacts:
    """Facts for asking about a writer whose connection may be long gone."""
    return ConnectionFacts(
        connection_id=0,
        listener=writer.listener,
        peer=Peer(None),
        client_id=writer.client_id,
        principal=writer.principal,
        groups=writer.groups,
        attributes=dict(writer.attributes),
        namespace=namespace,
    )
