# -*- test-case-name: tests.cli.test_lab_attack -*-
"""How the command line says which broker is meant by ``lab attack`` and ``lab check``, and who its users are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mqttsecure.errors import LabError
from mqttsecure.lab.attacks.mosquitto import mosquitto
from mqttsecure.lab.attacks.target import Account, Target, check_target, parse_target
from mqttsecure.lab.experiment.attacking import account_of, target_of_lab
from mqttsecure.lab.experiment.folder import LabFolder
from mqttsecure.lab.experiment.preparing import BROKER_NAME, READER, WRITER
from mqttsecure.lab.experiment.setting import running
from mqttsecure.lab.experiment.state import State
from mqttsecure.policy.secrets import read_secret

__all__ = ["Aim", "aimed_at", "aimed_at_lab", "target_options"]

_F = TypeVar("_F", bound=Callable[..., Any])
_FILE: Final = click.Path(dir_okay=False, path_type=Path)

_OPTIONS: Final = (
    click.option("--plaintext", is_flag=True, help="The target speaks no TLS there."),
    click.option("--ca", type=_FILE, help="Who may vouch for the target [the lab's CA]."),
    click.option("--server-name", default=BROKER_NAME, show_default=True, help="Whose certificate the target has."),
    click.option("--writer", default=WRITER, show_default=True, help="A user that may publish and read there."),
    click.option("--writer-password-file", type=_FILE, help="Its password [as in the lab]."),
    click.option("--reader", default=READER, show_default=True, help="A user that may only read there."),
    click.option("--reader-password-file", type=_FILE, help="Its password [as in the lab]."),
    click.option("--topics", default="lab", show_default=True, help="The first level that both may use."),
    click.option("--forbidden", default="secret", show_default=True, help="A first level that neither may use."),
    click.option("--mqtt", type=click.Choice(["5", "3.1.1"]), default="5", show_default=True, help="Version to speak."),
    click.option(
        "--patience",
        type=click.FloatRange(12, 600),
        default=20.0,
        show_default=True,
        help="Seconds after which a silent connection counts as held for good.",
    ),
)


@dataclass(slots=True, frozen=True)
class Aim:
    """What the command line says of a broker."""

    plaintext: bool
    ca: Path | None
    server_name: str
    writer: str
    writer_password_file: Path | None
    reader: str
    reader_password_file: Path | None
    topics: str
    forbidden: str
    mqtt: str
    patience: float

    @property
    def version(self) -> int:
        return 5 if self.mqtt == "5" else 4

    def target(self, place: LabFolder | None, host: str, port: int) -> Target:
        """The broker at an address; what is not said is as in the lab, where there is one.

        Raises:
            LabError: a password is missing.
        """
        ca = self.ca or (None if place is None else place.ca_file)
        return Target(
            host=host,
            port=port,
            tls=not self.plaintext,
            server_name=self.server_name,
            ca_file=None if ca is None else str(ca.absolute()),
            writer=_account(place, "--writer", self.writer, self.writer_password_file),
            reader=_account(place, "--reader", self.reader, self.reader_password_file),
            topics=self.topics,
            forbidden=self.forbidden,
            bad=None if place is None else str(place.bad),
            patience=self.patience,
            version=self.version,
        )


def target_options(command: _F) -> _F:
    """Add the options; the command gets them as ``aim``."""

    @functools.wraps(command)
    def with_aim(*args: Any, **options: Any) -> Any:
        aim = Aim(**{name: options.pop(name) for name in Aim.__slots__})
        return command(*args, aim=aim, **options)

    decorated: Any = with_aim
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # the same function but for its options


def _account(place: LabFolder | None, option: str, name: str, file: Path | None) -> Account:
    if file is not None:
        return Account(name, read_secret(file).decode().strip())
    if place is None or not place.password(name).exists():
        raise LabError(
            f"the password of {name!r} is not known; put it into a file of mode 600: {option}-password-file FILE"
        )
    return account_of(place, name)


Aimed = tuple[Target, State | None, str]
"""The target, the lab in whose LAN the attacks run (None for this machine), and what to call it."""


@contextmanager
def aimed_at_lab(place: LabFolder, aim: Aim) -> Iterator[Aimed]:
    """The lab's own broker."""
    up = running(place)
    target = replace(target_of_lab(place, up, patience=aim.patience), version=aim.version)
    yield target, up, f"the lab's broker ({target.host}:{target.port})"


@contextmanager
def aimed_at(place: LabFolder | None, text: str, aim: Aim) -> Iterator[Aimed]:
    """Another broker: "mosquitto", which is started for it, or HOST:PORT.

    Raises:
        LabError: it is not one's own, or does not start.
    """
    if text == "mosquitto" and place is not None:
        wanted = aim.target(place, "127.0.0.1", 0)
        with mosquitto(
            place.path / "broker.pem", place.path / "broker.key", wanted.writer, wanted.reader, aim.topics
        ) as port:
            yield replace(wanted, port=port), None, "mosquitto"
        return
    host, port = parse_target(text)
    state = None if place is None else State.read(place.state)
    lan = state if state is not None and state.is_alive and state.mode.has_lan else None
    address = check_target(host, in_lab=lan is not None)
    loopback = address.startswith("127.") or address == "::1"
    yield aim.target(place, address, port), None if loopback else lan, text
