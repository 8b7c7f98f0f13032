"""What tshark reads in a capture, in the form of :func:`mqttsecure.lab.summary.frames_of`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

from mqttsecure.lab.tls.names import CONTENT_TYPES, HANDSHAKE_TYPES, group_name, scheme_name
from mqttsecure.lab.tls.suites import suite_name
from mqttsecure.wire.constants import PacketType
from tests.support.foreign import require

__all__ = ["tshark_frames"]

_FIELDS: Final = (
    "frame.number",
    "tcp.stream",
    "tcp.srcport",
    "frame.len",
    "tls.record.content_type",
    "tls.record.opaque_type",
    "tls.record.version",
    "tls.handshake.type",
    "tls.handshake.version",
    "tls.handshake.random",
    "tls.handshake.session_id_length",
    "tls.handshake.ciphersuite",
    "tls.handshake.comp_method",
    "tls.handshake.extension.type",
    "tls.handshake.extensions_server_name",
    "tls.handshake.extensions.supported_version",
    "tls.handshake.extensions_key_share_group",
    "tls.handshake.extensions_key_share_selected_group",
    "tls.handshake.server_named_curve",
    "tls.handshake.server_point_len",
    "tls.handshake.p_len",
    "tls.handshake.sig_hash_alg",
    "tls.handshake.sig_len",
    "tls.handshake.client_point_len",
    "tls.handshake.yc_len",
    "tls.handshake.epms_len",
    "tls.handshake.identity_len",
    "tls.alert_message.level",
    "tls.alert_message.desc",
    "mqtt.msgtype",
    "mqtt.clientid",
    "mqtt.username",
    "mqtt.passwd",
    "mqtt.ver",
    "mqtt.conack.val",
    "mqtt.topic",
    "mqtt.msg",
)
_SEPARATOR: Final = "\x1f"

Row = dict[str, list[str]]


def tshark_frames(file: Path, ports: tuple[int, ...] = ()) -> dict[int, list[dict[str, Any]]]:
    """Frames that completed something, by the number of their TCP stream (from 0)."""
    command = [require("tshark"), "-r", str(file), "-n", "-T", "fields", "-E", f"aggregator={_SEPARATOR}"]
    command += ["-E", "separator=\t", "-E", "occurrence=a", "-o", "tcp.desegment_tcp_streams:TRUE"]
    for port in ports:
        command += ["-d", f"tcp.port=={port},tls", "-d", f"tls.port=={port},mqtt"]
    for name in _FIELDS:
        command += ["-e", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    streams: dict[int, list[dict[str, Any]]] = {}
    for line in done.stdout.splitlines():
        cells = line.split("\t")
        row = {name: cell.split(_SEPARATOR) if cell else [] for name, cell in zip(_FIELDS, cells, strict=True)}
        if not row["tcp.stream"]:
            continue
        found = _frame(row)
        if found is not None:
            streams.setdefault(int(row["tcp.stream"][0]), []).append(found)
    return streams


def _numbers(row: Row, name: str) -> list[int]:
    return [int(each, 0) for each in row[name]]


def _frame(row: Row) -> dict[str, Any] | None:
    found: dict[str, Any] = {
        "frame": int(row["frame.number"][0]),
        "source_port": int(row["tcp.srcport"][0]),
        "len": int(row["frame.len"][0]),
    }
    size = len(found)
    if types := _numbers(row, "tls.record.content_type"):
        found["record_types"] = [CONTENT_TYPES[each] for each in types]
    if row["tls.record.opaque_type"]:
        found["opaque_records"] = len(row["tls.record.opaque_type"])
    if versions := _numbers(row, "tls.record.version"):
        found["record_version"] = f"0x{versions[0]:04x}"
    if kinds := _numbers(row, "tls.handshake.type"):
        found["handshake"] = [HANDSHAKE_TYPES[each][1] for each in kinds]
        found["extensions"] = _numbers(row, "tls.handshake.extension.type")
        _add_hellos(found, row, kinds)
        _add_exchange(found, row, kinds)
    if levels := _numbers(row, "tls.alert_message.level"):
        found["alert"] = list(zip(levels, _numbers(row, "tls.alert_message.desc"), strict=True))
    if packets := _numbers(row, "mqtt.msgtype"):
        found["mqtt"] = _packets(row, packets)
    return found if len(found) > size else None


def _add_hellos(found: dict[str, Any], row: Row, kinds: list[int]) -> None:
    common = {
        "legacy_version": [f"0x{each:04x}" for each in _numbers(row, "tls.handshake.version")],
        "random": row["tls.handshake.random"],
        "groups": [group_name(each) for each in _numbers(row, "tls.handshake.extensions_key_share_group")],
        "suites": [suite_name(each) for each in _numbers(row, "tls.handshake.ciphersuite")],
        "versions": [f"0x{each:04x}" for each in _numbers(row, "tls.handshake.extensions.supported_version")],
    }
    if 1 in kinds:
        found["client_hello"] = {
            **common,
            "session_id_length": _numbers(row, "tls.handshake.session_id_length"),
            "server_name": row["tls.handshake.extensions_server_name"],
        }
    if 2 in kinds:
        common["groups"] += [
            group_name(each) for each in _numbers(row, "tls.handshake.extensions_key_share_selected_group")
        ]
        found["server_hello"] = common


def _add_exchange(found: dict[str, Any], row: Row, kinds: list[int]) -> None:
    if 12 in kinds:
        found["server_key_exchange"] = {
            "named_curve": [group_name(each) for each in _numbers(row, "tls.handshake.server_named_curve")],
            "point_len": _numbers(row, "tls.handshake.server_point_len"),
            "dh_p_len": _numbers(row, "tls.handshake.p_len"),
            "signature_algorithm": [scheme_name(each) for each in _numbers(row, "tls.handshake.sig_hash_alg")][:1],
            "signature_len": _numbers(row, "tls.handshake.sig_len")[:1],
        }
    if 16 in kinds:
        kinds_of_key = ("client_point_len", "yc_len", "epms_len", "identity_len")
        lengths = [f"tls.handshake.{name}" for name in kinds_of_key]
        found["client_key_exchange"] = [length for name in lengths for length in _numbers(row, name)]


def _packets(row: Row, packets: list[int]) -> dict[str, Any]:
    names = ("clientid", "username", "passwd", "ver", "conack.val", "topic")
    found: dict[str, Any] = {name: row[f"mqtt.{name}"] for name in names if row[f"mqtt.{name}"]}
    if "topic" in found:  # of several packets in a frame, or filters in a packet, the first
        found["topic"] = found["topic"][:1]
    found["types"] = [PacketType(each).name for each in packets]
    if row["mqtt.msg"]:
        found["payload"] = [each.replace(":", "") for each in row["mqtt.msg"]]
    return found
