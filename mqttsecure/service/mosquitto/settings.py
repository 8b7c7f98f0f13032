# -*- test-case-name: tests.service.mosquitto.test_importing -*-
"""Every option of mosquitto.conf: where it is carried over, what takes its place, or why it is not needed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from mqttsecure.service.limits_table import LimitsTable
from mqttsecure.service.mosquitto.conf import MosquittoConf, Setting
from mqttsecure.service.mosquitto.notes import Notes

__all__ = ["CARRIED", "LIMITS", "NOT_CARRIED", "limits_of_conf", "note_settings"]

LIMITS: Final = {
    "max_packet_size": "maximum_packet_size",
    "message_size_limit": "maximum_packet_size",
    "max_inflight_messages": "maximum_inflight",
    "max_queued_messages": "maximum_queued_messages",
    "max_queued_bytes": "maximum_queued_bytes",
    "max_keepalive": "maximum_keep_alive",
    "persistent_client_expiration": "maximum_session_expiry",
    "sys_interval": "sys_interval",
    "max_topic_alias": "topic_alias_maximum",
}
"""Options that are a key of ``[limits]``."""

CARRIED: Final[Mapping[str, str]] = {
    "listener": "a `[[listener]]`",
    "port": "the same",
    "bind_address": "the same",
    "protocol": "mqtt alone",
    "include_dir": "its files are read",
    "per_listener_settings": "`on` of the policies",
    "password_file": "a `password-file` policy with its hashes",
    "acl_file": "a `topic-acl` policy with a rule for each line",
    "plugin": "dynamic security alone: users, groups and rules",
    "auth_plugin": "the same",
    "plugin_opt_config_file": "the file of dynamic security",
    "auth_opt_config_file": "the same",
    "allow_anonymous": "an `anonymous` policy",
    "certfile": "`certificate` in `tls` of the listener, where it lies",
    "keyfile": "`key` in the same",
    "cafile": "`ca` of an `[[authority]]`, with require_certificate",
    "crlfile": "`crl` of the same",
    "require_certificate": '`client_certificate = "required"`',
    "use_identity_as_username": "a `client-certificate` policy, by common name",
    "use_subject_as_username": "the same",
    "tls_version": "`minimum_version`, from TLS 1.2 on",
    "max_connections": "`maximum_connections` of the listener",
    "max_qos": "a rule that denies more",
    "retain_available": "a rule that denies retained messages",
    "clientid_prefixes": "`patterns` of `client-id`",
    "use_username_as_clientid": '`patterns = ["{user}"]` of `client-id`: a client has to name itself so',
    "socket_domain": "the address of that family",
    "allow_zero_length_clientid": "`allow_empty` of `client-id`",
    "persistence": '`[store]`: `"memory"` where it is false, else on disk',
}
"""Options that are carried over, and what they become."""

NOT_CARRIED: Final[Mapping[str, str]] = {
    "auto_id_prefix": "the broker chooses identifiers by itself",
    "autosave_interval": "what is acknowledged is on disk at once; see `[store]`",
    "autosave_on_changes": "what is acknowledged is on disk at once; see `[store]`",
    "bind_interface": "the listener stays closed; give it the address of the interface",
    "capath": "the listener stays closed; put the CAs into one file, cafile",
    "check_retain_source": "the writer's rights are always checked again at delivery",
    "ciphers": "TLS has safe suites alone; see `legacy_ciphers` of a listener",
    "ciphers_tls1.3": "TLS 1.3 has safe suites alone",
    "connection_messages": "connections are always logged",
    "dhparamfile": "no longer needed with ECDHE",
    "http_dir": "no files are served",
    "log_dest": "the log goes to stderr, or where twistd's --logfile says",
    "log_facility": "there is no syslog; systemd takes stderr",
    "log_timestamp": "every line has the time",
    "log_timestamp_format": "the time is ISO 8601, in UTC",
    "log_type": "see `level` of `[log]`",
    "memory_limit": "see the budgets in `[limits]`, which count bytes by what holds them",
    "mount_point": "the listener stays closed; put its clients into a namespace: docs/howto/tenants.md",
    "persistence_file": "what mosquitto has stored is not read: let clients drain their queues first",
    "persistence_location": "what mosquitto has stored is not read: let clients drain their queues first",
    "pid_file": "see twistd's --pidfile",
    "psk_file": "pre-shared keys are not spoken; give the devices certificates",
    "psk_hint": "the listener stays closed: pre-shared keys are not spoken; give the devices certificates",
    "queue_qos0_messages": "QoS 0 is not kept for clients that are away",
    "set_tcp_nodelay": "always so",
    "tls_engine": "hardware engines are not used",
    "tls_engine_kpass_sha1": "hardware engines are not used",
    "tls_keyform": "keys are PEM files",
    "upgrade_outgoing_qos": "a message is never delivered at a higher QoS than it was sent with",
    "user": "start it as that user: see User= in docs/howto/production.md",
    "websockets_headers_size": "this listener protocol is not carried over",
    "websockets_log_level": "this listener protocol is not carried over",
}
"""Options that are not carried over, and why that is well, or what to do."""

_OF_PLUGINS: Final = ("plugin_opt_", "auth_opt_")
"""What is told with the line that names the plugin."""

_EXPIRY: Final = re.compile(r"(\d+)([hdwmy])")
_SECONDS: Final = {"h": 3600, "d": 86_400, "w": 604_800, "m": 2_592_000, "y": 31_536_000}


def note_settings(conf: MosquittoConf, notes: Notes) -> None:
    """Note every line that is not carried over."""
    bridges = set(conf.bridges)
    for setting in conf.lines:
        if setting in bridges:
            notes.left(setting.source, f"{setting.name}: bridges are not carried over; keep mosquitto beside for them")
        elif setting.name in NOT_CARRIED:
            notes.left(setting.source, f"{setting.name}: {NOT_CARRIED[setting.name]}")
        elif setting.name not in CARRIED and setting.name not in LIMITS and not setting.name.startswith(_OF_PLUGINS):
            notes.left(setting.source, f"{setting.name}: no option of mosquitto 2 that is known here")


def limits_of_conf(conf: MosquittoConf, notes: Notes) -> dict[str, int]:
    """The keys of ``[limits]``."""
    found: dict[str, int] = {}
    for setting in conf.lines:
        key = LIMITS.get(setting.name)
        if key is None or setting in conf.bridges:
            continue
        value = _number(setting)
        if value is None or (value == 0 and setting.name != "max_topic_alias" and setting.name != "sys_interval"):
            notes.left(setting.source, f"{setting.name} {setting.value}: there is always a limit here; see `[limits]`")
            continue
        try:
            LimitsTable.model_validate({key: value})
        except ValidationError as error:
            notes.left(setting.source, f"{setting.name}: {key} {error.errors()[0]['msg'].lower()}")
            continue
        found[key] = max(found.get(key, 0), value)
    return found


def _number(setting: Setting) -> int | None:
    if setting.name == "persistent_client_expiration":
        match = _EXPIRY.fullmatch(setting.value)
        return None if match is None else int(match[1]) * _SECONDS[match[2]]
    return int(setting.value) if setting.value.isascii() and setting.value.isdigit() else None
