# -*- test-case-name: tests.policy.builtin.test_token -*-
"""A JSON Web Token (RFC 7519) as a client shows it: its parts, its signature, and what it claims.

Everything here is a stranger's. Whatever is wrong with it is a :class:`TokenRefused`, whose text holds nothing of it
but short names of its own; no other exception leaves this module, so that no token can make a policy seem broken.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jwt import InvalidTokenError, PyJWS

from mqttsecure.policy.builtin.token_keys import TokenKey

__all__ = [
    "MAXIMUM_TOKEN",
    "Header",
    "Lifetime",
    "TokenRefused",
    "looks_like_token",
    "names_in_claim",
    "read_header",
    "read_issuer",
    "read_lifetime",
    "verified_claims",
]

MAXIMUM_TOKEN: Final = 8192
"""Bytes: what web servers take in a header, so what issuers make. A stranger has the broker verify at most this."""

_SHAPE: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_SHOWN: Final = 100
"""Characters of a stranger's name that a log line shows."""

_JWS: Final = PyJWS()


class TokenRefused(Exception):
    """A token that lets nobody in. ``rule`` says what it breaks; ``forged`` that no issuer of ours made it so."""

    def __init__(self, rule: str, text: str, *, forged: bool = False) -> None:
        super().__init__(text)
        self.rule = rule
        self.forged = forged


@dataclass(slots=True, frozen=True)
class Header:
    """What a token says of its signature; only to be compared."""

    algorithm: str
    key_id: str | None


@dataclass(slots=True, frozen=True)
class Lifetime:
    """From when to when a token holds, in seconds of Unix time; ``begins`` None is since ever."""

    begins: float | None
    ends: float


def looks_like_token(password: bytes) -> bool:
    """Whether it is three parts of base64url, as hardly a password is."""
    return len(password) > 20 and _SHAPE.fullmatch(password) is not None


def read_header(token: bytes) -> Header:
    """The header, of which nothing is proved.

    Raises:
        TokenRefused: there is none, or it asks for something that is not known here.
    """
    if len(token) > MAXIMUM_TOKEN:
        raise TokenRefused("size", f"the token has {len(token)} bytes; at most {MAXIMUM_TOKEN} are taken", forged=True)
    try:
        header = _JWS.get_unverified_header(token)
    except (InvalidTokenError, ValueError, RecursionError, TypeError):
        raise TokenRefused("header", "its header cannot be read", forged=True) from None
    if "crit" in header or "b64" in header:
        raise TokenRefused("header", "its header demands an extension that is not known here", forged=True)
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or not isinstance(key_id, str | None):
        raise TokenRefused("header", "its header names no algorithm, or no key that could be looked for", forged=True)
    return Header(algorithm, key_id)


def read_issuer(token: bytes) -> str | None:
    """Who it says has made it, of which nothing is proved; None where it does not say."""
    try:
        payload = _JWS.decode_complete(token, options={"verify_signature": False})["payload"]
        return _text_or_none(_claims(payload).get("iss"))
    except (InvalidTokenError, ValueError, RecursionError, TypeError, TokenRefused):
        return None


def verified_claims(token: bytes, header: Header, key: TokenKey) -> dict[str, Any]:
    """What it claims, once its signature is that of the key.

    Raises:
        TokenRefused: it is not, or the claims cannot be read.
    """
    if header.algorithm != key.algorithm:
        text = f"it is signed by {header.algorithm!r:.20}, and its key is one of {key.algorithm}"
        raise TokenRefused("algorithm", text, forged=True)
    material: Any = key.key
    try:
        payload = _JWS.decode_complete(token, material, algorithms=[key.algorithm])["payload"]
    except (InvalidTokenError, ValueError, RecursionError, TypeError):
        raise TokenRefused("signature", "its signature is wrong", forged=True) from None
    return _claims(payload)


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise TokenRefused("claims", "its claims are no JSON object")
    return claims


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def read_lifetime(claims: Mapping[str, Any], now: float, leeway: float, longest: float) -> Lifetime:
    """When the token holds, which is to be now.

    Args:
        claims: of a token whose signature is right.
        now: seconds of Unix time.
        leeway: seconds by which clocks may differ.
        longest: seconds that a token may live in all.

    Raises:
        TokenRefused: it is over, has not begun, or lives too long.
    """
    ends = _time(claims, "exp")
    if ends is None:
        raise TokenRefused("exp", "it never expires; have the issuer set exp")
    begins, issued = _time(claims, "nbf"), _time(claims, "iat")
    if now >= ends + leeway:
        raise TokenRefused("exp", f"it expired {now - ends:.0f} s ago; have the client fetch a new one")
    for name, moment in (("nbf", begins), ("iat", issued)):
        if moment is not None and now < moment - leeway:
            raise TokenRefused(name, f"it begins in {moment - now:.0f} s; compare the clocks of issuer and broker")
    since = min((moment for moment in (begins, issued) if moment is not None), default=now)
    if ends - since > longest:
        text = f"it lives {ends - since:.0f} s; at most {longest:.0f} are taken (maximum_lifetime)"
        raise TokenRefused("maximum_lifetime", text)
    return Lifetime(begins, ends + leeway)


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # So large an int cannot be a float, and infinity no time.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12 or math.isnan(value):
        raise TokenRefused(name, f"its {name} is no time")
    return float(value)


def names_in_claim(claims: Mapping[str, Any], claim: str, maximum: int, longest: int) -> Sequence[str]:
    """The texts of a claim that is a list of them, or one; none where it is missing.

    Raises:
        TokenRefused: it is anything else, or too much.
    """
    value = claims.get(claim, [])
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or len(listed) > maximum:
        raise TokenRefused(claim, f"its {claim!r:.{_SHOWN}} is no list of up to {maximum} texts")
    for each in listed:
        if not isinstance(each, str) or not each or len(each) > longest or not each.isprintable():
            text = f"its {claim!r:.{_SHOWN}} has an entry that is no printable text of up to {longest} characters"
            raise TokenRefused(claim, text)
    return listed
