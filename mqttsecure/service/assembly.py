# -*- test-case-name: tests.service.test_assembly -*-
"""Puts a configuration together: finds the policies, checks their options, builds them and makes the chain.

Both ``mqttsecure check`` and the broker do it here, so that what passes the check also starts. All problems of all
policies are collected; with any at all there is no chain.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from mqttsecure.core.decisions import Role, Source, Stage
from mqttsecure.core.limits import Limits
from mqttsecure.errors import ConfigError, PolicyLoadError
from mqttsecure.interfaces import IPolicy, IUsage
from mqttsecure.policy.chain import PolicyBinding, PolicyChain
from mqttsecure.policy.environment import Authority, PolicyEnvironment
from mqttsecure.policy.registry import FoundFactory, PolicyRegistry, verify_policy
from mqttsecure.policy.workers import WorkerPool
from mqttsecure.service.certificates import check_certificates, load_authorities
from mqttsecure.service.config import BrokerConfig, ListenerConfig, PolicyConfig, read_config
from mqttsecure.service.config_checks import is_loopback
from mqttsecure.service.development import preview
from mqttsecure.service.explain_errors import keys_of, location_of, what_is_wrong
from mqttsecure.service.policy_tests import demanded_failures
from mqttsecure.service.problems import Problems
from mqttsecure.service.schema import PolicyTable

__all__ = ["Assembly", "Rejudge", "UsedPolicy", "build", "check"]

_TABLE_KEYS: Final = tuple(keys_of(PolicyTable))


@dataclass(slots=True, frozen=True)
class UsedPolicy:
    """A policy of the configuration and the factory that it named."""

    config: PolicyConfig
    found: FoundFactory


@dataclass(slots=True, frozen=True)
class Assembly:
    """All that the broker needs of its configuration.

    ``warnings`` are for the log at the start; ``shadow`` is the candidate of `[shadow]`; ``files`` are those that
    policies read.
    """

    config: BrokerConfig
    chain: PolicyChain
    listeners: tuple[ListenerConfig, ...]
    authorities: Mapping[str, Authority]
    limits: Limits
    policies: tuple[UsedPolicy, ...]
    warnings: tuple[str, ...]
    shadow: Assembly | None = None
    files: tuple[Path, ...] = ()


Rejudge = Callable[[Iterable[int] | None], None]
"""Has connections judged again, by their ids, or all that lives."""


def _nothing_lives(connection_ids: Iterable[int] | None) -> None:
    """Nothing is to be judged where no broker runs."""


def build(
    config: BrokerConfig,
    *,
    clock: IReactorTime,
    workers: WorkerPool,
    version: int = 1,
    rejudge: Rejudge = _nothing_lives,
    usage: IUsage | None = None,
) -> Assembly:
    """Build the chain that ``config`` describes.

    Args:
        config: from ``load_config``.
        clock: for the policies and the chain.
        workers: the threads that policies may use; it need not have been started.
        version: of the policy; a reload counts it up.
        rejudge: what policies call that now answer differently.
        usage: tells policies what the broker holds.

    Raises:
        ConfigError: with every problem of every policy.
    """
    return _Builder(config, Problems(config.path, config.lines), clock, workers, rejudge, usage).build(version)


def check(config: BrokerConfig, problems: Problems | None = None) -> Assembly:
    """Build it all as for a start, on a clock that stands still, and let go of it.

    Args:
        config: from ``load_config`` or ``read_config``.
        problems: what ``read_config`` found, to go on from.

    Raises:
        ConfigError: with these and every problem of every policy.
    """
    found = Problems(config.path, config.lines) if problems is None else problems
    clock: Any = Clock()
    with preview(config) as complete:
        return _Builder(complete, found, clock, WorkerPool(clock)).build(1)


class _Builder:
    """Builds one assembly."""

    def __init__(
        self,
        config: BrokerConfig,
        problems: Problems,
        clock: IReactorTime,
        workers: WorkerPool,
        rejudge: Rejudge = _nothing_lives,
        usage: IUsage | None = None,
    ) -> None:
        self._config = config
        self._problems = problems
        self._clock = clock
        self._workers = workers
        self._rejudge = rejudge
        self._usage = usage
        self._warnings: list[str] = []
        self._files: list[Path] = []

    def build(self, version: int) -> Assembly:
        config = self._config
        self._warnings += _warnings(config)
        self._warnings += check_certificates(config, self._problems)
        authorities = load_authorities(config, self._problems)
        registry = self._registry()
        used = [] if registry is None else self._find(registry)
        bindings = [binding for each in used if (binding := self._bind(each, authorities)) is not None]
        self._problems.raise_if_any()
        names = [listener.name for listener in config.listeners]
        aliases = {str(principal): str(meant) for principal, meant in config.aliases.items()}
        chain = PolicyChain(bindings, clock=self._clock, listeners=names, version=version, aliases=aliases)
        # Only now: a policy that could not be built would be missed here too.
        for problem in chain.check():
            self._problems.add_text(self._placed(problem))
        self._problems.raise_if_any()
        self._warnings += _asked_too_early(bindings)
        warnings = tuple(self._warnings)
        shadow = self._shadow(version)
        assembly = Assembly(
            config,
            chain,
            config.listeners,
            authorities,
            config.limits,
            tuple(used),
            warnings,
            shadow,
            tuple(dict.fromkeys(self._files)),
        )
        for problem in demanded_failures(config, assembly):
            self._problems.add_text(problem)
        self._problems.raise_if_any()
        return assembly

    def _shadow(self, version: int) -> Assembly | None:
        """The candidate; what is wrong with it is as wrong as anything else."""
        if self._config.shadow is None:
            return None
        try:
            config, problems = read_config(self._config.shadow)
            if config.shadow is not None:
                # Nor could one that names itself ever be built.
                problems.add(("shadow", "config"), "a candidate has no candidate of its own; remove `[shadow]` here")
                problems.raise_if_any()
            with preview(config) as complete:
                return _Builder(complete, problems, self._clock, self._workers).build(version)
        except ConfigError as error:
            for problem in error.problems:
                self._problems.add_text(problem)
        return None

    def _placed(self, problem: str) -> str:
        """The chain knows listeners by their names alone; where they stand is known here."""
        for listener in self._config.listeners:
            if problem.startswith(f"listener {listener.name!r}:"):
                return f"{listener.source}: {problem}"
        return problem

    def _registry(self) -> PolicyRegistry | None:
        try:
            folders = [path for path in self._config.plugin_paths if path.is_dir()]
            return PolicyRegistry(folders, self._config.plugin_distributions)
        except PolicyLoadError as error:
            self._problems.add(("plugins", "path"), str(error))
            return None

    def _find(self, registry: PolicyRegistry) -> list[UsedPolicy]:
        used: list[UsedPolicy] = []
        for policy in self._config.policies:
            try:
                used.append(UsedPolicy(policy, registry.find(policy.use)))
            except PolicyLoadError as error:
                self._problems.add(("policy", policy.position, "use"), str(error))
        return used

    def _bind(self, used: UsedPolicy, authorities: Mapping[str, Authority]) -> PolicyBinding | None:
        options = self._options(used)
        if options is None:
            return None
        policy = self._policy(used, options, authorities)
        if policy is None:
            return None
        self._warnings += [f"{used.config.source}: policy {used.config.id!r}: {text}" for text in _warnings_of(policy)]
        return PolicyBinding(
            id=used.config.id,
            factory=used.found.factory,
            policy=policy,
            on=frozenset(used.config.on),
            timeout=used.config.timeout,
            concurrency=used.config.concurrency,
            final=frozenset(Stage(name) for name in used.config.final),
            required=frozenset(Stage(name) for name in used.config.required),
            source=used.config.source,
        )

    def _options(self, used: UsedPolicy) -> BaseModel | None:
        model: type[BaseModel] = used.found.factory.options
        try:
            return model.model_validate(used.config.options)
        except ValidationError as error:
            path = ("policy", used.config.position)
            for detail in error.errors():
                what = what_is_wrong(detail, model, path, self._problems, _TABLE_KEYS)
                self._problems.add(path + location_of(detail), what)
            return None

    def _policy(self, used: UsedPolicy, options: BaseModel, authorities: Mapping[str, Authority]) -> IPolicy | None:
        environment = PolicyEnvironment(
            used.config.id,
            clock=self._clock,
            workers=self._workers,
            authorities=authorities,
            listeners=used.config.on,
            base_directory=self._config.directory,
            locate=_locator(self._config, used.config),
            rejudge=self._rejudge,
            usage=self._usage,
            note_file=self._files.append,
        )
        try:
            return verify_policy(used.found.factory.build(options, environment), used.config.id)
        except ConfigError as error:
            for problem in error.problems:
                self._problems.add_text(problem)
        except Exception:  # a third party's code: whatever it raises refuses the start, with the place of the fault
            text = "\n    ".join(traceback.format_exc().rstrip().splitlines())
            self._problems.add(("policy", used.config.position), f"{used.found} failed to build it:\n    {text}")
        return None


def _locator(config: BrokerConfig, policy: PolicyConfig) -> Callable[[str | None, int | None], Source | None]:
    """Tells where the keys of a policy's table stand."""

    def locate(option: str | None, index: int | None) -> Source | None:
        path: tuple[str | int, ...] = ("policy", policy.position)
        if option is not None:
            path += (option,)
        if index is not None:
            path += (index,)
        return config.source_of(*path) if path in config.lines else None

    return locate


