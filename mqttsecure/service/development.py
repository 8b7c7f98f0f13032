# -*- test-case-name: tests.service.test_development -*-
"""``[development] generate = true``: certificates and one user, made at the first start, for a first try on loopback.

A CA, a server certificate, a client certificate and a password file with the user ``alice``. What is there is never
overwritten. The files belong to the user that will serve, also where root starts the broker. The password stands in a
file of its own and is never shown or logged.
"""

from __future__ import annotations

import os
import secrets
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from mqttsecure.errors import ConfigError
from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.policy.builtin.password_hash import hash_password
from mqttsecure.service.config import AuthorityConfig, BrokerConfig, ListenerConfig
from mqttsecure.service.development_certificates import USER, Folder, Owner, make_certificates
from mqttsecure.service.files import DEVELOPMENT_FILES, is_development_file

__all__ = ["Owner", "generate", "instructions", "preview", "uses"]


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
    folder = Folder(config.development, owner)
    try:
        folder.make()
        return [*make_certificates(folder), *_make_user(folder)]
    except (CertificateProblem, OSError) as error:
        raise ConfigError(
            f"{config.development}: development files cannot be made: {error}; or name another folder with "
            "`[development] directory`"
        ) from error


def _make_user(folder: Folder) -> list[Path]:
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
client.loop_forever()
"""
"""Not indented: it is pasted into a Python prompt or a file as it stands."""


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
        "With paho-mqtt (pip install paho-mqtt), in Python:",
        "",
        _PAHO.format(user=USER, password=str(password), ca=str(ca), host=host, port=port),
    ]
    return lines


def _tls_address(config: BrokerConfig) -> tuple[str, int] | None:
    """The first address with TLS. Not ``localhost``: that may mean ::1 first, where perhaps nobody listens."""
    return next((listener.addresses[0] for listener in config.listeners if listener.tls is not None), None)
