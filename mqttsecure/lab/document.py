# -*- test-case-name: tests.lab.test_explain -*-
"""A reading as one JSON document: the model as it is, and each connection frame by frame beside it."""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.model import Json, Reading, as_json
from mqttsecure.lab.summary import frames_of, summary_of

__all__ = ["FORMAT", "reading_document"]

FORMAT: Final = 1
"""Raised when a field changes its meaning or goes; new fields alone leave it."""


def reading_document(reading: Reading) -> dict[str, Json]:
    """What ``json.dumps`` takes. Bytes are hexadecimal, times are seconds since 1970.

    Each connection has, beside its fields of the model, ``summary`` and ``frames``: the same in tshark's terms.
    """
    document = as_json(reading)
    if not isinstance(document, dict):
        raise TypeError("a reading is an object")
    connections = document["connections"]
    if isinstance(connections, list):
        for row, connection in zip(connections, reading.connections, strict=True):
            if isinstance(row, dict):
                row["summary"] = summary_of(connection)
                row["frames"] = frames_of(connection)
    return {"format_version": FORMAT, **document}
