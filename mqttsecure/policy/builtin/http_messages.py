# -*- test-case-name: tests.policy.builtin.test_http_messages -*-
"""What ``http`` asks a service, and what the service may answer: two small JSON documents.

The question holds what is known at its stage and nothing secret, unless the configuration says so. An answer has the
members that are listed here and no others, each of its type: whatever else comes back is a fault, and a fault denies.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mqttsecure.core.decisions import Principal, Purpose, Request, Stage
from mqttsecure.policy.builtin.json_checks import JsonFault, check_shape, parse_json
from mqttsecure.policy.https import HttpsAnswer

__all__ = ["Answer", "AnswerFault", "document_of", "question", "read_answer"]

VERSION: Final = 1
"""Of both documents."""

MAXIMUM_ANSWER: Final = 16 * 1024
"""Bytes of an answer: a name, some groups and attributes."""

_TOPIC_STAGES: Final = (Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER)

Name = Annotated[str, Field(min_length=1, max_length=256)]


class AnswerFault(Exception):
    """An answer that is none. The text holds nothing of it but the names of members."""


class Answer(BaseModel):
    """What a service may answer."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    decision: Literal["permit", "deny", "abstain"]
    reason: Annotated[str, Field(max_length=200)] = ""
    principal: Name | None = None
    groups: Annotated[list[Name], Field(max_length=64)] = []
    attributes: Annotated[dict[Name, Annotated[str, Field(max_length=256)]], Field(max_length=16)] = {}
    cache_seconds: Annotated[float, Field(ge=0, le=86_400)] | None = None
    session_seconds: Annotated[float, Field(gt=0, le=31_622_400)] | None = None


def question(
    request: Request, policy_id: str, *, principal: Principal | None, groups: frozenset[str]
) -> dict[str, Any]:
    """What is asked, without anything secret. Of equal questions one answer holds."""
    connection = request.connection
    asked: dict[str, Any] = {
        "version": VERSION,
        "policy": policy_id,
        "stage": request.stage.value,
        "purpose": "check" if request.purpose is Purpose.RECHECK else request.purpose.value,
        "listener": connection.listener,
        "address": None if connection.peer.address is None else str(connection.peer.address),
        "uid": connection.peer.uid,
        "protocol_version": connection.protocol_version or None,
        "client_id": connection.client_id,
        "username": connection.username,
        "namespace": connection.namespace,
        "principal": None if principal is None else str(principal),
        "groups": sorted(groups),
        "attributes": {
            name: value for name, value in sorted(connection.attributes.items()) if isinstance(value, str | int)
        },
    }
    if connection.tls is not None:
        tls = connection.tls
        asked["tls"] = {"version": tls.version, "cipher": tls.cipher, "server_name": tls.server_name}
    if request.stage in _TOPIC_STAGES:
        asked |= {
            "topic": request.topic,
            "qos": request.qos,
            "retain": request.retain or None,
            "will": request.is_will or None,
            "share": request.share_group,
        }
    return {name: value for name, value in asked.items() if value not in (None, "", [], {})}


def document_of(asked: Mapping[str, Any], password: bytes | None = None, payload: bytes | None = None) -> bytes:
    """The question as it is sent, with what the configuration lets out."""
    whole = dict(asked)
    if password is not None:
        whole["password"] = base64.b64encode(password).decode("ascii")
    if payload is not None:
        whole["payload"] = base64.b64encode(payload).decode("ascii")
    return json.dumps(whole, separators=(",", ":")).encode("ascii")


def read_answer(answer: HttpsAnswer) -> Answer:
    """The answer of a service.

    Raises:
        AnswerFault: it is none.
    """
    if answer.status != 200:
        raise AnswerFault(f"it answered with status {answer.status}, and not 200")
    if answer.media_type != "application/json":
        raise AnswerFault("its answer is not stated to be application/json")
    try:
        document = parse_json(answer.body)
        check_shape(document, 4, 200)
        read = Answer.model_validate(document)
    except JsonFault as fault:
        raise AnswerFault(f"its answer: {fault}") from None
    except ValidationError as error:
        detail = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(each) for each in detail["loc"])
        raise AnswerFault(f"its answer: {where:.60}: {detail['msg']:.80}") from None
    if not all(text.isprintable() for text in (read.principal or "", *read.groups, *read.attributes.values())):
        raise AnswerFault("its answer has a name that is not printable")
    return read
