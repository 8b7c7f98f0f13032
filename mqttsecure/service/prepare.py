# -*- test-case-name: tests.test_tap -*-
"""What happens before a start, as the user who typed the command: read, make development files, check all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mqttsecure.service.assembly import check
from mqttsecure.service.config import BrokerConfig, read_config
from mqttsecure.service.development import Owner, generate, instructions
from mqttsecure.service.storage import make_folder

__all__ = ["Owner", "prepare"]


def prepare(path: Path, *, owner: Owner | None, tell: Callable[[str], None]) -> BrokerConfig:
    """Read a configuration for a start.

    Development files are made only where nothing else is wrong with the configuration itself.

    Args:
        path: the configuration file.
        owner: who will serve and so shall own what is made; None for whoever runs this.
        tell: shows a line to the person who starts the broker.

    Raises:
        ConfigError: with every problem of the file and of its policies.
    """
    config, problems = read_config(path)
    if config.development is not None and not problems.texts:
        made = generate(config, owner)
        if made:
            for line in instructions(config, made):
                tell(line)
    check(config, problems)
    make_folder(config, owner)
    return config
