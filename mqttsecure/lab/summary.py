# -*- test-case-name: tests.lab.test_summary -*-
"""A connection frame by frame, in tshark's terms, to compare this reading with that of another program.

Record types, handshake messages, alerts and MQTT packets stand with the frame that completed them, as Wireshark shows
them. Fields have the names that the readings beside the sample captures use.
"""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.model import CertificateFacts, Connection, Json, Message, Record, TlsFacts
from mqttsecure.lab.tls.cursor import Malformed
from mqttsecure.lab.tls.hello import read_client_hello, read_server_hello
from mqttsecure.lab.tls.messages import read_client_key_exchange, read_server_key_exchange
from mqttsecure.lab.tls.names import ALERTS, CONTENT_TYPES, HANDSHAKE_TYPES, group_name, scheme_name
from mqttsecure.lab.tls.suites import suite_name

__all__ = ["certificate_summary", "frames_of", "summary_of"]

_Object = dict[str, Json]
_HANDSHAKE_KINDS: Final = {kind for kind, _name in HANDSHAKE_TYPES.values()}
_UPPER: Final = {"ca": "CA", "mac": "MAC", "psk": "PSK", "ech": "ECH"}
_NO_APPLICATION_PROTOCOL: Final = 120


def _alert_words(code: int) -> str:
    if code == _NO_APPLICATION_PROTOCOL:
        return "No application Protocol"  # as Wireshark writes it
    name = ALERTS.get(code, f"unknown_({code})")
    return " ".join(_UPPER.get(word, word.capitalize()) for word in name.split("_"))


def frames_of(connection: Connection) -> list[Json]:
    """Each frame that completed a TLS record or an MQTT packet."""
    rows: dict[int, _Object] = {}
    is_1_3 = connection.tls is not None and (connection.tls.version or "").startswith("TLS 1.3")
    for record in connection.records:
        _add_record(_row(rows, connection, record), record, is_1_3)
    for message in connection.messages:
        if message.layer != "tcp" and message.readable:
            _add_message(_row(rows, connection, message), message, connection)
    return [rows[frame] for frame in sorted(rows)]


def _row(rows: dict[int, _Object], connection: Connection, part: Record | Message) -> _Object:
    frame = part.frames[-1]
    if frame not in rows:
        rows[frame] = {"frame": frame, "from": part.sender, "len": connection.frame_lengths.get(frame, 0)}
    return rows[frame]


def _list(row: _Object, name: str) -> list[Json]:
    found = row.setdefault(name, [])
    return found if isinstance(found, list) else []


def _add_record(row: _Object, record: Record, is_1_3: bool) -> None:
    if record.inner_type is not None:
        _list(row, "record_types").append(CONTENT_TYPES.get(record.inner_type, str(record.inner_type)))
    if is_1_3 and record.encrypted:
        count = row.get("opaque_records")
        row["opaque_records"] = (count if isinstance(count, int) else 0) + 1
    row.setdefault("record_version", f"0x{record.version:04x}")


def _add_message(row: _Object, message: Message, connection: Connection) -> None:
    if message.kind == "alert":
        _list(row, "alert").append(_alert(message))
    elif message.layer == "mqtt":
        _add_packet(row, message, connection)
    elif message.kind in _HANDSHAKE_KINDS:
        _list(row, "handshake").append(message.name)
        try:
            _add_handshake(row, message, connection.tls)
        except Malformed:
            pass  # the message itself says that it is malformed


def _alert(message: Message) -> _Object:
    level, description = message.field("level"), message.field("description")
    words = _alert_words(description) if isinstance(description, int) else "malformed"
    return {
        "level": {1: "warning", 2: "fatal"}.get(level if isinstance(level, int) else 0, "unknown"),
        "description": words,
    }


def _add_handshake(row: _Object, message: Message, facts: TlsFacts | None) -> None:
    if message.kind == "client_hello":
        row["client_hello"] = _client_hello(message.raw)
    elif message.kind in ("server_hello", "hello_retry_request"):
        row["server_hello"] = _server_hello(message.raw)
    elif message.kind == "server_key_exchange" and facts is not None and facts.suite is not None:
        row["server_key_exchange"] = _server_key_exchange(message.raw, facts)
    elif message.kind == "client_key_exchange" and facts is not None and facts.suite is not None:
        suite = facts.suite
        kind, secret, _fields = read_client_key_exchange(message.raw, suite.key_exchange, suite.authentication)
        row["client_key_exchange"] = {"kind": kind, "length": len(secret)}


def _client_hello(raw: bytes) -> _Object:
    hello = read_client_hello(raw)
    return {
        "legacy_version": f"0x{hello.legacy_version:04x}",
        "random": hello.random.hex(),
        "session_id_length": len(hello.session_id),
        "cipher_suites": [suite_name(each) for each in hello.suites],
        "extensions": [each.fields[0].value for each in hello.extensions],
        "server_name": hello.server_name,
        "supported_versions": [f"0x{each:04x}" for each in hello.versions],
        "key_share_groups": [group_name(each) for each in hello.key_share_groups],
    }


