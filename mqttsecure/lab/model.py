# -*- test-case-name: tests.lab.test_explain -*-
"""What a reading of a capture says: the stable form that reports, the command and other programs take.

A :class:`Reading` has :class:`Connection` objects, each with its :class:`Message` list in the order of the wire (TCP
handshake, TLS messages, MQTT packets, the close), its certificates, its checks and its verdict. All of it is plain
data: :func:`as_json` makes of any part what ``json.dumps`` takes, fields by the names they have here. ``key`` and
``kind`` are stable names that a translation can go by; ``text`` is English.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

__all__ = [
    "CertificateFacts",
    "Check",
    "Connection",
    "Corrected",
    "Endpoint",
    "Explanation",
    "Field",
    "Finding",
    "Flight",
    "Json",
    "KeyLogUse",
    "Message",
    "Outcome",
    "Reading",
    "Record",
    "RoundTrips",
    "Sender",
    "SuiteFacts",
    "TcpFacts",
    "TlsFacts",
    "TunnelFacts",
    "Verdict",
    "as_json",
]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

Sender: TypeAlias = Literal["client", "server"]
"""Which end of the connection."""


class Outcome(Enum):
    """How a check ended."""

    OK = "ok"
    BAD = "bad"
    UNKNOWN = "unknown"
    """It could not be made, and the text says why: no key log, no CA, a hole in the capture."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message.

    Attributes:
        name: stable, in snake_case.
        value: for programs.
        text: for people.
        meaning: what this value says here, a sentence; empty where the text says it all.
        fields: what it consists of.
        start: where its bytes begin in the message's ``raw``; None where they are elsewhere.
        length: how many bytes it has.
    """

    name: str
    value: Json
    text: str
    meaning: str = ""
    fields: tuple[Field, ...] = ()
    start: int | None = None
    length: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was computed anew and compared with what the wire says.

    Attributes:
        key: what was checked, for instance ``server_key_exchange_signature``.
        outcome: how it ended.
        text: a sentence.
        values: what was compared.
    """

    key: str
    outcome: Outcome
    text: str
    values: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A message explained: what it is, why it matters, where the specification says it, what an attacker sees."""

    what: str
    why: str
    specification: str
    attacker: str


@dataclass(slots=True)
class Message:
    """One message of the conversation.

    Attributes:
        index: from 1, in the order of the wire.
        sender: which end sent it.
        layer: "tcp", "tls" or "mqtt".
        kind: stable name, for instance ``client_hello``, ``change_cipher_spec``, ``alert``, ``connect``.
        name: as the specification writes it, for instance ``ClientHello``.
        frames: the frames that its bytes lie in; the last of them completed it.
        time: seconds since 1970 of that frame.
        length: its bytes, headers of records not counted.
        records: indexes into the connection's ``records``.
        encrypted: it went over the wire encrypted.
        readable: its content is known, because it was not encrypted or could be decrypted.
        value: what it says in this capture, a line.
        fields: all that it says.
        checks: what could be computed from it.
        raw: its bytes as its sender made them; decrypted where it was encrypted and could be.
        flight: the flight that it belongs to; None for TCP.
        explanation: the same for each message of its kind.
    """

    index: int
    sender: Sender
    layer: Literal["tcp", "tls", "mqtt"]
    kind: str
    name: str
    frames: tuple[int, ...]
    time: float
    length: int
    records: tuple[int, ...] = ()
    encrypted: bool = False
    readable: bool = True
    value: str = ""
    fields: tuple[Field, ...] = ()
    checks: list[Check] = field(default_factory=list)
    raw: bytes = b""
    flight: int | None = None
    explanation: Explanation | None = None

    @property
    def frame(self) -> int:
        """The frame that completed it."""
        return self.frames[-1] if self.frames else 0

    def field(self, name: str) -> Json:
        """The value of a field by its name, on the top level; None where there is none."""
        return next((each.value for each in self.fields if each.name == name), None)


@dataclass(slots=True)
class Record:
    """One TLS record.

    Attributes:
        index: from 0, in the order in which records were completed.
        outer_type: the content type that stands in the clear.
        inner_type: the content type that is true; None where it is encrypted in TLS 1.3 and was not decrypted.
        version: the version in its header, which says little.
        length: bytes of its body on the wire.
        frames: the frames that it lies in.
        encrypted: its body is encrypted.
        decrypted: and was decrypted here.
        content_length: bytes of its content, where known.
        key_epoch: which keys it is under: "", "handshake", "application", "early" or "session".
    """

    index: int
    sender: Sender
    outer_type: int
    inner_type: int | None
    version: int
    length: int
    frames: tuple[int, ...]
    time: float
    encrypted: bool = False
    decrypted: bool = False
    content_length: int | None = None
    key_epoch: str = ""


@dataclass(frozen=True, slots=True)
class Flight:
    """What one end sent before it waited for the other (lab row E3: Client1, Server1, Client2, Server2).

    Attributes:
        name: "Client1", "Server1" and so on.
        messages: indexes of its messages.
        frame_bytes: bytes of the frames that it lies in, headers included.
    """

    number: int
    name: str
    sender: Sender
    messages: tuple[int, ...]
    frames: tuple[int, ...]
    frame_bytes: int
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An end of the connection."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(slots=True)
class TcpFacts:
    """What TCP did.

    Attributes:
        syn, syn_ack, ack: frames of the TCP handshake; None where the capture has none.
        oriented_by: how it is known which end is the client.
        acks: frames that carry nothing but an acknowledgement, by sender.
        segments: segments that carry bytes, by sender.
        missing: bytes that the capture lacks, by sender.
        conflicts: frames that repeat bytes with other contents.
    """

    syn: int | None
    syn_ack: int | None
    ack: int | None
    oriented_by: str
    acks: dict[str, list[int]]
    segments: dict[str, int]
    bytes: dict[str, int]
    mss: dict[str, int | None]
    retransmissions: dict[str, int]
    out_of_order: dict[str, int]
    missing: dict[str, int]
    conflicts: dict[str, list[int]]
    starts_midway: dict[str, bool]
    closed_by: Sender | None = None
    reset_by: Sender | None = None


@dataclass(frozen=True, slots=True)
class SuiteFacts:
    """A cipher suite spelled out.

    Attributes:
        grade: "good", "weak" or "broken".
        reasons: why, for instance "no forward secrecy".
    """

    id: int
    name: str
    key_exchange: str
    authentication: str
    cipher: str
    mode: str
    hash: str
    forward_secrecy: bool
    grade: str
    reasons: tuple[str, ...]


@dataclass(slots=True)
class CertificateFacts:
    """A certificate that was sent, and what was checked of it at the time of the capture."""

    subject: str
    issuer: str
    serial: str
    not_before: str
    not_after: str
    sha256: str
    public_key: str
    key_text: str
    signature_hash: str | None
    signature_algorithm: str
    san: list[str]
    is_ca: bool
    path_length: int | None
    key_usage: list[str]
    extended_key_usage: list[str]
    self_issued: bool
    checks: list[Check] = field(default_factory=list)
    der: bytes = b""


@dataclass(slots=True)
class KeyLogUse:
    """What the key log was good for.

    Attributes:
        state: "none" (none was given), "absent" (it knows nothing of this connection), "wrong" (what it says does not
            open the records), "partial" (some records stayed closed) or "used".
        labels: the labels of the lines that belong to this connection.
    """

    state: str
    labels: list[str] = field(default_factory=list)
    records_decrypted: int = 0
    records_encrypted: int = 0
    text: str = ""


@dataclass(slots=True)
class TlsFacts:
    """What was agreed, or refused.

    Attributes:
        version: "TLS 1.2", "TLS 1.3"; None where no ServerHello says it.
        record_version, legacy_version, selected_version: the three numbers that are easily mistaken for it.
        key_exchange: "RSA", "DHE", "ECDHE", "TLS 1.3 (x25519)".
        psk_mode: "psk_dhe_ke" or "psk_ke" in a TLS 1.3 session that was resumed.
        resumption: how it was resumed: "session id", "ticket", "psk"; None for a full handshake.
        extended_master_secret: None where it has no meaning (TLS 1.3).
        client_certificate_requested: the server asked.
        client_authentication: "none", "asked, empty", "certificate", or "unknown" where it is encrypted.
        encryption_starts: by sender, the index of the first message that is encrypted.
        early_data: the client sent data before the handshake: "no", "accepted", "rejected", "sent".
    """

    version: str | None = None
    record_version: int | None = None
    legacy_version: int | None = None
    selected_version: int | None = None
    offered_versions: list[str] = field(default_factory=list)
    suite: SuiteFacts | None = None
    key_exchange: str | None = None
    group: str | None = None
    psk_mode: str | None = None
    sni: str | None = None
    alpn: str | None = None
    resumed: bool = False
    resumption: str | None = None
    hello_retry_request: bool = False
    downgrade_sentinel: str | None = None
    extended_master_secret: bool | None = None
    encrypt_then_mac: bool = False
    secure_renegotiation: bool | None = None
    client_random: str | None = None
    server_random: str | None = None
    client_certificate_requested: bool = False
    client_authentication: str = "none"
    early_data: str = "no"
    encryption_starts: dict[str, int] = field(default_factory=dict)
    handshake_complete: bool = False
    server_certificates: list[CertificateFacts] = field(default_factory=list)
    client_certificates: list[CertificateFacts] = field(default_factory=list)
    key_log: KeyLogUse = field(default_factory=lambda: KeyLogUse("none"))


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """How often the client had to wait for an answer before it sent its first MQTT byte (lab row E4).

    Attributes:
        tcp: of the TCP handshake: 1, where it is in the capture.
        tls: of TLS before the first application data.
        total: both.
        before_connect: False where no application data was sent, so that it counts the handshake alone.
        seconds: from SYN (or the first frame) to the first application data or the end of the handshake.
    """

    tcp: int
    tls: int
    total: int
    before_connect: bool
    seconds: float | None
    handshake_frame_bytes: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a person should look at.

    Attributes:
        key: stable.
        severity: "red" (broken or attacked), "amber" (weak or odd) or "info".
        message: index of the message that it is about.
    """

    key: str
    severity: Literal["red", "amber", "info"]
    text: str
    message: int | None = None


