# -*- test-case-name: tests.service.test_findings -*-
"""What the running broker knows to be wrong with a client: bans and blocks, slowness, topics that nobody hears."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from mqttsecure.service.config import BrokerConfig
from mqttsecure.service.finding import ENDED, HURT, KEPT_OUT, MAY_BE, OVER, Finding, expiry_finding, utc_text
from mqttsecure.service.mends import mend_of_ban, mend_of_block

__all__ = ["Live", "live_findings"]


@dataclass(slots=True)
class Live:
    """What the running broker knows: the clients that are meant, topics nobody heard, bans and blocks in force."""

    clients: list[dict[str, Any]] = field(default_factory=list)
    unheard: list[dict[str, Any]] = field(default_factory=list)
    kept_out: list[dict[str, Any]] = field(default_factory=list)


def live_findings(live: Live, since: datetime, now: datetime, config: BrokerConfig) -> Iterator[Finding]:
    """All of it.

    Args:
        live: what the broker has told.
        since: what is older does not count.
        now: the time of day.
        config: of the broker, for the commands that help.
    """
    for barred in live.kept_out:
        yield _of_kept_out(barred, utc_text(now), config)
    for client in live.clients:
        yield from _of_client(client, utc_text(now))
    for unheard in live.unheard:
        yield from _of_unheard(unheard, now, utc_text(since))


def _of_client(client: dict[str, Any], now: str) -> list[Finding]:
    name = repr(client["client_id"])
    found: list[Finding] = []
    left = client["certificate_days_left"]
    if left is not None:
        found += expiry_finding(name, left)
    if not client["connected"]:
        waits = f"; {client['queued_messages']} messages wait for it" if client["queued_messages"] else ""
        mend = "look at the client: nothing here keeps its session from being taken up again"
        found.append(Finding("away", f"{name} is not connected now{waits}", mend, MAY_BE, now))
        return found
    if client["throttled"]:
        mend = "let it send less, or raise the rate of the rate-limit policy"
        found.append(Finding("throttle", f"{name} sends more than it may and is slowed down now", mend, HURT, now))
    if client["outbox_full_seconds"] is not None:
        cause = f"{name} reads too slowly: its outbox has been full for {client['outbox_full_seconds']} s"
        mend = "let it subscribe to less or read faster, or raise `outbox_bytes` of [limits]"
        found.append(Finding("slow", cause, mend, HURT, now))
    return found


def _of_kept_out(barred: Mapping[str, Any], now: str, config: BrokerConfig) -> Finding:
    """A ban, a wait or a block that is in force."""
    kind, name, why = barred["kind"], str(barred["name"]), str(barred["why"])
    end = f"until {barred['until']}" if barred["until"] else "until that is lifted"
    if kind == "wait":
        cause = f"{why}, and has to wait for {barred['seconds']:.0f} s"
    elif kind == "ban":
        cause = f"the address {name} is banned {end}: {why}"
    else:
        cause = f"the {kind} {name!r} is blocked {end}{f': {why}' if why else ''}"
    mend = mend_of_block(kind, name, config) if kind in ("client", "user") else mend_of_ban(name, kind, config)
    return Finding(str(kind), cause, mend, KEPT_OUT, now, now, source=barred["source"])


def _of_unheard(unheard: Mapping[str, Any], now: datetime, since: str) -> list[Finding]:
    """A topic on which it has published, and which nobody heard."""
    first, last = (
        utc_text(now - timedelta(seconds=unheard[name])) for name in ("first_seconds_ago", "last_seconds_ago")
    )
    if last < since:
        return []
    who = f"{unheard['client_id']!r} published to {unheard['topic']!r}, which was accepted, and nobody subscribed to it"
    if unheard["heard_now"]:
        mend = "whoever is to get such a message while away needs a session that lasts; or publish it with RETAIN"
        return [Finding("unheard", f"{who} then", mend, OVER, last, first)]
    mend = "compare it with the filters of those who should get it: mqttsecure clients show NAME"
    return [Finding("unheard", who, mend, ENDED, last, first)]
