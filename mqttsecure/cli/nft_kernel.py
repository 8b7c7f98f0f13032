# -*- test-case-name: tests.cli.test_nft -*-
"""Asks nft what the kernel holds."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final

__all__ = ["KernelUnknownError", "listing_of_table"]

_ADMINISTRATION: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where nft is; an ordinary user's PATH often lacks them."""

_PATIENCE: Final = 20.0
"""Seconds for nft to print a table: a hundred thousand addresses take it under one."""


class KernelUnknownError(Exception):
    """What the kernel holds cannot be told; the text names the mend."""


def listing_of_table(table: str) -> str | None:
    """What nft says the table holds; None where there is no such table.

    Raises:
        KernelUnknownError: it cannot be told.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ADMINISTRATION))
    program = shutil.which("nft", path=path)
    if program is None:
        raise KernelUnknownError("nft is not installed; install the package nftables, on the broker's own machine")
    arguments = [program, "-j", "list", "table", "inet", table]
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        # No shell, and the name of the table has been checked.
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=_PATIENCE, env=environment)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise KernelUnknownError(f"{program} did not answer: {error}") from error
    if done.returncode == 0:
        return done.stdout
    if "No such file or directory" in done.stderr:
        return None
    if "not permitted" in done.stderr or "must be root" in done.stderr:
        raise KernelUnknownError("only root may see the kernel's rules; run: sudo mqttsecure policy nft --diff FILE")
    raise KernelUnknownError(f"{program} failed with exit code {done.returncode}: {done.stderr.strip()}")
