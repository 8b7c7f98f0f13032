# -*- test-case-name: tests.policy.test_registry -*-
"""Looks for the modules that policies may be in, and imports them.

Packages ship theirs in ``twisted/plugins/``. A scan must import a module to look into it, and others put modules there
too, so only those whose text mentions mqttsecure are imported. Single files come from the folders of
``[plugins] path``; they are compiled from what was read through the very descriptor whose permissions were checked, and
never from a ``__pycache__`` that nobody checked.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import stat
import sys
import traceback
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from twisted.plugin import pluginPackagePaths
from twisted.python.modules import getModule

import mqttsecure
import twisted.plugins
from mqttsecure.errors import PolicyLoadError
from mqttsecure.policy.secrets import open_regular

__all__ = ["BUILT_IN", "LOCAL", "ImportFailure", "LeftOut", "PluginModule", "local_modules", "plain", "plugin_modules"]

BUILT_IN: Final = "mqttsecure"
"""The distribution of the policies that come with the broker."""

LOCAL: Final = "local"
"""The distribution of single-file policies."""

_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_MAXIMUM_FILE_BYTES: Final = 1024 * 1024
"""Of one single-file policy: a page of code is 4 KiB."""


@dataclass(slots=True, frozen=True)
class PluginModule:
    """An imported module and the distribution that it belongs to."""

    name: str
    file: Path
    distribution: str
    version: str
    module: ModuleType


@dataclass(slots=True, frozen=True)
class ImportFailure:
    """A module that may hold policies and could not be imported."""

    module: str
    file: Path
    distribution: str
    traceback: str

    @property
    def reason(self) -> str:
        """The last line of the traceback."""
        return self.traceback.rstrip().rpartition("\n")[2]

    def may_hold(self, use: str) -> bool:
        """Whether a policy named so is likely to be in this module."""
        distribution, colon, name = use.rpartition(":")
        if colon and distribution == self.distribution:
            return True
        return name.replace("-", "_") in self.file.stem


@dataclass(slots=True, frozen=True)
class LeftOut:
    """A module that was not imported, since its distribution is not among those that may bring policies."""

    module: str
    file: Path
    distribution: str
    version: str


def plain(distribution: str) -> str:
    """A distribution's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def plugin_modules(allowed: Collection[str] | None = None) -> Iterator[PluginModule | ImportFailure | LeftOut]:
    """The modules of ``twisted.plugins``, on the whole import path, that have to do with us.

    Args:
        allowed: the distributions that may bring policies beside the broker's own; None for all. Modules of others are
            not imported.
    """
    welcome = None if allowed is None else {BUILT_IN, *map(plain, allowed)}
    # The package's path was made of what sys.path was when it was first imported.
    known = twisted.plugins.__path__
    known.extend(path for path in pluginPackagePaths(twisted.plugins.__name__) if path not in known)
    for module in getModule(twisted.plugins.__name__).iterModules():
        file = Path(module.filePath.path)
        if not _mentions_us(file):
            continue
        distribution, version = _distribution_of(file)
        if welcome is not None and plain(distribution) not in welcome:
            yield LeftOut(module.name, file, distribution, version)
            continue
        try:
            loaded = importlib.import_module(module.name)
        except (Exception, SystemExit):
            yield ImportFailure(module.name, file, distribution, traceback.format_exc())
        else:
            yield PluginModule(module.name, file, distribution, version, loaded)


def _mentions_us(file: Path) -> bool:
    try:
        return b"mqttsecure" in file.read_bytes()
    except OSError:
        return False  # then no import could read it either, and a policy in it is told as not found


def _distribution_of(file: Path) -> tuple[str, str]:
    """Name and version of the distribution that a file under ``twisted/plugins/`` belongs to."""
    record = f"twisted/plugins/{file.name}"
    for distribution in importlib.metadata.distributions():
        if f"{record}," not in (distribution.read_text("RECORD") or ""):
            continue
        if Path(str(distribution.locate_file(record))).resolve() == file.resolve():
            return distribution.metadata["Name"], distribution.version
    if file.resolve().parent == Path(mqttsecure.__file__).resolve().parent.parent / "twisted" / "plugins":
        return BUILT_IN, "checkout"
    return "unpackaged", "unknown"


def local_modules(folders: Sequence[Path]) -> list[PluginModule | ImportFailure]:
    """The single files of some folders, each imported anew.

    Raises:
        PolicyLoadError: a folder cannot be read, or someone else may put files into it.
    """
    problems = [problem for folder in folders if (problem := _folder_problem(folder))]
    if problems:
        raise PolicyLoadError(problems)
    return [
        _load_file(file, f"mqttsecure_local_{number}_{file.stem}")
        for number, folder in enumerate(folders)
        for file in sorted(folder.glob("*.py"))
    ]


def _folder_problem(folder: Path) -> str | None:
    try:
        status = folder.stat()
        os.listdir(folder)
    except OSError as error:
        return f"plugin folder {folder}: {error.strerror or error}"
    return _permission_problem(folder, status)


def _permission_problem(path: Path, status: os.stat_result) -> str | None:
    """Whether anyone but root and ourselves could have written what is about to be run."""
    if status.st_mode & _OTHERS_MAY_WRITE:
        return f"{path}: others may write to it, so it is not run; chmod go-w {path}"
    if status.st_uid not in (0, os.geteuid()):
        return f"{path}: belongs to user {status.st_uid}, so it is not run; it must be root's or the broker's own"
    return None


class _CheckedLoader(importlib.abc.SourceLoader):
    """Reads a module from a file that nobody else may write; having no modification time, it uses no bytecode file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def get_filename(self, fullname: str) -> str:
        return str(self._file)

    def get_data(self, path: bytes | str) -> bytes:
        return _read_checked(self._file)


def _load_file(file: Path, name: str) -> PluginModule | ImportFailure:
    loader = _CheckedLoader(file)
    module = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, loader, origin=str(file)))
    # Type annotations are looked up there, by pydantic among others.
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except (Exception, SystemExit):
        del sys.modules[name]
        return ImportFailure(file.stem, file, LOCAL, traceback.format_exc())
    return PluginModule(name, file, LOCAL, "", module)


def _read_checked(file: Path) -> bytes:
    """The text of a file whose permissions are right.

    Raises:
        PermissionError: they are not.
        OSError: it cannot be read.
    """
    with open_regular(file) as opened:
        if problem := _permission_problem(file, os.fstat(opened.fileno())):
            raise PermissionError(problem)
        source = opened.read(_MAXIMUM_FILE_BYTES + 1)
    if len(source) > _MAXIMUM_FILE_BYTES:
        raise PermissionError(f"{file}: is larger than {_MAXIMUM_FILE_BYTES} bytes")
    return source
