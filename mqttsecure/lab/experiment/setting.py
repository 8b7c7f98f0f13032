# -*- test-case-name: tests.lab.experiment.test_setting -*-
"""``lab up`` and ``lab down``: the LAN, the firewall, the tunnel and the broker, all of it or nothing."""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mqttsecure.errors import LabError
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.state import State
from mqttsecure.lab.network.firewall import firewall_of, load_firewall
from mqttsecure.lab.network.lan import build_lan
from mqttsecure.lab.network.machine import choose_mode, examine
from mqttsecure.lab.network.plan import BROKER, HOSTS, LAN, PLAIN_PORT, PORT, Mode
from mqttsecure.lab.network.processes import Known, held, identify
from mqttsecure.lab.network.space import Space
from mqttsecure.lab.network.tunnel import build_tunnel, only_from_tunnel

__all__ = ["running", "set_up", "take_down"]

_BROKER: Final = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"
_START_PATIENCE: Final = 60.0
_LISTENING: Final = re.compile(r"listening on lab ")
_REQUIREMENTS: Final = 'use = "tls-requirements"\n'
_PLAIN_LISTENER: Final = f"""
# For the lesson: what is said here can be read on the way.
[[listener]]
name = "plaintext"
bind = "{BROKER.address()}:{PLAIN_PORT}"
plaintext = true
plaintext_beyond_loopback = true
"""
_LAN_ADDRESS: Final = re.compile(rf"\b{re.escape(LAN)}\.(?=\d)")

Tell = Callable[[str], None]


def running(folder: LabFolder) -> State:
    """The state of a lab that is up.

    Raises:
        LabError: it is not, or only half.
    """
    state = State.read(folder.existing().state)
    if state is None:
        raise LabError(f"the lab in {folder.path} is not up; run: mqttsecure lab up {folder.path}")
    if not state.is_alive:
        raise LabError(
            f"the lab in {folder.path} is only half there: something of it has ended; take it down and up again: "
            f"mqttsecure lab down {folder.path} && mqttsecure lab up {folder.path}"
        )
    return state


def set_up(
    folder: LabFolder, *, vpn: bool = False, plaintext: bool = False, wanted: Mode | None = None, tell: Tell
) -> State:
    """Bring the lab up. Whatever goes wrong, Ctrl-C too, nothing is left behind.

    Raises:
        LabError: it is up already, or something does not work here.
    """
    with folder.existing().locked():
        return _set_up(folder, vpn, plaintext, wanted, tell)


def _set_up(folder: LabFolder, vpn: bool, plaintext: bool, wanted: Mode | None, tell: Tell) -> State:
    old = State.read(folder.state)
    if old is not None:
        if old.is_alive:
            raise LabError(f"the lab is up already; take it down first: mqttsecure lab down {folder.path}")
        for what in old.end():
            tell(f"left over from before, ended: {what}")
    tunnel = _tunnel(wanted) if vpn else None
    mode, reasons = choose_mode(wanted)
    for reason in reasons:
        tell(f"not possible here: {reason}")
    tell(f"taken: {mode.words}")
    state = State(folder.state, mode, tunnel, plaintext)
    state.write()
    try:
        _build(folder, state, tell)
        _start_broker(folder, state)
        state.complete = True
        state.write()
    except BaseException:
        state.end()
        raise
    tell(f"broker: listening on {BROKER.address(state.network)}:{PORT}, log in {folder.log}")
    return state


def _tunnel(wanted: Mode | None) -> str:
    machine = examine()
    if machine.tunnel is None or (wanted is not None and wanted is not machine.mode):
        problem = next(each for each in machine.abilities if each.name.startswith("tunnel ("))
        raise LabError(f"--vpn does not work here: {problem.detail}")
    return machine.tunnel


