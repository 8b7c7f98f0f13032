# -*- test-case-name: tests.policy.builtin.test_tls_requirements -*-
"""``tls-requirements``: which handshakes are good enough, and whether a connection may do without one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from pydantic import Field
from twisted.internet.defer import Deferred
from zope.interface import implementer

from mqttsecure.core.decisions import Decision, Peer, Request, Role, Source, Stage, TlsFacts
from mqttsecure.interfaces import INTERFACE_VERSION, IAuthority, IPolicy, IPolicyEnvironment, IPolicyFactory
from mqttsecure.policy.builtin.certificates import CertificateRefused
from mqttsecure.policy.builtin.networks import unwrap
from mqttsecure.policy.builtin.options import PolicyOptions, Problems
from mqttsecure.policy.builtin.revocation import RevocationLists

__all__ = ["TlsRequirements", "TlsRequirementsFactory", "TlsRequirementsOptions"]

REREAD_INTERVAL: Final = 30.0
"""Seconds between two looks at whether a revocation list was replaced: a `stat` each, on a path strangers can take."""

_VERSIONS: Final = ("TLSv1.2", "TLSv1.3")
_FORWARD_SECRET: Final = ("ECDHE-", "DHE-")
"""What OpenSSL's names of TLS 1.2 suites with an ephemeral key exchange begin with."""


class TlsRequirementsOptions(PolicyOptions):
    """Options of ``tls-requirements``."""

    minimum_version: Literal["TLSv1.2", "TLSv1.3"] = Field(
        default="TLSv1.2", description="The oldest TLS version that is accepted.", examples=["TLSv1.3"]
    )
    forward_secrecy: bool = Field(
        default=True,
        description="Refuse a handshake whose recording could be read with the server's key later.",
        examples=[False],
    )
    client_certificate: Literal["optional", "required"] = Field(
        default="optional", description="Whether each client must show a certificate.", examples=["required"]
    )
    authorities: list[str] = Field(
        default=[],
        description="[[authority]] tables a client's certificate must belong to; empty: any that the listener trusts.",
        examples=[["devices"]],
    )
    plaintext: Literal["never", "loopback", "anywhere"] = Field(
        default="never",
        description="Where a connection may do without TLS; Unix sockets count as loopback.",
        examples=["loopback"],
    )


