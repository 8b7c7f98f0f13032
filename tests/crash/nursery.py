"""Starts broker processes quickly: one process imports all that a broker needs, and forks for each broker.

What is forked has no reactor, no thread and no open file yet, and does all that ``twistd -n mqttsecure`` does: only the
second and more of imports is spared. ``python -m tests.crash.nursery`` reads commands, one a line, and answers each.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.process import CHECKOUT, BrokerProcess

__all__ = ["Nursery", "QuickBroker"]

_ABOVE: Final = ("mqttsecure.cli", "mqttsecure.lab", "mqttsecure.testing", "mqttsecure.store.contract")
"""What no broker imports."""


class Nursery:
    """The process that forks."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.crash.nursery"]
        self._process = subprocess.Popen(
            command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, *words: str) -> int:
        """Send a command; the number that is answered."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("it was started without pipes")
        print(*words, sep="\t", file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it, and whatever it has forked."""
        self._process.communicate()


class QuickBroker(BrokerProcess):
    """A broker that is forked."""

    def __init__(self, nursery: Nursery, config: Path, directory: Path) -> None:
        super().__init__(config, directory)
        self._nursery = nursery
        self._child = 0

    def spawn(self) -> None:
        self._child = self._nursery.ask("start", str(self.config), str(self.directory), str(self._output))

    @property
    def pid(self) -> int:
        return self._child

    @property
    def has_ended(self) -> bool:
        return bool(self._nursery.ask("ended", str(self._child)))

    def kill(self) -> None:
        if self._child:
            self._nursery.ask("kill", str(self._child))
            self._child = 0


def _import_all() -> None:
    import mqttsecure

    for module in pkgutil.walk_packages(mqttsecure.__path__, "mqttsecure."):
        if not module.name.startswith(_ABOVE) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("twisted.scripts.twistd", "twisted.scripts._twistd_unix", "twisted.internet.epollreactor"):
        importlib.import_module(name)
    if "twisted.internet.reactor" in sys.modules:
        raise RuntimeError("a reactor was made: brokers would share its files")


def _become_a_broker(config: str, directory: str, output: str) -> None:
    os.chdir(directory)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for each in (1, 2):
        os.dup2(file, each)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    import mqttsecure

    print("mqttsecure imported from", mqttsecure.__file__, file=sys.stderr, flush=True)
    sys.argv = ["twistd", "-n", "--pidfile=", "mqttsecure", "--config", config]
    from twisted.scripts.twistd import run

    run()


def _serve() -> None:
    children: set[int] = set()
    for line in sys.stdin:
        command, *words = line.rstrip("\n").split("\t")
        answer = 0
        if command == "start":
            answer = os.fork()
            if not answer:
                code = 1
                try:
                    _become_a_broker(*words)
                    code = 0
                finally:
                    os._exit(code)
            children.add(answer)
        elif (child := int(words[0])) not in children:
            answer = 1
        else:
            if command == "kill":
                os.kill(child, signal.SIGKILL)
            answer = os.waitpid(child, 0 if command == "kill" else os.WNOHANG)[0]
            if answer:
                children.discard(child)
        print(answer, flush=True)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    _import_all()
    _serve()
