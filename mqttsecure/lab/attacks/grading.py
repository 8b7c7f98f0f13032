# -*- test-case-name: tests.lab.attacks.test_grading -*-
"""Which requirements of the lab text a broker meets, by what came of the attacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from mqttsecure.lab.attacks.outcome import Outcome, Result

__all__ = ["REQUIREMENTS", "Grade", "Requirement", "grade", "rows_needed"]


@dataclass(slots=True, frozen=True)
class Requirement:
    """A sentence of the lab text, the attacks that try it, and what helps where it is not met."""

    row: str
    words: str
    attacks: tuple[str, ...]
    mend: str


REQUIREMENTS: Final = (
    Requirement(
        "S3",
        "nobody gets in without a password, or with a wrong one",
        ("A1", "A2"),
        "demand a user and a password of everybody",
    ),
    Requirement("B1a", "a Client Identifier belongs to its user", ("A9", "A10"), "bind Client Identifiers to users"),
    Requirement(
        "B1b",
        "rights for each topic, told when they are asked for",
        ("A3", "A4", "A5"),
        "decide at SUBSCRIBE and PUBLISH, and answer 0x87 or 0x80",
    ),
    Requirement(
        "B1c",
        "the same rights for retained messages, wills and aliases",
        ("A6", "A7", "A8"),
        "put wills and retained messages through the same rules",
    ),
    Requirement("B2a", "no password travels readable", ("A0",), "close the port without TLS"),
    Requirement(
        "B3b",
        "one address cannot take all there is",
        ("A11", "A12"),
        "limit connections of an address, and slow guessers down",
    ),
    Requirement(
        "A13-A19",
        "who says nothing is cut",
        ("A13", "A14", "A15", "A16", "A17", "A18", "A19"),
        "count 10 s from the accept, TLS included",
    ),
    Requirement(
        "A20-A26",
        "one client cannot take all there is",
        ("A20", "A21", "A24", "A25", "A26"),
        "limit sizes, rates and subscriptions",
    ),
    Requirement(
        "A22-A23", "what is no MQTT is closed, and reaches nobody", ("A22", "A23"), "check frames, names and UTF-8"
    ),
    Requirement("E1", "SSL 3.0 to TLS 1.1 are refused", ("A27",), "set TLS 1.2 as the minimum"),
    Requirement(
        "C2c",
        "forward secrecy and AEAD alone, no renegotiation",
        ("A28", "A30"),
        "allow ECDHE with AES-GCM or ChaCha20 alone",
    ),
    Requirement("E2", "changed bytes end the connection", ("E2",), "speak TLS"),
)


@dataclass(slots=True, frozen=True)
class Grade:
    """A requirement, whether it is met, and why."""

    row: str
    words: str
    verdict: str
    why: str

    @property
    def is_met(self) -> bool:
        return self.verdict == "met"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def rows_needed(plaintext: bool) -> list[str]:
    """The attacks that are needed; without TLS those on it tell nothing."""
    needed = [row for requirement in REQUIREMENTS for row in requirement.attacks]
    return [row for row in needed if not plaintext or row not in ("A27", "A28", "A30", "E2", "A16", "A17", "A18")]


def grade(results: Sequence[Result]) -> list[Grade]:
    """Each requirement; one that was not tried, or of which it is not clear, is not met."""
    by_row = {each.row: each for each in results}
    return [_grade(requirement, by_row) for requirement in REQUIREMENTS]


def _grade(requirement: Requirement, results: dict[str, Result]) -> Grade:
    found = [results[row] for row in requirement.attacks if row in results]
    bad = [each for each in found if each.outcome is Outcome.SUCCEEDED]
    open_ = [each for each in found if each.outcome is Outcome.UNCLEAR]
    if bad:
        seen = "; ".join(f"{each.row}: {each.seen}" for each in bad)
        return Grade(requirement.row, requirement.words, "missing", f"{seen}. What helps: {requirement.mend}")
    if open_:
        seen = "; ".join(f"{each.row}: {each.seen}" for each in open_)
        return Grade(requirement.row, requirement.words, "half", f"{seen}. What helps: {requirement.mend}")
    if not any(each.outcome is Outcome.RESISTED for each in found):
        return Grade(
            requirement.row, requirement.words, "missing", f"it cannot be shown here. What helps: {requirement.mend}"
        )
    return Grade(requirement.row, requirement.words, "met", ", ".join(each.row for each in found) + " resisted")
