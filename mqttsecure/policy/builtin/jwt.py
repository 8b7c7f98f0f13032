# -*- test-case-name: tests.policy.builtin.test_jwt -*-
"""``jwt``: who a client is, and what it may do, by a signed token in the password field."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from zope.interface import alsoProvides, implementer

from mqttsecure.core.decisions import (
    ConnectionFacts,
    Decision,
    Principal,
    Purpose,
    Request,
    Role,
    Source,
    Stage,
    Strike,
)
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    Advice,
    Grant,
    IConnectionObserver,
    IGrants,
    IIdentities,
    IPolicy,
    IPolicyEnvironment,
    IPolicyFactory,
    IStateKeeper,
    KnownIdentity,
    Subject,
)
from mqttsecure.policy.builtin.jwt_options import JwtOptions, key_source
from mqttsecure.policy.builtin.options import Problems
from mqttsecure.policy.builtin.token import (
    Header,
    Lifetime,
    TokenRefused,
    looks_like_token,
    names_in_claim,
    read_header,
    read_issuer,
    read_lifetime,
    verified_claims,
)
from mqttsecure.policy.builtin.token_grants import ATTRIBUTE, MAXIMUM_GRANT, MAXIMUM_GRANTS, TokenGrants, read_grants
from mqttsecure.policy.builtin.token_keys import TokenKey
from mqttsecure.policy.builtin.token_source import KeySource, RemoteKeys
from mqttsecure.wire.constants import ReasonCode

__all__ = ["JwtFactory", "JwtPolicy"]

MAXIMUM_NAME: Final = 256
"""Characters of a name or group: it is kept with each message and written into each record."""

MAXIMUM_GROUPS: Final = 64

_NO_TOKEN: Final = Decision.abstain(text="no token was shown in the password field")
_OTHER_ISSUER: Final = Decision.abstain(text="the token is of another issuer")
_NOT_MINE: Final = Decision.abstain(text="not let in by this policy")

_IDENTITY_ONLY: Final = {Stage.AUTHENTICATE: Role.GRANTS}
_TOPICS: Final = frozenset((Stage.PUBLISH, Stage.SUBSCRIBE, Stage.DELIVER))


@implementer(IPolicy, IConnectionObserver, IStateKeeper, IGrants)
class JwtPolicy:
    """Permits the bearer of a valid token, until the token expires, and what the token grants."""

    def __init__(self, options: JwtOptions, keys: KeySource, environment: IPolicyEnvironment) -> None:
        self._options = options
        self._keys = keys
        self._environment = environment
        self._policy_id: str = environment.policy_id
        self._authority = options.authority or environment.policy_id
        self._grants = TokenGrants(options.grants_within, environment)
        self.stages = _IDENTITY_ONLY if options.grants_claim is None else JwtFactory.stages
        # What a token grants is not known without it, nor what a service answers.
        self.stateful = isinstance(keys, RemoteKeys) or options.grants_claim is not None
        if options.username == "matches":
            alsoProvides(self, IIdentities)

    def decide(self, request: Request) -> Decision | Deferred[Decision]:
        """At AUTHENTICATE ABSTAIN without a token of its issuer, else PERMIT or DENY; later by the token's grants."""
        if request.stage in _TOPICS:
            return self._grants.decide(request)
        if request.stage is not Stage.AUTHENTICATE:
            return _NOT_MINE
        if request.purpose is Purpose.RECHECK:
            return self._recheck(request)
        token = request.password
        if token is None or not looks_like_token(token):
            return _NO_TOKEN
        try:
            header = read_header(token)
        except TokenRefused as refused:
            return self._refuse(request, refused)
        if read_issuer(token) != self._options.issuer:
            return _OTHER_ISSUER
        found = self._keys.find(header.key_id)
        if isinstance(found, Deferred):
            return found.addCallback(lambda key: self._judge(request, token, header, key))
        return self._judge(request, token, header, found)

    def _judge(self, request: Request, token: bytes, header: Header, key: TokenKey | None) -> Decision:
        try:
            if key is None:
                raise self._no_key(header)
            claims = verified_claims(token, header, key)
            lifetime = self._lifetime(claims)
            return self._permit(request, token, key, claims, lifetime)
        except TokenRefused as refused:
            return self._refuse(request, refused)

    def _no_key(self, header: Header) -> TokenRefused:
        fault = self._keys.fault
        if fault is not None:
            return TokenRefused("keys", f"there are no keys to verify it with: {fault}")
        name = "no key" if header.key_id is None else f"the key {header.key_id!r:.100}"
        return TokenRefused("keys", f"it names {name}, and there is none of that name", forged=True)

    def _lifetime(self, claims: Mapping[str, Any]) -> Lifetime:
        options = self._options
        if claims.get("iss") != options.issuer:
            raise TokenRefused("issuer", "it is of another issuer")
        audience = claims.get("aud")
        listed = audience if isinstance(audience, list) else [audience]
        if not any(isinstance(each, str) and each in options.audience for each in listed):
            wanted = " or ".join(options.audience)
            raise TokenRefused("audience", f"it is not for {wanted}; have the issuer set aud")
        now = self._environment.wall_clock().timestamp()
        return read_lifetime(claims, now, options.leeway_seconds, options.maximum_lifetime_seconds)

    def _permit(
        self, request: Request, token: bytes, key: TokenKey, claims: Mapping[str, Any], lifetime: Lifetime
    ) -> Decision:
        name = self._name(request.connection, claims)
        groups = frozenset(self._texts(claims, self._options.groups_claim, MAXIMUM_GROUPS, MAXIMUM_NAME))
        granted = self._texts(claims, self._options.grants_claim, MAXIMUM_GRANTS, MAXIMUM_GRANT)
        try:
            read_grants(granted, self._options.grants_within, self._source("grants_claim"))
        except ValueError as fault:
            raise TokenRefused("grants_claim", str(fault)) from None
        attributes = {ATTRIBUTE: self._grants.attribute(granted)} if granted else {}
        left = lifetime.ends - self._environment.wall_clock().timestamp()
        return Decision.permit(
            "token",
            f"the token of {name} holds for {left:.0f} s",
            source=self._source(),
            principal=Principal(self._authority, name),
            groups=groups,
            attributes=attributes,
            fingerprint=f"{key.thumbprint}:{hashlib.sha256(token).hexdigest()}",
            valid_until=request.now + left,
        )

    def _name(self, connection: ConnectionFacts, claims: Mapping[str, Any]) -> str:
        claim = self._options.name_claim
        name = claims.get(claim)
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAXIMUM_NAME:
            raise TokenRefused(
                "name_claim",
                f"its {claim!r} is no printable text of up to {MAXIMUM_NAME} characters, so it names nobody",
            )
        if self._options.username == "matches" and connection.username not in (None, "", name):
            raise TokenRefused("username", f"the user name is not {name!r}, whose token it is")
        return name

    @staticmethod
    def _texts(claims: Mapping[str, Any], claim: str | None, maximum: int, longest: int) -> list[str]:
        return [] if claim is None else list(names_in_claim(claims, claim, maximum, longest))

    def _recheck(self, request: Request) -> Decision | Deferred[Decision]:
        """Whether the token that was shown has not expired, and its key is still there."""
        evidence = request.evidence
        if evidence is None or evidence.policy != self._policy_id:
            return _NOT_MINE
        if evidence.valid_until is None or request.now >= evidence.valid_until:
            return Decision.deny("exp", "the token has expired; connect with a new one", source=self._source())
        trusted = self._keys.is_trusted(evidence.fingerprint.partition(":")[0])
        if isinstance(trusted, Deferred):
            return trusted.addCallback(self._reconsidered, request)
        return self._reconsidered(trusted, request)

    def _reconsidered(self, trusted: bool, request: Request) -> Decision:
        if trusted:
            return Decision.permit("evidence", "the token still holds", source=self._source())
        fault = self._keys.fault
        text = "the key that the token was signed with is not there any more"
        return Decision.deny("keys", text if fault is None else f"there are no keys: {fault}", source=self._source())

    def _refuse(self, request: Request, refused: TokenRefused) -> Decision:
        # A token that has run out is no attack, and bans nobody.
        strikes = (Strike(1, "wrong token"),) if refused.forged and request.purpose is Purpose.LIVE else ()
        return Decision.deny(
            refused.rule,
            f"the token is refused: {refused}",
            source=self._source(refused.rule),
            reason_code=ReasonCode.BAD_USER_NAME_OR_PASSWORD,
            obligations=strikes,
        )

    def _source(self, rule: str | None = None) -> Source:
        source: Source = self._environment.source(rule if rule in JwtOptions.model_fields else None)
        return source

    # Told, not asked

    def identities(self) -> list[KnownIdentity]:
        return [KnownIdentity(self._authority, any_groups=self._options.groups_claim is not None)]

    def decide_assuming(self, request: Request) -> Decision:
        """PERMIT whoever the user name says, unless another policy knows the client already."""
        name = request.connection.username
        if not name or request.password is None or request.exchange.get("principal") is not None:
            return _NO_TOKEN
        return Decision.permit(
            "token", f"if it has a token of {name}", source=self._source(), principal=Principal(self._authority, name)
        )

    def grants(self, subject: Subject) -> list[Grant]:
        return [] if self._options.grants_claim is None else self._grants.grants(subject)

    def names(self) -> list[tuple[str, str | None, str]]:
        """Nobody: what a token grants is its bearer's."""
        return []

    def advise(self, request: Request) -> Advice:
        return self._grants.advise(request)

    # Connections, and memory that outlives a reload

    def connection_opened(self, connection: ConnectionFacts) -> None:
        """Nothing is known yet."""

    def connection_authenticated(self, connection: ConnectionFacts) -> None:
        """Rules are compiled when they are first asked for."""

    def connection_closed(self, connection: ConnectionFacts) -> None:
        self._grants.forget(connection)

    def inherit(self, previous: IPolicy) -> None:
        """Go on with the keys of the same service: a reload while it is away locks nobody out."""
        if not isinstance(previous, JwtPolicy) or self._options.jwks_url != previous._options.jwks_url:
            return
        mine, other = self._keys, previous._keys
        if isinstance(mine, RemoteKeys) and isinstance(other, RemoteKeys):
            mine.inherit(other)

    def save(self) -> None:
        """Nothing is to be kept through a restart."""


@implementer(IPolicyFactory)
class JwtFactory:
    """Builds :class:`JwtPolicy`."""

    interface_version = INTERFACE_VERSION
    name = "jwt"
    summary = "who a client is and what it may do, by a signed token"
    stages: Mapping[Stage, Role] = {
        Stage.AUTHENTICATE: Role.GRANTS,
        Stage.PUBLISH: Role.GRANTS,
        Stage.SUBSCRIBE: Role.GRANTS,
        Stage.DELIVER: Role.GRANTS,
    }
    options = JwtOptions
    attributes: Mapping[str, type] = {ATTRIBUTE: str}

    def build(self, options: JwtOptions, environment: IPolicyEnvironment) -> JwtPolicy:
        problems = Problems(environment)
        if options.authority is not None:
            problems.authority("authority", options.authority)
        keys = key_source(options, environment, problems)
        problems.done()
        if keys is None:
            raise RuntimeError("a source of keys, or a problem that says why there is none")
        return JwtPolicy(options, keys, environment)
