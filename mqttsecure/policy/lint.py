# -*- test-case-name: tests.service.test_lints -*-
"""What can be said against a configuration that can be used all the same."""

from __future__ import annotations

from dataclasses import dataclass

from mqttsecure.core.decisions import Source

__all__ = ["Lint"]


@dataclass(slots=True, frozen=True)
class Lint:
    """``id`` names the kind, ``text`` says what is there, ``why`` why it is worth a look, ``mend`` what to do."""

    id: str
    source: Source | None
    text: str
    why: str
    mend: str

    def __str__(self) -> str:
        place = f"{self.source}: " if self.source else ""
        return f"{place}[{self.id}] {self.text}: {self.why}; {self.mend}"
