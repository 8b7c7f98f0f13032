# -*- test-case-name: tests.cli.test_cert -*-
"""What the ``mqttsecure cert`` commands share: passphrases, lifetimes, and problems in plain words."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mqttsecure.cli.output import EXIT_PROBLEMS, telling_problems
from mqttsecure.errors import ConfigError
from mqttsecure.pki.errors import CertificateProblem, WrongPassphrase
from mqttsecure.pki.keys import DEFAULT_KIND, KEY_KINDS
from mqttsecure.policy.secrets import read_secret
from mqttsecure.service.quantities import parse_duration

__all__ = [
    "CA_FOLDER",
    "FILE",
    "FOLDER",
    "LIFETIME",
    "Passphrase",
    "ca_passphrase",
    "force_option",
    "key_option",
    "lifetime_option",
    "now",
    "tells_problems",
]

_F = TypeVar("_F", bound=Callable[..., Any])

FILE: Final = click.Path(dir_okay=False, path_type=Path)
FOLDER: Final = click.Path(file_okay=False, path_type=Path)
CA_FOLDER: Final = click.argument("ca", type=FOLDER)

_LONGEST_PASSPHRASE: Final = 4096


def now() -> datetime:
    """The time that certificates are made by."""
    return datetime.now(UTC)


class _Lifetime(click.ParamType[timedelta]):
    """``825d``, ``12h``: always with its unit, as days and seconds are easily taken for each other."""

    name = "lifetime"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return timedelta(seconds=parse_duration(str(value)))
        except (ValueError, OverflowError) as error:
            self.fail(f"{value!r} {error}", param, ctx)


LIFETIME: Final = _Lifetime()

lifetime_option = click.option("--lifetime", type=LIFETIME, help="How long it is valid, such as 825d or 12h.")
force_option = click.option("--force", is_flag=True, help="Overwrite files that are there.")
key_option = click.option(
    "--key", "kind", type=click.Choice(KEY_KINDS), default=DEFAULT_KIND, show_default=True, help="The kind of key."
)


@dataclass(slots=True, frozen=True)
class Passphrase:
    """Where a passphrase comes from: a file, the environment, or a terminal; never the command line."""

    what: str
    variable: str
    options: str
    file: Path | None = None
    chosen_variable: str | None = None

    def given(self) -> bytes | None:
        """What a file or the environment holds; None where neither does.

        Raises:
            CertificateProblem: the one that is named holds none.
        """
        if self.file is not None:
            try:
                content = read_secret(self.file, _LONGEST_PASSPHRASE)
            except ConfigError as error:
                raise CertificateProblem(str(error)) from None
            return self._not_empty(content.splitlines()[0] if content else b"", str(self.file))
        name = self.chosen_variable or self.variable
        value = os.environ.get(name)
        if value is None and self.chosen_variable is not None:
            raise CertificateProblem(f"the environment has no {name}; set it, or name another with {self.options}-env")
        return None if value is None else self._not_empty(value.encode(), f"${name}")

    def _not_empty(self, value: bytes, where: str) -> bytes:
        if not value:
            raise CertificateProblem(f"{where} holds no passphrase; put one on its first line")
        return value

    def ask(self, *, new: bool = False) -> bytes:
        """The passphrase, asked for at the terminal where it is not given.

        Raises:
            WrongPassphrase: there is nowhere to get it from.
        """
        found = self.given()
        if found is not None:
            return found
        if not _is_terminal():
            raise WrongPassphrase(
                f"{self.what} needs a passphrase, and here is no terminal to ask at; give {self.options}-file FILE or "
                f"{self.options}-env NAME, or set ${self.variable}"
            )
        answer: str = click.prompt(f"Passphrase of {self.what}", hide_input=True, confirmation_prompt=new, err=True)
        return answer.encode()


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def ca_passphrase(command: _F) -> _F:
    """The options for the passphrase of a CA's key; the command gets a :class:`Passphrase` as ``passphrase``."""

    @click.option("--passphrase-file", type=FILE, help="Its first line is the passphrase of the CA's key.")
    @click.option("--passphrase-env", metavar="NAME", help="This environment variable is the passphrase.")
    @functools.wraps(command)
    def with_passphrase(*args: Any, passphrase_file: Path | None, passphrase_env: str | None, **options: Any) -> Any:
        source = Passphrase("the CA's key", "MQTTSECURE_CA_PASSPHRASE", "--passphrase", passphrase_file, passphrase_env)
        return command(*args, passphrase=source, **options)

    return with_passphrase  # type: ignore[return-value]  # the same function but for two options


tells_problems: Final = telling_problems((CertificateProblem,), EXIT_PROBLEMS)
"""Tell what the certificate authority refuses, and end with 1."""
