"""What tests of the lab's network need: a space, or the reason why there is none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from unittest import SkipTest

from mqttsecure.errors import LabError
from mqttsecure.lab.network.processes import Known
from mqttsecure.lab.network.space import Space

__all__ = ["cannot_run", "links", "open_space"]


def cannot_run(reason: str) -> SkipTest | AssertionError:
    """A skip on a user's machine; in CI, where a test that does not run proves nothing, a failure."""
    if os.environ.get("CI", "").lower() == "true":
        return AssertionError(f"{reason} (in CI no test may be skipped)")
    return SkipTest(reason)


def open_space(born: Callable[[Known], None] | None = None) -> Space:
    """A space, as root or without."""
    try:
        return Space.open(rootless=os.geteuid() != 0, born=born)
    except LabError as error:
        raise cannot_run(str(error)) from None


def links() -> str:
    """The machine's own network, which no lab may change."""
    done = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True)
    return done.stdout + subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
