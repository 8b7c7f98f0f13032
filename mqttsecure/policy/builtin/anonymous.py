# -*- test-case-name: tests.policy.builtin.test_anonymous -*-
"""``anonymous``: the one way to let clients in that show no credentials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import ANONYMOUS_AUTHORITY, Decision, Principal, Purpose, Request, Role, Source, Stage
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    IIdentities,
    IPolicy,
    IPolicyEnvironment,
    IPolicyFactory,
    KnownIdentity,
)
from mqttsecure.policy.builtin.networks import EVERYWHERE, UNIX, NetworkTable, parse_network
from mqttsecure.policy.builtin.options import PolicyOptions, Problems

__all__ = ["Anonymous", "AnonymousFactory", "AnonymousOptions"]

_CREDENTIALS_SHOWN: Final = Decision.abstain(text="credentials were shown")
_NOT_LISTED: Final = Decision.abstain(text="the address may not be anonymous")
_NOT_MINE: Final = Decision.abstain(text="not let in by this policy")


class AnonymousOptions(PolicyOptions):
    """Options of ``anonymous``."""

    addresses: list[str] = Field(
        default=["127.0.0.0/8", "::1/128"],
        description='Where anonymous clients may come from; "everywhere" and "unix" can be said.',
        examples=[["192.0.2.0/24"]],
    )
    ignore_username: bool = Field(
        default=False,
        description="Take a client that gives a user name but no password for anonymous; the name then means nothing.",
        examples=[True],
    )
    ignore_password: bool = Field(
        default=False,
        description=(
            "Take a client that gives a password for anonymous too, whatever user name and password are. For test beds "
            "alone: with it nobody needs a right password."
        ),
        examples=[True],
    )
    as_user: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description=(
            "Make all of them one principal, `anonymous:` and this name. They can then own durable sessions, and can "
            "take each other's over. Without it each connection is a principal of its own, which owns nothing."
        ),
        examples=["guest"],
    )
    groups: list[str] = Field(
        default=[],
        description="Groups they are in; a rule names one as `group:anonymous:NAME`.",
        examples=[["visitors"]],
    )


@implementer(IPolicy, IIdentities)
class Anonymous:
    """Permits a CONNECT without any credential from a listed address; abstains on any other."""

    stateful = False

    def __init__(
        self, options: AnonymousOptions, sources: NetworkTable[Source], environment: IPolicyEnvironment
    ) -> None:
        self._sources = sources
        self._ignore_username = options.ignore_username
        self._ignore_password = options.ignore_password
        self._as_user = options.as_user
        self._groups = frozenset(options.groups)
        self._policy_id = environment.policy_id
        self.warnings: tuple[str, ...] = (_warning(options, environment.listeners),)

    def decide(self, request: Request) -> Decision:
        if request.purpose is Purpose.RECHECK and (
            request.evidence is None or request.evidence.policy != self._policy_id
        ):
            return _NOT_MINE
        if self._credentials_shown(request):
            return _CREDENTIALS_SHOWN
        connection = request.connection
        source = self._sources.find(connection.peer)
        if source is None:
            return _NOT_LISTED
        if self._as_user is not None:
            principal = Principal(ANONYMOUS_AUTHORITY, self._as_user)
        else:
            principal = Principal(ANONYMOUS_AUTHORITY, str(connection.connection_id), shared=False)
        return Decision.permit(
            "addresses",
            "let in without credentials",
            source=source,
            principal=principal,
            groups=self._groups,
            fingerprint=ANONYMOUS_AUTHORITY,
        )

    def identities(self) -> list[KnownIdentity]:
        return [KnownIdentity(ANONYMOUS_AUTHORITY, self._as_user, self._groups)]

    def decide_assuming(self, request: Request) -> Decision:
        """As ``decide``: a secret that is right makes nobody anonymous."""
        return self.decide(request)

    def _credentials_shown(self, request: Request) -> bool:
        connection = request.connection
        return (
            (request.password is not None and not self._ignore_password)
            or request.authentication_method is not None
            or (connection.username is not None and not (self._ignore_username or self._ignore_password))
            or (connection.tls is not None and connection.tls.peer_certificate is not None)
        )


def _warning(options: AnonymousOptions, listeners: tuple[str, ...]) -> str:
    where = ", ".join(listeners) or "no listener"
    one = f", all as the one user {ANONYMOUS_AUTHORITY}:{options.as_user}" if options.as_user else ""
    return f"anonymous clients are let in on listener {where} from {', '.join(options.addresses)}{one}"


@implementer(IPolicyFactory)
class AnonymousFactory:
    """Builds :class:`Anonymous`."""

    interface_version = INTERFACE_VERSION
    name = "anonymous"
    summary = "lets clients in that show no credentials"
    stages: Mapping[Stage, Role] = {Stage.AUTHENTICATE: Role.GRANTS}
    options = AnonymousOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: AnonymousOptions, environment: IPolicyEnvironment) -> Anonymous:
        problems = Problems(environment)
        if not options.addresses:
            problems.add("addresses", "it is empty, so nobody is let in; name addresses, or remove the policy")
        for index, text in enumerate(options.addresses):
            if text not in (EVERYWHERE, UNIX):
                problems.attempt("addresses", parse_network, text, index)
        if options.as_user is not None and not options.as_user.isprintable():
            problems.add("as_user", "it has characters that cannot be printed; choose a plain name")
        for index, group in enumerate(options.groups):
            if not group or not group.isprintable():
                problems.add("groups", f"{group!r} is no group name; use printable characters", index)
        problems.done()
        sources = {text: environment.source("addresses", index) for index, text in enumerate(options.addresses)}
        return Anonymous(options, NetworkTable(sources), environment)
