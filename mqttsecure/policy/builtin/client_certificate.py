# -*- test-case-name: tests.policy.builtin.test_client_certificate -*-
"""``client-certificate``: who a client is, by the certificate it showed in the TLS handshake.

A name counts only within the authority whose CA stands at the end of the verified chain: two CAs that issue one name
make two principals.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from cryptography import x509
from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import Decision, Principal, Purpose, Request, Role, Source, Stage, TlsFacts
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    IIdentities,
    IPolicy,
    IPolicyEnvironment,
    IPolicyFactory,
    KnownIdentity,
)
from mqttsecure.policy.builtin.certificates import (
    CertificateRefused,
    NameKind,
    fingerprint,
    groups_of,
    name_of,
    parse_certificate,
    spki_hash,
)
from mqttsecure.policy.builtin.options import PolicyOptions, Problems

__all__ = ["ClientCertificate", "ClientCertificateFactory", "ClientCertificateOptions"]

_NO_CERTIFICATE: Final = Decision.abstain(text="no client certificate was shown")
_OTHER_AUTHORITY: Final = Decision.abstain(text="the certificate is of no authority of this policy")
_NOT_MINE: Final = Decision.abstain(text="not let in by this policy")

_HEXADECIMAL: Final = re.compile(r"[0-9a-f]+")


class ClientCertificateOptions(PolicyOptions):
    """Options of ``client-certificate``."""

    authorities: list[str] = Field(
        min_length=1,
        description="The [[authority]] tables whose CA certificates count. Each has its own names.",
        examples=[["devices"]],
    )
    name_from: list[NameKind] = Field(
        default=["san-uri", "san-dns", "san-email", "cn"],
        min_length=1,
        description="Where the name stands: of the kinds listed, the first that the certificate has.",
        examples=[["cn"]],
    )
    groups_from_ou: bool = Field(
        default=True, description="Whether the organizational units are groups of the client.", examples=[False]
    )
    known: list[str] | None = Field(
        default=None,
        description="Only these names are let in; with several authorities each is written `authority:name`.",
        examples=[["sensor-1", "sensor-2"]],
    )
    denied: list[str] = Field(
        default=[],
        description="Certificates refused, by `name:`, `serial:` (hexadecimal) or `spki:sha256:` (of the public key).",
        examples=[["name:sensor-9", "serial:0a1b2c"]],
    )


@implementer(IPolicy, IIdentities)
class ClientCertificate:
    """Permits the owner of a valid certificate of its authorities."""

    stateful = False

    def __init__(self, options: ClientCertificateOptions, environment: IPolicyEnvironment) -> None:
        self._environment = environment
        self._policy_id: str = environment.policy_id
        self._source: Source = environment.source()
        self._kinds = tuple(options.name_from)
        self._groups_from_ou = options.groups_from_ou
        # Bound to the anchor byte for byte: another CA of the same name is another CA.
        self._authority_of_anchor = {
            der: name for name in options.authorities for der in environment.authorities[name].ca_certificates
        }
        self._known = None if options.known is None else _qualified(options.known, options.authorities)
        self._denied = {_denial(text): index for index, text in enumerate(options.denied)}

    def decide(self, request: Request) -> Decision:
        """ABSTAIN without a certificate of its authorities; else PERMIT its owner, or DENY what is wrong with it."""
        recheck = request.purpose is Purpose.RECHECK
        if recheck and (request.evidence is None or request.evidence.policy != self._policy_id):
            return _NOT_MINE
        tls = request.connection.tls
        if tls is None or tls.peer_certificate is None:
            return self._deny("evidence", "the certificate is not known any more") if recheck else _NO_CERTIFICATE
        try:
            decision = self._judge(tls, tls.peer_certificate, request)
        except CertificateRefused as error:
            return self._deny("certificate", str(error))
        if recheck and (request.evidence is None or request.evidence.fingerprint != fingerprint(tls.peer_certificate)):
            return self._deny("evidence", "it is not the certificate that was shown")
        return decision

    def identities(self) -> list[KnownIdentity]:
        if self._known is None:
            names: list[tuple[str, str | None]] = [(name, None) for name in self._authority_of_anchor.values()]
        else:
            names = sorted(self._known)
        more = self._groups_from_ou
        return [KnownIdentity(authority, name, any_groups=more) for authority, name in dict.fromkeys(names)]

    def decide_assuming(self, request: Request) -> Decision:
        """As ``decide``: a certificate is no secret, and judged as it is."""
        return self.decide(request)

    def _judge(self, tls: TlsFacts, der: bytes, request: Request) -> Decision:
        chain = tls.verified_chain
        if not chain or chain[0] != der:
            raise CertificateRefused("the certificate was not verified")
        authority = self._authority_of_anchor.get(chain[-1])
        if authority is None:
            if request.purpose is Purpose.RECHECK:
                raise CertificateRefused("its CA is of no authority of this policy any more")
            return _OTHER_AUTHORITY
        certificate = parse_certificate(der)
        kind, name = name_of(certificate, self._kinds)
        denied = self._denial_of(certificate, name)
        if denied is not None:
            return denied
        if self._known is not None and (authority, name) not in self._known:
            return self._deny("known", f"{authority}:{name} is not listed", "known")
        # Checked in the handshake as well, but a connection outlives it: a recheck comes here alone.
        now = self._environment.wall_clock()
        if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
            raise CertificateRefused(
                f"it is valid from {certificate.not_valid_before_utc} to {certificate.not_valid_after_utc}"
            )
        return Decision.permit(
            kind,
            f"the certificate names {name}",
            source=self._source,
            principal=Principal(authority, name),
            groups=groups_of(certificate) if self._groups_from_ou else frozenset(),
            fingerprint=fingerprint(der),
            valid_until=request.now + (certificate.not_valid_after_utc - now).total_seconds(),
        )

    def _denial_of(self, certificate: x509.Certificate, name: str) -> Decision | None:
        if not self._denied:
            return None
        for key in (f"name:{name}", f"serial:{certificate.serial_number:x}", f"spki:{spki_hash(certificate)}"):
            index = self._denied.get(key)
            if index is not None:
                return self._deny(f"denied[{index}]", f"it is denied by {key}", "denied", index)
        return None

    def _deny(self, rule: str, text: str, option: str | None = None, index: int | None = None) -> Decision:
        return Decision.deny(rule, text, source=self._environment.source(option, index))


def _qualified(known: list[str], authorities: list[str]) -> frozenset[tuple[str, str]]:
    """The principals that ``known`` lists, as (authority, name).

    Raises:
        ValueError: an entry does not say which of several authorities it is of.
    """
    return frozenset(_principal(entry, authorities) for entry in known)


def _principal(entry: str, authorities: list[str]) -> tuple[str, str]:
    authority, colon, name = entry.partition(":")
    if colon and authority in authorities:
        return authority, name
    if len(authorities) > 1:
        # A bare name would mean several people.
        raise ValueError(f"{entry!r} does not say whose name it is; write it like {authorities[0] + ':' + entry!r}")
    return authorities[0], entry


def _denial(text: str) -> str:
    """An entry of ``denied`` in one spelling.

    Raises:
        ValueError: it is none.
    """
    kind, _, value = text.partition(":")
    if kind == "name" and value:
        return text
    digits = value.removeprefix("sha256:").replace(":", "").lower()
    if kind == "serial" and _HEXADECIMAL.fullmatch(digits):
        return f"serial:{int(digits, 16):x}"
    if kind == "spki" and len(digits) == 64 and _HEXADECIMAL.fullmatch(digits):
        return f"spki:{digits}"
    raise ValueError(
        f"{text!r} names no certificate; write name:NAME, serial:HEXADECIMAL or spki:sha256: and 64 hexadecimal digits"
    )


@implementer(IPolicyFactory)
class ClientCertificateFactory:
    """Builds :class:`ClientCertificate`."""

    interface_version = INTERFACE_VERSION
    name = "client-certificate"
    summary = "who a client is, by its TLS certificate"
    stages: Mapping[Stage, Role] = {Stage.AUTHENTICATE: Role.GRANTS}
    options = ClientCertificateOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: ClientCertificateOptions, environment: IPolicyEnvironment) -> ClientCertificate:
        problems = Problems(environment)
        owners: dict[bytes, str] = {}
        for authority in problems.authorities("authorities", options.authorities):
            for der in authority.ca_certificates:
                other = owners.setdefault(der, authority.name)
                if other != authority.name:
                    problems.add(
                        "authorities", f"{other!r} and {authority.name!r} share a CA certificate; list one of them"
                    )
        for index, entry in enumerate(options.known or ()):
            problems.attempt("known", lambda text: _principal(text, options.authorities), entry, index)
        for index, entry in enumerate(options.denied):
            problems.attempt("denied", _denial, entry, index)
        problems.done()
        return ClientCertificate(options, environment)
