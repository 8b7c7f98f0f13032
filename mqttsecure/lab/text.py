# -*- test-case-name: tests.lab.test_explain -*-
"""A reading as text for a person: the verdict, the ladder, each message explained, certificates, corrections.

Lines come with a style ("heading", "good", "bad", "warn", "dim" or ""), which a terminal may show in colour.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mqttsecure.lab.explain import explanation_key
from mqttsecure.lab.history import VERSIONS
from mqttsecure.lab.model import CertificateFacts, Check, Connection, Field, Message, Outcome, Reading, Record

__all__ = ["Line", "frame_of_one_record", "render"]

_WIDTH: Final = 110
_LADDER: Final = 62
"""Columns between the two ends in the ladder."""
_MAX_TEXT: Final = 1200
"""Characters of one field; a payload may have megabytes."""
_MAX_LISTED: Final = 12
"""Frames and records that are listed by number; programs have all of them."""
_STYLES: Final = {Outcome.OK: "good", Outcome.BAD: "bad", Outcome.UNKNOWN: "warn"}
_WORDS: Final = {Outcome.OK: "right", Outcome.BAD: "WRONG", Outcome.UNKNOWN: "open"}
_SEVERITIES: Final = {"red": "bad", "amber": "warn", "info": "dim"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and how to show it."""

    text: str
    style: str = ""


