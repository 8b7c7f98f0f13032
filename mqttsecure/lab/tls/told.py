# -*- test-case-name: tests.lab.tls.test_session -*-
"""Makes the :class:`~mqttsecure.lab.model.Message` that something of TLS is told as."""

from __future__ import annotations

from mqttsecure.lab.model import Check, Field, Message, Sender
from mqttsecure.lab.tls.assembly import Origin

__all__ = ["tls_message"]


def tls_message(
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
    checks: list[Check] | None = None,
) -> Message:
    """A message of TLS; its index comes when all messages are in order. Bytes that stayed encrypted are not kept."""
    return Message(
        index=0,
        sender=sender,
        layer="tls",
        kind=kind,
        name=name,
        frames=origin.frames,
        time=origin.time,
        length=len(raw),
        records=origin.records,
        encrypted=encrypted,
        readable=readable,
        value=value,
        fields=fields,
        checks=checks if checks is not None else [],
        raw=raw if readable else b"",
    )
