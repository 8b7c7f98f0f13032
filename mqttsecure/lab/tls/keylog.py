# -*- test-case-name: tests.lab.tls.test_keylog -*-
"""NSS key logs: the secrets of TLS sessions, a line each, found again by the client's random (RFC 9850)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.limits import Budget

__all__ = ["KeyLog", "read_key_log"]

_LABELS_1_3: Final = frozenset(
    (
        "CLIENT_EARLY_TRAFFIC_SECRET",
        "EARLY_EXPORTER_SECRET",
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
        "ECH_SECRET",
        "ECH_CONFIG",
    )
)
_MASTER: Final = "CLIENT_RANDOM"
_PREMASTER: Final = "PMS_CLIENT_RANDOM"
_RSA: Final = "RSA"
_MAX_SECRET: Final = 1024
"""Bytes of one secret; the largest hash has 64, the largest DHE premaster secret 1024."""


@dataclass(slots=True)
class KeyLog:
    """Secrets by what they are found by.

    Attributes:
        by_random: client random to label to secret.
        by_encrypted_premaster: the first eight bytes of the encrypted premaster secret to it in the clear.
        by_session: session id to master secret; also of sessions that were followed before.
        by_ticket: ticket to master secret, of sessions that were followed before.
        lines: how many secrets there are.
        ignored: lines that say nothing that is known.
    """

    by_random: dict[bytes, dict[str, bytes]] = field(default_factory=dict)
    by_encrypted_premaster: dict[bytes, bytes] = field(default_factory=dict)
    by_session: dict[bytes, bytes] = field(default_factory=dict)
    by_ticket: dict[bytes, bytes] = field(default_factory=dict)
    lines: int = 0
    ignored: int = 0

    def secret(self, random: bytes, label: str) -> bytes | None:
        """The secret with that label of the session with that client random."""
        return self.by_random.get(random, {}).get(label)


def read_key_log(texts: Iterable[bytes], budget: Budget) -> KeyLog:
    """Read key logs; lines that are damaged or unknown are counted and passed over.

    Raises:
        CaptureError: they have more lines than anybody needs.
    """
    log = KeyLog()
    for text in texts:
        for line in text.splitlines():
            words = line.split()
            if not words or words[0].startswith(b"#"):
                continue
            if log.lines + log.ignored >= budget.limits.secrets:
                raise CaptureError(f"key logs of more than {budget.limits.secrets} lines; cut them down")
            if _read_line(log, words):
                log.lines += 1
            else:
                log.ignored += 1
    return log


def _read_line(log: KeyLog, words: list[bytes]) -> bool:
    if len(words) != 3:
        return False
    label = words[0].decode("ascii", "replace")
    if label == _RSA and words[1].startswith(b"Session-ID:"):
        session, master = _hex(words[1].partition(b":")[2]), _hex(words[2].partition(b":")[2])
        if session is None or master is None:
            return False
        log.by_session[session] = master
        return True
    key, secret = _hex(words[1]), _hex(words[2])
    if key is None or secret is None:
        return False
    if label == _RSA and len(key) == 8:
        log.by_encrypted_premaster[key] = secret
    elif (len(key) == 32 and label in (_MASTER, _PREMASTER, *_LABELS_1_3)) or (
        len(key) == 32 and label.startswith(("CLIENT_TRAFFIC_SECRET_", "SERVER_TRAFFIC_SECRET_"))
    ):
        log.by_random.setdefault(key, {})[label] = secret
    else:
        return False
    return True


def _hex(word: bytes) -> bytes | None:
    try:
        value = bytes.fromhex(word.decode("ascii"))
    except ValueError:
        return None
    return value if 0 < len(value) <= _MAX_SECRET else None
