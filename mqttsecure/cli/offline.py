# -*- test-case-name: tests.cli.test_policy_test -*-
"""A configuration put together for questions, without a broker."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from mqttsecure.service.assembly import Assembly, check
from mqttsecure.service.config import read_config

__all__ = ["assemble", "config_option"]

config_option = click.option(
    "--config", "-c", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The configuration file."
)
"""The ``--config`` of every command that asks something of a chain."""


def assemble(file: Path) -> Assembly:
    """Put a configuration together as for a start; the tests that it demands are not run.

    Who asks why a test fails must get an answer.

    Raises:
        ConfigError: with every problem of it.
    """
    config, problems = read_config(file)
    assembly = check(dataclasses.replace(config, tests_required=False), problems)
    # For a check, files that development is still to make were made elsewhere; what is told names their own place.
    return dataclasses.replace(assembly, config=config)
