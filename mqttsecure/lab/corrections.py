"""What the old lab text says, and what the wire says."""

from __future__ import annotations

from mqttsecure.lab.model import Connection, Corrected


def corrections_of(connection: Connection) -> list[Corrected]:
    return []
