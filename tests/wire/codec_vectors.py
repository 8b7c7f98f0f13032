"""Reads ``tests/vectors/`` and turns the packet objects of ``codec.json`` into ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from mqttsecure.wire import packets
from mqttsecure.wire.packets import Packet, Properties

VECTORS = Path(__file__).resolve().parents[1] / "vectors"

_ACKS = {
    "puback": packets.Puback,
    "pubrec": packets.Pubrec,
    "pubrel": packets.Pubrel,
    "pubcomp": packets.Pubcomp,
}
_IRREGULAR = {
    "maximumQoS": "maximum_qos",
    "subscriptionIdentifiersAvailable": "subscription_identifier_available",
}


def load(name: str) -> Any:
    """One of the JSON files."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def _octets(value: Any) -> Any:
    if isinstance(value, dict) and "hex" in value:
        return bytes.fromhex(value["hex"])
    if isinstance(value, dict) and "zeros_or_long" in value:
        return bytes(value["zeros_or_long"])
    return value.encode() if isinstance(value, str) else value


def _text(value: Any) -> Any:
    return _octets(value).decode() if isinstance(value, dict) and "hex" in value else value


def _property(name: str, value: Any) -> tuple[str, Any]:
    if name == "userProperties":
        pairs = [(key, one) for key, ones in value.items() for one in (ones if isinstance(ones, list) else [ones])]
        return "user_property", pairs
    if name == "subscriptionIdentifier":
        return "subscription_identifier", value if isinstance(value, list) else [value]
    ours = _IRREGULAR.get(name) or re.sub("[A-Z]", lambda match: "_" + match[0].lower(), name)
    if isinstance(value, bool):
        return ours, int(value)
    return ours, _octets(value) if isinstance(value, dict) else value


def properties(packet: dict[str, Any]) -> Properties:
    """The properties of a packet or will object."""
    return dict(_property(*item) for item in packet.get("properties", {}).items())  # type: ignore[return-value]


def _connect(packet: dict[str, Any]) -> packets.Connect:
    will = packet.get("will")
    return packets.Connect(
        packet.get("protocolVersion", 4),
        _text(packet.get("clientId", "")),
        packet.get("clean", True),
        packet.get("keepalive", 0),
        _text(packet.get("username")),
        _octets(packet.get("password")),
        will
        if not isinstance(will, dict)
        else packets.Will(
            will.get("topic", ""), _octets(will["payload"]), will["qos"], will["retain"], properties(will)
        ),
        properties(packet),
        packet.get("bridgeMode", False),
    )


def _subscriptions(packet: dict[str, Any]) -> list[packets.SubscriptionRequest]:
    return [
        packets.SubscriptionRequest(
            one["topic"], one["qos"], one.get("nl", False), one.get("rap", False), one.get("rh", 0)
        )
        for one in packet.get("subscriptions", [])
    ]


def to_packet(packet: dict[str, Any], version: int) -> Packet:
    """Our packet for an object of ``codec.json``.

    Raises:
        KeyError: our classes have no place for what it says.
    """
    kind = packet["cmd"]
    packet_id = packet.get("messageId", 0)
    if kind == "connect":
        return _connect(packet)
    if kind == "connack":
        code = packet["reasonCode"] if "reasonCode" in packet else packet["returnCode"]
        return packets.Connack(packet["sessionPresent"], code, properties(packet))
    if kind == "publish":
        return packets.Publish(
            packet["topic"],
            _octets(packet.get("payload", "")),
            packet["qos"],
            packet.get("retain", False),
            packet.get("dup", False),
            packet_id,
            properties(packet),
        )
    if kind in _ACKS:
        return _ACKS[kind](packet_id, packet.get("reasonCode", 0), properties(packet))
    if kind == "subscribe":
        return packets.Subscribe(packet_id, _subscriptions(packet), properties(packet))
    if kind == "suback":
        return packets.Suback(packet_id, packet.get("granted", []), properties(packet))
    if kind == "unsubscribe":
        return packets.Unsubscribe(packet_id, packet.get("unsubscriptions", []), properties(packet))
    if kind == "unsuback":
        return packets.Unsuback(packet_id, packet.get("granted", []), properties(packet))
    if kind in ("pingreq", "pingresp"):
        return packets.Pingreq() if kind == "pingreq" else packets.Pingresp()
    return {"disconnect": packets.Disconnect, "auth": packets.Auth}[kind](
        packet.get("reasonCode", 0), properties(packet)
    )
