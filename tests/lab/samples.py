"""The sample captures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from mqttsecure.lab.model import Connection, Reading
from mqttsecure.lab.reading import read_capture

__all__ = ["CAPTURES", "all_samples", "keys_of_sample", "one_connection", "read_sample", "sample_reading"]

CAPTURES: Final = Path(__file__).parent / "captures"


def all_samples() -> list[str]:
    """Names of all captures that have a reading beside them."""
    return sorted(file.name.removesuffix(".json") for file in CAPTURES.glob("*.json"))


def sample_reading(name: str) -> Any:
    """What the JSON beside a capture says."""
    return json.loads((CAPTURES / f"{name}.json").read_text())


def keys_of_sample(name: str) -> Path | None:
    """The key log beside a capture."""
    file = (CAPTURES / name).with_suffix(".keys")
    return file if file.exists() else None


def read_sample(name: str, *, keys: bool = True, authority: str | None = "lab-ca.crt") -> Reading:
    """Read a capture, with its key log and the lab's CA."""
    return read_capture(
        CAPTURES / name,
        keys=keys_of_sample(name) if keys else None,
        authorities=CAPTURES / authority if authority is not None else None,
    )


def one_connection(name: str, *, keys: bool = True, authority: str | None = "lab-ca.crt") -> Connection:
    """The only connection of a capture."""
    (connection,) = read_sample(name, keys=keys, authority=authority).connections
    return connection
