# -*- test-case-name: tests.service.mosquitto.test_conf -*-
"""mosquitto.conf: its lines, those of the folders it includes, and to which listener each belongs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mqttsecure.core.decisions import Source
from mqttsecure.errors import ConfigError
from mqttsecure.service.mosquitto.notes import read_text_file

__all__ = ["ListenerSettings", "MosquittoConf", "Setting", "is_true", "read_conf"]

PER_LISTENER: Final = frozenset(
    (
        "bind_interface",
        "http_dir",
        "max_connections",
        "max_qos",
        "max_topic_alias",
        "mount_point",
        "protocol",
        "socket_domain",
        "use_username_as_clientid",
        "websockets_headers_size",
        "websockets_log_level",
        "cafile",
        "capath",
        "certfile",
        "ciphers",
        "ciphers_tls1.3",
        "crlfile",
        "dhparamfile",
        "keyfile",
        "require_certificate",
        "tls_engine",
        "tls_engine_kpass_sha1",
        "tls_keyform",
        "tls_version",
        "use_identity_as_username",
        "use_subject_as_username",
        "psk_hint",
    )
)
"""What a line below ``listener`` says of that listener alone."""

SECURITY: Final = frozenset(
    (
        "acl_file",
        "allow_anonymous",
        "allow_zero_length_clientid",
        "auto_id_prefix",
        "password_file",
        "plugin",
        "auth_plugin",
        "psk_file",
    )
)
"""The same, where ``per_listener_settings`` is true; plugin options go with them."""

PLUGINS: Final = frozenset(("plugin", "auth_plugin"))

_MAXIMUM_DEPTH: Final = 8
"""Folders that include folders: mosquitto itself includes them one level deep."""


@dataclass(slots=True, frozen=True)
class Setting:
    """One line."""

    name: str
    value: str
    source: Source


@dataclass(slots=True, eq=False)
class ListenerSettings:
    """A listener and what is said of it; ``opened`` is its line, None for the one that is there without any."""

    port: int
    address: str
    opened: Setting | None
    settings: dict[str, Setting] = field(default_factory=dict)

    def get(self, name: str) -> str | None:
        """The value of a setting; None where it is not given."""
        found = self.settings.get(name)
        return None if found is None else found.value


@dataclass(slots=True, eq=False)
class MosquittoConf:
    """All lines, sorted by what they are about; ``general`` has what is about no listener, and ``plugins`` each line
    that names one, with its listener where there are settings of their own."""

    path: Path
    per_listener: bool
    general: Mapping[str, Setting]
    listeners: Sequence[ListenerSettings]
    bridges: Sequence[Setting]
    lines: Sequence[Setting]
    plugins: Sequence[tuple[ListenerSettings | None, Setting]]

    def security(self, listener: ListenerSettings, name: str) -> Setting | None:
        """A setting about users and rights as it holds for a listener."""
        return listener.settings.get(name) if self.per_listener else self.general.get(name)


def is_true(setting: Setting | None, default: bool = False) -> bool:
    """A yes or no."""
    return default if setting is None else setting.value.lower() in ("true", "1")


def read_conf(path: Path) -> MosquittoConf:
    """Read mosquitto.conf and all that it includes.

    Raises:
        ConfigError: a file cannot be read or a ``listener`` line makes no sense.
    """
    lines = list(_lines(path.absolute(), 0))
    return _sorted(path, lines)


def _lines(path: Path, depth: int) -> Iterator[Setting]:
    for number, line in enumerate(read_text_file(path).split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, _, value = text.partition(" ")
        setting = Setting(name, value.strip(), Source(str(path), number))
        yield setting
        if name == "include_dir":
            yield from _included(setting, depth)


def _included(setting: Setting, depth: int) -> Iterator[Setting]:
    folder = Path(setting.value)
    if depth >= _MAXIMUM_DEPTH:
        raise ConfigError(f"{setting.source}: include_dir: folders include each other; remove one of the lines")
    try:
        files = sorted(each for each in folder.iterdir() if each.suffix == ".conf" and each.is_file())
    except OSError as error:
        raise ConfigError(f"{setting.source}: include_dir: {folder}: {error.strerror}; mend its name") from error
    for file in files:
        yield from _lines(file.absolute(), depth + 1)


def _sorted(path: Path, lines: list[Setting]) -> MosquittoConf:
    per_listener = any(each.name == "per_listener_settings" and is_true(each) for each in lines)
    general: dict[str, Setting] = {}
    listeners: list[ListenerSettings] = []
    default: ListenerSettings | None = None
    bridges: list[Setting] = []
    plugins: list[tuple[ListenerSettings | None, Setting]] = []
    for setting in lines:
        if (setting.name == "connection" or bridges) and setting.name != "listener":
            bridges.append(setting)
        elif setting.name == "listener":
            default = _opened(setting)
            listeners.append(default)
        elif setting.name in ("port", "bind_address"):
            default = _default_listener(listeners, setting)
        elif _belongs(setting.name, per_listener):
            if default is None:
                default = ListenerSettings(1883, "", None)
                listeners.append(default)
            default.settings.setdefault(setting.name, setting)
        else:
            general.setdefault(setting.name, setting)
        if setting.name in PLUGINS:
            plugins.append((default if per_listener else None, setting))
    return MosquittoConf(path, per_listener, general, _meant(listeners), bridges, lines, plugins)


def _belongs(name: str, per_listener: bool) -> bool:
    return name in PER_LISTENER or (per_listener and (name in SECURITY or _is_plugin_option(name)))


def _is_plugin_option(name: str) -> bool:
    return name.startswith(("plugin_opt_", "auth_opt_"))


def _opened(setting: Setting) -> ListenerSettings:
    port, _, address = setting.value.partition(" ")
    if not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ConfigError(f"{setting.source}: listener: {port!r} is no port; write listener PORT [ADDRESS]")
    return ListenerSettings(int(port), address.strip(), setting)


def _default_listener(listeners: list[ListenerSettings], setting: Setting) -> ListenerSettings:
    """The listener that is there without a ``listener`` line, which ``port`` and ``bind_address`` are about."""
    default = next((each for each in listeners if each.opened is None or each.opened.name != "listener"), None)
    if default is None:
        default = ListenerSettings(1883, "", setting)
        listeners.insert(0, default)
    if default.opened is None:
        default.opened = setting
    if setting.name == "port":
        if not (setting.value.isascii() and setting.value.isdigit() and 0 < int(setting.value) < 65_536):
            raise ConfigError(f"{setting.source}: port: {setting.value!r} is no port; write a number")
        default.port = int(setting.value)
    else:
        default.address = setting.value
    return default


def _meant(listeners: list[ListenerSettings]) -> list[ListenerSettings]:
    """Those that mosquitto opens: without any line about one, that of port 1883 on this machine alone."""
    opened = [each for each in listeners if each.opened is not None]
    if opened:
        return opened
    alone = listeners[0] if listeners else ListenerSettings(1883, "", None)
    alone.address = "localhost"
    return [alone]
