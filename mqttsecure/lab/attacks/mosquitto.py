# -*- test-case-name: tests.lab.attacks.test_mosquitto -*-
"""A Mosquitto broker with the lab's users, rules and certificates, to compare with: ``--target mosquitto``."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mqttsecure.errors import LabError
from mqttsecure.lab.attacks.target import Account
from mqttsecure.lab.network.processes import environment

__all__ = ["mosquitto"]

_PATIENCE: Final = 20.0


@contextmanager
def mosquitto(certificate: Path, key: Path, writer: Account, reader: Account, topics: str) -> Iterator[int]:
    """Run one on loopback, with TLS; gives its port.

    Raises:
        LabError: it is not installed, or does not start.
    """
    path = environment()["PATH"]
    programs = {name: shutil.which(name, path=path) for name in ("mosquitto", "mosquitto_passwd")}
    if not all(programs.values()):
        raise LabError("mosquitto is not installed; install the package mosquitto, or give --target HOST:PORT")
    with tempfile.TemporaryDirectory(prefix="mqttsecure-mosquitto-") as folder:
        port = _free_port()
        config = _write(Path(folder), port, certificate, key, writer, reader, topics, str(programs["mosquitto_passwd"]))
        log = Path(folder) / "log"
        with log.open("w") as output:
            process = subprocess.Popen(  # noqa: S603  # what runs is named above
                [str(programs["mosquitto"]), "-c", str(config)], stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        try:
            _await(process, port, log)
            yield port
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write(
    folder: Path, port: int, certificate: Path, key: Path, writer: Account, reader: Account, topics: str, passwd: str
) -> Path:
    users = folder / "users"
    users.touch(0o600)
    users.write_text(f"{writer.name}:{writer.password}\n{reader.name}:{reader.password}\n")
    # Hashed in its place: passwords are in no list of processes.
    subprocess.run([passwd, "-U", str(users)], check=True, capture_output=True, timeout=60)  # noqa: S603
    rules = folder / "rules"
    rules.touch(0o600)
    rules.write_text(f"user {writer.name}\ntopic readwrite {topics}/#\n\nuser {reader.name}\ntopic read {topics}/#\n")
    lines = [
        f"listener {port} 127.0.0.1",
        f"certfile {certificate}",
        f"keyfile {key}",
        "allow_anonymous false",
        f"password_file {users}",
        f"acl_file {rules}",
    ]
    if os.geteuid() == 0:
        lines.append("user root")  # else it could not read the lab's files
    config = folder / "mosquitto.conf"
    config.write_text("\n".join(lines) + "\n")
    return config


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
    said = log.read_text(errors="replace").strip().splitlines()
    raise LabError(f"mosquitto does not start: {said[-1] if said else 'no reason given'}")
