# -*- test-case-name: tests.core.test_stored_json -*-
"""Facts, wills and writers as JSON: what a store keeps of them. No password, and nothing that holds for one process."""

from __future__ import annotations

import base64
import ipaddress
import json
from collections.abc import Mapping
from typing import Any, Final

from mqttsecure.core.decisions import ConnectionFacts, Peer, Principal, TlsFacts, Writer
from mqttsecure.wire.packets import Properties, Will

__all__ = [
    "UNREADABLE",
    "Unreadable",
    "facts_from_json",
    "facts_to_json",
    "will_from_json",
    "will_to_json",
    "writer_from_json",
    "writer_to_json",
]

_PLAIN: Final = (str, int, float, bool, type(None))


UNREADABLE: Final = "what is on disk of it cannot be read"

_UNKEPT: Final = "\0"
"""In place of an attribute of a type that JSON has no word for: as all values with a NUL it never meets a rule."""


class Unreadable(Exception):
    """A row holds what was never written: the file was damaged where its database does not notice."""


def writer_to_json(writer: Writer) -> bytes:
    """A writer, always spelled alike, so that equal ones are found to be equal."""
    return _dump(
        {
            "principal": _principal(writer.principal),
            "client_id": writer.client_id,
            "groups": sorted(writer.groups),
            "attributes": _attributes(writer.attributes),
            "listener": writer.listener,
        }
    )


def writer_from_json(content: bytes) -> Writer:
    """What :func:`writer_to_json` wrote."""
    read = json.loads(content)
    return Writer(
        _read_principal(read["principal"]),
        read["client_id"],
        frozenset(read["groups"]),
        _read_attributes(read["attributes"]),
        read["listener"],
    )


def facts_to_json(facts: ConnectionFacts) -> bytes:
    """What is known of a connection, without what ends with it."""
    kept: dict[str, Any] = {
        "listener": facts.listener,
        "address": None if facts.peer.address is None else str(facts.peer.address),
        "port": facts.peer.port,
        "uid": facts.peer.uid,
        "protocol_version": facts.protocol_version,
        "client_id": facts.client_id,
        "username": facts.username,
        "keep_alive": facts.keep_alive,
        "bridge": facts.bridge,
        "principal": None if facts.principal is None else _principal(facts.principal),
        "groups": sorted(facts.groups),
        "attributes": _attributes(facts.attributes),
        "origin": facts.origin,
        "path": facts.path,
    }
    if facts.tls is not None:
        tls = facts.tls
        kept["tls"] = {
            "version": tls.version,
            "cipher": tls.cipher,
            "server_name": tls.server_name,
            "application_protocol": tls.application_protocol,
            "chain": [base64.b64encode(each).decode() for each in tls.verified_chain],
            "certificate": None if tls.peer_certificate is None else base64.b64encode(tls.peer_certificate).decode(),
        }
    return _dump(kept)


def facts_from_json(content: bytes) -> ConnectionFacts:
    """What :func:`facts_to_json` wrote. They belong to no connection: its number is 0."""
    read = json.loads(content)
    address = read["address"]
    principal = read["principal"]
    return ConnectionFacts(
        connection_id=0,
        listener=read["listener"],
        peer=Peer(None if address is None else ipaddress.ip_address(address), read["port"], read["uid"]),
        tls=_read_tls(read.get("tls")),
        origin=read["origin"],
        path=read["path"],
        protocol_version=read["protocol_version"],
        client_id=read["client_id"],
        clean_start=False,
        keep_alive=read["keep_alive"],
        username=read["username"],
        bridge=read["bridge"],
        principal=None if principal is None else _read_principal(principal),
        groups=frozenset(read["groups"]),
        attributes=_read_attributes(read["attributes"]),
    )


def will_to_json(will: Will, writer: Writer, facts: ConnectionFacts) -> bytes:
    """A will with who left it, as it needs no connection to be sent."""
    return _dump(
        {
            "topic": will.topic,
            "payload": base64.b64encode(will.payload).decode(),
            "qos": will.qos,
            "retain": will.retain,
            "properties": _encode(dict(will.properties)),
            "writer": json.loads(writer_to_json(writer)),
            "facts": json.loads(facts_to_json(facts)),
        }
    )


def will_from_json(content: bytes) -> tuple[Will, Writer, ConnectionFacts]:
    """What :func:`will_to_json` wrote."""
    read = json.loads(content)
    properties: Properties = _decode(read["properties"])
    if "user_property" in properties:
        properties["user_property"] = [(name, value) for name, value in properties["user_property"]]
    will = Will(read["topic"], base64.b64decode(read["payload"]), read["qos"], read["retain"], properties)
    return will, writer_from_json(_dump(read["writer"])), facts_from_json(_dump(read["facts"]))


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def _principal(principal: Principal) -> dict[str, Any]:
    return {"authority": principal.authority, "name": principal.name, "shared": principal.shared}


def _read_principal(read: Mapping[str, Any]) -> Principal:
    return Principal(read["authority"], read["name"], read.get("shared", True))


def _read_tls(read: Mapping[str, Any] | None) -> TlsFacts | None:
    if read is None:
        return None
    certificate = read["certificate"]
    return TlsFacts(
        read["version"],
        read["cipher"],
        read["server_name"],
        read["application_protocol"],
        None if certificate is None else base64.b64decode(certificate),
        tuple(base64.b64decode(each) for each in read["chain"]),
    )


def _attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _encode(value) for name, value in attributes.items()}


def _read_attributes(read: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _decode(value) for name, value in read.items()}


def _encode(value: Any) -> Any:
    """JSON for a value; what JSON has no word for is a list of its kind and its content."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, bytes):
        return ["bytes", base64.b64encode(value).decode()]
    if isinstance(value, list | tuple):
        return [type(value).__name__, [_encode(each) for each in value]]
    if isinstance(value, set | frozenset):
        return [type(value).__name__, sorted((_encode(each) for each in value), key=repr)]
    if isinstance(value, dict):
        return ["dict", [[_encode(key), _encode(each)] for key, each in value.items()]]
    if isinstance(value, ipaddress.IPv4Address | ipaddress.IPv6Address):
        return ["address", str(value)]
    return _UNKEPT


def _decode(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, content = value
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "dict":
        return {_decode(key): _decode(each) for key, each in content}
    if kind == "address":
        return ipaddress.ip_address(content)
    return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(_decode, content))
