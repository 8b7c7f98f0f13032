# -*- test-case-name: tests.lab.attacks.test_table -*-
"""What came of an attack."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

__all__ = ["Outcome", "Result", "resisted", "succeeded"]


class Outcome(Enum):
    """In the order of how bad it is."""

    RESISTED = "resisted"
    NOT_TRIED = "not tried"
    UNCLEAR = "unclear"
    SUCCEEDED = "succeeded"


@dataclass(slots=True, frozen=True)
class Result:
    """One row: what was tried, what was seen, and what a secure broker does."""

    row: str
    attack: str
    outcome: Outcome
    seen: str
    required: str

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "outcome": self.outcome.value}

    @classmethod
    def read(cls, value: dict[str, Any]) -> Result:
        return cls(**{**value, "outcome": Outcome(value["outcome"])})


Seen = tuple[Outcome, str]
"""What an attack itself tells; its row and words are added by the table."""


def resisted(text: str) -> Seen:
    return Outcome.RESISTED, text


def succeeded(text: str) -> Seen:
    return Outcome.SUCCEEDED, text
