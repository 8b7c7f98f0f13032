# -*- test-case-name: tests.policy.builtin.test_http_service -*-
"""``http``: a decision asked of an HTTPS service, at whichever stages the configuration says.

An answer is remembered within its policy alone; a reload makes another, so no answer outlives the policy version under
which it was given. No answer, a late one, or one that is none, is a denial; after several the service is left alone for
a while, and what is remembered goes on to count.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from mqttsecure.core.decisions import (
    Decision,
    Effect,
    Principal,
    Purpose,
    Request,
    Role,
    Source,
    Stage,
)
from mqttsecure.interfaces import INTERFACE_VERSION, IPolicy, IPolicyEnvironment, IPolicyFactory
from mqttsecure.policy.breaker import CircuitBreaker
from mqttsecure.policy.builtin.http_messages import Answer, AnswerFault, document_of, question, read_answer
from mqttsecure.policy.builtin.http_options import HttpOptions, service_client
from mqttsecure.policy.builtin.options import Problems
from mqttsecure.policy.https import HttpsAnswer, HttpsFault
from mqttsecure.policy.ttl_cache import TtlCache
from mqttsecure.wire.constants import ReasonCode

__all__ = ["HttpFactory", "HttpPolicy"]

Ask = Callable[[bytes], "Deferred[HttpsAnswer]"]

COMPLAINT_INTERVAL: Final = 5.0
"""Seconds between two lines in the log about a service that does not answer."""

_NOT_MINE: Final = Decision.abstain(text="not let in by this policy")
_EFFECTS: Final = {"permit": Effect.PERMIT, "deny": Effect.DENY, "abstain": Effect.ABSTAIN}
_TOPICS: Final = frozenset((Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER))


@implementer(IPolicy)
class HttpPolicy:
    """Answers what the service answers."""

    stateful = True

    def __init__(self, options: HttpOptions, ask: Ask, environment: IPolicyEnvironment) -> None:
        self._options = options
        self._ask = ask
        self._environment = environment
        self._authority = options.authority or environment.policy_id
        role = Role.GRANTS if options.role == "grants" else Role.RESTRICTS
        self.stages: Mapping[Stage, Role] = {Stage(name): role for name in options.stages}
        self.attributes: Mapping[str, type] = dict.fromkeys(options.attributes, str)
        self._grants = role is Role.GRANTS
        self._source: Source = environment.source()
        self._key: bytes = environment.random_bytes(32)
        self._remembered: TtlCache[bytes, tuple[float, Answer]] = TtlCache(
            options.cache_entries, max(options.cache_seconds, 1), environment.clock.seconds
        )
        self._breaker = CircuitBreaker(environment.clock.seconds)
        self._complained_at: float | None = None

    def decide(self, request: Request) -> Decision | Deferred[Decision]:
        """What the service says, from memory where that holds still; DENY where it says nothing usable."""
        if request.stage not in self.stages:
            return _NOT_MINE
        if self._grants and request.stage is Stage.AUTHENTICATE and request.purpose is Purpose.RECHECK:
            return self._recheck(request)
        options = self._options
        principal = request.exchange.get("principal", request.connection.principal)
        groups = request.exchange.get("groups", request.connection.groups)
        asked = question(request, self._environment.policy_id, principal=principal, groups=groups)
        password = request.password if options.send_password and request.stage is Stage.AUTHENTICATE else None
        payload = request.payload if options.send_payload and request.stage in _TOPICS else None
        # An answer holds for whoever asks and why; what is secret is kept as a keyed digest alone.
        key = hmac.digest(self._key, document_of({**asked, "purpose": ""}, password, payload), "sha256")
        remembered = self._remembered.get(key)
        if remembered is not None:
            return self._decision(request, *remembered)
        if not self._breaker.admit():
            return self._fault(request, "it is not asked now, since it kept failing (circuit breaker)")
        deferred = self._ask(document_of(asked, password, payload))
        answered: Deferred[Decision] = deferred.addCallback(self._read).addCallbacks(
            self._answered, self._failed, callbackArgs=(request, key), errbackArgs=(request,)
        )
        return answered

    # Answers

    @staticmethod
    def _read(answer: HttpsAnswer) -> Answer:
        return read_answer(answer)

    def _answered(self, answer: Answer, request: Request, key: bytes) -> Decision:
        self._breaker.succeeded()
        fault = self._misfit(answer, request)
        if fault is not None:
            return self._fault(request, fault)
        # Counted from when it was asked: the clock of the request is the one that the broker compares with.
        lifetime = self._cache_seconds(answer)
        until = self._environment.clock.seconds() + lifetime
        self._remembered.put(key, (until, answer), lifetime)
        return self._decision(request, until, answer)

    def _misfit(self, answer: Answer, request: Request) -> str | None:
        """What in an answer does not fit the question, None where all does."""
        permits = answer.decision == "permit"
        if permits and not self._grants:
            return 'it answered "permit", and may only restrict (role); "abstain" is its consent'
        identifies = permits and request.stage is Stage.AUTHENTICATE
        if identifies != (answer.principal is not None):
            return "it named no principal" if identifies else "it named a principal where nobody is to be named"
        if (answer.groups or answer.session_seconds) and not identifies:
            return "it gave groups or a session's length with something else than a permit at AUTHENTICATE"
        unknown = sorted(set(answer.attributes) - set(self.attributes))
        return f"it set the attribute {unknown[0]!r:.60}, which `attributes` does not list" if unknown else None

    def _cache_seconds(self, answer: Answer) -> float:
        stated = answer.cache_seconds
        return float(self._options.cache_seconds) if stated is None else min(stated, self._options.cache_seconds)

    def _decision(self, request: Request, until: float, answer: Answer) -> Decision:
        effect = _EFFECTS[answer.decision]
        identifies = effect is Effect.PERMIT and request.stage is Stage.AUTHENTICATE
        session = answer.session_seconds
        reason = f": {answer.reason}" if answer.reason and answer.reason.isprintable() else ""
        cacheable = request.stage in _TOPICS and not self._options.send_payload and until > request.now
        return Decision(
            effect,
            "answer",
            f"the service says {answer.decision}{reason}",
            self._source,
            attributes=dict(answer.attributes) if effect is not Effect.DENY else {},
            cacheable=cacheable,
            valid_until=request.now + session if identifies and session else until if cacheable else None,
            principal=Principal(self._authority, answer.principal or "") if identifies else None,
            groups=frozenset(answer.groups),
            fingerprint="answer" if identifies else "",
        )

    def _recheck(self, request: Request) -> Decision:
        """Whether the time is over for which the service let the client in."""
        evidence = request.evidence
        if evidence is None or evidence.policy != self._environment.policy_id:
            return _NOT_MINE
        if evidence.valid_until is not None and request.now >= evidence.valid_until:
            return Decision.deny("session_seconds", "the time is over that the service gave", source=self._source)
        return Decision.permit("answer", "the time that the service gave is not over", source=self._source)

    # Faults

    def _failed(self, failure: Failure, request: Request) -> Decision:
        if failure.check(CancelledError):
            self._breaker.abandoned()
            failure.raiseException()
        self._breaker.failed()
        known = failure.check(HttpsFault, AnswerFault) is not None
        return self._fault(request, str(failure.value) if known else type(failure.value).__name__)

    def _fault(self, request: Request, text: str) -> Decision:
        now = self._environment.clock.seconds()
        if self._complained_at is None or now - self._complained_at >= COMPLAINT_INTERVAL:
            self._complained_at = now
            self._environment.log.error(
                "policy {policy} ({source}) denies, as its service gave no usable answer: {text}",
                policy=self._environment.policy_id,
                source=str(self._source),
                text=text,
            )
        early = request.stage in (Stage.CONNECT, Stage.AUTHENTICATE)
        return Decision.deny(
            "service",
            f"no usable answer of the service: {text}",
            source=self._environment.source("url"),
            reason_code=ReasonCode.SERVER_UNAVAILABLE if early else ReasonCode.NOT_AUTHORIZED,
        )


@implementer(IPolicyFactory)
class HttpFactory:
    """Builds :class:`HttpPolicy`."""

    interface_version = INTERFACE_VERSION
    name = "http"
    summary = "whatever an HTTPS service of yours decides"
    stages: Mapping[Stage, Role] = {stage: Role.GRANTS for stage in Stage}
    options = HttpOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: HttpOptions, environment: IPolicyEnvironment) -> HttpPolicy:
        problems = Problems(environment)
        ask = service_client(options, environment, problems)
        problems.done()
        if ask is None:
            raise RuntimeError("a client, or a problem that says why there is none")
        return HttpPolicy(options, ask, environment)
