# -*- test-case-name: tests.cli.test_policies -*-
"""``mqttsecure policies``: which policies are installed, where they come from, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

from mqttsecure.cli.output import EXIT_PROBLEMS, json_option, print_json, print_problems, print_table
from mqttsecure.cli.reference import describe_keys
from mqttsecure.core.decisions import Stage
from mqttsecure.errors import ConfigError
from mqttsecure.policy.registry import FoundFactory, ImportFailure, PolicyRegistry
from mqttsecure.service.config import read_config

__all__ = ["policies"]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--config",
    "config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="As this configuration sees them: with its [plugins] path, and its `distributions` alone.",
)
@json_option
@click.pass_context
def policies(context: click.Context, names: tuple[str, ...], config: Path | None, as_json: bool) -> None:
    """List the policies that a configuration can use; with NAMEs, their options too.

    Told are where each comes from (distribution, version, file), its stages, options and documentation, and what could
    not be imported, with the reason. Being listed does not put a policy to work: only a [[policy]] table with
    `use = "NAME"` does.

    \b
    Examples:
      mqttsecure policies
      mqttsecure policies topic-acl rate-limit      their options, defaults and examples
      mqttsecure policies --config etc/broker.toml  with the single-file policies it names
      mqttsecure policies --json | jq -r '.policies[].name'

    Exit codes: 0 done, 1 a policy cannot be imported or is not there, 2 the command line makes no sense.
    """
    try:
        registry = _registry(config)
        found = [registry.find(name) for name in names] if names else registry.all()
    except ConfigError as error:
        print_problems(error.problems)
        context.exit(EXIT_PROBLEMS)
    readable, problems = _readable(found)
    if as_json:
        print_json(
            {
                "policies": [_as_json(each) for each in readable],
                "failures": [_failure_as_json(each) for each in registry.failures] + problems,
                "left_out": [
                    {"distribution": each.distribution, "version": each.version, "file": str(each.file)}
                    for each in registry.left_out
                ],
            }
        )
    elif names:
        for each in readable:
            _print_options(each)
    else:
        print_table("Policies", ["name", "from", "stages", "options", "what it does"], [_cells(e) for e in readable])
        for left in registry.left_out:
            click.echo(f"not looked into: {left.distribution} {left.version}, {left.file} ([plugins] distributions)")
    problems += [f"{each.file}: {each.module} cannot be imported:\n{each.traceback}" for each in registry.failures]
    print_problems(problems)
    context.exit(EXIT_PROBLEMS if problems else 0)


def _registry(config: Path | None) -> PolicyRegistry:
    if config is None:
        return PolicyRegistry()
    read = read_config(config)[0]
    return PolicyRegistry(read.plugin_paths, read.plugin_distributions)


def _failure_as_json(failure: ImportFailure) -> dict[str, str]:
    return {
        "module": failure.module,
        "file": str(failure.file),
        "distribution": failure.distribution,
        "reason": failure.reason,
        "traceback": failure.traceback,
    }


def _readable(found: list[FoundFactory]) -> tuple[list[FoundFactory], list[str]]:
    """Those whose description can be read; it may need modules that cannot be imported."""
    readable, problems = [], []
    for each in found:
        try:
            _cells(each)
            _model(each)
        except Exception as error:  # a third party's code; that it cannot be read is the answer here
            problems.append(
                f"{each.file}: policy {each.qualified_name} cannot be read: {type(error).__name__}: {error}"
            )
        else:
            readable.append(each)
    return readable, problems


def _model(found: FoundFactory) -> type[BaseModel]:
    model: type[BaseModel] = found.factory.options
    return model


def _stages(found: FoundFactory) -> dict[str, str]:
    stages = found.factory.stages
    return {stage.value: stages[stage].value for stage in Stage if stage in stages}


def _cells(found: FoundFactory) -> list[str]:
    stages = "\n".join(f"{stage} {role}" for stage, role in _stages(found).items())
    options = "\n".join(_model(found).model_fields)
    what = "\n".join(part for part in (str(found.factory.summary), _docs(found)) if part)
    return [found.name, f"{found.distribution} {found.version}\n{found.file}", stages, options, what]


def _docs(found: FoundFactory) -> str:
    """Where its documentation is; it need not say."""
    docs = getattr(found.factory, "docs", "")
    return docs if isinstance(docs, str) else ""


def _print_options(found: FoundFactory) -> None:
    click.echo(f"{found.name}: {found.factory.summary}")
    click.echo(f"  from {found.distribution} {found.version}, {found.file}")
    if _docs(found):
        click.echo(f"  documented in {_docs(found)}")
    for stage, role in _stages(found).items():
        click.echo(f"  {stage}: {role}")
    rows = [[key.name, key.kind, key.default, key.example, key.description] for key in describe_keys(_model(found))]
    if rows:
        print_table("Options", ["key", "type", "default", "example", "effect"], rows)
    click.echo()


def _as_json(found: FoundFactory) -> dict[str, Any]:
    return {
        "name": found.name,
        "distribution": found.distribution,
        "version": found.version,
        "file": str(found.file),
        "summary": str(found.factory.summary),
        "docs": _docs(found),
        "attributes": sorted(found.factory.attributes),
        "stages": _stages(found),
        "options": _model(found).model_json_schema(),
    }
