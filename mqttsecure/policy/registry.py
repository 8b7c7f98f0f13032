# -*- test-case-name: tests.policy.test_registry -*-
"""Finds policy factories, strictly.

Twisted's own plugin loader skips a plugin that fails to import and goes on; a broker that started without one of its
policies would be open. So every name in the configuration must match exactly one factory, or the start is refused
with the reason. Being installed never enables a policy: only being named does.
"""

from __future__ import annotations

import difflib
import inspect
import textwrap
import traceback
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel
from zope.interface import Invalid
from zope.interface.verify import verifyObject

from mqttsecure.core.decisions import Role, Stage
from mqttsecure.errors import PolicyLoadError
from mqttsecure.interfaces import (
    INTERFACE_VERSION,
    IConnectionObserver,
    IPolicy,
    IPolicyFactory,
    IStateKeeper,
    IStrikeObserver,
)
from mqttsecure.policy.discovery import (
    LOCAL,
    ImportFailure,
    LeftOut,
    PluginModule,
    local_modules,
    plugin_modules,
)

__all__ = ["FoundFactory", "ImportFailure", "PolicyRegistry", "verify_factory", "verify_policy"]


@dataclass(slots=True, frozen=True)
class FoundFactory:
    """A factory and where it came from. ``module`` is the file's stem, ``version`` the distribution's."""

    name: str
    distribution: str
    version: str
    file: Path
    factory: IPolicyFactory
    module: str = ""

    @property
    def qualified_name(self) -> str:
        """The name that stays unique when another package ships a policy of the same name."""
        return f"{self.distribution}:{self.name}"

    def __str__(self) -> str:
        return f"{self.qualified_name} {self.version} ({self.file})"


class PolicyRegistry:
    """The policies that are installed, as they were when it was made."""

    def __init__(self, paths: Sequence[Path] = (), distributions: Collection[str] | None = None) -> None:
        """
        Args:
            paths: folders of single-file policies (``[plugins] path``).
            distributions: those that may bring policies beside the broker's own; None for all.

        Raises:
            PolicyLoadError: one of the folders does not exist, or others may write to it.
        """
        self._found: list[FoundFactory] = []
        self.failures: list[ImportFailure] = []
        """Modules that could not be imported: no fault unless a policy of theirs is named."""
        self.left_out: list[LeftOut] = []
        """Modules of distributions that may not bring policies; they were not imported."""
        seen: set[int] = set()
        for module in [*plugin_modules(distributions), *local_modules(paths)]:
            if isinstance(module, ImportFailure):
                self.failures.append(module)
            elif isinstance(module, LeftOut):
                self.left_out.append(module)
            else:
                self._collect(module, seen)

    def _collect(self, module: PluginModule, seen: set[int]) -> None:
        for attribute, value in sorted(vars(module.module).items()):
            # A factory imported from another plugin module is that one's.
            if not IPolicyFactory.providedBy(value) or id(value) in seen:
                continue
            seen.add(id(value))
            name = getattr(value, "name", None)
            if not isinstance(name, str) or not name or ":" in name:
                text = f"{attribute}: a policy factory needs a name, in lower case with hyphens, not {name!r}"
                self.failures.append(ImportFailure(module.name, module.file, module.distribution, text))
                continue
            self._found.append(
                FoundFactory(name, module.distribution, module.version, module.file, value, module.file.stem)
            )

    def all(self) -> list[FoundFactory]:
        """Every factory found, by name."""
        return sorted(self._found, key=lambda found: (found.name, found.distribution, str(found.file)))

    def find(self, use: str) -> FoundFactory:
        """The one factory that ``use`` means.

        Args:
            use: "name", or "distribution:name"; a single-file policy also goes by "local:module".

        Raises:
            PolicyLoadError: there is none, there are several, or it does not keep to the interface.
        """
        candidates = self._candidates(use)
        if not candidates:
            raise PolicyLoadError(self._not_found(use))
        if len(candidates) > 1:
            raise PolicyLoadError(_ambiguous(use, candidates))
        verify_factory(candidates[0])
        return candidates[0]

    def _candidates(self, use: str) -> list[FoundFactory]:
        distribution, colon, name = use.rpartition(":")
        if not colon:
            return [found for found in self._found if found.name == use]
        inside = [found for found in self._found if found.distribution == distribution]
        by_name = [found for found in inside if found.name == name]
        if by_name or distribution != LOCAL:
            return by_name
        return [found for found in inside if found.module == name]

    def _not_found(self, use: str) -> str:
        names = {found.name for found in self._found} | {found.qualified_name for found in self._found}
        nearest = difflib.get_close_matches(use, sorted(names), 1)
        lines = [f"no policy {use!r} is installed; "]
        if nearest:
            lines[0] += f"did you mean {nearest[0]!r}?"
        else:
            lines[0] += f"there are: {', '.join(sorted({found.name for found in self._found})) or 'none'}"
        own = [failure for failure in self.failures if failure.may_hold(use)]
        for failure in own:
            lines.append(f"  {failure.module} ({failure.file}) failed to import:")
            lines.append(textwrap.indent(failure.traceback.rstrip(), "    "))
        for failure in self.failures:
            if failure not in own:
                lines.append(f"  {failure.module} ({failure.file}) failed to import: {failure.reason}")
        lines += [
            f"  {each.distribution} {each.version} ({each.file}) was not looked into: `distributions` of [plugins] "
            f"does not name it; add {each.distribution!r} there if it may bring policies"
            for each in self.left_out
        ]
        return "\n".join(lines)


