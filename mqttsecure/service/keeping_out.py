# -*- test-case-name: tests.service.test_keeping_out -*-
"""Who is kept out right now by a ban, a wait after wrong attempts, or a block by hand, for ``mqttsecure why``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from mqttsecure.policy.binding import PolicyBinding
from mqttsecure.policy.builtin.ban import BanPolicy
from mqttsecure.policy.builtin.block_list import USER, BlockList
from mqttsecure.policy.builtin.networks import unwrap

__all__ = ["kept_out"]


def kept_out(bindings: Iterable[PolicyBinding], who: str) -> Iterator[dict[str, Any]]:
    """What keeps out the client, user or address of that name: ``kind`` is ban, wait, client or user.

    ``name`` is what the ban or block is of; ``until`` is None where it has no end.
    """
    for binding in bindings:
        place = {"policy": binding.id, "source": None if binding.source is None else str(binding.source)}
        policy = binding.policy
        if isinstance(policy, BanPolicy):
            for each in (*_bans(policy, who), *_waits(policy, who)):
                yield {**each, **place}
        elif isinstance(policy, BlockList):
            for each in _blocks(policy, who):
                yield {**each, **place}


def _bans(policy: BanPolicy, who: str) -> Iterator[dict[str, Any]]:
    for each in policy.listed()["bans"]:
        if _is_within(who, each["address"]):
            yield {"kind": "ban", "name": each["address"], "until": each["until"], "why": _why(each)}


def _waits(policy: BanPolicy, who: str) -> Iterator[dict[str, Any]]:
    for each in policy.listed()["waiting"]:
        if who in (each["username"], each["client_id"]) or _is_within(who, each["address"]):
            client = " as ".join(str(part) for part in (each["username"], each["client_id"]) if part is not None)
            why = f"{client} failed too often from {each['address']}"
            yield {"kind": "wait", "name": each["address"], "until": None, "why": why, "seconds": each["seconds_left"]}


def _blocks(policy: BlockList, who: str) -> Iterator[dict[str, Any]]:
    for each in policy.listed():
        names = (each["name"], each["name"].partition(":")[2]) if each["kind"] == USER else (each["name"],)
        if who in names:
            yield {"kind": each["kind"], "name": each["name"], "until": each["until"], "why": each["note"]}


def _is_within(who: str, prefix: str) -> bool:
    """Whether that is an address of a prefix; a Unix socket's user is written as itself."""
    try:
        return unwrap(ip_address(who)) in ip_network(prefix)
    except ValueError:
        return who == prefix


def _why(ban: dict[str, Any]) -> str:
    return f"{ban['why']} ({ban['note']})" if ban["note"] else str(ban["why"])