@implementer(IPolicy)
class TlsRequirements:
    """Permits a handshake that meets all requirements, and denies any other."""

    stateful = False

    def __init__(
        self, options: TlsRequirementsOptions, environment: IPolicyEnvironment, lists: Mapping[str, RevocationLists]
    ) -> None:
        self._environment = environment
        self._options = options
        self._versions = _VERSIONS[_VERSIONS.index(options.minimum_version) :]
        self._source: Source = environment.source()
        self._permit = Decision.permit(
            "tls", "the handshake meets the requirements", source=self._source, cacheable=True
        )
        names = options.authorities or list(environment.authorities)
        self._anchors: dict[bytes, list[str]] = {}
        for name in names:
            for der in environment.authorities[name].ca_certificates:
                self._anchors.setdefault(der, []).append(name)
        self._lists = lists
        self._look_again_at = environment.clock.seconds() + REREAD_INTERVAL
        self.warnings: tuple[str, ...] = _warnings(options, environment.listeners) + tuple(
            f"authority {name!r}: no current revocation list of {gap}, so the clients of that CA are refused; get one"
            for name, each in lists.items()
            for gap in each.gaps(environment.authorities[name].ca_certificates, environment.wall_clock())
        )

    def decide(self, request: Request) -> Decision | Deferred[Decision]:
        """PERMIT or DENY; the answer comes later where a revocation list was replaced and is read first."""
        tls = request.connection.tls
        if tls is None:
            return self._plaintext(request.connection.peer)
        if tls.version not in self._versions:
            return self._deny("minimum_version", f"the TLS version is {tls.version}")
        # TLS 1.3 has no other key exchange than an ephemeral one.
        if self._options.forward_secrecy and tls.version == "TLSv1.2" and not tls.cipher.startswith(_FORWARD_SECRET):
            return self._deny("forward_secrecy", f"{tls.cipher} has no forward secrecy")
        if tls.peer_certificate is None:
            if self._options.client_certificate == "required":
                return self._deny("client_certificate", "no client certificate was shown")
            return self._permit
        if self._lists and self._is_time_to_look():
            return self._read_again().addCallback(lambda _: self._certificate(tls))
        return self._certificate(tls)

    def _plaintext(self, peer: Peer) -> Decision:
        allowed = self._options.plaintext
        local = peer.address is None or unwrap(peer.address).is_loopback
        if allowed == "anywhere" or (allowed == "loopback" and local):
            source = self._environment.source("plaintext")
            return Decision.permit("plaintext", f"no TLS, as allowed {allowed}", source=source, cacheable=True)
        return self._deny("plaintext", "the connection has no TLS")

    def _certificate(self, tls: TlsFacts) -> Decision:
        chain = tls.verified_chain
        if not chain or chain[0] != tls.peer_certificate:
            return self._deny("client_certificate", "the client certificate was not verified")
        owners = self._anchors.get(chain[-1], [])
        if self._options.authorities and not owners:
            return self._deny("authorities", "the client certificate is of another authority")
        try:
            for name in owners:
                if name in self._lists:
                    self._lists[name].check(chain, self._environment.wall_clock())
        except CertificateRefused as error:
            return self._deny("crl", str(error))
        return self._permit

    def _is_time_to_look(self) -> bool:
        now = self._environment.clock.seconds()
        if now < self._look_again_at:
            return False
        self._look_again_at = now + REREAD_INTERVAL
        return any(lists.changed() for lists in self._lists.values())

    def _read_again(self) -> Deferred[None]:
        deferred: Deferred[None] = self._environment.defer_to_thread(self._read_all)
        return deferred.addCallback(lambda _: self._tell_faults())

    def _read_all(self) -> None:
        for lists in self._lists.values():
            if lists.changed():
                lists.read()

    def _tell_faults(self) -> None:
        for name, lists in self._lists.items():
            for fault in lists.faults:
                self._environment.log.error(
                    "authority {name}: {fault}; its clients are refused until this is mended", name=name, fault=fault
                )

    def _deny(self, rule: str, text: str) -> Decision:
        option = rule if rule in TlsRequirementsOptions.model_fields else None
        return Decision.deny(rule, text, source=self._environment.source(option))


def _warnings(options: TlsRequirementsOptions, listeners: tuple[str, ...]) -> tuple[str, ...]:
    if options.plaintext == "never":
        return ()
    where = ", ".join(listeners) or "no listener"
    return (
        f"connections without TLS are let in on listener {where} from {options.plaintext}; passwords can be read there",
    )


@implementer(IPolicyFactory)
class TlsRequirementsFactory:
    """Builds :class:`TlsRequirements`."""

    interface_version = INTERFACE_VERSION
    name = "tls-requirements"
    summary = "which TLS handshakes are good enough"
    stages: Mapping[Stage, Role] = {Stage.HANDSHAKE: Role.GRANTS}
    options = TlsRequirementsOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: TlsRequirementsOptions, environment: IPolicyEnvironment) -> TlsRequirements:
        problems = Problems(environment)
        if options.authorities:
            authorities = problems.authorities("authorities", options.authorities)
        else:
            authorities = list(environment.authorities.values())
        if options.plaintext != "never" and options.client_certificate == "required":
            text = 'plaintext has no client certificate; write "never", or make client_certificate "optional"'
            problems.add("plaintext", text)
        lists = {authority.name: _read_lists(authority, problems) for authority in authorities if authority.crl_files}
        problems.done()
        return TlsRequirements(options, environment, lists)


def _read_lists(authority: IAuthority, problems: Problems) -> RevocationLists:
    lists = RevocationLists(tuple(authority.crl_files))
    lists.read()
    faults = lists.faults
    if not faults:
        try:
            faults = lists.signature_faults(authority.ca_certificates)
        except CertificateRefused as error:
            faults = [f"a CA certificate cannot be used: {error}"]
    for fault in faults:
        problems.add("authorities", f"[[authority]] {authority.name!r}: {fault}")
    return lists