def _server_hello(raw: bytes) -> _Object:
    hello = read_server_hello(raw)
    group = hello.key_share_group
    return {
        "legacy_version": f"0x{hello.legacy_version:04x}",
        "random": hello.random.hex(),
        "cipher_suite": suite_name(hello.suite),
        "cipher_suite_id": f"0x{hello.suite:04x}",
        "compression_method": str(hello.compression),
        "extensions": [each.fields[0].value for each in hello.extensions],
        "selected_version": f"0x{hello.selected_version:04x}" if hello.selected_version is not None else None,
        "key_share_group": group_name(group) if group is not None else None,
    }


def _server_key_exchange(raw: bytes, facts: TlsFacts) -> _Object:
    suite = facts.suite
    if suite is None:
        return {}
    found = read_server_key_exchange(raw, suite.key_exchange, suite.authentication, facts.legacy_version or 0x0303)
    signature = found.signature
    elliptic = found.kind == "ECDHE"
    return {
        "named_curve": group_name(found.group) if found.group is not None else None,
        "point_len": len(found.public) if elliptic else None,
        "dh_p_len": len(found.prime) if found.prime else None,
        "signature_algorithm": scheme_name(signature.scheme) if signature and signature.scheme is not None else None,
        "signature_len": len(signature.value) if signature else None,
    }


def _add_packet(row: _Object, message: Message, connection: Connection) -> None:
    packet = row.setdefault("mqtt", {})
    if not isinstance(packet, dict):
        return
    _list(packet, "types").append(message.name)
    fields = {each.name: each for each in message.fields}
    if message.kind == "connect" and "client_id" in fields:
        # tshark tells no empty values.
        for name, value in (
            ("clientid", fields["client_id"].value),
            ("username", fields["username"].value if "username" in fields else None),
            ("passwd", fields["password"].text if "password" in fields else None),
        ):
            if value:
                packet[name] = value
        packet["ver"] = str(fields["protocol_version"].value)
    elif message.kind == "connack" and connection.mqtt_version != "MQTT 5.0" and "reason_code" in fields:
        packet["conack.val"] = str(fields["reason_code"].value)
    elif message.kind == "publish" and "topic" in fields:
        for name, field in (("topic", fields["topic"]), ("payload_hex", fields.get("payload"))):
            if field is not None and field.value:
                packet.setdefault(name, field.value)
    elif message.kind in ("subscribe", "unsubscribe"):
        packet.setdefault("topic", _first_filter(message))


def _first_filter(message: Message) -> Json:
    """tshark gives a Topic Filter the name of a Topic Name."""
    found = message.field("subscriptions") or message.field("topic_filters")
    first = found[0] if isinstance(found, list) and found else None
    return first["topic_filter"] if isinstance(first, dict) else first


def certificate_summary(certificate: CertificateFacts) -> _Object:
    """A certificate as the sample readings have it."""
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "sha256": certificate.sha256,
        "public_key": certificate.public_key,
        "signature_hash": certificate.signature_hash,
        "san": list(certificate.san),
    }


def summary_of(connection: Connection) -> _Object:
    """The connection as a whole; what there is none of is left out, as in the sample readings."""
    facts = connection.tls
    found: _Object = _agreed(facts) if facts is not None else {}
    for row in frames_of(connection):
        if isinstance(row, dict):
            for name in ("server_key_exchange", "client_key_exchange"):
                if name in row:
                    found.setdefault(name, row[name])
    alerts: list[Json] = [
        {"from": message.sender, **_alert(message)} for message in connection.of_kind("alert") if message.readable
    ]
    if facts is not None and facts.version is None and alerts:
        found["handshake_refused"] = True
    found["alerts"] = alerts
    found["hello_retry_request"] = facts is not None and facts.hello_retry_request
    seen = dict.fromkeys(message.name for message in connection.messages if message.layer == "mqtt")
    found["mqtt_seen"] = list(seen)
    return found


def _agreed(facts: TlsFacts) -> _Object:
    """What the TLS handshake agreed on, and who showed which certificate."""
    found: _Object = {"version": facts.version, "sni": facts.sni}
    if facts.suite is not None:
        found["cipher_suite"] = facts.suite.name
        found["cipher_suite_id"] = f"0x{facts.suite.id:04x}"
        found["key_exchange"] = facts.key_exchange
        found["forward_secrecy"] = facts.suite.forward_secrecy and facts.psk_mode != "psk_ke"
        found["resumed"] = facts.resumed
    for sender, chain in (("server", facts.server_certificates), ("client", facts.client_certificates)):
        if chain:
            found[f"{sender}_certificates"] = [certificate_summary(each) for each in chain]
    return found
