# -*- test-case-name: tests.lab.test_explain -*-
"""From SSL to TLS (lab row E1): which version came when, whether it may be used, and why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["VERSIONS", "VersionFacts"]


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """One version.

    Attributes:
        usable: our broker and our clients speak it.
        why: what it brought, or what broke it.
    """

    name: str
    year: int
    specification: str
    usable: bool
    why: str


VERSIONS: Final = (
    VersionFacts("SSL 2.0", 1995, "none; forbidden by RFC 6176", False, "the handshake is not authenticated"),
    VersionFacts("SSL 3.0", 1996, "RFC 6101; forbidden by RFC 7568", False, "its padding can be guessed (POODLE)"),
    VersionFacts(
        "TLS 1.0", 1999, "RFC 2246; forbidden by RFC 8996", False, "IVs that can be foreseen (BEAST), MD5 and SHA-1"
    ),
    VersionFacts("TLS 1.1", 2006, "RFC 4346; forbidden by RFC 8996", False, "still MD5 and SHA-1, and no AEAD"),
    VersionFacts(
        "TLS 1.2", 2008, "RFC 5246", True, "AEAD and SHA-256; good with ECDHE and AEAD, weak with what it also allows"
    ),
    VersionFacts(
        "TLS 1.3", 2018, "RFC 8446", True, "only what is good is left, one round trip, certificates encrypted"
    ),
)
"""In the order of time."""
