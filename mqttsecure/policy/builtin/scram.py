# -*- test-case-name: tests.policy.builtin.test_scram -*-
"""``scram``: who a client is, by a password that it proves to know without sending it (SCRAM-SHA-256, MQTT 5.0).

CONNECT brings the first message, the answer to it goes out with AUTH, and the client's proof comes with AUTH. An
unknown user is asked the same question as a known one, and refused at the same place with the same words.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field
from zope.interface import implementer

from mqttsecure.core.decisions import (
    Decision,
    Evidence,
    Principal,
    Purpose,
    Request,
    Role,
    Source,
    Stage,
    Strike,
)
from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    IIdentities,
    IPolicy,
    IPolicyEnvironment,
    IPolicyFactory,
    KnownIdentity,
)
from mqttsecure.policy.builtin.options import PolicyOptions, Problems, decode_text
from mqttsecure.policy.builtin.password_file import password_path
from mqttsecure.policy.builtin.password_hash import User, parse_users
from mqttsecure.policy.builtin.scram_keys import decoy, find_secret, is_scram, parse_keys
from mqttsecure.policy.secrets import read_secret
from mqttsecure.wire.constants import ReasonCode
from mqttsecure.wire.scram import (
    METHOD,
    METHOD_PLUS,
    ClientFirst,
    ScramError,
    ScramKeys,
    parse_client_final,
    parse_client_first,
    prepare,
    server_final,
    server_first,
    verify_proof,
)

__all__ = ["Scram", "ScramFactory", "ScramOptions"]

_NONCE_BYTES: Final = 18
_OTHER_METHOD: Final = Decision.abstain(text="the client does not authenticate by SCRAM-SHA-256")
_ONLY_LIVE: Final = Decision.abstain(text="an exchange cannot be carried out for a question")
_NOT_MINE: Final = Decision.abstain(text="not let in by this policy")


class ScramOptions(PolicyOptions):
    """Options of ``scram``."""

    file: str | None = Field(
        default=None,
        description=(
            "The password file, of which the users with SCRAM keys count (`mqttsecure passwd --scram`); they are "
            "principals of an authority named like this policy."
        ),
        examples=["users"],
    )
    authority: str | None = Field(
        default=None,
        description="Instead of `file`: the [[authority]] whose password file it is, and whose principals they are.",
        examples=["people"],
    )
    channel_binding: Literal["optional", "required"] = Field(
        default="optional",
        description=(
            "Whether clients must bind the exchange to their TLS connection (SCRAM-SHA-256-PLUS, TLS 1.3), which shows "
            "anybody in between."
        ),
        examples=["required"],
    )


@dataclass(slots=True, frozen=True)
class _Known:
    name: str
    keys: ScramKeys
    groups: frozenset[str]
    fingerprint: str


@dataclass(slots=True, frozen=True)
class _Asked:
    """An exchange whose question is on its way, by the policy that asked it."""

    by: Scram
    first: ClientFirst
    question: bytes
    keys: ScramKeys
    user: _Known | None


@implementer(IPolicy, IIdentities)
class Scram:
    """Permits a user who proves to know the password."""

    stateful = True

    authentication_methods: Final = frozenset((METHOD, METHOD_PLUS))

    def __init__(
        self, options: ScramOptions, users: Mapping[str, _Known], secret: bytes, environment: IPolicyEnvironment
    ) -> None:
        self._environment = environment
        self._policy_id: str = environment.policy_id
        self._state = f"scram:{self._policy_id}"
        self._authority = environment.policy_id if options.authority is None else options.authority
        self._must_bind = options.channel_binding == "required"
        self._users = users
        self._secret = secret
        self._iterations = tuple(each.keys.iterations for each in users.values())
        self._fingerprints = frozenset(each.fingerprint for each in users.values())
        self._source: Source = environment.source()

    def decide(self, request: Request) -> Decision:
        """ABSTAIN where the client speaks no SCRAM; else a CHALLENGE, then PERMIT or DENY."""
        if request.purpose is Purpose.RECHECK:
            return self._recheck(request.evidence)
        if request.authentication_method not in self.authentication_methods:
            return _OTHER_METHOD
        if request.purpose is not Purpose.LIVE:
            return _ONLY_LIVE
        asked = request.exchange.pop(self._state, None)
        try:
            # A reload may have put another policy in the place of the one that asked.
            if isinstance(asked, _Asked) and asked.by is self:
                return self._finish(request, asked)
            return self._begin(request)
        except ScramError as error:
            return self._deny("exchange", f"SCRAM: {error}")

    def _begin(self, request: Request) -> Decision:
        first = parse_client_first(request.authentication_data or b"")
        fault = self._binding_fault(first, request)
        if fault is not None:
            return self._deny("channel_binding", fault)
        username = request.connection.username
        if username and prepare(username) != first.username:
            return self._deny("exchange", "the user name of CONNECT is not the one of the exchange")
        user = self._users.get(first.username)
        keys = decoy(first.username, self._secret, self._iterations)  # in either case, so that both take as long
        if user is not None:
            keys = user.keys
        nonce = base64.b64encode(self._environment.random_bytes(_NONCE_BYTES))
        question = server_first(first, nonce, keys)
        request.exchange[self._state] = _Asked(self, first, question, keys, user)
        return Decision.challenge(question, rule="scram", source=self._source)

    def _binding_fault(self, first: ClientFirst, request: Request) -> str | None:
        tls = request.connection.tls
        has_binding = tls is not None and tls.channel_binding is not None
        if first.is_bound != (request.authentication_method == METHOD_PLUS):
            return f"channel binding goes with {METHOD_PLUS}, and it with channel binding"
        if first.is_bound and not has_binding:
            return "the connection has no channel binding; the client needs TLS 1.3 for it"
        if first.saw_no_binding and has_binding:
            return "the client was made to believe that there is no channel binding: somebody may be in between"
        if self._must_bind and not first.is_bound:
            return f"channel binding is required; have the client use {METHOD_PLUS}"
        return None

    def _finish(self, request: Request, asked: _Asked) -> Decision:
        final = parse_client_final(request.authentication_data or b"")
        tls = request.connection.tls
        binding = None if tls is None else tls.channel_binding
        right = verify_proof(asked.first, asked.question, final, asked.keys, binding)
        user = asked.user
        if user is None or not right:
            # The log tells the two apart, the client cannot: one answer, after the same work.
            text = "there is no such user with SCRAM keys" if user is None else "the proof is wrong: the password is"
            return self._deny("proof", text)
        return Decision.permit(
            "scram",
            f"{user.name} has proved to know the password",
            source=self._source,
            principal=Principal(self._authority, user.name),
            groups=user.groups,
            fingerprint=user.fingerprint,
            authentication_method=request.authentication_method,
            authentication_data=server_final(asked.first, asked.question, final, asked.keys),
        )

    def _deny(self, rule: str, text: str) -> Decision:
        return Decision.deny(
            rule,
            text,
            source=self._environment.source(rule if rule == "channel_binding" else None),
            reason_code=ReasonCode.NOT_AUTHORIZED,
            obligations=(Strike(1, "wrong SCRAM proof"),) if rule == "proof" else (),
        )

    def _recheck(self, evidence: Evidence | None) -> Decision:
        """Whether the user is still there with the same keys."""
        if evidence is None or evidence.policy != self._policy_id:
            return _NOT_MINE
        if evidence.fingerprint not in self._fingerprints:
            return Decision.deny("evidence", "the user was removed or has another password", source=self._source)
        return Decision.permit("scram", "the user is still there with the same password", source=self._source)

    # Told, not asked

    def identities(self) -> list[KnownIdentity]:
        return [KnownIdentity(self._authority, each.name, each.groups) for each in self._users.values()]

    def decide_assuming(self, request: Request) -> Decision:
        """PERMIT a user who has keys, unless another policy knows the client already."""
        user = self._users.get(request.connection.username or "")
        if user is None or request.exchange.get("principal") is not None:
            return _OTHER_METHOD
        principal = Principal(self._authority, user.name)
        return Decision.permit(
            "scram", f"if it proves to be {user.name}", source=self._source, principal=principal, groups=user.groups
        )


@implementer(IPolicyFactory)
class ScramFactory:
    """Builds :class:`Scram`."""

    interface_version = INTERFACE_VERSION
    name = "scram"
    summary = "who a client is, by a password that is never sent"
    stages: Mapping[Stage, Role] = {Stage.AUTHENTICATE: Role.GRANTS}
    options = ScramOptions
    attributes: Mapping[str, type] = {}

    def build(self, options: ScramOptions, environment: IPolicyEnvironment) -> Scram:
        problems = Problems(environment)
        option = "file" if options.authority is None else "authority"
        path = password_path(options.file, options.authority, environment, problems)
        users: dict[str, _Known] = {}
        secret: bytes | None = None
        if path is not None:
            try:
                text = decode_text(path, read_secret(path))
                users = _with_keys(parse_users(text, path))
                secret = find_secret(text)
            except ConfigError as error:
                problems.add_error(option, error)
            except ValueError as error:
                problems.add(option, f"{path}: {error}")
            else:
                if not users:
                    problems.add(option, f"{path}: no user has SCRAM keys; give some with: mqttsecure passwd --scram")
                elif secret is None:
                    text = "has no line #scram-secret; set one user anew with: mqttsecure passwd --scram"
                    problems.add(option, f"{path}: {text}")
        problems.done()
        return Scram(options, users, secret or b"", environment)


def _with_keys(users: Mapping[str, User]) -> dict[str, _Known]:
    """The users with SCRAM keys, by their name as clients send it.

    Raises:
        ValueError: two names are the same in that form, or one has none.
    """
    found: dict[str, _Known] = {}
    for user in users.values():
        if not is_scram(user.hash):
            continue
        try:
            name = prepare(user.name)
        except ScramError as error:
            raise ValueError(f"user {user.name!r}: {error}; rename the user") from None
        if name in found:
            raise ValueError(f"users {user.name!r} and {found[name].name!r} are the same name to SCRAM; rename one")
        fingerprint = hashlib.sha256(f"{user.name}:{user.hash}".encode()).hexdigest()
        found[name] = _Known(user.name, parse_keys(user.hash), frozenset(user.groups), fingerprint)
    return found