def _warnings(config: BrokerConfig) -> list[str]:
    return [
        f"{listener.source}: listener {listener.name!r} takes passwords and messages in the clear on {host}, "
        "which other machines reach"
        for listener in config.listeners
        if listener.tls is None
        for host, _ in listener.addresses
        if not is_loopback(host)
    ]


def _asked_too_early(bindings: Sequence[PolicyBinding]) -> list[str]:
    """Policies that judge who a client is before all policies that may tell have been asked."""
    found = []
    for position, binding in enumerate(bindings):
        if binding.stages.get(Stage.AUTHENTICATE) is not Role.RESTRICTS:
            continue
        later = [
            each.id
            for each in bindings[position + 1 :]
            if each.on & binding.on and each.stages.get(Stage.AUTHENTICATE) is Role.GRANTS
        ]
        if later:
            found.append(
                f"{binding.where}: is asked at AUTHENTICATE before {', '.join(later)} could say who the client is; "
                "put it behind"
            )
    return found


def _warnings_of(policy: IPolicy) -> tuple[str, ...]:
    """What a policy wants to be said at the start; not part of the interface, so it may have nothing of the kind."""
    warnings = getattr(policy, "warnings", ())
    return tuple(str(text) for text in warnings) if isinstance(warnings, list | tuple) else ()
