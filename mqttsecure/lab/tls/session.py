# -*- test-case-name: tests.lab.tls.test_session -*-
"""Follows one TLS connection from record to record and message to message."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from mqttsecure.lab.capture.limits import Budget
from mqttsecure.lab.model import Field, Message, Record, Sender, TlsFacts
from mqttsecure.lab.tls.assembly import Assembler, Origin
from mqttsecure.lab.tls.cursor import Malformed
from mqttsecure.lab.tls.handshake import HandshakeReader
from mqttsecure.lab.tls.keylog import KeyLog
from mqttsecure.lab.tls.messages import read_alert
from mqttsecure.lab.tls.names import CONTENT_TYPES
from mqttsecure.lab.tls.records import RawRecord
from mqttsecure.lab.tls.state import Side
from mqttsecure.lab.tls.told import tls_message

__all__ = ["Application", "Session"]

_CHANGE_CIPHER_SPEC: Final = 20
_ALERT: Final = 21
_HANDSHAKE: Final = 22
_APPLICATION_DATA: Final = 23
_MAX_HANDSHAKE: Final = 1 << 20
"""A handshake message of more than this is refused by every implementation; a chain of certificates has kilobytes."""

Application = Callable[[Sender, bytes, Origin], Iterator[Message]]
"""Takes decrypted application data and gives the messages in it."""


class Session:
    """Takes the records of a connection in order.

    Attributes:
        messages: what was said.
        records: in what.
        facts: what was agreed.
    """

    def __init__(self, key_log: KeyLog, application: Application, budget: Budget) -> None:
        self._application = application
        self._budget = budget
        self.sides: dict[Sender, Side] = {"client": Side("client"), "server": Side("server")}
        self.facts = TlsFacts()
        self.handshake = HandshakeReader(self.sides, self.facts, key_log)
        self.messages: list[Message] = []
        self.records: list[Record] = []
        self.notes: list[str] = []
        self._waiting: dict[Sender, Assembler] = {"client": Assembler(), "server": Assembler()}

    def run(self, records: list[RawRecord]) -> None:
        """Follow the whole connection."""
        self.handshake.expect(records)
        for raw in records:
            self._budget.check_time()
            if len(self.messages) >= self._budget.limits.messages:
                self.notes.append(f"only the first {len(self.messages)} messages are told")
                break
            self._record(raw)
        for sender, side in self.sides.items():
            if len(side.handshake):
                self.notes.append(
                    f"a handshake message of the {sender} is incomplete: {len(side.handshake)} bytes of it"
                )
        self.handshake.finish(self.messages)

    def _record(self, raw: RawRecord) -> None:
        side = self.sides[raw.sender]
        record = Record(
            index=len(self.records),
            sender=raw.sender,
            outer_type=raw.content_type,
            inner_type=raw.content_type,
            version=raw.version,
            length=len(raw.body),
            frames=raw.origin.frames,
            time=raw.origin.time,
        )
        self.records.append(record)
        origin = Origin(raw.origin.frames, raw.origin.time, (record.index,))
        if self.facts.record_version is None:
            self.facts.record_version = raw.version
        if raw.after_gap:
            side.lost = True
            self.handshake.lost()
            if dropped := side.handshake.clear():
                self.notes.append(f"a handshake message of the {raw.sender} is incomplete: {dropped} bytes of it")
        if self._is_encrypted(side, raw):
            self._encrypted(side, raw, record, origin)
        else:
            record.content_length = len(raw.body)
            self._content(side, raw.content_type, raw.body, origin, encrypted=False)

    def _is_encrypted(self, side: Side, raw: RawRecord) -> bool:
        """In TLS 1.3 the outer type says it; before, what came before says it."""
        if self.handshake.is_1_3(side):
            return raw.content_type == _APPLICATION_DATA
        if raw.content_type == _CHANGE_CIPHER_SPEC and not side.encrypted:
            return False
        return side.encrypted or raw.content_type == _APPLICATION_DATA

    def _encrypted(self, side: Side, raw: RawRecord, record: Record, origin: Origin) -> None:
        record.encrypted = True
        opened = side.open(raw.content_type, raw.version, raw.body)
        if opened is not None:
            record.inner_type, content, record.key_epoch = opened
            record.decrypted, record.content_length = True, len(content)
            self._content(side, record.inner_type, content, origin, encrypted=True)
            return
        if self.handshake.is_1_3(side):
            record.inner_type = None
        self.handshake.closed(side, raw)
        kind, name, value = self._closed(side, raw)
        self._tell(side.sender, kind, name, raw.body, origin, value, encrypted=True, readable=False)

    def _closed(self, side: Side, raw: RawRecord) -> tuple[str, str, str]:
        """What can be said of a record that stays closed."""
        size = f"{len(raw.body)} bytes, encrypted"
        if self.handshake.is_1_3(side):
            return "encrypted_record", "encrypted record", size
        if raw.content_type == _HANDSHAKE:
            if not side.finished and side.changed_cipher:
                side.finished = True
                self.handshake.closed_finished(side)
                return "finished", "Finished", size
            return "encrypted_handshake", "encrypted handshake message", size
        if raw.content_type == _ALERT:
            return "alert", "Alert", size
        if raw.content_type == _APPLICATION_DATA:
            return "application_data", "ApplicationData", size
        return "encrypted_record", CONTENT_TYPES.get(raw.content_type, "record"), size

    def _content(self, side: Side, content_type: int, data: bytes, origin: Origin, *, encrypted: bool) -> None:
        if content_type == _HANDSHAKE:
            side.handshake.feed(data, origin)
            self._handshake_messages(side, encrypted)
        elif content_type == _CHANGE_CIPHER_SPEC:
            self._change_cipher_spec(side, data, origin, encrypted)
        elif content_type == _ALERT:
            self._alerts(side, data, origin, encrypted)
        elif content_type == _APPLICATION_DATA:
            if not data:
                value = "empty: some send it before each CBC record, against BEAST"
                self._tell(side.sender, "application_data", "ApplicationData", b"", origin, value, encrypted=encrypted)
            for message in self._application(side.sender, data, origin):
                message.encrypted = encrypted
                self.messages.append(message)
        else:
            name = CONTENT_TYPES.get(content_type, f"content type {content_type}")
            self._tell(side.sender, "other_record", name, data, origin, f"{len(data)} bytes", encrypted=encrypted)

    def _handshake_messages(self, side: Side, encrypted: bool) -> None:
        buffer = side.handshake
        while len(buffer) >= 4:
            size = int.from_bytes(buffer.peek(4)[1:], "big")
            if size > _MAX_HANDSHAKE:
                self.notes.append(
                    f"a handshake message of the {side.sender} claims {size} bytes; nothing after it is read"
                )
                buffer.clear()
                return
            if len(buffer) < size + 4:
                return
            raw, origin = buffer.take(size + 4)
            message = self.handshake.read(side, raw, origin, encrypted)
            self.messages.append(message)

    def _change_cipher_spec(self, side: Side, data: bytes, origin: Origin, encrypted: bool) -> None:
        value = self.handshake.change_cipher_spec(side)
        field = Field("type", data[0] if data else None, data.hex(), "the only value that there is", (), 0, len(data))
        self._tell(
            side.sender, "change_cipher_spec", "ChangeCipherSpec", data, origin, value, (field,), encrypted=encrypted
        )

    def _alerts(self, side: Side, data: bytes, origin: Origin, encrypted: bool) -> None:
        for start in range(0, len(data), 2):
            try:
                level, description = read_alert(data[start : start + 2])
            except Malformed:
                self._tell(side.sender, "alert", "Alert", data[start:], origin, "malformed", encrypted=encrypted)
                return
            value = f"{level.text} {description.text}"
            if description.meaning:
                value += f": {description.meaning}"
            self._tell(
                side.sender,
                "alert",
                "Alert",
                data[start : start + 2],
                origin,
                value,
                (level, description),
                encrypted=encrypted,
            )

    def _tell(
        self,
        sender: Sender,
        kind: str,
        name: str,
        raw: bytes,
        origin: Origin,
        value: str,
        fields: tuple[Field, ...] = (),
        *,
        encrypted: bool,
        readable: bool = True,
    ) -> None:
        told = tls_message(sender, kind, name, raw, origin, value, fields, encrypted=encrypted, readable=readable)
        self.messages.append(told)
