# -*- test-case-name: tests.service.test_shadow -*-
"""Shadow mode: a candidate chain judges what the chain in force judges, and only the differences are recorded.

It is asked in a turn of its own, after the verdict, with the purpose SHADOW: nothing it says is enforced, and it never
sees a live request, a connection, a strike or a password. So its policies that keep counts have nothing to count, and
what they would say is taken as unknown; a password is taken as right where the chain in force let the client in.

What the candidate says of a client's identity and attributes is remembered for its later stages, so that a change of
groups shows in what the client may do.
"""

from __future__ import annotations

import dataclasses
import os
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mqttsecure.core.decisions import (
    ConnectionFacts,
    Effect,
    Principal,
    Purpose,
    Request,
    Role,
    Stage,
    Verdict,
)
from mqttsecure.policy.binding import is_stateless
from mqttsecure.policy.chain import PolicyChain
from mqttsecure.policy.step import decision_ids
from mqttsecure.policy.trace import Explanation, Outcome
from mqttsecure.service.audit import audit_record

__all__ = ["Shadow"]

_log = Logger()

_MAXIMUM_WAITING: Final = 1024
"""Questions that wait. From half of that on one in eight is taken, beyond it none: they are counted."""

_MAXIMUM_OCTETS: Final = 4 * 1024 * 1024
"""Bytes of the payloads that wait with them: a message of the greatest size is a quarter of a megabyte by default."""

_SAMPLE: Final = 8

_SLICE: Final = 0.002
"""Seconds for which the candidate may hold up the reactor at a time."""

_MAXIMUM_KNOWN: Final = 65_536
"""Connections of which the candidate's view is remembered; of one that is forgotten the view in force is taken."""

_MAXIMUM_REMEMBERED: Final = 4096
"""Differences that were recorded, so as not to repeat them for each message."""

_TAKEN_TO_BE_RIGHT: Final = b"\0taken to be right"
_TOPIC_STAGES: Final = (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER)


@dataclass(slots=True)
class _View:
    """How the candidate sees a connection."""

    attributes: dict[str, Any] = field(default_factory=dict)
    principal: Principal | None = None
    groups: frozenset[str] = frozenset()


