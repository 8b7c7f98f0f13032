# -*- test-case-name: tests.lab.network.test_firewall -*-
"""The ACCEPT stage of the lab's policy in the kernel of the broker's host, and what it counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mqttsecure.errors import ConfigError, LabError
from mqttsecure.lab.network.plan import BROKER
from mqttsecure.lab.network.space import Space
from mqttsecure.policy.nft_ruleset import render
from mqttsecure.service.assembly import check
from mqttsecure.service.config import read_config
from mqttsecure.service.firewall import compile_firewall

__all__ = ["counters", "firewall_of", "load_firewall"]


def firewall_of(config: Path, *, lock: bool = True) -> str:
    """The ruleset that ``mqttsecure policy nft`` makes of a configuration.

    Args:
        config: the broker's configuration.
        lock: also drop what is not for a listener.

    Raises:
        LabError: the configuration has problems.
    """
    try:
        compilation = compile_firewall(check(*read_config(config)), lock=lock)
    except ConfigError as error:
        raise LabError(str(error)) from None
    return render(compilation.ruleset, compilation.comments())


def load_firewall(space: Space, ruleset: str) -> None:
    """Load it on the broker's host, in place of one that is there.

    Raises:
        LabError: the kernel does not take it.
    """
    space.run(BROKER, "nft", "-f", "-", text=ruleset)


def counters(space: Space) -> list[dict[str, Any]]:
    """What each counting rule of the broker's host has counted so far, by chain and comment."""
    try:
        listing = json.loads(space.run(BROKER, "nft", "--json", "list", "ruleset"))["nftables"]
    except (ValueError, KeyError) as error:
        raise LabError(f"what nft lists cannot be read ({error}); is it a version of its own?") from None
    found = []
    for rule in (each["rule"] for each in listing if "rule" in each):
        for part in rule["expr"]:
            if isinstance(part, dict) and isinstance(part.get("counter"), dict):
                verdict = next((word for word in ("drop", "accept", "reject") for e in rule["expr"] if word in e), "")
                found.append(
                    {
                        "table": rule["table"],
                        "chain": rule["chain"],
                        "comment": rule.get("comment", ""),
                        "verdict": verdict,
                        **part["counter"],
                    }
                )
    return found
