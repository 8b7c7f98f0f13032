# -*- test-case-name: tests.cli.test_client_options -*-
"""What ``pub`` and ``sub`` share: where the broker is, who this is, whom it trusts.

Spelled as Mosquitto's clients spell it where the meaning is the same. A password is never an argument: others could
read it in the process list, and it would stay in the shell's history.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from mqttsecure.cli.client_properties import properties_of
from mqttsecure.client.failures import ClientError, OptionsInvalid
from mqttsecure.client.options import NEVER, Backoff, ClientOptions, TlsOptions
from mqttsecure.client.scram import ScramAuthenticator
from mqttsecure.errors import ConfigError
from mqttsecure.policy.secrets import check_private, read_secret
from mqttsecure.service.quantities import parse_duration
from mqttsecure.wire.constants import MQTT_3_1_1, MQTT_5_0, PacketType
from mqttsecure.wire.packets import Will
from mqttsecure.wire.properties import WILL

__all__ = ["DURATION", "client_options", "need_mqtt_5", "options_of"]

PASSWORD_VARIABLE: Final = "MQTTSECURE_PASSWORD"  # noqa: S105  # the name of a variable
_BROKER_VARIABLE: Final = "MQTTSECURE_BROKER"
_DEFAULT_BROKER: Final = "mqtts://localhost:8883"
_MAXIMUM_PASSWORD: Final = 65535
"""Bytes that a CONNECT can carry."""

_VERSIONS: Final = {"5": MQTT_5_0, "mqttv5": MQTT_5_0, "3.1.1": MQTT_3_1_1, "311": MQTT_3_1_1, "mqttv311": MQTT_3_1_1}

_F = TypeVar("_F", bound=Callable[..., Any])
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


class _Duration(click.ParamType[float]):
    """Seconds, as ``90``, ``1.5s`` or ``7d``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        """As click has it."""
        try:
            return parse_duration(float(value) if str(value).replace(".", "", 1).isdigit() else value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, context)


DURATION: Final = _Duration()


def _refuse_password(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            "a password on the command line could be read by others: leave it out to be asked, or use --password-file "
            f"FILE or the variable {PASSWORD_VARIABLE}"
        )


_OPTIONS: Final = (
    click.option(
        "-L",
        "--broker",
        envvar=_BROKER_VARIABLE,
        default=_DEFAULT_BROKER,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="mqtts://HOST[:PORT]; mqtt:// is plaintext.",
    ),
    click.option("-i", "--id", "client_id", default="", help="Client Identifier; without it the broker chooses one."),
    click.option("-u", "--username", help="User name; the password is asked for unless one is given as below."),
    click.option("--password-file", type=_FILE, help="File with the password, which nobody else may read."),
    click.option(
        "--password-env",
        metavar="NAME",
        help=f"Variable with the password; {PASSWORD_VARIABLE} if that is set.",
    ),
    click.option(
        "--auth",
        type=click.Choice(["password", "scram", "scram-unbound"]),
        default="password",
        show_default=True,
        help="Send the password, or prove to know it (MQTT 5): scram binds that to the TLS connection.",
    ),
    click.option("-P", "--pw", hidden=True, expose_value=False, callback=_refuse_password),
    click.option("--cafile", type=_FILE, help="CA certificates to trust, in place of the system's."),
    click.option("--cert", type=_FILE, help="Client certificate, with its chain."),
    click.option("--key", type=_FILE, help="Its key, which nobody else may read."),
    click.option("--servername", help="Name that the broker's certificate must have, if not HOST."),
    click.option("--pin", metavar="sha256:HEX", help="Fingerprint that the broker's certificate must have."),
    click.option("--insecure", is_flag=True, help="Verify nothing but --pin, which it needs."),
    click.option("--allow-plaintext", is_flag=True, help="Let mqtt:// go beyond this machine."),
    click.option(
        "-V",
        "--protocol",
        type=click.Choice(sorted(_VERSIONS)),
        default="5",
        show_default=True,
        help="Version of MQTT.",
    ),
    click.option("-k", "--keepalive", type=click.IntRange(0, 65535), default=60, show_default=True, help="Seconds."),
    click.option("-c", "--no-clean-start", is_flag=True, help="Go on with an earlier session of this identifier."),
    click.option("-x", "--session-expiry", default="0", metavar="DURATION", help="Keep the session: 1h, 7d, never."),
    click.option("--will-topic", help="Topic of the message that the broker publishes if this client vanishes."),
    click.option("--will-payload", default="", help="Its payload."),
    click.option("--will-qos", type=click.IntRange(0, 2), default=0, help="Its QoS."),
    click.option("--will-retain", is_flag=True, help="Retain it."),
    click.option("--will-property", nargs=2, multiple=True, metavar="NAME VALUE", help="Its properties."),
    click.option("--connect-property", nargs=2, multiple=True, metavar="NAME VALUE", help="Properties of CONNECT."),
    click.option("--timeout", type=DURATION, default="30s", show_default=True, help="To connect, all in all."),
    click.option("--retry", is_flag=True, help="Go on trying also where the first attempt finds no broker."),
    click.option("--no-reconnect", is_flag=True, help="End when the connection is lost."),
    click.option("--quiet", is_flag=True, help="Only errors on stderr, no notes and no progress."),
)