class Shadow:
    """The candidate beside the chain in force.

    Attributes:
        counts: how many verdicts were ``compared``, gave ``differences``, of which some were ``recorded`` (each only
            once), could not be compared (``not_comparable``), were ``skipped`` for lack of time, or ``failed``.
    """

    def __init__(
        self,
        active: PolicyChain,
        candidate: PolicyChain,
        write: Callable[[Mapping[str, Any]], None],
        *,
        clock: IReactorTime,
        wall_clock: Callable[[], datetime],
    ) -> None:
        """
        Args:
            active: the chain in force.
            candidate: the other.
            write: takes the records of differences.
            clock: the reactor.
            wall_clock: the time of day.
        """
        self._candidate = candidate
        self._write = write
        self._clock = clock
        self._wall_clock = wall_clock
        self._counting = {each.id for each in active.bindings if not is_stateless(each)}
        self._identifying = {each.id for each in active.bindings if each.stages.get(Stage.AUTHENTICATE) is Role.GRANTS}
        self._declared = {
            stage: {name for each in candidate.bindings if stage in each.stages for name in each.attributes}
            for stage in Stage
        }
        self._waiting: deque[tuple[Request, Verdict, bool]] = deque()
        self._octets = 0
        self._decision_ids = decision_ids(os.urandom)
        self._call: IDelayedCall | None = None
        self._ticks = 0
        self._views: OrderedDict[int, _View] = OrderedDict()
        self._recorded: OrderedDict[tuple[Any, ...], None] = OrderedDict()
        self.counts = dict.fromkeys(("compared", "differences", "recorded", "not_comparable", "skipped", "failed"), 0)

    def note(self, request: Request, verdict: Verdict) -> None:
        """The chain in force has decided. Costs no more here than a copy of what is known."""
        if request.purpose is not Purpose.LIVE:
            return
        if not self._is_comparable(request, verdict):
            self.counts["not_comparable"] += 1
        elif self._has_room(len(request.payload)):
            facts = dataclasses.replace(request.connection, attributes=dict(request.connection.attributes))
            has_password = request.password is not None
            copy = dataclasses.replace(
                request,
                connection=facts,
                purpose=Purpose.SHADOW,
                password=_TAKEN_TO_BE_RIGHT if has_password else None,
                exchange={},
            )
            self._waiting.append((copy, verdict, has_password))
            self._octets += len(request.payload)
            if self._call is None:
                self._call = self._clock.callLater(0, self._work)
        else:
            self.counts["skipped"] += 1

    def forget(self, connection: ConnectionFacts) -> None:
        """A connection is gone."""
        self._views.pop(connection.connection_id, None)

    def stop(self) -> None:
        """Compare no more."""
        self._waiting.clear()
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None

    def _is_comparable(self, request: Request, verdict: Verdict) -> bool:
        if verdict.effect not in (Effect.PERMIT, Effect.DENY) or verdict.indeterminate:
            return False
        if request.authentication_method is not None:
            return False  # an exchange of several steps, of which the candidate has seen none
        if verdict.effect is Effect.PERMIT:
            return True
        if verdict.policy in self._counting:
            return False
        # The candidate takes a password to be right, and must not be blamed where it was wrong.
        is_login = request.stage is Stage.AUTHENTICATE and request.password is not None
        return not (is_login and (not verdict.policy or verdict.policy in self._identifying))

    def _has_room(self, octets: int) -> bool:
        waiting = len(self._waiting)
        if waiting >= _MAXIMUM_WAITING or self._octets + octets > _MAXIMUM_OCTETS:
            return False
        if waiting < _MAXIMUM_WAITING // 2:
            return True
        self._ticks += 1
        return self._ticks % _SAMPLE == 0

    def _work(self) -> None:
        self._call = None
        started = self._clock.seconds()
        while self._waiting and self._clock.seconds() - started < _SLICE:
            request, verdict, has_password = self._waiting.popleft()
            self._octets -= len(request.payload)
            try:
                self._compare(request, verdict, has_password)
            except Exception:  # whatever is wrong with a candidate, the broker serves by the chain in force
                self.counts["failed"] += 1
                _log.failure("the shadow failed; what is in force is not touched")
        if self._waiting:
            self._call = self._clock.callLater(0, self._work)

    def _compare(self, request: Request, verdict: Verdict, has_password: bool) -> None:
        seen = self._seen(request)
        found = self._candidate.explain_offline(seen, secret_assumed=has_password)
        self._learn(seen, found)
        self.counts["compared"] += 1
        if not _differs(verdict, found):
            return
        self.counts["differences"] += 1
        if self._is_new(request, verdict, found):
            self.counts["recorded"] += 1
            record = audit_record(request, verdict, self._wall_clock())
            # A permit has no id of its own unless it is recorded.
            decision = verdict.decision_id or found.verdict.decision_id or next(self._decision_ids)
            record |= {
                "decision": decision,
                "purpose": Purpose.LIVE.value,
                "kind": "shadow",
                "candidate": _candidate(found),
            }
            self._write(record)

    def _seen(self, request: Request) -> Request:
        """The request with what the candidate knows of the connection."""
        facts = request.connection
        declared = self._declared[request.stage]
        attributes = {name: value for name, value in facts.attributes.items() if name not in declared}
        view = self._views.get(facts.connection_id)
        if view is None:
            return dataclasses.replace(request, connection=dataclasses.replace(facts, attributes=attributes))
        facts = dataclasses.replace(facts, attributes=attributes | view.attributes)
        if view.principal is not None and request.stage in _TOPIC_STAGES:
            facts = dataclasses.replace(facts, principal=view.principal, groups=view.groups)
        return dataclasses.replace(request, connection=facts)

    def _learn(self, request: Request, found: Explanation) -> None:
        if request.stage in _TOPIC_STAGES:
            return
        declared = self._declared[request.stage]
        attributes = {name: value for name, value in found.request.connection.attributes.items() if name in declared}
        identified = request.stage is Stage.AUTHENTICATE and found.outcome is not Outcome.DENY
        if not attributes and not identified:
            return
        view = self._views.setdefault(request.connection.connection_id, _View())
        view.attributes |= attributes
        if identified and not found.open_identity:
            view.principal, view.groups = found.verdict.principal, found.verdict.groups
        self._views.move_to_end(request.connection.connection_id)
        if len(self._views) > _MAXIMUM_KNOWN:
            self._views.popitem(last=False)

    def _is_new(self, request: Request, verdict: Verdict, found: Explanation) -> bool:
        facts, other = request.connection, found.verdict
        who = facts.client_id or str(facts.peer.address)
        key = (request.stage, who, request.topic, verdict.policy, verdict.rule, other.policy, other.rule)
        is_new = key not in self._recorded
        self._recorded[key] = None
        self._recorded.move_to_end(key)
        if len(self._recorded) > _MAXIMUM_REMEMBERED:
            self._recorded.popitem(last=False)
        return is_new


def _differs(verdict: Verdict, found: Explanation) -> bool:
    permits = found.outcome is not Outcome.DENY
    if verdict.permitted is not permits:
        return True
    if verdict.stage is not Stage.AUTHENTICATE or not permits or found.open_identity:
        return False
    other = found.verdict
    return verdict.principal != other.principal or verdict.groups != other.groups


def _candidate(found: Explanation) -> dict[str, Any]:
    """What the candidate says, as the record has it."""
    verdict = found.verdict
    fields: dict[str, Any] = {
        "effect": "deny" if found.outcome is Outcome.DENY else "permit",
        "provided": list(found.conditions) if found.outcome is Outcome.PROVIDED else None,
        "policy": verdict.policy,
        "rule": verdict.rule,
        "file": None if verdict.source is None else verdict.source.file,
        "line": None if verdict.source is None else verdict.source.line,
        "text": verdict.text,
        "reason_code": verdict.reason_code if found.outcome is Outcome.DENY else None,
    }
    if verdict.stage is Stage.AUTHENTICATE and found.outcome is not Outcome.DENY:
        fields["principal"] = None if verdict.principal is None else str(verdict.principal)
        fields["groups"] = sorted(verdict.groups)
    return {name: value for name, value in fields.items() if value not in (None, "", [])}
