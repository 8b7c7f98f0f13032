# -*- test-case-name: tests.testing.test_loading -*-
"""Loads a single-file policy for its tests, whoever may write the file: that is for the broker to mind."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from mqttsecure.interfaces import IPolicyFactory

__all__ = ["factory_in", "load_policy_file"]


def load_policy_file(path: Path | str) -> Any:
    """The module of a single file, as new.

    Raises:
        Exception: whatever the file raises.
    """
    file = Path(path)
    name = f"policy_file_{file.stem}"
    specification = importlib.util.spec_from_file_location(name, file)
    if specification is None or specification.loader is None:
        raise ImportError(f"{file} is no Python file; name the .py of a policy")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # annotations are looked up there
    specification.loader.exec_module(module)
    return module


def factory_in(path: Path | str) -> Any:
    """The one policy factory of a single file.

    Raises:
        ImportError: it has none, or several.
    """
    found = {id(value): value for value in vars(load_policy_file(path)).values() if IPolicyFactory.providedBy(value)}
    if len(found) != 1:
        raise ImportError(f"{path} has {len(found)} policy factories at its top; it needs one, as `factory = ...`")
    return next(iter(found.values()))
