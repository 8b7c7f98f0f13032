# -*- test-case-name: tests.policy.test_review -*-
"""One policy in its place in the chain."""

from __future__ import annotations

from dataclasses import dataclass

from mqttsecure.core.decisions import Source, Stage
from mqttsecure.interfaces import IPolicy, IPolicyFactory

__all__ = ["PolicyBinding", "is_stateless"]


@dataclass(slots=True, eq=False)
class PolicyBinding:
    """One policy in its place in the chain, as its ``[[policy]]`` table says.

    ``on`` are the names of its listeners; ``timeout`` is in seconds; at the stages in ``final`` its PERMIT ends the
    stage, at those in ``required`` its ABSTAIN is a DENY; ``source`` is where the table stands.
    """

    id: str
    factory: IPolicyFactory
    policy: IPolicy
    on: frozenset[str]
    timeout: float = 1.0
    final: frozenset[Stage] = frozenset()
    required: frozenset[Stage] = frozenset()
    source: Source | None = None

    @property
    def where(self) -> str:
        """How a problem with it begins: the place in the configuration, if known, and its id."""
        return f"{self.source}: policy {self.id!r}" if self.source else f"policy {self.id!r}"


def is_stateless(binding: PolicyBinding) -> bool:
    """Whether the policy's answers depend on the request and its options alone. It has to say so itself."""
    return getattr(binding.policy, "stateful", True) is False
