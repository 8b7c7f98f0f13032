# -*- test-case-name: tests.policy.test_review -*-
"""One policy in its place in the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mqttsecure.core.decisions import Role, Source, Stage
from mqttsecure.interfaces import IPolicy, IPolicyFactory

__all__ = ["PolicyBinding", "is_stateless"]


@dataclass(slots=True, eq=False)
class PolicyBinding:
    """One policy in its place in the chain, as its ``[[policy]]`` table says.

    ``on`` are the names of its listeners; ``timeout`` is in seconds; ``concurrency`` is how many
    questions it may have under way; at the stages in ``final`` its PERMIT ends the
    stage, at those in ``required`` its ABSTAIN is a DENY; ``source`` is where the table stands.
    """

    id: str
    factory: IPolicyFactory
    policy: IPolicy
    on: frozenset[str]
    timeout: float = 1.0
    concurrency: int = 1024
    final: frozenset[Stage] = frozenset()
    required: frozenset[Stage] = frozenset()
    source: Source | None = None

    @property
    def stages(self) -> Mapping[Stage, Role]:
        """Where it is asked, and in which role: what its factory declares, or the policy's own ``stages``.

        Those are for a policy whose options leave out stages, or the power to permit there; it can never add any.
        """
        declared: Mapping[Stage, Role] = self.factory.stages
        own = getattr(self.policy, "stages", None)
        return own if isinstance(own, Mapping) else declared

    @property
    def attributes(self) -> Mapping[str, type]:
        """The attributes that it may set: its factory's, or the policy's own where its options name them."""
        declared: Mapping[str, type] = self.factory.attributes
        own = getattr(self.policy, "attributes", None)
        return own if isinstance(own, Mapping) else declared

    @property
    def stages_fault(self) -> str | None:
        """What is wrong with the policy's own ``stages``, None if nothing is."""
        declared = self.factory.stages
        for stage, role in self.stages.items():
            if stage not in declared or (role is Role.GRANTS and declared[stage] is not Role.GRANTS):
                return f"claims to be asked at {stage.value} ({role.value}), which its factory does not declare"
        return None

    @property
    def where(self) -> str:
        """How a problem with it begins: the place in the configuration, if known, and its id."""
        return f"{self.source}: policy {self.id!r}" if self.source else f"policy {self.id!r}"


def is_stateless(binding: PolicyBinding) -> bool:
    """Whether the policy's answers depend on the request and its options alone. It has to say so itself."""
    return getattr(binding.policy, "stateful", True) is False
