# -*- test-case-name: tests.cli.test_lab -*-
"""What the ``mqttsecure lab`` commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from mqttsecure.cli.output import telling_problems
from mqttsecure.errors import CaptureError, ConfigError, LabError

__all__ = ["EXIT_CANNOT", "FOLDER", "tells_problems"]

EXIT_CANNOT: Final = 4
"""This machine, or this lab as it is, does not let it; the mend is told."""

FOLDER: Final = click.argument("folder", type=click.Path(file_okay=False, path_type=Path))


tells_problems: Final = telling_problems((LabError, CaptureError, ConfigError), EXIT_CANNOT)
"""Tell what the lab cannot do, and end with 4."""
