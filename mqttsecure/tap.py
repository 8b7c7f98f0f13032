# -*- test-case-name: tests.test_tap -*-
"""What ``twistd mqttsecure`` does: options, and the service to run.

twistd calls :func:`makeService` before it forks and before it gives up root, with the terminal still there: so here
the configuration is read, made absolute and checked, development files are made and told of, and every problem is
printed. Threads, sockets and the policies that serve come later, in ``privilegedStartService`` (root, to bind low
ports) and ``startService`` (as ``--uid``).
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import IO, Any, NoReturn, TextIO, cast

from twisted.application.service import IService, MultiService
from twisted.logger import ILogObserver
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile

from mqttsecure.errors import ConfigError
from mqttsecure.service.config import BrokerConfig
from mqttsecure.service.exit_code import call_on_sighup, stop_on_sigterm
from mqttsecure.service.logging import log_observer
from mqttsecure.service.prepare import Owner, prepare

__all__ = ["Options", "makeService"]

_MultiService: Any = MultiService
"""Twisted's services are not typed."""

EXIT_CONFIG: int = 1
"""The exit code for a configuration that cannot be used, as ``mqttsecure check`` has it."""


_EXAMPLES = """\
Examples:
  twistd -n mqttsecure --config etc/broker.toml
      in the foreground, the log on the terminal
  twistd --uid mqttsecure --logfile /var/log/mqttsecure.log mqttsecure -c /etc/mqttsecure/broker.toml
      as a daemon that gives up root once its ports are bound
  mqttsecure check etc/broker.toml
      only look for mistakes

SIGHUP, like `mqttsecure reload`, puts a changed configuration in force, all of it or nothing.
SIGTERM stops it in order. Exit codes: 0 stopped in order, 1 not started.
"""


class Options(usage.Options):
    """The options of ``twistd mqttsecure``."""

    synopsis = "--config FILE"
    longdesc = "Run the MQTT broker that FILE describes."

    optParameters = [["config", "c", None, "The configuration file (TOML)."]]

    def getUsage(self, width: int | None = None) -> str:
        """What ``--help`` prints; the examples as they are, since ``longdesc`` would be filled to paragraphs."""
        options: Any = super()
        return f"{options.getUsage(width)}\n{_EXAMPLES}"

    def postOptions(self) -> None:
        if self["config"] is None:
            raise usage.UsageError("name the configuration: --config FILE, such as --config etc/broker.toml")
        # twistd changes to --rundir, and as a daemon forks, before the file is read again for a reload.
        self["config"] = os.path.abspath(self["config"])


class BrokerApplication(MultiService):
    """The broker, and what it needs of the process around it: the log and the exit code."""

    def __init__(self, broker: Any, reactor: Any, observer: ILogObserver | None) -> None:
        _MultiService.__init__(self)
        self._broker = broker
        self._reactor = reactor
        self._observer = observer
        _MultiService.addService(self, broker)

    def setServiceParent(self, parent: object) -> None:
        _MultiService.setServiceParent(self, parent)
        if self._observer is not None and isinstance(parent, Componentized):
            # twistd looks here for an application's own log; it has not opened one of its own yet.
            application: Any = parent
            application.setComponent(ILogObserver, self._observer)

    def startService(self) -> None:
        stop_on_sigterm(self._reactor)
        call_on_sighup(self._reactor, self._broker.reload_and_tell)
        _MultiService.startService(self)


def makeService(options: Options) -> IService:
    """Check everything and build the service; ends the process with 1 where the configuration cannot be used."""
    try:
        config = prepare(Path(options["config"]), owner=_owner(options.parent), tell=_tell)
        broker = _build_broker(config)
    except ConfigError as error:
        _refuse(error)
    from twisted.internet import reactor  # not above: twistd may be told which one to install

    observer = _observer(options.parent, config)
    return cast(IService, BrokerApplication(broker, reactor, observer))


def _build_broker(config: BrokerConfig) -> Any:
    from mqttsecure.service.broker import BrokerService  # imports the reactor, see above

    return BrokerService(config)


def _refuse(error: ConfigError) -> NoReturn:
    for problem in error.problems:
        _tell(problem, stream=sys.stderr)
    count = len(error.problems)
    problems = "1 problem" if count == 1 else f"{count} problems"
    _tell(f"mqttsecure: not started: {problems} in the configuration", stream=sys.stderr)
    raise SystemExit(EXIT_CONFIG)


def _tell(line: str, stream: IO[str] | None = None) -> None:
    out = sys.stdout if stream is None else stream
    out.write(f"{line}\n")
    out.flush()


def _owner(parent: usage.Options | None) -> Owner | None:
    """The user and group that will serve, where twistd is told to become another."""
    uid, gid = _option(parent, "uid"), _option(parent, "gid")
    if uid is None and gid is None:
        return None
    if gid is None and uid is not None:
        gid = pwd.getpwuid(uid).pw_gid  # as twistd does
    return Owner(-1 if uid is None else uid, -1 if gid is None else gid)


def _option(parent: usage.Options | None, name: str) -> int | None:
    value = None if parent is None else parent.get(name)
    return value if isinstance(value, int) else None


def _observer(parent: usage.Options | None, config: BrokerConfig) -> ILogObserver | None:
    """The log that ``[log]`` asks for, into what twistd's ``--logfile`` says; None leaves twistd's own.

    That is so with ``--syslog``, which writes its own lines, and with ``--logger``, which brings its own.
    """
    if parent is None or parent.get("syslog") or parent.get("logger"):
        return None
    return log_observer(_log_stream(parent), config.log_format, config.log_level)


def _log_stream(parent: usage.Options) -> TextIO:
    name = parent.get("logfile")
    if name == "-" and not parent.get("nodaemon"):
        raise SystemExit("mqttsecure: a daemon cannot log to stdout; name a --logfile")
    if name == "-" or (not name and parent.get("nodaemon")):
        return sys.stdout
    return _log_file(os.path.abspath(name or "twistd.log"), _owner(parent))


def _log_file(name: str, owner: Owner | None) -> TextIO:
    # Rotated at 1 MB by Twisted's default; owned by the user that serves, who else could not open it again.
    log_file: Any = LogFile
    file = log_file.fromFullPath(name, defaultMode=0o640)
    if owner is not None and os.geteuid() == 0:
        os.chown(name, owner.uid, owner.gid, follow_symlinks=False)
    return cast(TextIO, file)
