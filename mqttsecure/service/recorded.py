# -*- test-case-name: tests.cli.test_policy_replay -*-
"""Decisions of the past, put to a configuration of today.

A record holds what was asked, but no secret. A question that needs one is put as if the secret were right, and that is
said. A certificate's chain is led to the CAs of the configuration, as a handshake would. Policies that keep counts are
not asked: what they would have counted is not known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from mqttsecure.core.decisions import (
    ANONYMOUS_AUTHORITY,
    ConnectionFacts,
    Peer,
    Principal,
    Purpose,
    Request,
    Stage,
    TlsFacts,
    Writer,
)
from mqttsecure.interfaces import Advice
from mqttsecure.policy.binding import is_stateless
from mqttsecure.policy.trace import Explanation, Outcome
from mqttsecure.service.assumed_certificate import chain_to, trusted_authorities
from mqttsecure.service.audit_certificates import chain_of
from mqttsecure.service.parts import Parts
from mqttsecure.service.scenario import listener_of

__all__ = ["Again", "NotComparable", "ask_again", "is_decision", "request_of"]

_BY_CERTIFICATE: Final = (Stage.HANDSHAKE.value, Stage.CONNECT.value, Stage.AUTHENTICATE.value)

_TAKEN_TO_BE_RIGHT: Final = b"\0taken to be right"


class NotComparable(Exception):
    """The question cannot be put again; the text says why."""


@dataclass(slots=True, frozen=True)
class Again:
    """A recorded decision as it comes today. ``assumed`` says what was taken as given."""

    explanation: Explanation
    advice: Mapping[str, Advice]
    assumed: tuple[str, ...] = ()

    @property
    def permitted(self) -> bool:
        """Whether it is permitted, as far as the policies that were asked are concerned."""
        return self.explanation.outcome is not Outcome.DENY


def is_decision(record: Mapping[str, Any]) -> bool:
    """Whether a record is about a decision, and not an event or a difference."""
    return "kind" not in record and isinstance(record.get("stage"), str)


def request_of(record: Mapping[str, Any], purpose: Purpose = Purpose.EXPLAIN) -> Request:
    """What was asked.

    Raises:
        NotComparable: the record does not say.
    """
    try:
        stage = Stage(record["stage"])
        if record.get("authentication_method"):
            raise NotComparable(f"it was an exchange by {record['authentication_method']}, which is not recorded")
        topical = stage in (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER)
        if topical and "topic" not in record:
            raise NotComparable("the record is damaged")
        return Request(
            stage,
            _facts(record),
            0.0,
            purpose,
            topic=_whole(record, "topic"),
            qos=int(record.get("qos", 0)),
            retain=bool(record.get("retain", False)),
            payload=bytes(min(int(record.get("size", 0)), _MAXIMUM_PAYLOAD)),
            is_will=bool(record.get("will", False)),
            share_group=record.get("share"),
            writer=_writer(record),
            password=_TAKEN_TO_BE_RIGHT if stage is Stage.AUTHENTICATE and record.get("username") else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotComparable("the record is damaged") from error


_MAXIMUM_PAYLOAD: Final = 268_435_455


def _facts(record: Mapping[str, Any]) -> ConnectionFacts:
    is_about_topic = "topic" in record  # before that, who it is is what is asked
    return ConnectionFacts(
        0,
        str(record["listener"]) if "listener" in record else "",
        _peer(str(record["peer"])),
        tls=_tls(record),
        origin=record.get("origin"),
        path=record.get("path"),
        protocol_version=int(record.get("protocol", 0)),
        client_id=_whole(record, "client_id"),
        username=record.get("username"),
        principal=_principal(record.get("principal")) if is_about_topic else None,
        groups=frozenset(map(str, record.get("groups", ()))) if is_about_topic else frozenset(),
        attributes=dict(record.get("attributes", {})),
    )


def _whole(record: Mapping[str, Any], field: str) -> str:
    text = str(record.get(field, ""))
    if len(text) > _LONGEST and text.endswith("..."):
        raise NotComparable(f"its {field.replace('_', ' ')} was too long to be recorded whole")
    return text


_LONGEST: Final = 4096


def _principal(text: str | None) -> Principal | None:
    if text is None:
        return None
    authority, _, name = text.partition(":")
    return Principal(authority, name, shared=authority != ANONYMOUS_AUTHORITY)


def _writer(record: Mapping[str, Any]) -> Writer | None:
    principal = _principal(record.get("writer"))
    return None if principal is None else Writer(principal)


def _peer(text: str) -> Peer:
    if text.startswith("unix:"):
        uid = text[5:]
        return Peer(None, 0, int(uid) if uid.isdigit() else None)
    address, _, port = text.rpartition(":")
    return Peer(ip_address(address.strip("[]")), int(port))


def _tls(record: Mapping[str, Any]) -> TlsFacts | None:
    tls = record.get("tls")
    if tls is None:
        return None
    chain: tuple[bytes, ...] = ()
    if "certificates" in tls:
        chain = chain_of(tls["certificates"])
    elif "subject" in tls and record["stage"] in _BY_CERTIFICATE:
        raise NotComparable("it was about the client's certificate, which is not recorded whole")
    return TlsFacts(
        str(tls["version"]),
        str(tls["cipher"]),
        tls.get("server_name"),
        tls.get("alpn"),
        chain[0] if chain else None,
        chain,
    )


def _as_today(request: Request, parts: Parts) -> Request:
    """With the client's certificate verified as the listener does it now, where one of its CAs still vouches for it.

    Where none does, the old chain stays: then the policies say that it is of an authority that they do not know.
    """
    tls, listener = request.connection.tls, listener_of(parts, request.connection.listener)
    if tls is None or not tls.verified_chain:
        return request
    chain = chain_to(list(tls.verified_chain), trusted_authorities(listener, parts.authorities))
    if chain is not None:
        request.connection.tls = dataclasses.replace(tls, verified_chain=chain)
    return request


def ask_again(parts: Parts, record: Mapping[str, Any], purpose: Purpose = Purpose.EXPLAIN) -> Again:
    """Put a recorded question to a configuration.

    Raises:
        NotComparable: that makes no sense; the text says why.
    """
    request = request_of(record, purpose)
    chain = parts.chain
    if request.connection.listener not in {each.name for each in parts.listeners}:
        raise NotComparable(f"there is no listener {request.connection.listener!r}")
    try:
        request = _as_today(request, parts)
    except ValueError as error:
        raise NotComparable("its certificate cannot be read") from error
    counting = {each.id for each in chain.bindings if not is_stateless(each)}
    if record.get("effect") == "deny" and record.get("policy") in counting:
        raise NotComparable(f"{record['policy']} decided it by its counts of that moment")
    with_secret = request.password is not None
    explanation = chain.explain_offline(request, secret_assumed=with_secret)
    advice = chain.advise(explanation.request) if explanation.outcome is Outcome.DENY else {}
    return Again(explanation, advice, tuple(_assumed(request, record)))


def _assumed(request: Request, record: Mapping[str, Any]) -> Iterator[str]:
    if request.password is not None:
        yield f"the password of {request.connection.username!r} is right"
    if request.stage is Stage.AUTHENTICATE and record.get("purpose") == Purpose.RECHECK.value:
        yield "it comes anew: it was in, and was asked about again"
