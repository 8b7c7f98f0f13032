# -*- test-case-name: tests.policy.builtin.test_http_service -*-
"""The options of ``http``, and the client that they describe."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

from pydantic import Field
from twisted.internet.defer import Deferred

from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import IPolicyEnvironment
from mqttsecure.policy.builtin.http_messages import MAXIMUM_ANSWER
from mqttsecure.policy.builtin.options import PolicyOptions, Problems
from mqttsecure.policy.https import HttpsAnswer, HttpsClient
from mqttsecure.policy.https_tls import TlsMaterial, check_https_url
from mqttsecure.policy.secrets import read_secret

__all__ = ["HttpOptions", "service_client"]

MAXIMUM_WAITING: Final = 4096
"""Questions that wait for a connection: a reload asks about everything that lives."""

_ATTRIBUTE: Final = re.compile(r"[a-z_][a-z0-9_]{0,63}")
_RESERVED: Final = frozenset(("user", "client", "token_grants"))

StageName = Literal["ACCEPT", "HANDSHAKE", "CONNECT", "AUTHENTICATE", "PUBLISH", "SUBSCRIBE", "DELIVER"]


class HttpOptions(PolicyOptions):
    """Options of ``http``."""

    url: str = Field(
        description="The service, by HTTPS. It is asked with POST.", examples=["https://auth.example.com/mqtt"]
    )
    stages: list[StageName] = Field(
        min_length=1, description="The stages at which it is asked, and no others.", examples=[["AUTHENTICATE"]]
    )
    role: Literal["grants", "restricts"] = Field(
        default="restricts",
        description='Whether its "permit" counts. One that restricts consents by "abstain".',
        examples=["grants"],
    )
    authority: str | None = Field(
        default=None,
        description="The [[authority]] whose principals it names at AUTHENTICATE; else one named like this policy.",
        examples=["people"],
    )
    attributes: list[str] = Field(
        default=[],
        max_length=16,
        description="The attributes (texts) that its answers may set, for rules and for policies behind it.",
        examples=[["tenant"]],
    )
    ca_file: str | None = Field(
        default=None,
        description="PEM file of the CAs that its certificate must be of; else those of the system.",
        examples=["internal-ca.pem"],
    )
    certificate: str | None = Field(
        default=None,
        description="PEM file: the certificate that the broker shows it (mutual TLS), then its chain.",
        examples=["broker-client.pem"],
    )
    key: str | None = Field(
        default=None,
        description="PEM file: that certificate's key, not readable by others.",
        examples=["broker-client.key"],
    )
    token_file: str | None = Field(
        default=None,
        description="File with a secret that goes along as `Authorization: Bearer`; not readable by others.",
        examples=["service.token"],
    )
    answer_seconds: float = Field(
        default=2.0,
        ge=0.05,
        le=30,
        description="How long an answer may take in all, the wait for a connection included.",
        examples=[0.5],
    )
    connections: int = Field(
        default=16, ge=1, le=64, description="How many questions are under way at once; more wait.", examples=[4]
    )
    cache_seconds: int = Field(
        default=10,
        ge=0,
        le=3600,
        description="How long an answer is remembered; the service may say less with `cache_seconds`. 0: not at all.",
        examples=[60],
    )
    cache_entries: int = Field(
        default=10_000, ge=1, le=1_000_000, description="How many answers are remembered.", examples=[1000]
    )
    send_password: bool = Field(
        default=False,
        description="Whether the service gets the client's password at AUTHENTICATE.",
        examples=[True],
    )
    send_payload: bool = Field(
        default=False,
        description="Whether it gets the payload of messages. Each message is then asked about, and none remembered.",
        examples=[True],
    )


def service_client(
    options: HttpOptions, environment: IPolicyEnvironment, problems: Problems
) -> Callable[[bytes], Deferred[HttpsAnswer]] | None:
    """What asks the service; what is wrong with the options is noted, and None given."""
    problems.attempt("url", check_https_url, options.url)
    if options.authority is not None:
        problems.authority("authority", options.authority)
    for index, name in enumerate(options.attributes):
        if not _ATTRIBUTE.fullmatch(name) or name in _RESERVED:
            problems.add("attributes", f"{name!r} is no name for an attribute of its own; write one like tenant", index)
    if (options.certificate is None) != (options.key is None):
        problems.add("certificate" if options.key is None else "key", "give both certificate and key")
    if options.send_password and "AUTHENTICATE" not in options.stages:
        problems.add("send_password", "there is a password at AUTHENTICATE alone, and it is not asked there")
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    token = _token(options, environment, problems)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    tls = _tls(options, environment, problems)
    if tls is None:
        return None
    client = HttpsClient(
        environment.clock,
        tls,
        maximum=MAXIMUM_ANSWER,
        seconds=options.answer_seconds,
        connections=options.connections,
        waiting=MAXIMUM_WAITING,
    )
    return lambda document: client.ask("POST", options.url, document, headers)


def _token(options: HttpOptions, environment: IPolicyEnvironment, problems: Problems) -> str | None:
    if options.token_file is None:
        return None
    try:
        path = environment.resolve(options.token_file)
        token = read_secret(path, 8192).decode("ascii").strip()
    except ConfigError as error:
        problems.add_error("token_file", error)
        return None
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        problems.add("token_file", f"{path}: holds no token: one line of printable characters")
        return None
    return token


def _tls(options: HttpOptions, environment: IPolicyEnvironment, problems: Problems) -> TlsMaterial | None:
    try:
        named = (options.ca_file, options.certificate, options.key)
        return TlsMaterial.load(*(None if each is None else environment.resolve(each) for each in named))
    except ConfigError as error:
        for problem in error.problems:
            option = next(
                (name for name in ("key", "certificate", "ca_file") if _is_about(options, name, problem)), None
            )
            problems.add(option or "ca_file", problem)
        return None


def _is_about(options: HttpOptions, name: str, problem: str) -> bool:
    value = getattr(options, name)
    return value is not None and problem.split(":", 1)[0].endswith(value)
