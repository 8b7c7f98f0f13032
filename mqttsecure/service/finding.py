# -*- test-case-name: tests.service.test_findings -*-
"""One thing that may be wrong with a client, and how much it weighs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["ENDED", "HURT", "KEPT_OUT", "MAY_BE", "OVER", "REFUSED", "Finding", "expiry_finding", "utc_text"]

# What weighs more is more probably why somebody asks.
KEPT_OUT, REFUSED, HURT, ENDED, MAY_BE, OVER = 60, 50, 40, 30, 20, 0


_SOON: Final = 30.0
"""Days before its end from which on a certificate is mentioned."""


@dataclass(slots=True)
class Finding:
    """One cause. ``sure`` is False for what only came from an address that the client had, too."""

    kind: str
    cause: str
    mend: str
    weight: int
    last: str = ""
    first: str = ""
    count: int = 1
    source: str | None = None
    decision: str | None = None
    today: str | None = None
    sure: bool = True
    record: Mapping[str, Any] = field(default_factory=dict)


def expiry_finding(subject: str, left: float) -> list[Finding]:
    """A certificate that is out of date, or will be in ``left`` days; nothing where that is far off."""
    if left > _SOON:
        return []
    if left <= 0:
        cause = f"the certificate of {subject} has been out of date for {-left:.1f} days"
        return [Finding("certificate", cause, "issue a new certificate to the client", KEPT_OUT)]
    cause = f"the certificate of {subject} is out of date in {left:.1f} days"
    return [Finding("certificate", cause, "issue a new certificate to the client in time", MAY_BE)]


def utc_text(moment: datetime) -> str:
    """A time of day as the audit log has it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
