# -*- test-case-name: tests.lab.test_mqtt -*-
"""MQTT packets out of bytes, with all that they say, for plain connections and for what was decrypted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Final

from mqttsecure.errors import MqttError
from mqttsecure.lab.model import Field, Json, Message, Sender, as_json
from mqttsecure.lab.tls.assembly import Assembler, Origin
from mqttsecure.wire.constants import MQTT_3_1_1, MQTT_5_0, PacketType, ReasonCode
from mqttsecure.wire.decoder import decode_packet
from mqttsecure.wire.packets import Connack, Connect, Packet, Publish, Suback, Subscribe

__all__ = ["MqttReader", "looks_like_mqtt"]

_MAX_PACKET: Final = 16 * 1024 * 1024
"""A packet larger than what is looked at of a stream cannot be complete."""
_NAME_END: Final = 14
"""Bytes of a CONNECT up to the end of its protocol name, at most."""
_LOOK_AT: Final = 65536
"""Bytes that are looked at to tell whether a conversation without a CONNECT is MQTT."""
_VERSIONS: Final = {3: "MQTT 3.1", 4: "MQTT 3.1.1", 5: "MQTT 5.0"}
_CONNACK_3: Final = {
    0: "accepted",
    1: "unacceptable protocol version",
    2: "client identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}


def looks_like_mqtt(data: bytes) -> bool:
    """Whether a client that begins so speaks MQTT."""
    return data[:1] == b"\x10" and (b"MQTT" in data[:12] or b"MQIsdp" in data[:14])


class MqttReader:
    """Takes what both ends say; gives their packets, and bytes that are none as what they are.

    Attributes:
        version: protocol level, from CONNECT, or a guess where that is missing; 0 before.
        accepted: whether CONNACK accepted; None before.
        password_seen: a password went by.
    """

    def __init__(self, encrypted: bool) -> None:
        self.version = 0
        self.accepted: bool | None = None
        self.password_seen = False
        self.foreign = False
        self._encrypted = encrypted
        self._buffers: dict[Sender, Assembler] = {"client": Assembler(), "server": Assembler()}

    @property
    def version_name(self) -> str | None:
        return _VERSIONS.get(self.version)

    def feed(self, sender: Sender, data: bytes, origin: Origin) -> Iterator[Message]:
        """Messages that these bytes complete."""
        buffer = self._buffers[sender]
        buffer.feed(data, origin)
        head = buffer.peek(_LOOK_AT)
        if not self.version and not self.foreign and not looks_like_mqtt(head):
            if len(head) < _NAME_END and head[:1] == b"\x10":
                return  # a CONNECT in pieces: wait for enough of it
            self.version = _guess_version(head, sender)
            self.foreign = not self.version
        if self.foreign:
            rest, origin = buffer.take(len(buffer))
            if rest:
                yield self._foreign(sender, rest, origin)
            return
        while (size := _packet_size(buffer.peek(5))) is not None and size <= len(buffer):
            raw, origin = buffer.take(size)
            yield self._packet(sender, raw, origin)

    def unfinished(self, sender: Sender) -> int:
        """Bytes of a packet that is not complete."""
        return len(self._buffers[sender])

    def _foreign(self, sender: Sender, data: bytes, origin: Origin) -> Message:
        text = data[:60].decode("ascii", "backslashreplace")
        what = "WebSocket or HTTP, which is not looked into" if data[:4] in (b"GET ", b"HTTP") else "no MQTT"
        return self._message(sender, "application_data", "ApplicationData", data, origin, f"{what}: {text!r}", ())

    def _message(
        self, sender: Sender, kind: str, name: str, raw: bytes, origin: Origin, value: str, fields: tuple[Field, ...]
    ) -> Message:
        return Message(
            index=0,
            sender=sender,
            layer="mqtt" if kind != "application_data" else "tls",
            kind=kind,
            name=name,
            frames=origin.frames,
            time=origin.time,
            length=len(raw),
            records=origin.records,
            encrypted=self._encrypted,
            value=value,
            fields=fields,
            raw=raw,
        )

    def _packet(self, sender: Sender, raw: bytes, origin: Origin) -> Message:
        kind = raw[0] >> 4
        name = PacketType(kind).name if kind in PacketType.__members__.values() else f"packet type {kind}"
        start = 1
        while raw[start] & 0x80:
            start += 1
        body = raw[start + 1 :]
        try:
            packet = decode_packet(raw[0], body, self.version, from_client=sender == "client")
        except MqttError as error:
            fault = Field("fault", str(error), f"malformed: {error}", "a broker closes the connection for that")
            return self._message(sender, "malformed_mqtt", name, raw, origin, fault.text, (fault,))
        self._notice(packet)
        fields = tuple(_fields(packet, self.version))
        return self._message(sender, name.lower(), name, raw, origin, _value(packet, self.version), fields)

    def _notice(self, packet: Packet) -> None:
        if isinstance(packet, Connect):
            self.version = packet.protocol_version
            self.password_seen = self.password_seen or packet.password is not None
        elif isinstance(packet, Connack):
            self.accepted = packet.reason_code == 0


def _guess_version(data: bytes, sender: Sender) -> int:
    """The version that whole packets without a CONNECT before them are of; 0 where they are none.

    That is so where the CONNECT is missing from the capture, or stayed encrypted.
    """
    for version in (MQTT_3_1_1, MQTT_5_0):
        position = 0
        while (size := _packet_size(data[position : position + 5])) is not None and position + size <= len(data):
            start = position + 1
            while data[start] & 0x80:
                start += 1
            try:
                body = data[start + 1 : position + size]
                decode_packet(data[position], body, version, from_client=sender == "client")
            except MqttError:
                break
            position += size
        if position == len(data):
            return version
    return 0


def _packet_size(head: bytes) -> int | None:
    """Bytes of the packet that begins so; None where the fixed header is not complete, or no header."""
    value = 0
    for index, byte in enumerate(head[1:5]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            size = index + 2 + value
            return size if size <= _MAX_PACKET else None
    return None


def _fields(packet: Packet, version: int) -> Iterator[Field]:
    for each in dataclasses.fields(packet):
        value = getattr(packet, each.name)
        if value is None or (each.name == "properties" and not value):
            continue
        if each.name in ("reason_code", "reason_codes") and not _has_reason(packet, version):
            continue
        yield _field(each.name, value, version)


def _has_reason(packet: Packet, version: int) -> bool:
    """Whether it carries one on the wire; before MQTT 5.0 most do not."""
    return version >= 5 or isinstance(packet, (Connack, Suback))


def _field(name: str, value: object, version: int) -> Field:
    if name == "protocol_version" and isinstance(value, int):
        return Field(name, value, _VERSIONS.get(value, str(value)))
    if name in ("payload", "password") and isinstance(value, bytes):
        meaning = "readable by whoever can read this line" if name == "password" else ""
        return Field(name, value.hex(), _bytes_text(value), meaning)
    if name == "keep_alive":
        return Field(
            name, as_json(value), f"{value} s", "the client sends something at least this often, else it is gone"
        )
    if name == "reason_code" and isinstance(value, int):
        return Field(name, value, reason_text(value, version))
    if name == "reason_codes" and isinstance(value, list):
        return Field(name, as_json(value), ", ".join(reason_text(each, version, suback=True) for each in value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = tuple(_field(each.name, getattr(value, each.name), version) for each in dataclasses.fields(value))
        return Field(name, as_json(value), ", ".join(f"{each.name} {each.text}" for each in inner), fields=inner)
    return Field(name, as_json(value), _plain_text(as_json(value)))


def _plain_text(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(_plain_text(each) for each in value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain_text(each)}" for name, each in value.items())
    return str(value)


def _bytes_text(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return value.hex()
    return text if text.isprintable() else repr(text)


def reason_text(code: int, version: int, *, suback: bool = False) -> str:
    """A return code or Reason Code in words."""
    if version < 5:
        if suback:
            return f"granted QoS {code}" if code < 3 else "refused"
        return f"{code} ({_CONNACK_3.get(code, 'unknown')})"
    name = ReasonCode(code).name if code in ReasonCode.__members__.values() else "unknown"
    return f"0x{code:02X} ({name.lower().replace('_', ' ')})"


def _value(packet: Packet, version: int) -> str:
    """A packet in one line."""
    if isinstance(packet, Connect):
        user = f", user {packet.username!r}" if packet.username is not None else ""
        password = " with a password" if packet.password is not None else ""
        return f"{_VERSIONS.get(version, '?')}, client identifier {packet.client_id!r}{user}{password}"
    if isinstance(packet, Connack):
        return reason_text(packet.reason_code, version)
    if isinstance(packet, Publish):
        return f"{packet.topic!r}, QoS {packet.qos}, {len(packet.payload)} bytes{', retained' if packet.retain else ''}"
    if isinstance(packet, Subscribe):
        return ", ".join(f"{each.topic_filter!r} up to QoS {each.qos}" for each in packet.subscriptions)
    if isinstance(packet, Suback):
        return ", ".join(reason_text(each, version, suback=True) for each in packet.reason_codes)
    identifier = getattr(packet, "packet_id", None)
    code = getattr(packet, "reason_code", 0)
    parts = [f"of packet {identifier}"] if identifier else []
    return ", ".join([*parts, *([reason_text(code, version)] if code else [])])
