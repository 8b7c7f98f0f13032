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
from mqttsecure.policy.registry import FoundFactory, PolicyRegistry
from mqttsecure.service.config import read_config

__all__ = ["policies"]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--config",
    "config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also look into the [plugins] path of this configuration.",
)
@json_option
@click.pass_context
def policies(context: click.Context, names: tuple[str, ...], config: Path | None, as_json: bool) -> None:
    """List the policies that a configuration can use; with NAMEs, their options too.

    Being listed does not put a policy to work: only a [[policy]] table with `use = "NAME"` does.

    \b
    Examples:
      mqttsecure policies
      mqttsecure policies topic-acl rate-limit      their options, defaults and examples
      mqttsecure policies --config etc/broker.toml  with the single-file policies it names
      mqttsecure policies --json | jq -r '.policies[].name'

    Exit codes: 0 done, 1 a policy cannot be imported or is not there, 2 the command line makes no sense.
    """
    try:
        registry = PolicyRegistry(() if config is None else read_config(config)[0].plugin_paths)
        found = [registry.find(name) for name in names] if names else registry.all()
    except ConfigError as error:
        print_problems(error.problems)
        context.exit(EXIT_PROBLEMS)
    readable, problems = _readable(found)
    problems += [f"{each.file}: {each.module} cannot be imported:\n{each.traceback}" for each in registry.failures]
    if as_json:
        print_json({"policies": [_as_json(each) for each in readable], "failures": problems})
    elif names:
        for each in readable:
            _print_options(each)
    else:
        print_table("Policies", ["name", "from", "stages", "what it does"], [_cells(each) for each in readable])
    print_problems(problems)
    context.exit(EXIT_PROBLEMS if problems else 0)


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
    return [found.name, f"{found.distribution} {found.version}", stages, str(found.factory.summary)]


def _print_options(found: FoundFactory) -> None:
    click.echo(f"{found.name}: {found.factory.summary}")
    click.echo(f"  from {found.distribution} {found.version}, {found.file}")
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
        "stages": _stages(found),
        "options": _model(found).model_json_schema(),
    }