@dataclass(frozen=True, slots=True)
class Corrected:
    """A sentence of the old lab text, and what the wire says in this capture.

    Attributes:
        row: its row in the table of the lab text, for instance "C4c".
        said: the lab text.
        wire: what is true.
        here: what this capture shows of it; empty where it shows nothing.
    """

    row: str
    said: str
    wire: str
    here: str = ""


@dataclass(slots=True)
class Verdict:
    """How the connection went.

    Attributes:
        outcome: stable: ``completed``, ``completed_left``, ``completed_refused``, ``refused_by_server``,
            ``refused_by_client``, ``aborted``, ``incomplete``, ``midstream``, ``plaintext``, ``unknown``; the
            reference page says what each means.
        refused: nobody got through, whatever it looks like.
        text: a line.
        secret_visible: the password can be read by whoever is on the way.
    """

    outcome: str
    refused: bool
    text: str
    secret_visible: bool = False
    findings: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class Connection:
    """One TCP connection."""

    number: int
    client: Endpoint
    server: Endpoint
    protocol: Literal["tls", "mqtt", "other", "empty"]
    first_frame: int
    last_frame: int
    start: float
    end: float
    tcp: TcpFacts
    messages: list[Message]
    records: list[Record]
    flights: list[Flight]
    tls: TlsFacts | None
    mqtt_version: str | None
    round_trips: RoundTrips | None
    verdict: Verdict
    corrections: list[Corrected]
    frame_lengths: dict[int, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def checks(self) -> list[Check]:
        """All checks of all messages and certificates."""
        found = [check for message in self.messages for check in message.checks]
        if self.tls is not None:
            for certificate in (*self.tls.server_certificates, *self.tls.client_certificates):
                found += certificate.checks
        return found

    def of_kind(self, kind: str) -> list[Message]:
        """Its messages of one kind."""
        return [message for message in self.messages if message.kind == kind]


@dataclass(frozen=True, slots=True)
class TunnelFacts:
    """A WireGuard tunnel, of which no more can be seen."""

    ends: tuple[str, str]
    initiations: int
    responses: int
    cookies: int
    data: int
    bytes: int
    text: str


@dataclass(slots=True)
class Reading:
    """All that a capture says.

    Attributes:
        source: the file, or the server of a live connection.
        format: "pcap", "pcapng" or "live".
        frames: how many it has.
        notes: what is wrong with it, or was left out; a sentence each.
    """

    source: str
    format: str
    frames: int
    start: float | None
    end: float | None
    connections: list[Connection]
    tunnels: list[TunnelFacts]
    notes: list[str]


def as_json(value: object) -> Json:
    """Any part of a reading as what ``json.dumps`` takes; bytes as hex, enumerations by their value."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Enum):
        return as_json(value.value)
    if isinstance(value, dict):
        return {str(key): as_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found: dict[str, Any] = {}
        for each in dataclasses.fields(value):
            found[each.name] = as_json(getattr(value, each.name))
        return found
    raise TypeError(f"{type(value).__name__} has no place in a reading")
