# -*- test-case-name: tests.lab.report.test_comparison -*-
"""The handshakes of TLS 1.2 and 1.3 side by side, read off captures that ship with the package (lab rows E3 and E4).

``reference.json`` is written by ``python -m tests.lab.report.reference`` from the captures of the tests.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from mqttsecure.lab.flights import is_application
from mqttsecure.lab.model import Connection
from mqttsecure.lab.report.html import Markup, both, phrase, table, tag
from mqttsecure.lab.report.ladder import Rung, draw

__all__ = ["TITLES", "Reference", "comparison", "read_references", "reference_of", "this_row"]

TITLES: Final = {
    "tls12-rsa": ("TLS 1.2, RSA key exchange", "TLS 1.2，RSA 密钥交换"),
    "tls12-ecdhe": ("TLS 1.2, ECDHE", "TLS 1.2，ECDHE"),
    "tls12-mutual": ("TLS 1.2, mutual", "TLS 1.2，双向认证"),
    "tls12-resumed": ("TLS 1.2, resumed", "TLS 1.2，会话恢复"),
    "tls13": ("TLS 1.3", "TLS 1.3"),
    "tls13-retry": ("TLS 1.3 after a retry", "TLS 1.3，重试之后"),
}

_LESSONS: Final = {
    "tls12-rsa": (
        "No ServerKeyExchange: the client encrypts the secret for the certificate's key. Whoever gets that key later "
        "reads everything that was recorded.",
        "没有 ServerKeyExchange：客户端用证书公钥加密秘密。日后谁得到私钥，谁就能读懂所有录下的内容。",
    ),
    "tls12-ecdhe": (
        "A one-time key in ServerKeyExchange, signed by the certificate's key: forward secrecy.",
        "ServerKeyExchange 带来一次性公钥，由证书密钥签名：具有前向保密。",
    ),
    "tls12-mutual": (
        "CertificateRequest, and the client answers with its certificate and CertificateVerify. No more round trips, "
        "but more bytes.",
        "服务器发送 CertificateRequest，客户端以证书和 CertificateVerify 作答。往返次数不变，字节更多。",
    ),
    "tls12-resumed": (
        "The secret is known from before: no certificate, no key exchange, the server finishes first.",
        "秘密沿用上一次会话：没有证书，没有密钥交换，服务器先发 Finished。",
    ),
    "tls13": (
        "Keys go with the hellos, so all that follows ServerHello is encrypted, the certificate too.",
        "密钥随两个 Hello 交换，ServerHello 之后全部加密，证书也不例外。",
    ),
    "tls13-retry": (
        "The client guessed a group that the server does not take, which costs a round trip.",
        "客户端猜的群组服务器不接受，多花一个往返。",
    ),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """A handshake to compare with, up to the first packet of MQTT.

    Attributes:
        tcp, tls: round trips.
        frame_bytes: of the frames of the handshake.
        readable_certificate: whoever is on the way sees the server's certificate; None where there is none.
        forward_secrecy: a key that leaks later opens nothing that was recorded.
    """

    key: str
    capture: str
    rungs: tuple[Rung, ...]
    tcp: int
    tls: int
    frame_bytes: int
    readable_certificate: bool | None
    forward_secrecy: bool | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, value: dict[str, Any]) -> Reference:
        return cls(**{**value, "rungs": tuple(Rung(**each) for each in value["rungs"])})


def reference_of(key: str, capture: str, connection: Connection) -> Reference:
    """What a connection is to compare with."""
    flights = {index: flight.name for flight in connection.flights for index in flight.messages}
    starts = connection.tls.encryption_starts if connection.tls is not None else {}
    rungs = []
    for message in connection.messages:
        if message.layer == "tcp":
            continue
        begins = starts.get(message.sender) == message.index
        name = flights.get(message.index, "")
        rungs.append(Rung(message.sender, message.name, message.encrypted, "", name, begins))
        if is_application(message):
            break
    trips = connection.round_trips
    if trips is None:
        raise ValueError(f"{capture} has no handshake")
    certificate, secrecy = _seen(connection)
    return Reference(
        key, capture, tuple(rungs), trips.tcp, trips.tls, trips.handshake_frame_bytes, certificate, secrecy
    )


def _seen(connection: Connection) -> tuple[bool | None, bool | None]:
    """Whether the server's certificate can be read by anybody, and whether there is forward secrecy."""
    sent = next((each for each in connection.of_kind("certificate") if each.sender == "server"), None)
    facts = connection.tls
    suite = facts.suite if facts is not None else None
    secrecy = suite.forward_secrecy and facts.psk_mode != "psk_ke" if suite is not None and facts is not None else None
    return (not sent.encrypted if sent is not None else None), secrecy