def _ambiguous(use: str, candidates: Iterable[FoundFactory]) -> str:
    found = list(candidates)
    lines = [f"{len(found)} policies are named {use!r}:", *(f"  {each}" for each in found)]
    qualified = sorted({each.qualified_name for each in found})
    if len(qualified) == len(found):
        lines.append(f"say which: use = {' or '.join(repr(each) for each in qualified)}")
    else:
        lines.append("rename one of them, or remove one of the files")
    return "\n".join(lines)


def verify_factory(found: FoundFactory) -> None:
    """Check that a factory is what the interface asks for.

    Raises:
        PolicyLoadError: it is not; the text names everything that is wrong.
    """
    try:
        problems = _factory_problems(found)
    except Exception as error:  # its attributes are the package's code; built-ins are only now imported, for one
        lines = traceback.format_exc().rstrip().splitlines()
        raise PolicyLoadError(
            f"policy {found}: cannot be used:\n" + "\n".join(f"    {line}" for line in lines)
        ) from error
    if problems:
        raise PolicyLoadError([f"policy {found}: {problem}" for problem in problems])


def _factory_problems(found: FoundFactory) -> list[str]:
    factory: Any = found.factory
    try:
        verifyObject(IPolicyFactory, factory)
    except Invalid as error:
        return [f"does not provide IPolicyFactory: {error}"]
    if factory.interface_version != INTERFACE_VERSION:
        return [
            f"written for version {factory.interface_version!r} of the policy interface, this broker has "
            f"{INTERFACE_VERSION}; install a release of {found.distribution!r} that fits"
        ]
    problems = []
    if not _is_mapping(factory.stages, Stage, Role) or not factory.stages:
        problems.append("stages must map at least one Stage to a Role")
    if not (isinstance(factory.options, type) and issubclass(factory.options, BaseModel)):
        problems.append("options must be a class derived from pydantic.BaseModel")
    if not _is_mapping(factory.attributes, str, type):
        problems.append("attributes must map names to types")
    return problems


def _is_mapping(value: object, keys: type, values: type) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(key, keys) and isinstance(each, values) for key, each in value.items()
    )


def verify_policy(policy: object, policy_id: str = "") -> IPolicy:
    """Check that what a factory built is a policy.

    Raises:
        PolicyLoadError: it is not.
    """
    where = f"policy {policy_id!r}" if policy_id else f"policy {type(policy).__name__}"
    try:
        verifyObject(IPolicy, policy)
        for optional in (IConnectionObserver, IStrikeObserver, IStateKeeper):
            if optional.providedBy(policy):
                verifyObject(optional, policy)
    except Invalid as error:
        raise PolicyLoadError(f"{where}: does not provide what it declares: {error}") from error
    checked = cast("IPolicy", policy)
    if inspect.iscoroutinefunction(checked.decide):
        raise PolicyLoadError(f"{where}: decide is `async def`; return Deferred.fromCoroutine(...) from a plain `def`")
    return checked
