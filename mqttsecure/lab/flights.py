# -*- test-case-name: tests.lab.test_explain -*-
"""Flights (lab row E3) and round trips (row E4) of a connection."""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.model import Connection, Flight, Message, RoundTrips

__all__ = ["HANDSHAKE_KINDS", "find_flights", "is_application", "round_trips"]

HANDSHAKE_KINDS: Final = frozenset(
    (
        "client_hello",
        "server_hello",
        "hello_retry_request",
        "encrypted_extensions",
        "certificate",
        "server_key_exchange",
        "certificate_request",
        "server_hello_done",
        "certificate_verify",
        "client_key_exchange",
        "certificate_status",
        "change_cipher_spec",
        "finished",
        "end_of_early_data",
        "new_session_ticket",
        "compressed_certificate",
    )
)
_MAX_FLIGHTS: Final = 200
"""A long conversation has thousands; the first ones teach, and all are in the messages."""


def is_application(message: Message) -> bool:
    """Whether it carries what TLS is there for."""
    return message.layer == "mqtt" or message.kind == "application_data"


def find_flights(connection: Connection) -> list[Flight]:
    """Group messages by who spoke until the other one answered; each message is told its flight."""
    groups: list[list[Message]] = []
    for message in connection.messages:
        if message.layer == "tcp":
            continue
        if groups and groups[-1][0].sender == message.sender:
            groups[-1].append(message)
        elif len(groups) >= _MAX_FLIGHTS:
            break
        else:
            groups.append([message])
    flights = []
    counts = {"client": 0, "server": 0}
    for number, group in enumerate(groups, 1):
        sender = group[0].sender
        counts[sender] += 1
        for message in group:
            message.flight = number
        frames = tuple(sorted({frame for message in group for frame in message.frames}))
        flights.append(
            Flight(
                number=number,
                name=f"{sender.capitalize()}{counts[sender]}",
                sender=sender,
                messages=tuple(message.index for message in group),
                frames=frames,
                frame_bytes=sum(connection.frame_lengths[frame] for frame in frames),
                start=group[0].time,
                end=group[-1].time,
            )
        )
    return flights


def round_trips(connection: Connection, start: float) -> RoundTrips | None:
    """How often the client had to wait before it could send its first byte of MQTT."""
    said = [message for message in connection.messages if message.layer != "tcp"]
    if not said or said[0].kind not in ("client_hello", "connect"):
        return None
    trips, handshake, first = _count(connection, said)
    tcp = 1 if connection.tcp.syn_ack is not None else 0
    frames = {frame for message in handshake for frame in message.frames}
    size = sum(connection.frame_lengths[frame] for frame in frames)
    end = first.time if first is not None else (handshake or said)[-1].time
    if first is not None:
        text = f"{trips} of TLS and {tcp} of TCP before the first byte of MQTT"
    elif any(message.kind == "encrypted_record" for message in said):
        text = f"{trips} of TLS and {tcp} of TCP; where MQTT begins cannot be told without keys"
    else:
        text = f"{trips} of TLS and {tcp} of TCP; no byte of MQTT followed"
    return RoundTrips(tcp, trips, tcp + trips, first is not None, end - start, size, text)


def _count(connection: Connection, said: list[Message]) -> tuple[int, list[Message], Message | None]:
    """Round trips, the messages of the handshake, and the client's first application data.

    Each flight of the server's handshake that the client waited for is a round trip. A ticket in TLS 1.3 is not waited
    for, nor anything after both have finished. What cannot be read in TLS 1.3 belongs to the handshake until the client
    has answered the server's flight.
    """
    facts = connection.tls
    is_1_3 = facts is not None and (facts.version or "").startswith("TLS 1.3")
    early_counts = facts is not None and facts.early_data in ("sent", "accepted")
    trips = 0
    handshake: list[Message] = []
    waiting = answered = False
    finished: set[str] = set()
    for message in said:
        early = message.sender == "client" and _is_early(connection, message)
        if message.sender == "client" and is_application(message) and (early_counts or not early):
            return trips, handshake, message
        closed = is_1_3 and message.kind == "encrypted_record"
        if closed and answered:
            break
        ticket = is_1_3 and message.kind == "new_session_ticket"
        if ticket or len(finished) > 1 or not (closed or message.kind in HANDSHAKE_KINDS):
            continue
        handshake.append(message)
        if message.kind == "finished":
            finished.add(message.sender)
        if message.sender == "client":
            answered = closed and trips > 0
            waiting = True
        elif waiting:
            trips += 1
            waiting = False
    return trips, handshake, None


def _is_early(connection: Connection, message: Message) -> bool:
    return any(connection.records[at].key_epoch == "early" for at in message.records)
