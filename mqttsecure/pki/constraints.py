# -*- test-case-name: tests.pki.test_constraints -*-
"""Name constraints (RFC 5280, section 4.2.1.10): which names a CA may vouch for; a stolen one vouches for no other."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.names import name_text

__all__ = ["constraints_of", "name_constraints", "outside"]

_EXAMPLES: Final = "DNS:lab.test, IP:10.77.0.0/24, URI:plant.example or EMAIL:example.org"

_HOST: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+")


def name_constraints(permit: Sequence[str], forbid: Sequence[str]) -> x509.NameConstraints | None:
    """The extension for trees of names that are permitted and forbidden; None for none.

    Raises:
        CertificateProblem: one of them is no tree of names.
    """
    if not permit and not forbid:
        return None
    return x509.NameConstraints(list(map(_tree, permit)) or None, list(map(_tree, forbid)) or None)


def _tree(text: str) -> x509.GeneralName:
    kind, _, value = text.partition(":")
    try:
        match kind.upper():
            case "DNS" if value.isascii() and value.strip("."):
                return x509.DNSName(value.removeprefix("*").removeprefix("."))
            case "IP":
                return x509.IPAddress(ipaddress.ip_network(value))
            case "URI" if value.isascii() and value and "/" not in value:
                return x509.UniformResourceIdentifier(value)
            case "EMAIL" if value.isascii() and value:
                return x509.RFC822Name(value)
    except ValueError as error:
        raise CertificateProblem(f"{text!r} is no tree of names: {error}; write {_EXAMPLES}") from None
    raise CertificateProblem(f"{text!r} is no tree of names; write {_EXAMPLES}")


def constraints_of(certificate: x509.Certificate) -> x509.NameConstraints | None:
    """The constraints of a CA, if it has any."""
    try:
        return certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return None


def outside(constraints: x509.NameConstraints, names: Iterable[x509.GeneralName], common_name: str | None) -> list[str]:
    """Which of the names the CA may not vouch for, with the reason.

    A common name that looks like a host counts as one where there is no DNS name, as OpenSSL takes it.
    """
    asked = list(names)
    if common_name and _HOST.fullmatch(common_name) and not any(isinstance(name, x509.DNSName) for name in asked):
        asked.append(x509.DNSName(common_name))
    found = []
    for name in asked:
        reason = _refusal(constraints, name)
        if reason is not None:
            found.append(f"{name_text(name)} {reason}")
    return found


def _refusal(constraints: x509.NameConstraints, name: x509.GeneralName) -> str | None:
    for tree in constraints.excluded_subtrees or ():
        if type(tree) is type(name) and _within(tree, name):
            return f"is in {name_text(tree)}, which is forbidden"
    permitted = [tree for tree in constraints.permitted_subtrees or () if type(tree) is type(name)]
    if permitted and not any(_within(tree, name) for tree in permitted):
        return f"is not in {' or '.join(map(name_text, permitted))}"
    return None


def _within(tree: x509.GeneralName, name: x509.GeneralName) -> bool:
    if isinstance(tree, x509.IPAddress):
        network = tree.value
        if isinstance(network, ipaddress.IPv4Network | ipaddress.IPv6Network):
            return name.value in network
        return bool(name.value == network)
    if isinstance(tree, x509.DNSName):
        return _is_below(str(name.value), tree.value.removeprefix("."))
    if isinstance(tree, x509.UniformResourceIdentifier):
        return _host_within(urlsplit(str(name.value)).hostname or "", tree.value)
    if isinstance(tree, x509.RFC822Name):
        address, domain = str(name.value), str(name.value).rpartition("@")[2]
        return address == tree.value if "@" in tree.value else _host_within(domain, tree.value)
    return bool(tree.value == name.value)


def _is_below(host: str, tree: str) -> bool:
    host, tree = host.lower(), tree.lower()
    return not tree or host == tree or host.endswith(f".{tree}")


def _host_within(host: str, tree: str) -> bool:
    host, tree = host.lower(), tree.lower()
    return host.endswith(tree) if tree.startswith(".") else host == tree
