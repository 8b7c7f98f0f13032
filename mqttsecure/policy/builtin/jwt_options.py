# -*- test-case-name: tests.policy.builtin.test_jwt_options -*-
"""The options of ``jwt``, and the keys that they name."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from mqttsecure.errors import ConfigError
from mqttsecure.interfaces import IPolicyEnvironment
from mqttsecure.policy.builtin.options import PolicyOptions, Problems
from mqttsecure.policy.builtin.token_keys import KeyFault, parse_key_file
from mqttsecure.policy.builtin.token_source import FixedKeys, KeySource, RemoteKeys
from mqttsecure.policy.https import HttpsClient
from mqttsecure.policy.https_tls import TlsMaterial, check_https_url
from mqttsecure.policy.secrets import read_secret

__all__ = ["JwtOptions", "key_source"]

MAXIMUM_KEY_BYTES: Final = 256 * 1024
"""Of a key file, or of what a service answers: 64 RSA keys with their certificates fit."""

FETCH_SECONDS: Final = 4.0
"""For a service to give its keys: below the 5 s that a policy has for its answer, so that the log says which it was."""


class JwtOptions(PolicyOptions):
    """Options of ``jwt``."""

    issuer: str = Field(
        min_length=1,
        description="Who must have made the token: its `iss`, letter for letter.",
        examples=["https://id.example.com/"],
    )
    audience: list[str] = Field(
        min_length=1,
        max_length=16,
        description="Whom it must be for: one of these is in its `aud`. A token for others lets nobody in here.",
        examples=[["mqtt.example.com"]],
    )
    keys_file: str | None = Field(
        default=None,
        description=(
            "The issuer's keys: public keys as PEM, or a JSON Web Key set. A shared secret (HS256) is a JSON Web Key "
            "too, `kty` oct. The file must not be readable by others."
        ),
        examples=["issuer.pem"],
    )
    jwks_url: str | None = Field(
        default=None,
        description="Instead of `keys_file`: where the issuer publishes its JSON Web Key set, by HTTPS.",
        examples=["https://id.example.com/.well-known/jwks.json"],
    )
    ca_file: str | None = Field(
        default=None,
        description="PEM file of the CAs that the certificate of `jwks_url` must be of; else those of the system.",
        examples=["internal-ca.pem"],
    )
    refresh_seconds: int = Field(
        default=600, ge=10, le=86_400, description="After how long `jwks_url` is asked again.", examples=[3600]
    )
    lifetime_seconds: int = Field(
        default=3600,
        ge=10,
        le=604_800,
        description="How long an answer of `jwks_url` counts where it gives no newer one; then nobody gets in.",
        examples=[86_400],
    )
    authority: str | None = Field(
        default=None,
        description="The [[authority]] whose principals the bearers are; else one named like this policy.",
        examples=["people"],
    )
    name_claim: str = Field(
        default="sub", min_length=1, description="The claim that names the principal.", examples=["client_id"]
    )
    username: Literal["matches", "any"] = Field(
        default="matches",
        description='"matches": the MQTT user name, where one is given, must be the name in the token. "any": ignored.',
        examples=["any"],
    )
    groups_claim: str | None = Field(
        default=None,
        min_length=1,
        description="The claim with the principal's groups, a list; without it a token puts nobody into a group.",
        examples=["groups"],
    )
    grants_claim: str | None = Field(
        default=None,
        min_length=1,
        description="The claim with rules about topics for the bearer; without it a token grants no topics.",
        examples=["mqtt"],
    )
    grants_within: list[str] = Field(
        default=[],
        max_length=64,
        description="Topic Filters that must hold everything a token grants; one that grants more is refused.",
        examples=[["plant/#"]],
    )
    leeway_seconds: int = Field(
        default=30, ge=0, le=300, description="By how much the clocks of issuer and broker may differ.", examples=[0]
    )
    maximum_lifetime_seconds: int = Field(
        default=86_400,
        ge=60,
        le=31_622_400,
        description="How long a token may live in all; one that lives longer is refused.",
        examples=[3600],
    )


def key_source(options: JwtOptions, environment: IPolicyEnvironment, problems: Problems) -> KeySource | None:
    """The keys that the options name; what is wrong with them is noted, and None given."""
    _check_grants(options, problems)
    if (options.keys_file is None) == (options.jwks_url is None):
        problems.add(None, 'give one of keys_file = "issuer.pem" and jwks_url = "https://..."')
        return None
    if options.keys_file is not None:
        if options.ca_file is not None:
            problems.add("ca_file", "it is for jwks_url; remove it")
        return _from_file(options.keys_file, environment, problems)
    return _from_service(options, options.jwks_url or "", environment, problems)


def _check_grants(options: JwtOptions, problems: Problems) -> None:
    if (options.grants_claim is None) != (not options.grants_within):
        text = "give both grants_claim and grants_within: what tokens may grant at most is for this file to say"
        problems.add("grants_claim" if options.grants_claim is not None else "grants_within", text)
    problems.plain_filters("grants_within", options.grants_within)


def _from_file(name: str, environment: IPolicyEnvironment, problems: Problems) -> KeySource | None:
    try:
        path = environment.resolve(name)
        return FixedKeys(parse_key_file(read_secret(path, MAXIMUM_KEY_BYTES)))
    except ConfigError as error:
        problems.add_error("keys_file", error)
    except KeyFault as fault:
        problems.add("keys_file", f"{environment.resolve(name)}: {fault}")
    return None


def _from_service(
    options: JwtOptions, url: str, environment: IPolicyEnvironment, problems: Problems
) -> KeySource | None:
    problems.attempt("jwks_url", check_https_url, url)
    if options.lifetime_seconds < options.refresh_seconds:
        problems.add("lifetime_seconds", "it is shorter than refresh_seconds, so that keys would be missing between")
    try:
        tls = TlsMaterial.load(None if options.ca_file is None else environment.resolve(options.ca_file), None, None)
    except ConfigError as error:
        problems.add_error("ca_file", error)
        return None
    client = HttpsClient(environment.clock, tls, maximum=MAXIMUM_KEY_BYTES, seconds=FETCH_SECONDS)
    return RemoteKeys(
        lambda: client.get(url),
        environment.clock,
        environment.log,
        refresh=options.refresh_seconds,
        lifetime=options.lifetime_seconds,
    )
