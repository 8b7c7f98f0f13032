# -*- test-case-name: tests.service.test_control -*-
"""The control socket: how ``mqttsecure status``, ``reload`` and ``clients`` talk to the running broker.

A Unix socket for its owner alone. One JSON object a line each way: ``{"command": NAME, ...}`` is answered by
``{"ok": true, "result": ...}`` or ``{"ok": false, "problems": [...]}``.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from mqttsecure.errors import ConfigError
from mqttsecure.service.unix_address import FolderHandle

__all__ = ["ControlSocket"]

_log = Logger()

_MAXIMUM_REQUEST: Final = 64 * 1024
"""Bytes of one request: a name and a few options fit many times over."""

Command = Callable[[dict[str, Any]], Any]


class _ControlProtocol(LineOnlyReceiver):
    """One connection of an administrator."""

    delimiter = b"\n"
    MAX_LENGTH = _MAXIMUM_REQUEST

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands

    def lineReceived(self, line: bytes) -> None:
        done: Deferred[Any] = maybeDeferred(self._carry_out, line)
        done.addCallbacks(lambda result: {"ok": True, "result": result}, _problems_of)
        done.addCallback(self._answer)

    def _carry_out(self, line: bytes) -> Any:
        try:
            request = json.loads(line)
        except ValueError:
            raise ConfigError("a request is one JSON object on one line") from None
        name = request.get("command") if isinstance(request, dict) else None
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            raise ConfigError(f"no such command; there are {', '.join(sorted(self._commands))}")
        return command(request)

    def _answer(self, answer: dict[str, Any]) -> None:
        if self.transport is not None:
            self.transport.write(json.dumps(answer, ensure_ascii=True).encode() + b"\n")

    def lineLengthExceeded(self, line: bytes) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


def _problems_of(failure: Failure) -> dict[str, Any]:
    error = failure.value
    if isinstance(error, ConfigError):
        return {"ok": False, "problems": error.problems}
    _log.failure("a command on the control socket failed", failure=failure)
    return {"ok": False, "problems": [f"the broker failed to do it ({type(error).__name__}); its log has more"]}


class ControlSocket:
    """Listens on ``path`` and answers by ``commands``; each takes the request and returns what JSON can hold."""

    def __init__(self, path: Path, commands: Mapping[str, Command], reactor: Any) -> None:
        self._path = path
        self._commands = commands
        self._reactor = reactor
        self._port: Any = None
        self._folder: FolderHandle | None = None

    def open(self) -> None:
        """Make the socket.

        Raises:
            ConfigError: it cannot be made.
        """
        factory = Factory.forProtocol(lambda: _ControlProtocol(self._commands))
        factory.noisy = False
        # The mode is set when the socket is there already, so nobody may reach it in between.
        before = os.umask(0o177)
        try:
            self._folder = FolderHandle(self._path)
            self._port = self._reactor.listenUNIX(self._folder.address, factory, mode=0o600, wantPID=True)
        except (CannotListenError, OSError) as error:
            self._let_go()
            raise ConfigError(
                f"the control socket {self._path} cannot be made: {_reason(error, self._path)}"
            ) from error
        finally:
            os.umask(before)

    def close(self) -> Any:
        """Stop listening and remove it."""
        port, self._port = self._port, None
        return None if port is None else maybeDeferred(port.stopListening).addBoth(self._let_go)

    def _let_go(self, result: Any = None) -> Any:
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.close()
        return result


def _reason(error: Exception, path: Path) -> str:
    if path.exists() and not stat.S_ISSOCK(path.lstat().st_mode):
        return "there is a file of that name; remove it, or choose another name"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}; make it, for the user that serves"
    return f"{getattr(error, 'socketError', error)}; is another broker running with it?"
