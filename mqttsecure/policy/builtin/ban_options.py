# -*- test-case-name: tests.policy.builtin.test_ban -*-
"""Options of ``ban``."""

from __future__ import annotations

from pydantic import Field

from mqttsecure.policy.builtin.options import PolicyOptions
from mqttsecure.policy.builtin.strike_counts import StrikeLimits

__all__ = ["BanOptions", "BanOverride", "limits_of"]


class BanOverride(PolicyOptions):
    """Other limits for one prefix; a key that is not given keeps the policy's own value."""

    prefix: str = Field(description="Address or prefix.", examples=["10.0.0.0/8"])
    threshold: int | None = Field(default=None, ge=1, description="In place of `threshold`.", examples=[20])
    address_threshold: int | None = Field(
        default=None, ge=1, description="In place of `address_threshold`.", examples=[100]
    )
    window_seconds: int | None = Field(default=None, ge=1, description="In place of `window_seconds`.", examples=[60])
    first_ban_seconds: int | None = Field(
        default=None, ge=1, description="In place of `first_ban_seconds`.", examples=[10]
    )
    longest_ban_seconds: int | None = Field(
        default=None, ge=1, description="In place of `longest_ban_seconds`.", examples=[300]
    )


class BanOptions(PolicyOptions):
    """Options of ``ban``."""

    threshold: int = Field(
        default=5,
        ge=1,
        le=1000,
        description="Strikes of one client at one address within the window, from which on it has to wait.",
        examples=[10],
    )
    address_threshold: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Strikes of one address within the window, from which on it is banned, unless somebody logged in "
        "from there.",
        examples=[20],
    )
    window_seconds: int = Field(
        default=600,
        ge=1,
        le=86_400,
        description="How long it takes until so many strikes are forgotten, little by little; and how long a login "
        "keeps its address from being banned.",
        examples=[300],
    )
    first_delay_seconds: int = Field(
        default=1,
        ge=1,
        le=3600,
        description="How long a client has to wait at the threshold; with each further strike it is twice as long.",
        examples=[5],
    )
    longest_delay_seconds: int = Field(
        default=300, ge=1, le=86_400, description="The longest such wait.", examples=[60]
    )
    first_ban_seconds: int = Field(
        default=60,
        ge=1,
        le=86_400,
        description="The first ban of an address; each further one is twice as long.",
        examples=[600],
    )
    longest_ban_seconds: int = Field(
        default=3600,
        ge=1,
        le=30 * 86_400,
        description="The longest ban. After as much time without one the next is a first one again.",
        examples=[86_400],
    )
    exempt: list[str] = Field(
        default=[],
        description="Addresses and prefixes whose strikes do not count and that are never banned: a proxy of your own.",
        examples=[["10.0.0.5"]],
    )
    overrides: list[BanOverride] = Field(
        default=[],
        description="Other limits for known prefixes; the longest prefix wins.",
        examples=[[{"prefix": "10.0.0.0/8", "address_threshold": 100}]],
    )
    file: str | None = Field(
        default=None,
        description="Where bans are kept over a restart; without it they end with the process. The broker writes it.",
        examples=["/var/lib/mqttsecure/bans.json"],
    )


def limits_of(options: BanOptions, override: BanOverride) -> StrikeLimits:
    """The limits that hold under one prefix."""
    return StrikeLimits(
        threshold=override.threshold or options.threshold,
        address_threshold=override.address_threshold or options.address_threshold,
        window=override.window_seconds or options.window_seconds,
        first_delay=options.first_delay_seconds,
        longest_delay=max(options.longest_delay_seconds, options.first_delay_seconds),
        first_ban=override.first_ban_seconds or options.first_ban_seconds,
        longest_ban=override.longest_ban_seconds or options.longest_ban_seconds,
    )
