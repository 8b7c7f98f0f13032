# -*- test-case-name: tests.cli.test_lab -*-
"""What the ``mqttsecure lab`` commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mqttsecure.cli.output import print_problems
from mqttsecure.errors import CaptureError, ConfigError, LabError

__all__ = ["EXIT_CANNOT", "FOLDER", "tells_problems"]

EXIT_CANNOT: Final = 4
"""This machine, or this lab as it is, does not let it; the mend is told."""

_F = TypeVar("_F", bound=Callable[..., Any])

FOLDER: Final = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


def tells_problems(command: _F) -> _F:
    """Tell what the lab cannot do, and end with 4."""

    @functools.wraps(command)
    def told(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except (LabError, CaptureError, ConfigError) as error:
            print_problems(str(error).splitlines())
        except OSError as error:
            print_problems([f"{error.filename or 'a file'}: {error.strerror}; mend its owner or mode"])
        raise click.exceptions.Exit(EXIT_CANNOT)

    return told  # type: ignore[return-value]  # the same function
