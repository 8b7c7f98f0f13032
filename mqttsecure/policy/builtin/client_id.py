# -*- test-case-name: tests.policy.builtin.test_client_id -*-
"""``client-id``: which Client Identifiers may be used, and by whom.

At CONNECT only the user name that a client claims is known. At AUTHENTICATE, for a policy that stands behind the
identity policies in the chain, the principal is: the chain puts it into the exchange with the first PERMIT.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal

from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import Decision, Principal, Purpose, Request, Role, Source, Stage
from mqttsecure.interfaces import INTERFACE_VERSION, IPolicy, IPolicyEnvironment, IPolicyFactory
from mqttsecure.policy.builtin.options import PolicyOptions, Problems
from mqttsecure.wire.constants import ReasonCode

__all__ = ["ClientId", "ClientIdFactory", "ClientIdOptions", "Pattern"]

_USER: Final = "{user}"
_SPLIT: Final = re.compile(r"(\{user\}|\*)")

_CHARSETS: Final[dict[str, Callable[[str], bool]]] = {
    "alphanumeric": lambda text: text.isascii() and text.isalnum(),
    "printable-ascii": lambda text: text.isascii() and text.isprintable(),
    "utf-8": lambda text: text.isprintable(),
}

_BOUND: Final = Decision.abstain(text="the Client Identifier is the principal's to use")
_RECHECK: Final = Decision.abstain(text="judged when the client connected")


class ClientIdOptions(PolicyOptions):
    """Options of ``client-id``."""

    patterns: list[str] = Field(
        default=["{user}", "{user}-*"],
        min_length=1,
        description="What a Client Identifier may look like: `{user}` is the user's name, `*` any run of characters.",
        examples=[["*"], ["sensor-*"]],
    )
    maximum_length: int = Field(
        default=128, ge=1, le=65_535, description="Its greatest length in bytes of UTF-8.", examples=[23]
    )
    charset: Literal["alphanumeric", "printable-ascii", "utf-8"] = Field(
        default="printable-ascii",
        description='The characters it may have: "alphanumeric" is 0-9, a-z and A-Z, "utf-8" all that can be printed.',
        examples=["utf-8"],
    )
    allow_empty: bool = Field(
        default=True, description="Whether a client may leave the choice to the broker.", examples=[False]
    )


class Pattern:
    """One pattern, split once. Matching takes time in proportion to the text, however many ``*`` there are."""

    def __init__(self, text: str) -> None:
        """
        Raises:
            ValueError: it is empty or has a brace that is not part of ``{user}``.
        """
        rest = text.replace(_USER, "")
        if not text or "{" in rest or "}" in rest:
            raise ValueError(f"{text!r} is no pattern; write characters, * and {_USER}")
        self.has_user = _USER in text
        self._parts = [part for part in _SPLIT.split(text) if part]

    def matches(self, client_id: str, user: str | None) -> bool:
        """Whether a Client Identifier fits; without a user's name, or with an empty one, no ``{user}`` does."""
        if self.has_user and not user:
            return False
        # The user's name is a literal: a "*" in it means itself.
        literals = [""]
        for part in self._parts:
            if part == "*":
                literals.append("")
            else:
                literals[-1] += user or "" if part == _USER else part
        if len(literals) == 1:
            return client_id == literals[0]
        first, *middle, last = literals
        if len(client_id) < len(first) + len(last) or not client_id.startswith(first) or not client_id.endswith(last):
            return False
        position, end = len(first), len(client_id) - len(last)
        for literal in middle:
            position = client_id.find(literal, position, end)
            if position < 0:
                return False
            position += len(literal)
        return True


@implementer(IPolicy)
class ClientId:
    """Permits a fitting Client Identifier at CONNECT, and denies at AUTHENTICATE one that is another user's."""

    stateful = False

    def __init__(self, options: ClientIdOptions, patterns: list[Pattern], environment: IPolicyEnvironment) -> None:
        self._patterns = patterns
        self._maximum_length = options.maximum_length
        self._in_charset = _CHARSETS[options.charset]
        self._charset = options.charset
        self._allow_empty = options.allow_empty
        self._binds_users = any(pattern.has_user for pattern in patterns)
        self._sources: dict[str, Source] = {key: environment.source(key) for key in ClientIdOptions.model_fields}
        self._permits = [
            Decision.permit(
                f"patterns[{index}]", "the Client Identifier fits", source=environment.source("patterns", index)
            )
            for index in range(len(patterns))
        ]

    def decide(self, request: Request) -> Decision:
        if request.stage is Stage.AUTHENTICATE:
            return self._authenticate(request)
        return self._connect(request.connection.client_id, request.connection.username)

    def _connect(self, client_id: str, username: str | None) -> Decision:
        if not client_id:
            if self._allow_empty:
                return Decision.permit("allow_empty", "the broker chooses", source=self._sources["allow_empty"])
            return self._deny("allow_empty", "the Client Identifier is empty")
        length = len(client_id.encode("utf-8", "replace"))
        if length > self._maximum_length:
            return self._deny("maximum_length", f"the Client Identifier has {length} bytes")
        if not self._in_charset(client_id):
            return self._deny("charset", f"the Client Identifier has characters beyond {self._charset}")
        for pattern, permit in zip(self._patterns, self._permits, strict=True):
            if pattern.matches(client_id, username):
                return permit
        if self._binds_users and not username:
            # Whose it is will be known at AUTHENTICATE, which then denies what does not fit.
            source = self._sources["patterns"]
            return Decision.permit("patterns", "judged once the client is known", source=source)
        return self._deny("patterns", "the Client Identifier fits no pattern")

    def _authenticate(self, request: Request) -> Decision:
        client_id = request.connection.client_id
        if request.purpose is Purpose.RECHECK:
            # An identifier that the broker chose fits no pattern, and neither it nor the principal has changed since.
            return _RECHECK
        if not self._binds_users or not client_id:
            return _BOUND
        principal = request.exchange.get("principal", request.connection.principal)
        user = principal.name if isinstance(principal, Principal) else None
        if any(pattern.matches(client_id, user) for pattern in self._patterns):
            return _BOUND
        if user is None:
            # Not let pass: a policy behind this one could permit anyone under this Client Identifier.
            # Its code says that the credentials are missing, not that the Client Identifier is at fault.
            return self._deny(
                "patterns",
                "no policy above has authenticated the client (client-id has to stand behind the identity policies)",
                ReasonCode.NOT_AUTHORIZED,
            )
        return self._deny("patterns", f"the Client Identifier is not one of {principal}")

    def _deny(self, rule: str, text: str, reason_code: ReasonCode = ReasonCode.CLIENT_IDENTIFIER_NOT_VALID) -> Decision:
        return Decision.deny(rule, text, source=self._sources[rule], reason_code=reason_code)


@implementer(IPolicyFactory)
class ClientIdFactory:
    """Builds :class:`ClientId`."""

    interface_version = INTERFACE_VERSION
    name = "client-id"
    summary = "which Client Identifiers may be used, and by whom"
    stages: Mapping[Stage, Role] = {Stage.CONNECT: Role.GRANTS, Stage.AUTHENTICATE: Role.RESTRICTS}
    options = ClientIdOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: ClientIdOptions, environment: IPolicyEnvironment) -> ClientId:
        problems = Problems(environment)
        patterns = [problems.attempt("patterns", Pattern, text, index) for index, text in enumerate(options.patterns)]
        problems.done()
        return ClientId(options, [pattern for pattern in patterns if pattern is not None], environment)
