# -*- test-case-name: tests.lab.test_explain -*-
"""One TCP connection to a :class:`~mqttsecure.lab.model.Connection`: what was said, by whom, and how it went."""

from __future__ import annotations

from typing import Literal

from cryptography import x509

from mqttsecure.lab.capture.frames import CaptureFile
from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.capture.streams import HalfStream, TcpConnection
from mqttsecure.lab.corrections import corrections_of
from mqttsecure.lab.explain import explain
from mqttsecure.lab.flights import find_flights, round_trips
from mqttsecure.lab.model import Connection, Endpoint, Message, Record, Sender, TcpFacts, TlsFacts, Verdict
from mqttsecure.lab.mqtt import MqttReader, looks_like_mqtt
from mqttsecure.lab.tls.assembly import Origin
from mqttsecure.lab.tls.chain import check_chain
from mqttsecure.lab.tls.keylog import KeyLog
from mqttsecure.lab.tls.records import looks_like_tls, read_records
from mqttsecure.lab.tls.session import Session
from mqttsecure.lab.verdict import judge

__all__ = ["read_connection"]

_MQTT_PORTS = (1883,)


def read_connection(
    tcp: TcpConnection,
    capture: CaptureFile,
    key_log: KeyLog,
    authorities: list[x509.Certificate],
    budget: Budget,
    wanted_name: str | None = None,
) -> Connection:
    """Follow one connection and judge how it went."""
    reading = _Reading(tcp, key_log, budget)
    reading.run()
    messages = _tcp_messages(tcp) + reading.messages
    messages.sort(key=lambda message: (message.frame, message.kind in ("fin", "rst")))
    for index, message in enumerate(messages, 1):
        message.index = index
    frames = {frame for message in messages for frame in message.frames}
    lengths = {frame: capture.frames[frame - 1].length for frame in frames}
    connection = Connection(
        number=tcp.number,
        client=Endpoint(tcp.client.address, tcp.client.port),
        server=Endpoint(tcp.server.address, tcp.server.port),
        protocol=reading.protocol,
        first_frame=tcp.first_frame,
        last_frame=tcp.last_frame,
        start=tcp.first_time,
        end=tcp.last_time,
        tcp=_tcp_facts(tcp),
        messages=messages,
        records=reading.records,
        flights=[],
        tls=reading.facts,
        mqtt_version=reading.mqtt.version_name,
        round_trips=None,
        verdict=Verdict("unknown", False, ""),
        corrections=[],
        frame_lengths=lengths,
        notes=reading.notes,
    )
    _complete(connection, tcp, authorities, wanted_name)
    return connection


def _complete(
    connection: Connection, tcp: TcpConnection, authorities: list[x509.Certificate], wanted_name: str | None
) -> None:
    """What follows from the messages: certificates checked, flights, round trips, verdict, explanations."""
    facts = connection.tls
    if facts is not None:
        _check_certificates(connection, facts, authorities, wanted_name)
        for message in connection.messages:
            if message.layer != "tcp" and message.encrypted:
                facts.encryption_starts.setdefault(message.sender, message.index)
    connection.flights = find_flights(connection)
    connection.round_trips = round_trips(connection, tcp.handshake_times[0] or tcp.first_time)
    connection.verdict = judge(connection)
    connection.corrections = corrections_of(connection)
    for message in connection.messages:
        message.explanation = explain(message, facts)


def _check_certificates(
    connection: Connection, facts: TlsFacts, authorities: list[x509.Certificate], wanted_name: str | None
) -> None:
    for sender, chain in (("server", facts.server_certificates), ("client", facts.client_certificates)):
        sent = next((each for each in connection.of_kind("certificate") if each.sender == sender), None)
        if sent is not None:
            name = facts.sni or wanted_name
            check_chain(chain, authorities, sent.time, name=name, for_server=sender == "server")


