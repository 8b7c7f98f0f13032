"""What ``nft -j list table`` prints for a ruleset, in the form of nft 1.0.6, for machines without nft."""

from __future__ import annotations

import re
from typing import Any

from mqttsecure.policy.nft_ruleset import Range, Ruleset

__all__ = ["listing_of"]

_TYPES = {4: "ipv4_addr", 6: "ipv6_addr"}


def listing_of(ruleset: Ruleset) -> dict[str, Any]:
    """The document, to be changed by a test and then dumped."""
    table = {"family": "inet", "table": ruleset.table, "handle": 1}
    objects: list[dict[str, Any]] = [
        {"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": ruleset.table}},
    ]
    for each in ruleset.address_sets:
        made = {**table, "name": each.name, "type": _TYPES[each.version], "flags": ["interval"]}
        objects.append({"set": made | ({"elem": [_element(r) for r in each.ranges]} if each.ranges else {})})
    for timed in ruleset.timed_sets:
        made = {**table, "name": timed.name, "type": _TYPES[timed.version], "flags": ["interval", "timeout"]}
        elements = [_timed(each, seconds) for each, seconds in timed.entries]
        objects.append({"set": made | ({"elem": elements} if elements else {})})
    for one in ruleset.verdict_maps:
        elements = [[_element(r), {"goto": {"target": chain}}] for r, chain in one.entries]
        made = {**table, "name": one.name, "type": _TYPES[one.version], "map": "verdict", "flags": ["interval"]}
        objects.append({"map": made | {"elem": elements}})
    for counting in ruleset.counting_sets:
        made = {**table, "name": counting.name, "type": _TYPES[counting.version], "size": counting.size}
        made |= {} if counting.timeout is None else {"flags": ["timeout"], "timeout": counting.timeout}
        objects.append({"set": made | {"elem": [{"elem": {"val": "10.0.0.1"}}]}})
    for chain in ruleset.chains:
        hook = {} if chain.policy is None else {"type": "filter", "hook": "input", "prio": 0, "policy": chain.policy}
        objects.append({"chain": {**table, "name": chain.name, **hook}})
        for text in chain.rules:
            objects.append({"rule": {**table, "chain": chain.name, **_rule(text)}})
    return {"nftables": objects}


def _element(each: Range) -> Any:
    text = str(each)
    if "-" in text:
        return {"range": text.split("-")}
    if "/" in text:
        address, _, length = text.partition("/")
        return {"prefix": {"addr": address, "len": int(length)}}
    return text


def _timed(each: Range, seconds: int | None) -> Any:
    if seconds is None:
        return _element(each)
    return {"elem": {"val": _element(each), "timeout": seconds, "expires": seconds}}


def _rule(text: str) -> dict[str, Any]:
    body, _, comment = text.partition(' comment "')
    expressions: list[Any] = []
    while body:
        found = next(m for pattern, _ in _FORMS if (m := re.match(pattern, body)))
        make = next(make for pattern, make in _FORMS if re.match(pattern, body))
        expressions.append(make(found))
        body = body[found.end() :].strip()
    return {"expr": expressions, **({"comment": comment.rstrip('"')} if comment else {})}


def _payload(protocol: str, field: str) -> dict[str, Any]:
    return {"payload": {"protocol": protocol, "field": field}}


def _match(left: Any, right: Any, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def _counting(found: re.Match[str]) -> dict[str, Any]:
    key: Any = _payload(found[3], "saddr")
    if found[4]:
        key = {"&": [key, found[4]]}
    words = found[5].split()
    if words[0] == "ct":
        counted: Any = {"ct count": {"val": int(words[3]), "inv": True}}
    else:
        rate, _, per = words[3].partition("/")
        counted = {"limit": {"rate": int(rate), "burst": int(words[5]), "per": per, "inv": True}}
    return {"set": {"op": found[1], "elem": key, "set": f"@{found[2]}", "stmt": [counted]}}


_FORMS: Any = [
    (r"ct state established,related", lambda m: _match({"ct": {"key": "state"}}, ["established", "related"], "in")),
    (r"ct state new", lambda m: _match({"ct": {"key": "state"}}, "new", "in")),
    (r"meta (\w+) (\w+)", lambda m: _match({"meta": {"key": m[1]}}, m[2])),
    (r"iif (!= )?lo", lambda m: _match({"meta": {"key": "iif"}}, "lo", "!=" if m[1] else "==")),
    (r"tcp dport (\d+)", lambda m: _match(_payload("tcp", "dport"), int(m[1]))),
    (r"(ip6?) daddr (\S+)", lambda m: _match(_payload(m[1], "daddr"), m[2])),
    (r"(ip6?) saddr vmap (@\w+)", lambda m: {"vmap": {"key": _payload(m[1], "saddr"), "data": m[2]}}),
    (r"(ip6?) saddr (!= )?(@\w+)", lambda m: _match(_payload(m[1], "saddr"), m[3], "!=" if m[2] else "==")),
    (
        r"icmpv6 type \{ (.*?) \}",
        # In the order of their numbers, which is not ours.
        lambda m: _match(_payload("icmpv6", "type"), {"set": m[1].split(", ")[::-1]}),
    ),
    (r"(add|update) @(\w+) \{ (ip6?) saddr(?: & (\S+))? ((?:ct|limit) .*?) \}", _counting),
    (r"(goto|jump) (\w+)", lambda m: {m[1]: {"target": m[2]}}),
    (r"counter", lambda m: {"counter": {"packets": 7, "bytes": 420}}),
    (r"reject with tcp reset", lambda m: {"reject": {"type": "tcp reset"}}),
    (r"(accept|drop)", lambda m: {m[1]: None}),
]