def _build(folder: LabFolder, state: State, tell: Tell) -> None:
    _write_config(folder, state)
    if not state.mode.has_lan:
        for port in (PORT, *((PLAIN_PORT,) if state.plaintext else ())):
            _check_port(BROKER.address(state.network), port)
        return

    def born(keeper: Known) -> None:
        state.keeper = keeper
        state.write()

    space = Space.open(rootless=state.mode is Mode.ROOTLESS, born=born)
    build_lan(space)
    for host in HOSTS:
        tell(f"{host.name:<11} {host.address():<12} {host.does}")
    if state.tunnel is not None:
        build_tunnel(space, state.tunnel, folder.tunnel, tell)
        load_firewall(space, only_from_tunnel())
    try:
        load_firewall(space, firewall_of(folder.config, lock=state.tunnel is None))
        tell("firewall: loaded on the broker's host, compiled from the policy")
    except LabError as error:
        if state.tunnel is not None:
            raise
        tell(f"firewall: not loaded, the broker alone keeps strangers out ({error})")


def _write_config(folder: LabFolder, state: State) -> None:
    """The policy with the addresses that are used; the policy itself stays as its owner wrote it.

    Raises:
        LabError: a listener without TLS is wanted, and the policy has no place for the permission.
    """
    text = folder.policy.read_text(encoding="utf-8")
    if state.plaintext:
        if text.count(_REQUIREMENTS) != 1:
            raise LabError(
                f"{folder.policy}: --plaintext wants exactly one line {_REQUIREMENTS.strip()!r}; put it back"
            )
        text = text.replace(_REQUIREMENTS, f'{_REQUIREMENTS}plaintext = "anywhere"\n') + _PLAIN_LISTENER
    if state.network != LAN:
        text = _LAN_ADDRESS.sub(f"{state.network}.", text)
    if state.network != LAN or state.plaintext:
        text = f"# Made by `lab up` from broker.toml, for the way that was taken. Change that one.\n{text}"
    folder.config.write_text(text, encoding="utf-8")


def _check_port(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise LabError(
                f"{address}:{port} cannot be used: {error.strerror}; another lab is up, or another program listens "
                f"there (ss -ltnp sport = :{port})"
            ) from None


def _start_broker(folder: LabFolder, state: State) -> None:
    command = [sys.executable, "-c", _BROKER, "-n", "--pidfile=", "mqttsecure", "--config", str(folder.config)]
    space = state.space
    if space is not None:
        command = space.command(BROKER, *command)
    _remove_socket(folder)
    begun = folder.log.stat().st_size if folder.log.exists() else 0
    with folder.log.open("a") as log:
        process = held(command, log, cwd=folder.path)
    known = identify(process.pid)
    if known is None or process.stdin is None:
        raise LabError("the broker cannot be started; see: mqttsecure lab doctor")
    state.processes.append(known)
    state.write()
    process.stdin.write("go\n")
    process.stdin.close()
    _await_broker(folder.log, begun, process.poll)
    process.returncode = 0  # it goes on by itself


def _await_broker(log: Path, begun: int, poll: Callable[[], int | None]) -> None:
    deadline = time.monotonic() + _START_PATIENCE
    while time.monotonic() < deadline:
        ended = poll() is not None
        with log.open(errors="replace") as stream:
            stream.seek(begun)
            said = stream.read()
        if _LISTENING.search(said):
            return
        if ended:
            lines = [line for line in said.strip().splitlines() if line]
            raise LabError(
                f"the broker does not start: {lines[-1] if lines else 'no reason given'}; all of it is in {log}"
            )
        time.sleep(0.02)
    raise LabError(f"the broker did not listen within {_START_PATIENCE:g} s; see {log}")


def take_down(folder: LabFolder) -> list[str]:
    """End all that was started; what was ended, in words. Nothing to do is no error.

    Raises:
        LabError: what was written down cannot be read.
    """
    if not folder.path.is_dir():
        return []
    with folder.locked():
        state = State.read(folder.state)
        ended = [] if state is None else state.end()
        folder.config.unlink(missing_ok=True)
        _remove_socket(folder)
    return ended


def _remove_socket(folder: LabFolder) -> None:
    """A broker that was killed leaves its socket and the lock on it, whose number may be another's in a new lab."""
    for each in (folder.control, folder.control.with_name("control.lock")):
        each.unlink(missing_ok=True)
