# -*- test-case-name: tests.client.test_address -*-
"""Where the broker is: ``mqtts://host:port``, or ``mqtt://`` for plaintext on this machine."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from mqttsecure.client.failures import AddressInvalid

__all__ = ["Address", "parse_address"]

_PORTS: Final = {"mqtts": 8883, "mqtt": 1883}
_SCHEMES: Final = {"mqtts": "mqtts", "ssl": "mqtts", "tls": "mqtts", "mqtt": "mqtt", "tcp": "mqtt"}
_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_EXAMPLE: Final = "write mqtts://broker.example or mqtts://192.0.2.7:8883"


@dataclass(frozen=True, slots=True)
class Address:
    """One broker.

    Attributes:
        host: a name, or an IP address without brackets.
        port: of TCP.
        is_tls: whether TLS is spoken.
    """

    host: str
    port: int
    is_tls: bool

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address."""
        return _ip(self.host) is not None

    @property
    def is_loopback(self) -> bool:
        """Whether what is sent there cannot leave this machine."""
        ip = _ip(self.host)
        return self.host.lower() == "localhost" if ip is None else ip.is_loopback

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.is_tls else 'mqtt'}://{host}:{self.port}"


def parse_address(text: str) -> Address:
    """``mqtts://host:port``; without a scheme it is TLS, without a port the usual one of the scheme.

    Raises:
        AddressInvalid: it is none. A user name or a password in it is refused: the one has an option of its own, the
            other would be read in process lists and logs.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "mqtts", text
    known = _SCHEMES.get(scheme.lower())
    if known is None:
        raise AddressInvalid(f"{scheme[:40]!r} is no scheme for a broker", "use mqtts://, or mqtt:// without TLS")
    if "@" in rest:
        # Not quoted: it may hold a password.
        raise AddressInvalid("the address of the broker holds a user name", "give user and password by their options")
    host, port = _split(rest.removesuffix("/"), text)
    ip = _ip(host)
    if ip is None and (not _HOST.fullmatch(host) or len(host) > 253):
        raise AddressInvalid(f"{text!r} has no valid host", _EXAMPLE)
    return Address(host, _PORTS[known] if port is None else port, known == "mqtts")


def _split(rest: str, text: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(?:\[(?P<ip6>[0-9A-Fa-f:.%a-z]+)\]|(?P<host>[^:/\[\]]+))(?::(?P<port>[0-9]{1,5}))?", rest)
    if match is None:
        raise AddressInvalid(f"{text!r} is no address of a broker", f"{_EXAMPLE}; an IPv6 address stands in brackets")
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port < 65536:
        raise AddressInvalid(f"{text!r} has the port {port}", "use 1 to 65535")
    return match["ip6"] or match["host"], port


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
