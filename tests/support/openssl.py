"""OpenSSL's command line, the independent judge of certificates."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.foreign import require

__all__ = ["openssl", "openssl_agrees"]


def openssl(*arguments: str | Path, text: str | None = None) -> str:
    """What it prints.

    Raises:
        AssertionError: it ends with another code than 0.
    """
    code, output = _run(arguments, text)
    if code:
        raise AssertionError(f"openssl {' '.join(map(str, arguments))}: {output}")
    return output


def openssl_agrees(*arguments: str | Path) -> tuple[bool, str]:
    """Whether it ends with code 0, and what it prints."""
    code, output = _run(arguments, None)
    return code == 0, output


def _run(arguments: tuple[str | Path, ...], text: str | None) -> tuple[int, str]:
    command = [require("openssl"), *map(str, arguments)]
    done = subprocess.run(command, input=text or "", capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr
