"""Starts the brokers of the project's own comparison, alike: TLS 1.3, one user with a password, 22 topic rules.

mosquitto runs without limits on queued and unacknowledged messages: with its defaults it drops messages that it has
acknowledged, and a row with losses does not count.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trustme

CHECKOUT = Path(__file__).resolve().parents[1]
USER, PASSWORD = "mql", "only-for-this-bench"  # mqload's Client Identifiers begin with mql-
TOPICS = [f"unrelated{number}/#" for number in range(19)] + ["bench/#", "s/#", "ret/#"]


@dataclass
class Running:
    """A broker that listens with TLS on ``port`` of 127.0.0.1."""

    port: int
    pid: int
    mqload_options: list[str]


class Start(Protocol):
    def __call__(self, folder: Path, core: int | None) -> AbstractContextManager[Running]: ...


@contextmanager
def mqttsecure(folder: Path, core: int | None) -> Iterator[Running]:
    """This checkout's broker."""
    port = _free_port()
    _certificates(folder)
    _set_password(folder / "users")
    rules = "\n".join(f'  "permit user:{USER} publish,read {topic}",' for topic in TOPICS)
    (folder / "broker.toml").write_text(_OURS.format(port=port, rules=rules, user=USER))
    python = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]
    command = [*python, "-n", "--pidfile=", "mqttsecure", "--config", str(folder / "broker.toml")]
    with _process(command, folder, core, port, {"PYTHONPATH": str(CHECKOUT)}) as pid:
        yield Running(port, pid, ["--user", USER, "--pass", PASSWORD])


_OURS = """
[[listener]]
name = "tls"
bind = "127.0.0.1:{port}"
backlog = 1024
tls = {{ certificate = "server.pem", key = "server.key" }}

[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.1"]

[[policy]]
id = "handshake"
use = "tls-requirements"

[[policy]]
id = "password"
use = "password-file"
file = "users"

[[policy]]
id = "client-ids"
use = "client-id"
patterns = ["{{user}}-*", "{{user}}D*"]  # mqload's durable subscribers

[[policy]]
id = "rates"
use = "rate-limit"
messages = "10000000/second"
direction = "publish"

[[policy]]
id = "topics"
use = "topic-acl"
rules = [
{rules}
]
"""


def _set_password(users: Path) -> None:
    sys.path.insert(0, str(CHECKOUT))
    from mqttsecure.policy.builtin.password_hash import hash_password

    users.write_text(f"{USER}:{hash_password(PASSWORD.encode())}\n")
    users.chmod(0o600)


@contextmanager
def mosquitto(folder: Path, core: int | None) -> Iterator[Running]:
    """The installed mosquitto."""
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    port = _free_port()
    _certificates(folder)
    passwords, rules = folder / "passwords", folder / "acl"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), USER, PASSWORD], check=True, capture_output=True)
    rules.write_text(f"user {USER}\n" + "".join(f"topic readwrite {topic}\n" for topic in TOPICS))
    (folder / "mosquitto.conf").write_text(
        f"allow_anonymous false\npassword_file {passwords}\nacl_file {rules}\nmax_queued_messages 0\n"
        f"max_inflight_messages 0\nset_tcp_nodelay true\npersistence false\nlistener {port} 127.0.0.1\n"
        f"certfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
    )
    if os.geteuid() == 0:
        # It drops to its own user before it reads these.
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
    with _process([program, "-c", str(folder / "mosquitto.conf")], folder, core, port, {}) as pid:
        yield Running(port, pid, ["--user", USER, "--pass", PASSWORD])


STARTABLE: dict[str, Start] = {"mqttsecure": mqttsecure, "mosquitto": mosquitto}


def _certificates(folder: Path) -> None:
    certificate = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    certificate.private_key_pem.write_to_path(folder / "server.key")
    (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (folder / "server.key").chmod(0o600)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _process(
    command: list[str], folder: Path, core: int | None, port: int, environment: dict[str, str]
) -> Iterator[int]:
    if core is not None and shutil.which("taskset"):
        command = ["taskset", "-c", str(core), *command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **environment}, cwd=folder
        )
    try:
        _wait_for(port, process, folder / "log")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"the broker did not start:\n{log.read_text(errors='replace')}")
