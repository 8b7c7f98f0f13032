"""Writes anew what the report compares handshakes with: ``python -m tests.lab.report.reference``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import mqttsecure.lab.report
from mqttsecure.lab.report.comparison import reference_of
from tests.lab.samples import one_connection

__all__ = ["CAPTURES", "references"]

CAPTURES: Final = {
    "tls12-rsa": "tls12-rsa-aes128-sha256.pcap",
    "tls12-ecdhe": "tls12-ecdhe-rsa.pcap",
    "tls12-mutual": "tls12-mtls.pcap",
    "tls12-resumed": "made-tls12-ticket-resumed.pcapng",
    "tls13": "tls13.pcap",
    "tls13-retry": "made-tls13-retry.pcapng",
}

FILE: Final = Path(mqttsecure.lab.report.__file__).with_name("reference.json")


def references() -> list[dict[str, Any]]:
    """What the captures say now."""
    return [reference_of(key, name, one_connection(name, authority=None)).as_json() for key, name in CAPTURES.items()]


if __name__ == "__main__":
    FILE.write_text(json.dumps(references(), indent=1) + "\n", encoding="utf-8")
