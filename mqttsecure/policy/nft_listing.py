# -*- test-case-name: tests.policy.test_nft_listing -*-
"""Reads what ``nft -j list table`` prints, and tells how it differs from a ruleset.

Handles, packet counts and the addresses that the kernel entered by itself are not compared. What is not known here is
kept as it is, so that whatever somebody else put into the table shows as a difference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from ipaddress import ip_address, ip_network
from typing import Any, Final

from mqttsecure.policy.nft_ruleset import Range, Ruleset, merge

__all__ = ["contents_of_kernel", "contents_of_ruleset", "differences", "same_times"]

Contents = Mapping[str, Sequence[str]]
"""The lines of each block, by its head, such as ``chain input``."""

_TIMED: Final = "timeouts"
_LEFT: Final = re.compile(r"(\S+) for (\d+) s")

_TOLERANCE: Final = 10
"""Seconds: a broker may write a new ban five seconds late, and the file has to be made and loaded."""

_VERSIONS: Final = {"ipv4_addr": 4, "ipv6_addr": 6}
_STATEMENT_WORDS: Final = {
    "accept": "accept",
    "drop": "drop",
    "return": "return",
    "counter": "counter",
}


def contents_of_ruleset(ruleset: Ruleset) -> dict[str, list[str]]:
    """What the table is to hold."""
    contents: dict[str, list[str]] = {}
    for each in ruleset.address_sets:
        contents[f"set {each.name}"] = _set_lines(each.version, None, None, True, map(str, merge(each.ranges)))
    for timed in ruleset.timed_sets:
        elements = (_timed_line(str(range_), seconds) for range_, seconds in timed.entries)
        contents[f"set {timed.name}"] = [*_set_lines(timed.version, None, None, True, ()), _TIMED, *elements]
    for table in ruleset.verdict_maps:
        elements = (f"{each} : goto {chain}" for each, chain in table.entries)
        contents[f"map {table.name}"] = _set_lines(table.version, None, None, True, elements)
    for counting in ruleset.counting_sets:
        contents[f"set {counting.name}"] = _set_lines(counting.version, counting.size, counting.timeout, False, ())
    for chain in ruleset.chains:
        contents[f"chain {chain.name}"] = [*_hook_line(chain.policy), *chain.rules]
    return contents


def _timed_line(element: str, seconds: int | None) -> str:
    return f"{element} for good" if seconds is None else f"{element} for {seconds} s"


def _set_lines(
    version: int, size: int | None, timeout: int | None, interval: bool, elements: Iterable[str]
) -> list[str]:
    lines = [f"IPv{version}"]
    lines += [] if size is None else [f"size {size}"]
    lines += [] if timeout is None else [f"timeout {timeout}s"]
    lines += ["interval"] if interval else []
    return [*lines, *elements]


def _hook_line(policy: str | None) -> list[str]:
    return [] if policy is None else [f"type filter hook input priority 0; policy {policy};"]


def contents_of_kernel(listing: str) -> dict[str, list[str]]:
    """What the table holds.

    Args:
        listing: JSON, the output of ``nft -j list table``.

    Raises:
        ValueError: it is none.
    """
    try:
        objects = json.loads(listing)["nftables"]
        contents: dict[str, list[str]] = {}
        for each in objects:
            ((kind, value),) = each.items()
            if kind == "metainfo":
                continue
            if kind == "table":
                if value.get("flags"):  # such as "dormant", which puts no rule to work
                    contents["table"] = [f"flags {_as_it_is(value['flags'])}"]
            elif kind == "rule":
                contents[f"chain {value['chain']}"].append(_rule(value))
            elif kind == "chain":
                contents[f"chain {value['name']}"] = _hook_of(value)
            elif kind in ("set", "map") and value["type"] in _VERSIONS:
                contents[f"{kind} {value['name']}"] = _set_of(value)
            else:
                contents[f"{kind} {value.get('name', '')}"] = [_as_it_is(value)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"what nft printed cannot be read ({type(error).__name__}: {error})") from error
    return contents


def _hook_of(chain: Mapping[str, Any]) -> list[str]:
    if "hook" not in chain:
        return []
    text = f"type {chain['type']} hook {chain['hook']} priority {chain['prio']}; policy {chain['policy']};"
    return [text]


def _set_of(value: Mapping[str, Any]) -> list[str]:
    version = _VERSIONS[value["type"]]
    flags = [value["flags"]] if isinstance(value.get("flags"), str) else value.get("flags", [])
    interval = "interval" in flags
    if interval and "timeout" in flags:
        head = _set_lines(version, value.get("size"), value.get("timeout"), True, ())
        return [*head, _TIMED, *_timed_elements(version, value)]
    # Elements without intervals are those that the kernel enters itself; older versions of nft do not tell "dynamic".
    elements = _elements(version, value) if interval else []
    return _set_lines(version, value.get("size"), value.get("timeout"), interval, elements)


def _timed_elements(version: int, value: Mapping[str, Any]) -> list[str]:
    found = []
    for each in value.get("elem", []):
        element = each["elem"] if isinstance(each, dict) and "elem" in each else {"val": each}
        found.append((_range(version, element["val"]), element.get("expires")))
    return [_timed_line(str(range_), seconds) for range_, seconds in sorted(found, key=lambda pair: pair[0])]


def _elements(version: int, value: Mapping[str, Any]) -> list[str]:
    elements = value.get("elem", [])
    if "map" not in value:
        return [str(each) for each in merge(_range(version, each) for each in elements)]
    pairs = sorted((_range(version, key), _statement(verdict)) for key, verdict in elements)
    return [f"{key} : {verdict}" for key, verdict in pairs]


def _range(version: int, element: Any) -> Range:
    if isinstance(element, str):
        number = int(ip_address(element))
        return Range(version, number, number)
    if "prefix" in element:
        prefix = element["prefix"]
        network = ip_network(f"{prefix['addr']}/{prefix['len']}")
        return Range(version, int(network.network_address), int(network.broadcast_address))
    first, last = element["range"]
    return Range(version, int(ip_address(first)), int(ip_address(last)))


# Rules, from nft's JSON to nft's text


def _rule(rule: Mapping[str, Any]) -> str:
    parts = [_statement(each) for each in rule["expr"]]
    if "comment" in rule:
        parts.append(f'comment "{rule["comment"]}"')
    return " ".join(parts)


def _statement(statement: Mapping[str, Any]) -> str:
    ((kind, value),) = statement.items()
    if kind in _STATEMENT_WORDS:
        return kind
    if kind == "match":
        operator = "!= " if value["op"] == "!=" else ""
        return f"{_expression(value['left'])} {operator}{_right(value['right'])}"
    if kind in ("goto", "jump"):
        return f"{kind} {value['target']}"
    if kind == "vmap" and isinstance(value["data"], str):
        return f"{_expression(value['key'])} vmap {value['data']}"
    if kind == "reject" and value == {"type": "tcp reset"}:
        return "reject with tcp reset"
    if kind == "set":
        counted = " ".join(_counted(each) for each in value.get("stmt", []))
        return f"{value['op']} {value['set']} {{ {_expression(value['elem'])} {counted} }}"
    return _as_it_is(statement)


def _counted(statement: Mapping[str, Any]) -> str:
    ((kind, value),) = statement.items()
    over = "over " if value.get("inv") else ""
    if kind == "ct count":
        return f"ct count {over}{value['val']}"
    if kind == "limit" and value.get("rate_unit", "packets") == "packets":
        return f"limit rate {over}{value['rate']}/{value['per']} burst {value.get('burst', 0)} packets"
    return _as_it_is(statement)


def _expression(expression: Any) -> str:
    if isinstance(expression, dict) and len(expression) == 1:
        ((kind, value),) = expression.items()
        if kind == "payload" and "field" in value:
            return f"{value['protocol']} {value['field']}"
        if kind == "ct" and set(value) == {"key"}:
            return f"ct {value['key']}"
        if kind == "meta":
            # nft itself writes those two words without "meta".
            return str(value["key"]) if value["key"] in ("iif", "iifname") else f"meta {value['key']}"
        if kind == "&":
            return f"{_expression(value[0])} & {_right(value[1])}"
    return _as_it_is(expression)


def _right(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(sorted(map(str, value)))
    if isinstance(value, dict) and set(value) == {"set"}:
        return f"{{ {', '.join(sorted(map(str, value['set'])))} }}"
    if isinstance(value, str | int) and not isinstance(value, bool):
        return _same_spelling(str(value))
    return _as_it_is(value)


def _same_spelling(text: str) -> str:
    """An address as Python writes it; anything else as it is."""
    try:
        return text if text.isdigit() else str(ip_address(text))
    except ValueError:
        return text


def _as_it_is(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


# Comparing


def same_times(expected: Contents, found: Contents) -> tuple[Contents, Contents]:
    """Both without differences of time that only come of comparing: times run down, and are whole seconds.

    Elements whose times differ by some seconds have the same; one that is on one side alone and ends soon is left out.
    """
    mine, theirs = dict(expected), dict(found)
    for head, lines in expected.items():
        if _TIMED in lines and _TIMED in found.get(head, ()):
            mine[head], theirs[head] = _settled(lines, found[head])
    return mine, theirs


def _settled(expected: Sequence[str], found: Sequence[str]) -> tuple[list[str], list[str]]:
    wanted, held = (
        {match[1]: int(match[2]) for match in map(_LEFT.fullmatch, lines) if match} for lines in (expected, found)
    )
    ending = {each for each, left in wanted.items() if each not in held and left <= _TOLERANCE}
    ending |= {each for each, left in held.items() if each not in wanted and left <= _TOLERANCE}
    near = {each for each in wanted.keys() & held.keys() if abs(wanted[each] - held[each]) <= _TOLERANCE}

    def settled(lines: Sequence[str]) -> list[str]:
        kept = []
        for line in lines:
            match = _LEFT.fullmatch(line)
            if match is None or match[1] not in ending:
                kept.append(_timed_line(match[1], wanted[match[1]]) if match and match[1] in near else line)
        return kept

    return settled(expected), settled(found)


def differences(expected: Contents, found: Contents) -> list[str]:
    """One line for each difference: ``+`` the file has it and the kernel has not, ``-`` the other way round."""
    lines: list[str] = []
    for head in [*expected, *(head for head in found if head not in expected)]:
        if head not in found:
            lines += [f"+ {head}", *(f"+     {line}" for line in expected[head])]
        elif head not in expected:
            lines += [f"- {head}", *(f"-     {line}" for line in found[head])]
        else:
            changed = list(_changed(found[head], expected[head]))
            lines += [f"  {head}", *changed] if changed else []
    return lines


def _changed(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    for tag, first, last, start, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from (f"-     {line}" for line in old[first:last])
            yield from (f"+     {line}" for line in new[start:end])
