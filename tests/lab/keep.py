"""Writes the kept captures anew that the tests' own ends made: ``python -m tests.lab.keep``.

Kept, because a picture of a handshake is compared with what it looked like before.
"""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.capture.link import LINUX_SLL2
from tests.lab.authority import root
from tests.lab.samples import CAPTURES
from tests.lab.scenarios import recording_of
from tests.lab.traffic import capture, record

__all__ = ["KEPT", "keep"]

KEPT: Final = {
    "made-tls12-ticket-resumed": "ticket",
    "made-tls12-session-id-resumed": "session id",
    "made-tls12-dhe": "finite field",
    "made-tls12-renegotiated": "renegotiated",
    "made-tls13-retry": "retry",
    "made-tls13-mutual": "mutual 1.3",
    "made-tls13-mutual-nocert": "mutual 1.3, none",
    "made-tls13-early-data": "early data",
    "made-tls13-key-update": "key update",
    "made-tls13-wrong-name": "wrong name",
}
"""Names of files, and the scenarios that they hold."""


def keep() -> None:
    """Write all of them, and the certificate of their CA."""
    (CAPTURES / "made-ca.crt").write_bytes(root().pem)
    for name, scenario in KEPT.items():
        recording = recording_of(scenario)
        frames = record(recording, link_type=LINUX_SLL2, mss=1400, client_port=40000).frames
        data = capture(frames, link_type=LINUX_SLL2, secrets=recording.key_log)
        (CAPTURES / f"{name}.pcapng").write_bytes(data)


if __name__ == "__main__":
    keep()
