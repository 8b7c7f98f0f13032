# -*- test-case-name: tests.service.test_storage -*-
"""The store that a configuration names: its folder, its start, and what is said of it."""

from __future__ import annotations

import os
import time
from typing import Any

from twisted.logger import Logger

from mqttsecure.errors import ConfigError
from mqttsecure.service.config import BrokerConfig, StoreConfig
from mqttsecure.service.development_certificates import Owner
from mqttsecure.store.sqlite import SqliteStore
from mqttsecure.transport.driver import CoreDriver
from mqttsecure.transport.keeping import Keeping

__all__ = ["durability_line", "make_folder", "make_store", "open_store"]

_log = Logger()


def make_folder(config: BrokerConfig, owner: Owner | None) -> None:
    """Make the folder of the store, for its owner alone, where root starts a broker that another user runs.

    That user may not be able to. Without such an owner it is made when the store is opened.

    Raises:
        ConfigError: it cannot be made.
    """
    if config.store is None or owner is None:
        return
    folder = config.store.file.parent
    if folder.exists() or not folder.parent.is_dir():
        return
    try:
        folder.mkdir(mode=0o700)
        os.chown(folder, owner.uid, owner.gid)
    except OSError as error:
        raise ConfigError(
            f"{config.source_of('store')}: store.file: the folder {folder} cannot be made: {error.strerror}; make it, "
            "for the user that serves"
        ) from error


def durability_line(store: StoreConfig | None) -> str:
    """What is kept, for the log."""
    if store is None:
        return "durability is `memory`: a restart forgets sessions, queued and retained messages"
    file = os.path.normpath(store.file)
    if store.interval:
        return (
            f"durability is `interval`: what is acknowledged is in {file}, and on disk {store.interval:g} s "
            "later at most; a loss of power loses what came since"
        )
    return f"durability is `commit`: what is acknowledged is on disk in {file}"


def make_store(config: BrokerConfig, reactor: Any) -> SqliteStore | None:
    """The store, not opened yet: all that it needs of the installed files is read now, perhaps as root."""
    settings = config.store
    if settings is None:
        return None
    return SqliteStore(settings.file, reactor, interval=settings.interval or None)


def open_store(config: BrokerConfig, store: SqliteStore, driver: CoreDriver, reactor: Any) -> Keeping:
    """Open the store, have ``driver`` know what is in it, and keep what changes.

    Raises:
        ConfigError: it cannot be used.
    """
    try:
        store.open()
    except ConfigError as error:
        where = config.source_of("store", "file")
        raise ConfigError([f"{where}: store.file: {problem}" for problem in error.problems]) from error
    keeping = Keeping(driver.core, store, reactor, time.time, driver.schedule_flush)
    started = reactor.seconds()
    sessions, retained = keeping.restore()
    for loss in store.losses():
        _log.error("the store was damaged: {loss}", loss=loss)
    if sessions or retained:
        _log.info(
            "{sessions} sessions and {retained} retained messages came back from disk within {seconds:.2f} s",
            sessions=sessions,
            retained=retained,
            seconds=reactor.seconds() - started,
        )
    driver.keeping = keeping
    driver.schedule_flush()
    return keeping