@cache
def read_references() -> tuple[Reference, ...]:
    """Those that ship with the package."""
    text = resources.files("mqttsecure.lab.report").joinpath("reference.json").read_text(encoding="utf-8")
    return tuple(Reference.read(each) for each in json.loads(text))


_YES: Final = {True: ("yes", "是"), False: ("no", "否"), None: ("–", "–")}
_NO_CERTIFICATE: Final = ("none sent", "未发送")


def _row(name: object, tls: int, tcp: int, octets: int, certificate: bool | None, secrecy: bool | None) -> list[object]:
    shown = phrase(_YES[certificate] if certificate is not None else _NO_CERTIFICATE)
    return [name, tls, tcp + tls, f"{octets:,}", shown, phrase(_YES[secrecy])]


def this_row(connection: Connection, name: tuple[str, str] | None = None) -> list[object] | None:
    """A connection of the page beside the others, by a name; None where it has no handshake of TLS."""
    trips = connection.round_trips
    if trips is None or connection.tls is None:
        return None
    if name is None:
        name = f"this capture, connection {connection.number}", f"本抓包，连接 {connection.number}"
    return _row(tag("b", phrase(name)), trips.tls, trips.tcp, trips.handshake_frame_bytes, *_seen(connection))


def comparison(rows: list[list[object]]) -> Markup:
    """The section.

    Args:
        rows: of this page's own connections, from :func:`this_row`.
    """
    references = read_references()
    heads = (
        ("handshake", "握手"),
        ("round trips of TLS", "TLS 往返"),
        ("with TCP", "含 TCP"),
        ("bytes of frames", "帧字节数"),
        ("certificate readable", "证书可见"),
        ("forward secrecy", "前向保密"),
    )
    known = [
        _row(
            phrase(TITLES[each.key]),
            each.tls,
            each.tcp,
            each.frame_bytes,
            each.readable_certificate,
            each.forward_secrecy,
        )
        for each in references
    ]
    return tag(
        "section",
        tag("h2", both("Handshakes side by side", "各种握手并排比较")),
        tag(
            "p",
            both(
                "Round trips before the client may send its first packet of MQTT, counted in captures of real "
                "handshakes. A full handshake of TLS 1.2 has four flights: Client1, Server1, Client2, Server2.",
                "客户端可以发送第一个 MQTT 报文之前的往返次数，从真实握手的抓包中数出。TLS 1.2 的完整握手有四个"
                "航次：Client1、Server1、Client2、Server2。",
            ),
        ),
        table(heads, [*rows, *known]),
        tag("div", *(_figure(each) for each in references), class_="ladders"),
        id="comparison",
    )


def _figure(reference: Reference) -> Markup:
    trips = both(
        f"{reference.tls} of TLS + {reference.tcp} of TCP",
        f"TLS {reference.tls} 个往返 + TCP {reference.tcp} 个往返",
    )
    return tag(
        "figure",
        tag("figcaption", phrase(TITLES[reference.key]), tag("span", " · ", trips, class_="soft")),
        draw(reference.rungs, title=TITLES[reference.key][0], narrow=True),
        tag("p", phrase(_LESSONS[reference.key]), class_="soft"),
    )
