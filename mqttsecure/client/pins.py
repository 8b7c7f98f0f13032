# -*- test-case-name: tests.client.test_pins -*-
"""Pins: the SHA-256 fingerprint of one certificate, the one that ``openssl x509 -fingerprint -sha256`` shows.

Of the certificate and not of its key: it is what browsers, openssl and ``mqttsecure cert show`` print, so that a person
can compare it, and a renewed certificate is a new decision.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

from mqttsecure.client.failures import OptionsInvalid

__all__ = ["check_pin", "fingerprint", "pin_matches"]

_PREFIX: Final = "sha256:"
_HEX: Final = re.compile(r"[0-9a-f]{64}")


def check_pin(pin: str) -> None:
    """Accept a pin: ``sha256:`` and 64 hexadecimal digits, with or without colons between them.

    Raises:
        OptionsInvalid: it is none.
    """
    if not _HEX.fullmatch(_digits(pin)) or not pin.lower().startswith(_PREFIX):
        raise OptionsInvalid(
            f"{pin!r} is no pin",
            "write sha256: and 64 hexadecimal digits, as `openssl x509 -fingerprint -sha256` shows them",
        )


def fingerprint(certificate: bytes) -> str:
    """The pin of a certificate (DER)."""
    return _PREFIX + hashlib.sha256(certificate).hexdigest()


def pin_matches(pin: str, certificate: bytes) -> bool:
    """Whether ``pin`` is that of the certificate (DER)."""
    return hmac.compare_digest(_PREFIX + _digits(pin), fingerprint(certificate))


def _digits(pin: str) -> str:
    return pin.lower().removeprefix(_PREFIX).replace(":", "")
