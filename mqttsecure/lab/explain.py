# -*- test-case-name: tests.lab.test_explain -*-
"""Each message explained: what it is, why it matters, where the specification says it, what an attacker sees.

The value in a capture stands in the message itself; what is here is the same for each message of a kind, in the form
that its version of TLS has. :func:`explanation_key` names the entry, for translations.
"""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.explain_mqtt import MQTT
from mqttsecure.lab.explain_tls import TLS
from mqttsecure.lab.model import Explanation, Message, TlsFacts

__all__ = ["EXPLANATIONS", "explain", "explanation_key"]

_TCP: Final = {
    "syn": Explanation(
        "The first packet of a TCP connection: the client asks for one and tells the number that it counts its bytes "
        "from.",
        "TLS stands on TCP: nothing of the handshake can go over the wire before this one is done. It costs a round "
        "trip.",
        "RFC 9293, section 3.5",
        "Addresses, ports and the moment. A SYN can be forged, which is why half-open connections are limited.",
    ),
    "syn_ack": Explanation(
        "The server agrees to the connection and tells its own number.",
        "The port is open and no firewall stands between.",
        "RFC 9293, section 3.5",
        "That something listens on this port.",
    ),
    "ack": Explanation(
        "The client confirms; the connection is open both ways.",
        "From here on bytes may flow. The next thing that the client sends is its ClientHello, or, without TLS, its "
        "CONNECT.",
        "RFC 9293, section 3.5",
        "Nothing new.",
    ),
    "fin": Explanation(
        "One end has nothing more to send.",
        "In order after close_notify or DISCONNECT; a FIN without them may have been forged to cut the conversation "
        "short.",
        "RFC 9293, section 3.6",
        "The end of the conversation, and who ended it first.",
    ),
    "rst": Explanation(
        "One end breaks the connection off.",
        "What was under way is lost. Right after a handshake it often means a refusal that TLS gave no reason for.",
        "RFC 9293, section 3.5.2",
        "That the connection broke. A RST can be forged by whoever sees the sequence numbers.",
    ),
}

EXPLANATIONS: Final[dict[str, Explanation]] = {
    **{f"tcp.{key}": value for key, value in _TCP.items()},
    **{f"tls.{key}": value for key, value in TLS.items()},
    **{f"mqtt.{key}": value for key, value in MQTT.items()},
}
"""All explanations by their key."""


def explanation_key(message: Message, facts: TlsFacts | None) -> str:
    """The key of the explanation of a message: its layer and kind, and what sets it apart from others of the kind."""
    kind = message.kind
    if message.layer == "tls":
        is_1_3 = facts is not None and (facts.version or "").startswith("TLS 1.3")
        for variant in _variants(message, facts, is_1_3):
            if variant in TLS:
                return f"tls.{variant}"
    if message.layer == "mqtt" and kind not in MQTT:
        kind = "other"
    return f"{message.layer}.{kind}"


def _variants(message: Message, facts: TlsFacts | None, is_1_3: bool) -> list[str]:
    """Names to look for, the most special first."""
    kind = message.kind
    found = []
    if kind == "client_key_exchange" and facts is not None and facts.key_exchange == "RSA":
        found.append("client_key_exchange.rsa")
    if kind == "certificate" and message.sender == "client":
        found += ["certificate.client.1_3"] if is_1_3 else []
        found.append("certificate.client")
    if kind == "finished" and message.sender == "server" and facts is not None and facts.resumed and not is_1_3:
        found.append("finished.resumed")
    if is_1_3:
        found.append(f"{kind}.1_3")
    return [*found, kind]


def explain(message: Message, facts: TlsFacts | None) -> Explanation | None:
    """The explanation of a message; None for what nobody has explained."""
    return EXPLANATIONS.get(explanation_key(message, facts))