class _Reading:
    """Chooses how to read the bytes of a connection, and reads them."""

    def __init__(self, tcp: TcpConnection, key_log: KeyLog, budget: Budget) -> None:
        self.tcp = tcp
        self.protocol: Literal["tls", "mqtt", "other", "empty"] = "other"
        self.messages: list[Message] = []
        self.records: list[Record] = []
        self.facts: TlsFacts | None = None
        self.notes: list[str] = []
        self.mqtt = MqttReader(encrypted=False)
        self._key_log = key_log
        self._budget = budget

    def run(self) -> None:
        client, server = self.tcp.client, self.tcp.server
        if not client.received and not server.received:
            self.protocol = "empty"
        elif self._is_tls():
            self.protocol = "tls"
            self._tls()
        elif looks_like_mqtt(client.first_bytes) or self._is_mqtt_midway():
            self.protocol = "mqtt"
            self._plain()
        self._note_tcp(client, "client")
        self._note_tcp(server, "server")

    def _is_tls(self) -> bool:
        for half in (self.tcp.client, self.tcp.server):
            if looks_like_tls(half.first_bytes):
                return True
        if not (self.tcp.client.starts_midway or self.tcp.server.starts_midway):
            return False
        if self.tcp.server.port in _MQTT_PORTS:
            return False
        return bool(read_records(self.tcp, self._budget)[0])

    def _is_mqtt_midway(self) -> bool:
        if self.tcp.server.port in _MQTT_PORTS and self.tcp.client.starts_midway:
            self.mqtt.version = 4
            self.notes.append("the CONNECT is not in the capture; the rest is read as MQTT 3.1.1")
            return True
        return False

    def _tls(self) -> None:
        session = Session(self._key_log, self.mqtt.feed, self._budget)
        records, notes = read_records(self.tcp, self._budget)
        session.run(records)
        self.messages, self.records, self.facts = session.messages, session.records, session.facts
        self.notes += notes + session.notes

    def _plain(self) -> None:
        ends: tuple[tuple[Sender, HalfStream], ...] = (("client", self.tcp.client), ("server", self.tcp.server))
        chunks = [(chunk, sender) for sender, half in ends for chunk in half.chunks]
        chunks.sort(key=lambda pair: pair[0].frame)
        for chunk, sender in chunks:
            self._budget.check_time()
            if len(self.messages) >= self._budget.limits.messages:
                self.notes.append(f"only the first {len(self.messages)} messages are told")
                break
            self.messages += self.mqtt.feed(sender, chunk.data, Origin((chunk.frame,), chunk.time))
        for sender, _half in ends:
            if self.mqtt.unfinished(sender):
                self.notes.append(f"the last packet of the {sender} is incomplete")

    def _note_tcp(self, half: HalfStream, sender: str) -> None:
        if half.cut:
            self.notes.append(f"the {sender} sent more than is looked at; the rest was passed over")
        if half.conflicts:
            frames = ", ".join(str(each) for each in half.conflicts[:10])
            self.notes.append(
                f"frames {frames} repeat bytes of the {sender} with other contents: "
                "somebody may have injected them; the first ones count"
            )


def _tcp_facts(tcp: TcpConnection) -> TcpFacts:
    both = {"client": tcp.client, "server": tcp.server}
    closers: list[tuple[int, Sender]] = []
    resetters: list[tuple[int, Sender]] = []
    ends: tuple[tuple[Sender, HalfStream], ...] = (("client", tcp.client), ("server", tcp.server))
    for sender, half in ends:
        if half.fin_frame is not None:
            closers.append((half.fin_frame, sender))
        if half.rst_frame is not None:
            resetters.append((half.rst_frame, sender))
    return TcpFacts(
        syn=tcp.handshake[0],
        syn_ack=tcp.handshake[1],
        ack=tcp.handshake[2],
        oriented_by=tcp.oriented_by,
        acks={name: half.acks for name, half in both.items()},
        segments={name: half.segments for name, half in both.items()},
        bytes={name: half.received for name, half in both.items()},
        mss={name: half.mss for name, half in both.items()},
        retransmissions={name: half.retransmissions for name, half in both.items()},
        out_of_order={name: half.out_of_order for name, half in both.items()},
        missing={name: half.missing for name, half in both.items()},
        conflicts={name: half.conflicts for name, half in both.items()},
        starts_midway={name: half.starts_midway for name, half in both.items()},
        closed_by=min(closers)[1] if closers else None,
        reset_by=min(resetters)[1] if resetters else None,
    )


def _tcp_messages(tcp: TcpConnection) -> list[Message]:
    """SYN, SYN-ACK, ACK, FIN and RST as messages."""
    found = []
    senders: tuple[Sender, ...] = ("client", "server", "client")
    kinds = (("syn", "SYN"), ("syn_ack", "SYN-ACK"), ("ack", "ACK"))
    for sender, (kind, name), frame, time in zip(senders, kinds, tcp.handshake, tcp.handshake_times, strict=True):
        if frame is not None and time is not None:
            found.append(_tcp_message(sender, kind, name, frame, time))
    ends: tuple[tuple[Sender, HalfStream], ...] = (("client", tcp.client), ("server", tcp.server))
    for sender, half in ends:
        time = half.fin_time or tcp.last_time
        if half.fin_frame is not None:
            found.append(_tcp_message(sender, "fin", "FIN", half.fin_frame, time))
        if half.rst_frame is not None:
            found.append(_tcp_message(sender, "rst", "RST", half.rst_frame, time))
    return found


_TCP_VALUES = {
    "syn": "asks for a connection",
    "syn_ack": "agrees",
    "ack": "the connection is open",
    "fin": "has nothing more to send",
    "rst": "ends the connection at once",
}


def _tcp_message(sender: Sender, kind: str, name: str, frame: int, time: float) -> Message:
    return Message(0, sender, "tcp", kind, name, (frame,), time, 0, value=_TCP_VALUES[kind])
