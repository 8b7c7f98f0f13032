# -*- test-case-name: tests.policy.builtin.test_options -*-
"""What the option models of the built-in policies share, and the small notations of their values."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ConfigDict

from mqttsecure.errors import ConfigError, MqttError
from mqttsecure.interfaces import IAuthority, IPolicyEnvironment
from mqttsecure.wire.topics import check_topic_filter, is_shared

__all__ = ["PolicyOptions", "Problems", "decode_text", "nearest", "parse_rate", "read_text"]

T = TypeVar("T")

_SECONDS_OF_UNIT: Final = {"second": 1.0, "s": 1.0, "minute": 60.0, "min": 60.0, "hour": 3600.0, "h": 3600.0}
_FACTOR_OF_SUFFIX: Final = {"": 1, "B": 1, "kB": 1000, "KiB": 1024, "MB": 1000**2, "MiB": 1024**2, "GiB": 1024**3}
_RATE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*/\s*([a-z]+)\s*")


class PolicyOptions(BaseModel):
    """An option model: nothing is coerced, nothing unknown is let pass, nothing changes afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Problems:
    """Gathers what is wrong with one policy's options, so that all of it is told at once."""

    def __init__(self, environment: IPolicyEnvironment) -> None:
        self._environment = environment
        self._found: list[str] = []

    def add(self, option: str | None, text: str, index: int | None = None) -> None:
        """Note one problem of a key, or of item ``index`` of a list key."""
        self._found.append(self._environment.problem(option, text, index))

    def attempt(self, option: str, parse: Callable[[str], T], value: str, index: int | None = None) -> T | None:
        """Parse a value; a ``ValueError`` is noted under its key and None returned."""
        try:
            return parse(value)
        except ValueError as error:
            self.add(option, str(error), index)
            return None

    def authority(self, option: str, name: str, index: int | None = None) -> IAuthority | None:
        """The ``[[authority]]`` of that name; an unknown one is noted."""
        found: IAuthority | None = self._environment.authorities.get(name)
        if found is None:
            self.add(option, f"there is no [[authority]] {name!r}{nearest(name, self._environment.authorities)}", index)
        return found

    def authorities(self, option: str, names: Iterable[str]) -> list[IAuthority]:
        """Those of ``names`` that exist and have certificates; the others are noted."""
        found = []
        for index, name in enumerate(names):
            authority = self.authority(option, name, index)
            if authority is None:
                continue
            if not authority.ca_certificates:
                self.add(option, f"[[authority]] {name!r} has no CA certificates; name its CA file there", index)
            found.append(authority)
        return found

    def plain_filters(self, option: str, filters: Iterable[str]) -> None:
        """Note those that are no Topic Filters, or hold more than one: a share's name, or something in braces."""
        for index, each in enumerate(filters):
            try:
                check_topic_filter(each)
            except MqttError as error:
                self.add(option, f"{each!r}: {error}", index)
            else:
                if is_shared(each) or "{" in each:
                    self.add(option, f"{each!r}: write a plain Topic Filter, as plant/#", index)

    def add_line(self, line: str) -> None:
        """Note a problem that names its own file and line."""
        self._found.append(line)

    def add_error(self, option: str, error: ConfigError, index: int | None = None) -> None:
        """Note all problems of a refused file under the key that names it."""
        for problem in error.problems:
            self.add(option, problem, index)

    def done(self) -> None:
        """Refuse the options where anything was noted.

        Raises:
            ConfigError: with one line for each problem.
        """
        if self._found:
            raise ConfigError(self._found)


def nearest(word: str, valid: Iterable[str]) -> str:
    """A clause that names the valid word nearest to a wrong one, or "" where none is near."""
    found = difflib.get_close_matches(word, list(valid), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def parse_rate(text: str) -> tuple[float, float]:
    """Read "100/second", "1MiB/second" or "10/minute".

    Returns:
        The amount and the seconds it is for.

    Raises:
        ValueError: it is none, or 0.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f'{text!r} is no rate; write it like "100/second", "1MiB/second" or "10/minute"')
    number, suffix, unit = match.groups()
    if suffix not in _FACTOR_OF_SUFFIX:
        raise ValueError(f"{suffix!r} is no unit of size; use one of B, kB, KiB, MB, MiB, GiB")
    if unit not in _SECONDS_OF_UNIT:
        raise ValueError(f"{unit!r} is no unit of time; use second, minute or hour")
    amount = float(number) * _FACTOR_OF_SUFFIX[suffix]
    if amount <= 0:
        raise ValueError(f"{text!r} lets nothing through; give a rate above 0")
    return amount, _SECONDS_OF_UNIT[unit]


def read_text(path: Path, maximum: int) -> str:
    """The text of a file that decides what is allowed, which therefore others must not be able to change.

    Raises:
        ConfigError: it cannot be read, is larger than ``maximum`` bytes, is not UTF-8, or others can write it.
    """
    try:
        # Non-blocking, so that a FIFO put in its place cannot hang the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: is not a regular file")
        if status.st_mode & stat.S_IWOTH:
            mode = stat.S_IMODE(status.st_mode)
            raise ConfigError(f"{path}: others can change it (mode {mode:04o}); run: chmod o-w {path}")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(maximum + 1)
    finally:
        os.close(descriptor)
    if len(content) > maximum:
        raise ConfigError(f"{path}: is larger than {maximum} bytes; is it the right file?")
    return decode_text(path, content)


def decode_text(path: Path, content: bytes) -> str:
    """The content of a file as text.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8; save the file in that encoding") from error
