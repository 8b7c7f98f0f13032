# -*- test-case-name: tests.service.test_scenario -*-
"""The parts of an assembly that questions are put to: so that they can be put before it is whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mqttsecure.policy.chain import PolicyChain
from mqttsecure.policy.environment import Authority
from mqttsecure.service.config import ListenerConfig

__all__ = ["Parts"]


class Parts(Protocol):
    """What an :class:`~mqttsecure.service.assembly.Assembly` has, and whatever else has it."""

    @property
    def chain(self) -> PolicyChain: ...

    @property
    def listeners(self) -> tuple[ListenerConfig, ...]: ...

    @property
    def authorities(self) -> Mapping[str, Authority]: ...
