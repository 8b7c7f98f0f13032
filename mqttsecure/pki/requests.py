# -*- test-case-name: tests.pki.test_requests -*-
"""Signing requests: of keys that were made on the device, and of a CA whose upper CA is kept offline.

A request only asks. Its signature proves that its sender has the key, and nothing else: which of its names are taken is
for the one who signs to say, and its purpose, lifetime and usage are never taken from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.keys import PrivateKey, PublicKey, hash_for, usable_public_key
from mqttsecure.pki.names import common_name, name_text, names_of, parse_name

__all__ = ["Request", "make_request", "read_asked", "take"]


@dataclass(slots=True, frozen=True)
class Request:
    """A request whose signature is right. ``names`` are those that it asks for."""

    key: PublicKey
    name: str | None
    names: tuple[x509.GeneralName, ...]

    @property
    def asked(self) -> list[str]:
        """The names it asks for, as they are written on a command line."""
        return list(map(name_text, self.names))


def make_request(name: x509.Name, names: Sequence[x509.GeneralName], key: PrivateKey) -> x509.CertificateSigningRequest:
    """A request for this name, signed with its key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hash_for(key))


def read_asked(request: x509.CertificateSigningRequest, file: str) -> Request:
    """What a request asks for.

    Raises:
        CertificateProblem: its signature is wrong, or its key or names cannot be used.
    """
    try:
        valid = request.is_signature_valid
        key = request.public_key()
    except Exception as error:  # the library has several unrelated classes for what it does not know
        raise CertificateProblem(f"{file}: its key cannot be used ({error}); have the device make a new one") from None
    if not valid:
        raise CertificateProblem(
            f"{file}: the signature is wrong: it was changed on its way, or its sender does not have the key; have the "
            "device make it again"
        )
    return Request(usable_public_key(key, file), common_name(request.subject), tuple(names_of(request)))


def take(request: Request, wishes: Sequence[str]) -> list[x509.GeneralName]:
    """The names that are taken of a request: those wished for, or with ``all`` every one.

    Raises:
        CertificateProblem: one was not asked for.
    """
    if list(wishes) == ["all"]:
        return [_usable(name) for name in request.names]
    taken = []
    for wish in wishes:
        name = parse_name(wish)
        if name not in request.names:
            asked = ", ".join(request.asked) or "no names"
            raise CertificateProblem(
                f"{name_text(name)} is not in the request, which asks for {asked}; add it with --san"
            )
        taken.append(name)
    return taken


def _usable(name: x509.GeneralName) -> x509.GeneralName:
    if not isinstance(name, x509.DNSName | x509.IPAddress | x509.UniformResourceIdentifier | x509.RFC822Name):
        raise CertificateProblem(f"{name_text(name)} is a kind of name that is not issued; take others with --take")
    return parse_name(name_text(name))  # held to the same rules as a name on the command line