def _wrapped(text: str, indent: str, style: str = "", first: str | None = None) -> Iterator[Line]:
    clean = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    if len(clean) > _MAX_TEXT:
        clean = f"{clean[:_MAX_TEXT]}... ({len(clean)} characters in all)"
    lines = textwrap.wrap(
        clean,
        _WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    for line in lines or [indent if first is None else first]:
        yield Line(line.rstrip(), style)


def render(reading: Reading, *, number: int | None = None, brief: bool = False) -> Iterator[Line]:
    """All lines of a reading.

    Args:
        reading: what to tell.
        number: only this connection.
        brief: verdicts and ladders alone.
    """
    connections = [each for each in reading.connections if number is None or each.number == number]
    yield Line(
        f"{reading.source}: {reading.format}, {reading.frames} frames, {_count(len(reading.connections))}", "heading"
    )
    for note in reading.notes:
        yield from _wrapped(f"note: {note}", "  ", "warn")
    for tunnel in reading.tunnels:
        yield from _wrapped(tunnel.text, "  ")
    for connection in connections:
        yield Line("")
        yield from _connection(connection, brief)
    if not brief and any(connection.tls is not None for connection in connections):
        yield from _history()


def _history() -> Iterator[Line]:
    yield Line("")
    yield Line("TLS and what came before it", "heading")
    for version in VERSIONS:
        state = "in use" if version.usable else "refused"
        style = "good" if version.usable else "dim"
        text = f"{version.year}, {version.specification}: {state}; {version.why}"
        yield from _wrapped(text, f"  {'':9}", style, f"  {version.name:<9}")


def _count(connections: int) -> str:
    return "1 TCP connection" if connections == 1 else f"{connections} TCP connections"


def _connection(connection: Connection, brief: bool) -> Iterator[Line]:
    duration = connection.end - connection.start
    yield Line(
        f"Connection {connection.number}: {connection.client} -> {connection.server}, "
        f"frames {connection.first_frame} to {connection.last_frame}, {duration:.3f} s",
        "heading",
    )
    verdict = connection.verdict
    worst = any(each.severity == "red" for each in verdict.findings)
    yield from _wrapped(verdict.text, "  ", "bad" if verdict.refused or worst else "good")
    for finding in verdict.findings:
        where = f" [message {finding.message}]" if finding.message is not None else ""
        yield from _wrapped(f"{finding.text}{where}", "    ", _SEVERITIES[finding.severity], f"  {finding.severity}: ")
    for note in connection.notes:
        yield from _wrapped(f"note: {note}", "  ", "warn")
    yield from _tcp(connection)
    yield Line("")
    yield from _ladder(connection)
    if brief:
        return
    yield from _messages(connection)
    yield from _certificates(connection)
    yield from _corrections(connection)


def _tcp(connection: Connection) -> Iterator[Line]:
    tcp = connection.tcp
    parts = [
        f"{sender} {tcp.bytes[sender]} bytes in {tcp.segments[sender]} segments"
        + (f", mere ACKs in {_listed('frame', tcp.acks[sender])}" if tcp.acks[sender] else "")
        for sender in ("client", "server")
    ]
    odd = [
        f"{sender} {count[sender]} {name}"
        for count, name in (
            (tcp.retransmissions, "retransmissions"),
            (tcp.out_of_order, "out of order"),
            (tcp.missing, "bytes missing"),
        )
        for sender in ("client", "server")
        if count[sender]
    ]
    yield from _wrapped(f"TCP: {'; '.join(parts + odd)}; the client is known by {tcp.oriented_by}", "  ", "dim")
    if connection.round_trips is not None:
        trips = connection.round_trips
        time = f", {trips.seconds * 1000:.1f} ms" if trips.seconds is not None else ""
        size = f", {trips.handshake_frame_bytes} bytes of frames for the handshake" if connection.tls else ""
        yield from _wrapped(f"round trips: {trips.text}{time}{size}", "  ", "dim")
    if connection.tls is not None:
        yield from _wrapped(f"keys: {connection.tls.key_log.text}", "  ", "dim")
    yield from _layers(connection)


def _listed(what: str, numbers: list[int]) -> str:
    """Some of the numbers, and how many more: ``frames 6, 7``."""
    shown = ", ".join(str(each) for each in numbers[:_MAX_LISTED])
    more = len(numbers) - _MAX_LISTED
    return f"{what}{'s' if len(numbers) > 1 else ''} {shown}" + (f" and {more} more" if more > 0 else "")


def _layers(connection: Connection) -> Iterator[Line]:
    found = frame_of_one_record(connection)
    if found is not None:
        record, length, below = found
        text = f"layers: frame {record.frames[0]}, {length} bytes = {below} of link, IP and TCP"
        yield from _wrapped(f"{text} + 5 of the record's header + {record.length} of the handshake", "  ", "dim")


def frame_of_one_record(connection: Connection) -> tuple[Record, int, int] | None:
    """The first handshake record that has a frame for itself, the frame's length, and its bytes below TLS."""
    for record in connection.records:
        length = connection.frame_lengths.get(record.frames[0])
        if len(record.frames) != 1 or record.outer_type != 22 or length is None:
            continue
        below = length - record.length - 5
        alone = sum(1 for each in connection.records if record.frames[0] in each.frames) == 1
        if alone and below > 0:
            return record, length, below
    return None


def _ladder(connection: Connection) -> Iterator[Line]:
    """The conversation as a picture: the client on the left, the server on the right."""
    yield Line(f"    #   time ms  frame  {'client':<{_LADDER - 6}}{'server':>6}", "dim")
    starts = connection.tls.encryption_starts if connection.tls is not None else {}
    for message in connection.messages:
        for sender, index in starts.items():
            if index == message.index:
                yield Line(f"{'':23}{f' from here on the {sender} encrypts ':~^{_LADDER}}", "warn")
        time = (message.time - connection.start) * 1000
        lock = "*" if message.encrypted else " "
        label = f" {message.name}{'' if message.readable else f' ({message.length} bytes)'} "
        arrow = f"--{label:-<{_LADDER - 3}}>" if message.sender == "client" else f"<{label:->{_LADDER - 3}}--"
        style = "bad" if message.kind == "alert" and "fatal" in message.value else ""
        yield Line(f"{lock}{message.index:>4} {time:>9.3f}  {message.frame:>5}  {arrow}", style)
    if any(message.encrypted for message in connection.messages):
        yield Line("  * encrypted on the wire; with its size alone where it could not be opened", "dim")


def _messages(connection: Connection) -> Iterator[Line]:
    told: dict[str, int] = {}
    for message in connection.messages:
        yield Line("")
        yield from _message(connection, message, told)


def _message(connection: Connection, message: Message, told: dict[str, int]) -> Iterator[Line]:
    frames = _listed("frame", list(message.frames))
    if message.records:
        frames += f", {_listed('record', [number + 1 for number in message.records])}"
    how = ", encrypted" if message.encrypted else ""
    size = f", {message.length} bytes" if message.length else ""
    yield Line(f"{message.index}. {message.name}, from the {message.sender}, {frames}{size}{how}", "heading")
    if message.value:
        yield from _wrapped(message.value, "   ")
    explanation = message.explanation
    key = explanation_key(message, connection.tls)
    if explanation is not None and key in told:
        yield Line(f"   (what it is: see message {told[key]})", "dim")
    elif explanation is not None:
        told[key] = message.index
        for label, text in (
            ("what", explanation.what),
            ("why", explanation.why),
            ("where", explanation.specification),
            ("seen", explanation.attacker),
        ):
            yield from _wrapped(text, f"   {'':7}", "dim", f"   {label:<7}")
    for field in message.fields:
        yield from _field(field, 3)
    for check in message.checks:
        yield from _check(check, "   ")


def _field(field: Field, depth: int) -> Iterator[Line]:
    indent = " " * depth
    meaning = f" -- {field.meaning}" if field.meaning else ""
    shown = "" if field.fields and field.name == "extensions" else field.text
    yield from _wrapped(f"{field.name}: {shown}{meaning}", f"{indent}    ", "", indent)
    for each in field.fields:
        if field.name == "extensions" or (each.name != "type" and field.name in ("will", "certificate")):
            yield from _field(each, depth + 2)


def _check(check: Check, indent: str) -> Iterator[Line]:
    yield from _wrapped(check.text, f"{indent}       ", _STYLES[check.outcome], f"{indent}{_WORDS[check.outcome]:<5}: ")


def _certificates(connection: Connection) -> Iterator[Line]:
    facts = connection.tls
    if facts is None:
        return
    for sender, chain in (("server", facts.server_certificates), ("client", facts.client_certificates)):
        if not chain:
            continue
        yield Line("")
        yield Line(f"Certificates of the {sender}, judged at the time of the capture", "heading")
        for depth, certificate in enumerate(chain):
            yield from _certificate(certificate, "  " + "  " * depth)


def _certificate(certificate: CertificateFacts, indent: str) -> Iterator[Line]:
    yield from _wrapped(certificate.subject, indent)
    inner = f"{indent}  "
    rows = (
        ("by", certificate.issuer),
        ("for", ", ".join(certificate.san) or "no names"),
        ("valid", f"{certificate.not_before} to {certificate.not_after}"),
        ("key", f"{certificate.key_text}; signed by {certificate.signature_algorithm}"),
        ("purpose", ", ".join(certificate.extended_key_usage) or ("a CA" if certificate.is_ca else "not named")),
        ("sha256", certificate.sha256),
    )
    for label, text in rows:
        yield from _wrapped(text, f"{inner}{'':9}", "dim", f"{inner}{label:<9}")
    for check in certificate.checks:
        yield from _check(check, inner)


def _corrections(connection: Connection) -> Iterator[Line]:
    if not connection.corrections:
        return
    yield Line("")
    yield Line("What the old lab text says, and what the wire says", "heading")
    for each in connection.corrections:
        yield from _wrapped(each.said, "         ", "", f"  {each.row:<5}: ")
        yield from _wrapped(each.wire, "         ", "good", "    but: ")
        if each.here:
            yield from _wrapped(each.here, "         ", "dim", "   here: ")