def client_options(command: _F) -> _F:
    """The options of every command that is a client; they come as ``**client``, for :func:`options_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def need_mqtt_5(given: dict[str, Any], *names: str) -> None:
    """Refuse options that MQTT 3.1.1 has no place for, rather than to leave them out.

    Raises:
        OptionsInvalid: one of ``names``, or of those that all clients have, is given with 3.1.1.
    """
    used = [name for name in (*names, "connect_property", "will_property") if given[name]]
    if used and _VERSIONS[given["protocol"]] != MQTT_5_0:
        option = "-D" if used[0] == "properties" else f"--{used[0].replace('_', '-')}"
        raise OptionsInvalid(f"MQTT 3.1.1 has nothing for {option}", "leave it out, or use -V 5")


def options_of(client: dict[str, Any]) -> ClientOptions:
    """What the command line says of the client.

    Raises:
        ClientError, ConfigError: it makes no sense, or a file cannot be used.
    """
    version = _VERSIONS[client["protocol"]]
    if client["key"] is not None:
        check_private(client["key"])
    password = _password(client)
    authenticator = _authenticator(client, password)
    return ClientOptions(
        client_id=client["client_id"],
        version=version,
        username=client["username"],
        password=password if authenticator is None else None,
        authenticator=authenticator,
        will=_will(client),
        keep_alive=client["keepalive"],
        clean_start=not client["no_clean_start"],
        session_expiry=_expiry(client["session_expiry"], client["no_clean_start"], version),
        properties=properties_of(client["connect_property"], PacketType.CONNECT),
        tls=_tls(client),
        allow_plaintext=client["allow_plaintext"],
        connect_timeout=client["timeout"],
        backoff=None if client["no_reconnect"] else Backoff(),
        insist=client["retry"],
    )


def _authenticator(client: dict[str, Any], password: bytes | None) -> ScramAuthenticator | None:
    if client["auth"] == "password":
        return None
    if client["username"] is None or not password:
        raise OptionsInvalid(
            f"--auth {client['auth']} needs a user name and a password",
            "add -u NAME, and --password-file FILE or type the password",
        )
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        raise OptionsInvalid("the password is no UTF-8, as SCRAM needs it", "choose another password") from None
    return ScramAuthenticator(client["username"], text, binds=client["auth"] == "scram")


def _tls(client: dict[str, Any]) -> TlsOptions:
    if client["insecure"] and client["pin"] is None:
        raise OptionsInvalid(
            "--insecure alone would have anybody be the broker",
            "give the fingerprint of its certificate, too: --pin sha256:..., as `openssl x509 -noout -fingerprint "
            "-sha256 -in FILE` shows it to who runs the broker",
        )
    return TlsOptions(
        ca_file=client["cafile"],
        certificate_file=client["cert"],
        key_file=client["key"],
        server_name=client["servername"],
        pin=client["pin"],
        verify=not client["insecure"],
    )


def _expiry(text: str, keep: bool, version: int) -> int:
    if text == "never":
        return NEVER
    try:
        seconds = int(DURATION.convert(text, None, None))
    except click.BadParameter as error:
        raise OptionsInvalid(f"--session-expiry {error.message}", 'write "1h", "7d" or "never"') from None
    # 3.1.1 has one flag for both: a session that is gone on with is also kept.
    return NEVER if keep and not seconds and version == MQTT_3_1_1 else seconds


def _will(client: dict[str, Any]) -> Will | None:
    if client["will_topic"] is None:
        if client["will_payload"] or client["will_retain"] or client["will_qos"] or client["will_property"]:
            raise OptionsInvalid("there is a will without a topic", "add --will-topic")
        return None
    properties = properties_of(client["will_property"], WILL)
    return Will(
        client["will_topic"], client["will_payload"].encode(), client["will_qos"], client["will_retain"], properties
    )


def _password(client: dict[str, Any]) -> bytes | None:
    """From a file, a variable, or the terminal, in this order."""
    if client["password_file"] is not None:
        return _first_line(read_secret(client["password_file"], _MAXIMUM_PASSWORD), client["password_file"])
    if client["password_env"] is not None:
        if client["password_env"] not in os.environ:
            raise OptionsInvalid(
                f"there is no variable {client['password_env']}", "set it, or leave out --password-env"
            )
        return os.environb[client["password_env"].encode()]
    if PASSWORD_VARIABLE in os.environ:
        return os.environb[PASSWORD_VARIABLE.encode()]
    enough = client["cert"] is not None and client["auth"] == "password"
    if client["username"] is None or enough or not sys.stdin.isatty():
        return None
    return getpass.getpass(f"Password of {client['username']}: ").encode()


def _first_line(content: bytes, file: Path) -> bytes:
    line = content.split(b"\n", 1)[0].rstrip(b"\r")
    if not line:
        raise ConfigError(f"{file}: its first line is empty; write the password there")
    return line


def problem_words(error: ClientError | ConfigError) -> list[str]:
    """What is wrong with the options, line by line."""
    return error.problems if isinstance(error, ConfigError) else [f"mqttsecure: {error}"]
