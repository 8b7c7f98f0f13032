# -*- test-case-name: tests.service.test_development -*-
"""``[development] generate = true``: certificates and one user, made at the first start, for a first try on loopback.

A CA, a server certificate, a client certificate and a password file with the user ``alice``. What is there is never
overwritten. The files belong to the user that will serve, also where root starts the broker. The password stands in a
file of its own and is never shown or logged.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import shlex
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.password_hash import hash_password
from mqttsecure.service.config import AuthorityConfig, BrokerConfig, ListenerConfig
from mqttsecure.service.files import DEVELOPMENT_FILES, is_development_file

__all__ = ["Owner", "generate", "instructions", "preview", "uses"]

USER: Final = "alice"
LIFETIME: Final = timedelta(days=825)
"""The longest that Apple's TLS still accepts of a private CA's certificates."""

_BACKDATED: Final = timedelta(hours=1)
"""For clients whose clock is a little behind."""

_Name = dict[str, str]


@dataclass(slots=True, frozen=True)
class Owner:
    """The user and group that generated files belong to."""

    uid: int
    gid: int


@dataclass(slots=True, frozen=True)
class _Folder:
    """The development folder, and how to write into it."""

    path: Path
    owner: Owner | None

    def file(self, kind: str) -> Path:
        return self.path / DEVELOPMENT_FILES[kind]

    def has(self, kind: str) -> bool:
        return self.file(kind).exists()

    def has_pair(self, kind: str) -> bool:
        """Whether a certificate and its key are both there, or neither.

        Raises:
            ConfigError: one of them is: that half is of no use, and not ours to replace.
        """
        certificate, key = f"{kind}_certificate", f"{kind}_key"
        if self.has(certificate) != self.has(key):
            there, missing = (certificate, key) if self.has(certificate) else (key, certificate)
            raise ConfigError(
                f"{self.file(missing)}: missing, while {self.file(there)} is there; put it back, "
                f"or have both made anew with: rm {shlex.quote(str(self.file(there)))}"
            )
        return self.has(certificate)

    def make(self) -> None:
        """Make the folder itself where it is missing."""
        if not self.path.exists():
            self.path.mkdir(mode=0o755, parents=True)
            self._give(self.path)

    def write(self, kind: str, data: bytes, mode: int) -> Path:
        """Write a new file, which must not be there, not even as a link to somewhere else."""
        file = self.file(kind)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)
            if self.owner is not None and os.geteuid() == 0:
                os.fchown(descriptor, self.owner.uid, self.owner.gid)
            stream.write(data)
        return file

    def _give(self, path: Path) -> None:
        if self.owner is not None and os.geteuid() == 0:
            os.chown(path, self.owner.uid, self.owner.gid, follow_symlinks=False)


def uses(config: BrokerConfig) -> bool:
    """Whether something that the configuration names is still to be made."""
    directory = config.development
    return any(is_development_file(file, directory) and not file.exists() for file in _files_named_by(config))


def _files_named_by(config: BrokerConfig) -> Iterator[Path]:
    for listener in config.listeners:
        if listener.tls is not None:
            yield listener.tls.certificate
            yield listener.tls.key
    for authority in config.authorities:
        yield from authority.ca
        if authority.password_file is not None:
            yield authority.password_file


def generate(config: BrokerConfig, owner: Owner | None = None) -> list[Path]:
    """Make what is missing in the development folder; return the new files, none at a second start.

    Raises:
        ConfigError: the folder cannot be written, or holds half of a pair.
    """
    if config.development is None:
        return []
    folder = _Folder(config.development, owner)
    try:
        folder.make()
        return [*_make_certificates(folder), *_make_user(folder)]
    except OSError as error:
        raise ConfigError(
            f"{config.development}: development files cannot be made: {error.strerror}; make the folder writable, "
            "or name another with `[development] directory`"
        ) from error


def _make_certificates(folder: _Folder) -> list[Path]:
    made: list[Path] = []
    # The broker needs the CA's certificate alone, and of the client's nothing: who keeps their keys elsewhere may.
    needs_server = not folder.has_pair("server")
    needs_client = not (folder.has("client_certificate") or folder.has("client_key"))
    if not folder.has("ca_certificate") and not (needs_server and needs_client):
        raise ConfigError(
            f"{folder.file('ca_certificate')}: missing, while what it has signed is there; put it back, or remove the "
            "certificates and keys in this folder to have new ones made"
        )
    if (needs_server or needs_client) and not folder.has_pair("ca"):
        key = ec.generate_private_key(ec.SECP256R1())
        made += _write_pair(folder, "ca", _ca_certificate(key), key)
    if needs_server:
        made += _issue(folder, "server", "localhost", _server_extensions)
    if needs_client:
        made += _issue(folder, "client", USER, _client_extensions)
    return made


def _write_pair(
    folder: _Folder, kind: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> list[Path]:
    # The key first: after a crash in between, what is left to remove was never certified.
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return [
        folder.write(f"{kind}_key", pem, 0o600),
        folder.write(f"{kind}_certificate", certificate.public_bytes(serialization.Encoding.PEM), 0o644),
    ]


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mqttsecure development"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now - _BACKDATED + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # A serial in the name: two development CAs on one machine are not to be taken for each other.
    name = _name(f"mqttsecure development CA {secrets.token_hex(4)}")
    builder = _builder(name, name, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    return builder.sign(key, hashes.SHA256())


_Extend = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]


def _issue(folder: _Folder, kind: str, common_name: str, extend: _Extend) -> list[Path]:
    ca, ca_key = _load_ca(folder)
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    builder = extend(_builder(_name(common_name), ca.subject, key.public_key()))
    builder = builder.add_extension(identifier, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    return _write_pair(folder, kind, builder.sign(ca_key, hashes.SHA256()), key)


def _load_ca(folder: _Folder) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(folder.file("ca_certificate").read_bytes())
        certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        key = serialization.load_pem_private_key(folder.file("ca_key").read_bytes(), None)
    except (ValueError, TypeError, x509.ExtensionNotFound) as error:
        raise ConfigError(f"{folder.file('ca_certificate')}: not a development CA with its key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigError(f"{folder.file('ca_key')}: not the key of a development CA")
    return certificate, key


def _server_extensions(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    addresses = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in _host_names()]
    names += [x509.IPAddress(address) for address in addresses]
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)


def _host_names() -> list[str]:
    """``localhost`` and this machine's name, where it can stand in a certificate."""
    name = socket.gethostname()
    fits = name.isascii() and 0 < len(name) <= 253 and all(part.isalnum() or part in "-." for part in name)
    return ["localhost", *([name] if fits and name != "localhost" else [])]


