# -*- test-case-name: tests.service.test_findings -*-
"""What is wrong with a client: causes out of the audit log and the running broker, the most probable first.

What keeps a client out, and has not been overcome since, comes before what it was refused; that before what is slow or
lost; what is over comes last. Of equal weight the latest is first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from mqttsecure.interfaces import Advice
from mqttsecure.service.config import BrokerConfig
from mqttsecure.service.finding import (
    ENDED,
    HURT,
    KEPT_OUT,
    MAY_BE,
    OVER,
    REFUSED,
    Finding,
    expiry_finding,
    utc_text,
)
from mqttsecure.service.live_findings import Live, live_findings
from mqttsecure.service.mends import mend_of_denial, mend_of_disconnect, mend_of_drop, mend_of_tls
from mqttsecure.service.parts import Parts
from mqttsecure.service.recorded import Again, NotComparable, ask_again, is_decision

__all__ = ["Findings", "find_causes"]

_MAXIMUM_FINDINGS: Final = 100
"""Different causes that are kept; a client with more has one of the first."""

_BEFORE_IDENTITY: Final = ("ACCEPT", "HANDSHAKE")
_TO_COME_IN: Final = (*_BEFORE_IDENTITY, "CONNECT", "AUTHENTICATE")


@dataclass(slots=True)
class Findings:
    """All causes, the most probable first; ``seen`` is whether anything at all is known of the client."""

    causes: list[Finding]
    seen: bool
    clients: list[dict[str, Any]]


def find_causes(
    who: str,
    since: datetime,
    now: datetime,
    records: Iterable[Mapping[str, Any]],
    live: Live,
    config: BrokerConfig,
    parts: Parts | None,
) -> Findings:
    """What may be wrong with ``who``.

    Args:
        who: a Client Identifier, user, principal or address.
        since: what is older does not count.
        now: the time of day.
        records: of the audit log.
        live: what the running broker knows of it.
        config: the configuration.
        parts: the same put together, where it can be; denials are put to it again.
    """
    search = _Search(who, since, now, live.clients)
    for record in records:
        search.take(record)
    causes = [*search.causes(config, parts), *live_findings(live, since, now, config)]
    causes.sort(key=lambda each: (each.weight, each.sure, each.last), reverse=True)
    seen = search.seen or bool(live.clients or live.unheard or live.kept_out)
    return Findings(causes, seen, live.clients)


class _Search:
    """Goes through the records, and keeps one of each kind."""

    def __init__(self, who: str, since: datetime, now: datetime, live: list[dict[str, Any]]) -> None:
        self._who = who
        self._since = utc_text(since)
        self._now = now
        self._live = live
        self._common_name = re.compile(rf"(?:^|,)CN={re.escape(who)}(?:,|$)")
        self._addresses = {_address(str(client["peer"])) for client in live}
        self._found: dict[tuple[Any, ...], Finding] = {}
        self._strangers: dict[tuple[Any, ...], Finding] = {}
        self._expiry: tuple[str, str] | None = None
        self.seen = False

    def take(self, record: Mapping[str, Any]) -> None:
        if str(record.get("time", "")) < self._since:
            return
        sure = self._is_about(record)
        if not sure and not _is_nobodys(record):
            return
        try:
            finding = _finding(record)
        except (KeyError, TypeError, ValueError):
            return  # a damaged record says nothing
        if sure:
            self.seen = True
            if "peer" in record:
                self._addresses.add(_address(str(record["peer"])))
            self._expiry = _expiry_of(record) or self._expiry
        if finding is None:
            return
        finding.sure = sure
        _count(self._found if sure else self._strangers, _key(record), finding)

    def _is_about(self, record: Mapping[str, Any]) -> bool:
        principal = str(record.get("principal", ""))
        names = (record.get("client_id"), record.get("username"), principal, principal.partition(":")[2])
        if self._who in names or _address(str(record.get("peer", ""))) == self._who:
            return True
        return any(
            isinstance(holder, dict) and self._common_name.search(str(holder.get("subject", ""))) is not None
            for holder in (record.get("tls"), record.get("certificate"))
        )

    def causes(self, config: BrokerConfig, parts: Parts | None) -> list[Finding]:
        """Those of the log, weighed."""
        near = [each for each in self._strangers.values() if _address(str(each.record.get("peer"))) in self._addresses]
        found = [*self._found.values(), *near]
        for finding in found:
            if is_decision(finding.record):
                _judge_again(finding, config, parts)
            if self._is_over(finding):
                finding.weight = OVER
            elif not finding.sure:
                finding.weight = min(finding.weight, MAY_BE)
        return found + self._of_expiry()

    def _is_over(self, finding: Finding) -> bool:
        """Whether the client has come in since."""
        if finding.kind not in ("tls_failure", "disconnect", "denial"):
            return False
        if finding.kind == "denial" and finding.record.get("stage") not in _TO_COME_IN:
            return False
        connected = [client for client in self._live if client["connected"]]
        client_id = finding.record.get("client_id")
        same = [client for client in connected if client_id is None or client["client_id"] == client_id]
        return any(
            utc_text(self._now - timedelta(seconds=client["connected_seconds"])) >= finding.last for client in same
        )

    def _of_expiry(self) -> list[Finding]:
        """A certificate of the log that is out of date, or soon will be."""
        if self._expiry is None or any(client["certificate_days_left"] is not None for client in self._live):
            return []
        subject, expires = self._expiry
        try:
            left = (datetime.fromisoformat(expires) - self._now).total_seconds() / 86_400
        except (ValueError, TypeError):
            return []
        return expiry_finding(subject, left)


def _address(peer: str) -> str:
    return peer.rpartition(":")[0].strip("[]") if not peer.startswith("unix") else peer


def _is_nobodys(record: Mapping[str, Any]) -> bool:
    """Whether it is of a connection that did not get far enough to say who it is."""
    if record.get("event") == "tls_failure":
        return True
    return is_decision(record) and record["stage"] in _BEFORE_IDENTITY


def _expiry_of(record: Mapping[str, Any]) -> tuple[str, str] | None:
    for holder in (record.get("certificate"), record.get("tls")):
        if isinstance(holder, dict) and "expires" in holder:
            return str(holder.get("subject", "")), str(holder["expires"])
    return None


def _key(record: Mapping[str, Any]) -> tuple[Any, ...]:
    names: tuple[str, ...] = ("event", "client_id", "text", "reason_code")
    if is_decision(record):
        names = ("stage", "policy", "rule", "action", "topic", "client_id", "text")
    return tuple(str(record.get(name)) for name in names)


def _count(found: dict[tuple[Any, ...], Finding], key: tuple[Any, ...], finding: Finding) -> None:
    known = found.pop(key, None)
    if known is not None:
        finding.first = known.first
        finding.count += known.count
    found[key] = finding
    if len(found) > _MAXIMUM_FINDINGS:
        del found[next(iter(found))]  # the one that was not seen for the longest time


def _finding(record: Mapping[str, Any]) -> Finding | None:
    """What a record says by itself."""
    when = str(record.get("time"))
    if is_decision(record):
        if record.get("effect") != "deny":
            return None
        weight = KEPT_OUT if record["stage"] in _TO_COME_IN else REFUSED
        source = f"{record['file']}:{record.get('line')}" if "file" in record else None
        decision = str(record.get("decision", "")) or None
        return Finding(
            "denial", _denial(record), "", weight, when, when, source=source, decision=decision, record=record
        )
    count = 1 + int(record.get("left_out", 0))
    text = str(record.get("text", ""))
    event = record.get("event")
    if event == "tls_failure":
        certificate = record.get("certificate")
        holder = f" (certificate of {certificate.get('subject')})" if isinstance(certificate, dict) else ""
        return Finding("tls_failure", text + holder, mend_of_tls(record), KEPT_OUT, when, when, count, record=record)
    if event == "disconnect":
        code = f" [0x{int(record['reason_code']):02x}]" if record.get("reason_code") else ""
        cause = f"the connection {'was left' if record.get('by_peer') else 'was closed'}: {text}{code}"
        return Finding("disconnect", cause, mend_of_disconnect(record), ENDED, when, when, count, record=record)
    if event == "throttle":
        mend = "let it send less, or raise the rate of the rate-limit policy"
        return Finding("throttle", "it sends more than it may and is slowed down", mend, HURT, when, when, count)
    if event == "drop":
        what = f"message on {record['topic']!r}" if record.get("topic") else "messages"
        return Finding("drop", f"{what} not kept for it: {text}", mend_of_drop(record), HURT, when, when, count)
    return None


def _denial(record: Mapping[str, Any]) -> str:
    by = f"by {record['policy']}" if record.get("policy") else "by default"
    rule = f"/{record['rule']}" if record.get("rule") else ""
    what = str(record["stage"])
    if record.get("topic"):
        what = f"{record.get('action')} {record['topic']} qos {record.get('qos', 0)}"
    return f"denied {what} {by}{rule}: {record.get('text') or 'no policy permits it'}"


def _judge_again(finding: Finding, config: BrokerConfig, parts: Parts | None) -> None:
    """What the configuration says today, and what would mend it."""
    finding.mend = mend_of_denial(finding.record, config)
    if parts is None:
        return
    try:
        again = ask_again(parts, finding.record)
    except NotComparable:
        return
    if again.permitted:
        if not again.assumed:
            finding.today = f"permitted today{_by(again)}; it was changed since, or take care that it is reloaded"
            finding.weight = min(finding.weight, MAY_BE)
        return
    finding.today = "denied today as well"
    for policy, advice in again.advice.items():
        line = _advice(policy, advice)
        if line:
            finding.mend = line
            finding.source = finding.source or (str(advice.where) if advice.where else None)
            return


def _by(again: Again) -> str:
    verdict = again.explanation.verdict
    return f" by {verdict.policy}{f' [{verdict.source}]' if verdict.source else ''}" if verdict.policy else ""


def _advice(policy: str, advice: Advice) -> str:
    if advice.remove:
        rules = ", ".join(f"{each.rule} [{each.source}]" for each in advice.remove)
        return f"narrow or remove {rules} of {policy}"
    if advice.add:
        return f"add to the rules of {policy}{f' (after {advice.where})' if advice.where else ''}: {advice.add}"
    return ""
