"""Everything that the core promises holds with a store as well: all its tests once more, with one that is quick."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import tests.core
from mqttsecure.store.memory import MemoryStore
from tests.support.core import Bench

__all__: list[str] = []


class _WithStore:
    """Gives each bench of a test a store."""

    def setUp(self) -> None:
        self.patch(Bench, "store_type", MemoryStore)  # type: ignore[attr-defined]
        super().setUp()  # type: ignore[misc]


def _cases() -> dict[str, type]:
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(tests.core.__path__, "tests.core."):
        if not module.name.rpartition(".")[2].startswith("test_") or module.name == __name__:
            continue
        for name, case in vars(importlib.import_module(module.name)).items():
            if _is_case_of(case, module.name):
                new = type(f"Durable{name}", (_WithStore, case), {"__module__": __name__, "__doc__": case.__doc__})
                found[f"Durable{name}"] = new
    return found


def _is_case_of(value: Any, module: str) -> bool:
    """Whether it is one to run again: not with hypothesis, which wants a test in one class alone."""
    if not (isinstance(value, type) and issubclass(value, SynchronousTestCase) and value.__module__ == module):
        return False
    return not any(hasattr(test, "hypothesis") for test in vars(value).values())


globals().update(_cases())
