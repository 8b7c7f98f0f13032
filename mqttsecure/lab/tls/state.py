# -*- test-case-name: tests.lab.tls.test_session -*-
"""What is known of a connection while its messages are followed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mqttsecure.lab.model import Sender, SuiteFacts
from mqttsecure.lab.tls.assembly import Assembler
from mqttsecure.lab.tls.hello import ClientHello, ServerHello
from mqttsecure.lab.tls.messages import KeyExchange
from mqttsecure.lab.tls.protection import Closed, Protection, SuiteKeys

__all__ = ["TLS_1_2", "TLS_1_3", "Epoch", "Handshake", "Side"]

TLS_1_2: Final = 0x0303
TLS_1_3: Final = 0x0304
_LOST_RECORDS: Final = 64
"""Records that may be missing in a hole of the capture and still be counted over."""


@dataclass(slots=True)
class Epoch:
    """One set of keys of one direction.

    Attributes:
        name: "early", "handshake", "application" or "session" (TLS 1.2).
        protection: None where its keys are not known.
        secret: the traffic secret (TLS 1.3).
        sequence: number of the next record.
        opened: records that it opened.
    """

    name: str
    protection: Protection | None = None
    secret: bytes | None = None
    sequence: int = 0
    opened: int = 0


@dataclass(slots=True)
class Side:
    """One direction.

    Attributes:
        handshake: bytes of handshake messages that are not complete.
        encrypted: what follows is encrypted.
        epochs: the keys in use and those that come after.
        lost: bytes before the next record are missing.
    """

    sender: Sender
    handshake: Assembler = field(default_factory=Assembler)
    encrypted: bool = False
    epochs: list[Epoch] = field(default_factory=list)
    lost: bool = False
    changed_cipher: bool = False
    finished: bool = False
    encrypted_records: int = 0
    decrypted_records: int = 0
    certificates: list[bytes] = field(default_factory=list)

    def open(self, content_type: int, version: int, body: bytes) -> tuple[int, bytes, str] | None:
        """Type, content and the name of the keys of an encrypted record; None where it stays closed."""
        self.encrypted_records += 1
        for at, epoch in enumerate(self.epochs):
            found = self._try(epoch, content_type, version, body, lost=self.lost)
            if found is not None:
                del self.epochs[:at]
                self.decrypted_records += 1
                self.lost = False
                return (*found, epoch.name)
        if self.epochs:
            self.epochs[0].sequence += 1
        return None

    @staticmethod
    def _try(epoch: Epoch, content_type: int, version: int, body: bytes, lost: bool) -> tuple[int, bytes] | None:
        if epoch.protection is None:
            return None
        for skipped in range(_LOST_RECORDS if lost else 1):
            try:
                found = epoch.protection.open(epoch.sequence + skipped, content_type, version, body)
            except Closed:
                continue
            epoch.sequence += skipped + 1
            epoch.opened += 1
            return found
        return None

    def advance(self, name: str) -> None:
        """What follows is under the keys of that name."""
        for at, epoch in enumerate(self.epochs):
            if epoch.name == name:
                del self.epochs[:at]
                return


@dataclass(slots=True)
class Handshake:
    """One handshake; a renegotiation makes another.

    Attributes:
        transcript: all its messages so far.
        whole: none of them is missing from ``transcript``.
        session_hash_end: length of the transcript up to ClientKeyExchange, which the extended master secret hashes.
    """

    client_hello: ClientHello | None = None
    server_hello: ServerHello | None = None
    suite: SuiteFacts | None = None
    keys: SuiteKeys | None = None
    transcript: bytearray = field(default_factory=bytearray)
    whole: bool = True
    session_hash_end: int | None = None
    exchange: KeyExchange | None = None
    encrypted_premaster: bytes | None = None
    master: bytes | None = None
    resumed: bool = False
    renegotiation: bool = False
    hello_done: bool = False
    client_done: bool = False
    server_done: bool = False
    post_handshake: bytearray | None = None

    @property
    def version(self) -> int | None:
        return self.server_hello.version if self.server_hello is not None else None

    @property
    def is_1_3(self) -> bool:
        return self.version is not None and self.version >= TLS_1_3

    @property
    def done(self) -> bool:
        return self.client_done and self.server_done
