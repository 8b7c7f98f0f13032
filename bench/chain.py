"""What a decision costs. Run in the checkout: PYTHONPATH=. python bench/chain.py

Prints microseconds over an empty loop: of a chain of ten policies that is asked, of a topic-acl alone, of a decision
that is remembered, as it is looked up for each message, and of an explanation. Ends with 1 above the bounds.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from mqttsecure.core.decisions import Decision, Principal, Purpose, Request, Role, Stage
from mqttsecure.core.verdict_cache import VerdictCache
from mqttsecure.policy.chain import PolicyChain
from tests.support.chains import acl, acl_binding
from tests.support.policies import LISTENER, bind, make_facts

TEN_POLICIES = 15.0
"""Microseconds for a chain of ten policies without a cache."""

CACHED = 0.3
"""Microseconds that a remembered decision may add to a PUBLISH."""

RULES = (
    "permit user:alice publish,read lab/#",
    "permit everyone publish people/{user}/#",
    "deny everyone read lab/secret/#",
)


def measure(call: Callable[[], object], count: int = 20_000, rounds: int = 9) -> float:
    """Microseconds for one call: the median of the rounds, less what the loop itself takes."""

    def one(function: Callable[[], object]) -> float:
        started = time.perf_counter()
        for _ in range(count):
            function()
        return (time.perf_counter() - started) / count * 1e6

    empty = statistics.median(one(_nothing) for _ in range(rounds))
    return statistics.median(one(call) for _ in range(rounds)) - empty


def _nothing() -> None:
    pass


def main() -> int:
    """Measure, print, and compare with the bounds."""
    clock: Any = Clock()
    facts = make_facts(principal=Principal("users", "alice"), client_id="alice-1")
    request = Request(Stage.PUBLISH, facts, 0.0, topic="lab/1/temperature", qos=1, payload=bytes(64))
    restricting = {Stage.PUBLISH: Role.RESTRICTS}
    nine = [bind(Decision.abstain(cacheable=True), f"p{number}", stages=restricting) for number in range(9)]
    ten = PolicyChain([*nine, acl_binding(acl(RULES))], clock=clock, listeners=[LISTENER])
    alone = PolicyChain([acl_binding(acl(RULES))], clock=clock, listeners=[LISTENER])
    verdict: Any = ten.decide(request)
    assert verdict.permitted and verdict.residual is None
    cache = VerdictCache()
    cache.put(request.topic, 1, False, verdict, 1024)
    explained = Request(Stage.PUBLISH, facts, 0.0, Purpose.EXPLAIN, topic=request.topic, qos=1)
    results = {
        "ten policies, asked": (measure(lambda: ten.decide(request)), TEN_POLICIES),
        "topic-acl alone, asked": (measure(lambda: alone.decide(request)), None),
        "remembered decision": (measure(lambda: cache.get("lab/1/temperature", 1, False, 1, 0.0)), CACHED),
        "ten policies, explained": (measure(lambda: ten.explain(explained), 2000), None),
    }
    for name, (value, bound) in results.items():
        print(f"{name:26} {value:8.3f} us{f'   (bound {bound:g})' if bound else ''}")
    return int(any(bound is not None and value > bound for value, bound in results.values()))


if __name__ == "__main__":
    sys.exit(main())
