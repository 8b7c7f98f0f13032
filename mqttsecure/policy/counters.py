# -*- test-case-name: tests.policy.test_chain -*-
"""What a chain counts: plain integers, read by whatever exports them.

This module is on the path of each message.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ChainCounters", "PolicyCounters"]


@dataclass(slots=True, eq=False)
class PolicyCounters:
    """The counts of one policy. ``last_complaint`` is when its last fault was logged (monotonic seconds)."""

    decisions: int = 0
    denials: int = 0
    indeterminate: int = 0
    timeouts: int = 0
    observer_failures: int = 0
    last_complaint: float | None = None


@dataclass(slots=True, eq=False)
class ChainCounters:
    """The counts of a chain; only what was asked with the purpose LIVE is in them."""

    decisions: int = 0
    denials: int = 0
    indeterminate: int = 0
    timeouts: int = 0
    observer_failures: int = 0
    policies: dict[str, PolicyCounters] = field(default_factory=dict)
    """By the policy's id."""
