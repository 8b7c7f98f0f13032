# -*- test-case-name: tests.lab.tls.test_names -*-
"""Finite-field groups that are known to be good, by their primes: those of RFC 7919 and RFC 3526.

A server may make up a prime of its own, which nobody has looked at. The known ones are computed here by the formulas of
their RFCs, from the digits of e and of pi: nothing could be hidden in them.
"""

from __future__ import annotations

import functools
from typing import Final

__all__ = ["named_prime", "prime_of"]

_GUARD: Final = 64
"""More bits than rounding errors add up to in some thousand terms."""

_OF_E: Final = {2048: 560316, 3072: 2625351, 4096: 5736041, 6144: 15705020, 8192: 10965728}
"""RFC 7919, appendix A: bits, and the number that makes it a safe prime."""
_OF_PI: Final = {1536: 741804, 2048: 124476, 3072: 1690314, 4096: 240904, 6144: 929484, 8192: 4743158}
"""RFC 3526, the same."""


def _digits_of_e(bits: int) -> int:
    """The whole part of 2**bits times e, from its series."""
    term = total = 1 << (bits + _GUARD)
    divisor = 1
    while term:
        term //= divisor
        total += term
        divisor += 1
    return total >> _GUARD


def _arc_cotangent(x: int, one: int) -> int:
    term = total = one // x
    divisor, sign = 3, -1
    while term:
        term //= x * x
        total += sign * (term // divisor)
        divisor, sign = divisor + 2, -sign
    return total


def _digits_of_pi(bits: int) -> int:
    """The whole part of 2**bits times pi, by Machin's formula."""
    one = 1 << (bits + _GUARD)
    return 4 * (4 * _arc_cotangent(5, one) - _arc_cotangent(239, one)) >> _GUARD


@functools.cache
def prime_of(name: str) -> int:
    """The prime of a group, for instance "ffdhe2048" or "modp2048"."""
    bits = int(name[-4:])
    if name.startswith("ffdhe"):
        digits = _digits_of_e(bits - 130) + _OF_E[bits]
    else:
        digits = _digits_of_pi(bits - 130) + _OF_PI[bits]
    return (1 << bits) - (1 << (bits - 64)) - 1 + (digits << 64)


def named_prime(prime: bytes) -> str | None:
    """The name of the group of that prime."""
    value = int.from_bytes(prime, "big")
    bits = value.bit_length()
    for kind, known in (("ffdhe", _OF_E), ("modp", _OF_PI)):
        if bits in known and prime_of(f"{kind}{bits}") == value:
            return f"{kind}{bits}"
    return None
