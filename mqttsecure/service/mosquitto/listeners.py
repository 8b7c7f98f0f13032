# -*- test-case-name: tests.service.mosquitto.test_importing -*-
"""Listeners of mosquitto, and which of them share users and rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from mqttsecure.core.decisions import Source
from mqttsecure.service.files import secret_problem, unreadable_problem
from mqttsecure.service.mosquitto.conf import ListenerSettings, MosquittoConf, Setting, is_true
from mqttsecure.service.mosquitto.notes import Notes

__all__ = ["Domain", "Listener", "domains_of", "listeners_of"]

_VERSIONS: Final = {"tlsv1.3": "TLSv1.3", "tlsv1.2": "TLSv1.2"}
_CLOSING: Final = {
    "psk_hint": "name a certfile and keyfile",
    "capath": "put the CAs into one file and name it cafile",
    "bind_interface": "give it the address of the interface, in `listener PORT ADDRESS`",
    "mount_point": "without it its clients would reach all topics; see docs/howto/tenants.md for what takes its place",
}
"""What a listener cannot be opened without, and what to do."""

_PLUGIN: Final = re.compile(r"dynamic_security")


@dataclass(slots=True, eq=False)
class Listener:
    """A listener that can be carried over. ``ca`` is given where clients may, or with ``certificate_required`` must,
    show a certificate; ``names_by_certificate`` where its name is their user name; ``identifier_is_user`` where the
    user name is the Client Identifier."""

    name: str
    bind: tuple[str, ...]
    on_loopback: bool
    settings: ListenerSettings
    source: Source
    certificate: str = ""
    key: str = ""
    minimum_version: str = "TLSv1.2"
    ca: str = ""
    crl: str = ""
    certificate_required: bool = False
    identifier_is_user: bool = False
    names_by_certificate: bool = False

    @property
    def speaks_tls(self) -> bool:
        return bool(self.certificate)


@dataclass(slots=True, eq=False)
class Domain:
    """Listeners with the same users and rules: they become one authority and one set of policies."""

    authority: str
    listeners: list[Listener]
    password_file: Setting | None
    acl_file: Setting | None
    dynsec: Setting | None
    anonymous: bool

    @property
    def on(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.listeners)


def listeners_of(conf: MosquittoConf, notes: Notes) -> list[Listener]:
    """The listeners that can be carried over; those that cannot are noted, and stay closed."""
    found: list[Listener] = []
    for settings in conf.listeners:
        source = settings.opened.source if settings.opened else Source(str(conf.path), 1)
        listener = _listener(settings, source, notes)
        if listener is not None and _has_no_other_plugin(conf, settings, notes):
            _note_identifiers(listener, notes)
            if any(each.name == listener.name for each in found):
                listener.name = f"{listener.name}-{len(found) + 1}"
            found.append(listener)
    return found


def _has_no_other_plugin(conf: MosquittoConf, settings: ListenerSettings, notes: Notes) -> bool:
    """Whether nobody decides there whose decisions are not known."""
    others = [
        plugin
        for owner, plugin in conf.plugins
        if (owner is None or owner is settings) and not _PLUGIN.search(plugin.value)
    ]
    for plugin in others:
        notes.left(
            plugin.source,
            f"the plugin {plugin.value}: what it decides is not known here, so the listener stays closed; write it "
            "as a policy (mqttsecure policy new), remove the line, and run the import again",
        )
    return not others


def _note_identifiers(listener: Listener, notes: Notes) -> None:
    setting = listener.settings.settings.get("use_username_as_clientid")
    listener.identifier_is_user = is_true(setting)
    if setting is not None and listener.identifier_is_user:
        text = "a client has to name itself like its user, or is refused; mosquitto does that for it"
        notes.differs(setting.source, text)


def _listener(settings: ListenerSettings, source: Source, notes: Notes) -> Listener | None:
    protocol = settings.settings.get("protocol")
    if protocol is not None and protocol.value != "mqtt":
        notes.left(protocol.source, f"a listener of protocol {protocol.value!r}; it stays closed")
        return None
    if settings.port == 0:
        notes.left(source, "a Unix socket; it stays closed")
        return None
    for name, mend in _CLOSING.items():
        if name in settings.settings:
            notes.left(settings.settings[name].source, f"{name}: the listener stays closed; {mend}")
            return None
    hosts = _hosts(settings.address, settings.get("socket_domain"))
    if hosts is None:
        notes.left(source, f"{settings.address!r} is no IP address; the listener stays closed until it is given one")
        return None
    bind = tuple(f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}" for host in hosts)
    on_loopback = all(ip_address(host).is_loopback for host in hosts)
    listener = Listener(f"mqtt-{settings.port}", bind, on_loopback, settings, source)
    return listener if _take_tls(listener, notes) else None


def _hosts(address: str, domain: str | None) -> tuple[str, ...] | None:
    if not address and domain == "ipv6":
        return None  # "::" takes IPv4 as well
    if not address:
        return ("::",) if domain is None else ("0.0.0.0",)  # noqa: S104  # as mosquitto's
    if address == "localhost":
        return ("127.0.0.1", "::1")
    try:
        return (str(ip_address(address)),)
    except ValueError:
        return None


def _take_tls(listener: Listener, notes: Notes) -> bool:
    """Take over what is said of TLS; False where the listener must stay closed, since it would speak none."""
    settings = listener.settings.settings
    certificate, key = settings.get("certfile"), settings.get("keyfile")
    if certificate is None and key is None:
        return True
    if certificate is None or key is None:
        present = certificate or key
        if present is not None:
            notes.left(present.source, "certfile and keyfile go together; the listener stays closed")
        return False
    for setting in (certificate, key):
        problem = unreadable_problem(Path(setting.value).absolute())
        if problem is not None:
            notes.left(setting.source, f"{problem}; the listener stays closed")
            return False
    listener.certificate, listener.key = _absolute(certificate), _absolute(key)
    problem = secret_problem(Path(listener.key))
    if problem is not None:
        notes.left(key.source, f"{problem}; the listener stays closed until then, run the import again")
        return False
    return _take_client_certificates(listener, settings, notes)


def _take_client_certificates(listener: Listener, settings: dict[str, Setting], notes: Notes) -> bool:
    version = settings.get("tls_version")
    if version is not None and version.value.lower() in _VERSIONS:
        listener.minimum_version = _VERSIONS[version.value.lower()]
    elif version is not None:
        notes.left(version.source, f"{version.value!r} is not spoken here; clients need TLS 1.2 at least")
    ca, required = settings.get("cafile"), settings.get("require_certificate")
    if not is_true(required):
        return True
    if required is not None and ca is None:
        notes.left(required.source, "require_certificate without a cafile; the listener stays closed")
        return False
    if ca is not None:
        problem = unreadable_problem(Path(ca.value).absolute())
        if problem is not None:
            notes.left(ca.source, f"{problem}; the listener stays closed")
            return False
        listener.ca, listener.certificate_required = _absolute(ca), True
    if "crlfile" in settings:
        listener.crl = _absolute(settings["crlfile"])
    listener.names_by_certificate = is_true(settings.get("use_identity_as_username"))
    subject = settings.get("use_subject_as_username")
    if is_true(subject) and subject is not None:
        notes.left(subject.source, "a whole subject as user name; the common name is taken in its place")
        listener.names_by_certificate = True
    return True


def _absolute(setting: Setting) -> str:
    return str(Path(setting.value).absolute())


def domains_of(conf: MosquittoConf, listeners: Sequence[Listener], notes: Notes) -> list[Domain]:
    """Which listeners share users and rules."""
    domains: dict[tuple[object, ...], Domain] = {}
    for listener in listeners:
        settings = listener.settings
        passwords, acl = (conf.security(settings, name) for name in ("password_file", "acl_file"))
        dynsec = _dynsec(conf, settings, notes)
        anonymous = is_true(conf.security(settings, "allow_anonymous"), default=settings.opened is None)
        values = [None if each is None else each.value for each in (passwords, acl, dynsec)]
        key = (*values, anonymous, listener.ca, listener.crl, listener.names_by_certificate)
        domain = domains.get(key)
        if domain is None:
            name = "mosquitto" if not domains else f"mosquitto-{listener.name}"
            domain = domains[key] = Domain(name, [], passwords, acl, dynsec, anonymous)
        domain.listeners.append(listener)
    if len(domains) > 1:
        _note_several(list(domains.values()), notes)
    return list(domains.values())


def _note_several(domains: list[Domain], notes: Notes) -> None:
    for domain in domains[1:]:
        notes.differs(
            domain.listeners[0].source,
            f"its users are those of the authority {domain.authority!r} and nobody else, even under the same name: a "
            "session belongs to one of them; say with [[alias]] who is the same",
        )


def _dynsec(conf: MosquittoConf, settings: ListenerSettings, notes: Notes) -> Setting | None:
    """The line that names the file of the dynamic security plugin."""
    for owner, plugin in conf.plugins:
        if owner is None or owner is settings:
            for option in ("plugin_opt_config_file", "auth_opt_config_file"):
                found = conf.security(settings, option) or conf.general.get(option)
                if found is not None:
                    return found
            notes.left(plugin.source, "dynamic security without plugin_opt_config_file; name its file")
    return None