def _client_extensions(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)


def _make_user(folder: _Folder) -> list[Path]:
    if folder.has("users"):
        return []  # with or without the password's file: who knows the password may remove it
    made: list[Path] = []
    if folder.has("password"):
        password = folder.file("password").read_text(encoding="utf-8").strip()
    else:
        password = secrets.token_urlsafe(18)  # 144 bits, and no character that a shell or a URL minds
        made.append(folder.write("password", f"{password}\n".encode(), 0o600))
    line = f"{USER}:{hash_password(password.encode())}\n"
    return [*made, folder.write("users", line.encode(), 0o600)]


@contextmanager
def preview(config: BrokerConfig) -> Iterator[BrokerConfig]:
    """The configuration as it will be after the first start, its development files in a temporary folder.

    So that ``mqttsecure check`` can look at all of it and yet makes nothing.
    """
    if not uses(config):
        yield config
        return
    with tempfile.TemporaryDirectory(prefix="mqttsecure-check-") as folder:
        temporary = replace(config, development=Path(folder))
        generate(temporary)
        yield _moved(temporary, config.development)


def _moved(config: BrokerConfig, old: Path | None) -> BrokerConfig:
    """``config`` with the development files that do not exist in ``old`` taken from its own folder."""

    def move(file: Path) -> Path:
        if config.development is not None and is_development_file(file, old) and not file.exists():
            return config.development / file.name
        return file

    def move_listener(listener: ListenerConfig) -> ListenerConfig:
        if listener.tls is None:
            return listener
        tls = replace(listener.tls, certificate=move(listener.tls.certificate), key=move(listener.tls.key))
        return replace(listener, tls=tls)

    def move_authority(authority: AuthorityConfig) -> AuthorityConfig:
        password_file = None if authority.password_file is None else move(authority.password_file)
        return replace(authority, ca=tuple(map(move, authority.ca)), password_file=password_file)

    return replace(
        config,
        listeners=tuple(map(move_listener, config.listeners)),
        authorities=tuple(map(move_authority, config.authorities)),
    )


_PAHO: Final = """\
  import pathlib, ssl
  import paho.mqtt.client as mqtt

  client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="{user}-paho", protocol=mqtt.MQTTv5)
  client.username_pw_set("{user}", pathlib.Path({password!r}).read_text().strip())
  client.tls_set(ca_certs={ca!r}, tls_version=ssl.PROTOCOL_TLS_CLIENT)
  client.on_connect = lambda client, *rest: client.subscribe("lab/#", qos=1)
  client.on_message = lambda client, data, message: print(message.topic, message.payload)
  client.connect("{host}", {port})
  client.loop_forever()"""


def instructions(config: BrokerConfig, made: list[Path]) -> list[str]:
    """What was made, and the exact commands to connect; shown once, to the terminal."""
    if config.development is None:
        return []
    lines = ["Made for development, on this machine only (never overwritten, reused at the next start):"]
    lines += [f"  {os.path.normpath(file)}" for file in made]
    address = _tls_address(config)
    if address is None:
        return lines
    host, port = address
    folder = Path(os.path.normpath(config.development))
    ca, password = folder / DEVELOPMENT_FILES["ca_certificate"], folder / DEVELOPMENT_FILES["password"]
    server = f"-h {host} -p {port} --cafile {shlex.quote(str(ca))}"
    common = f'{server} -u {USER} -P "$(cat {shlex.quote(str(password))})"'
    with_certificate = (
        f"{server} --cert {shlex.quote(str(folder / DEVELOPMENT_FILES['client_certificate']))} "
        f"--key {shlex.quote(str(folder / DEVELOPMENT_FILES['client_key']))}"
    )
    lines += [
        f"The password of {USER} is in {password}. Subscribe, and in another terminal publish:",
        f"  mosquitto_sub -i {USER}-sub -t 'lab/#' -v {common}",
        f"  mosquitto_pub -i {USER}-pub -t lab/hello -m world -q 1 {common}",
        "With the client certificate in place of the password:",
        f"  mosquitto_pub -i {USER}-pub -t lab/hello -m world -q 1 {with_certificate}",
        "With paho-mqtt:",
        _PAHO.format(user=USER, password=str(password), ca=str(ca), host=host, port=port),
    ]
    return lines


def _tls_address(config: BrokerConfig) -> tuple[str, int] | None:
    """The first address with TLS. Not ``localhost``: that may mean ::1 first, where perhaps nobody listens."""
    return next((listener.addresses[0] for listener in config.listeners if listener.tls is not None), None)
