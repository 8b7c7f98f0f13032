# -*- test-case-name: tests.lab.test_explain -*-
"""MQTT packets explained."""

from __future__ import annotations

from typing import Final

from mqttsecure.lab.model import Explanation

__all__ = ["MQTT"]

_SIZE: Final = "With TLS its size and time; without TLS all of it."

MQTT: Final = {
    "connect": Explanation(
        "The first packet of MQTT: the protocol version, the Client Identifier, how long silence is allowed (Keep "
        "Alive), and most often user name and password.",
        "Who may do what is decided by what stands here. The password goes as it is: only TLS keeps it from others.",
        "MQTT 3.1.1 and 5.0, section 3.1",
        "With TLS its size and time; without TLS the password itself, to be used at once.",
    ),
    "connack": Explanation(
        "The broker's answer to CONNECT: accepted, or why not.",
        "A refusal by the broker is here, where one by TLS is an alert before.",
        "MQTT 3.1.1 and 5.0, section 3.2",
        _SIZE,
    ),
    "publish": Explanation(
        "A message for a topic, with its Quality of Service.",
        "This is the payload of it all: a temperature, or the command to open a valve. Who may send it must be "
        "decided for each.",
        "MQTT 3.1.1 and 5.0, section 3.3",
        "With TLS its size and time, from which habits can be guessed; without TLS it can be read, changed and made "
        "up.",
    ),
    "puback": Explanation(
        "The receipt for a PUBLISH of QoS 1.",
        "Until it comes, the sender has to send again: at least once.",
        "MQTT 3.1.1 and 5.0, section 3.4",
        _SIZE,
    ),
    "subscribe": Explanation(
        "Topic Filters that the client wants to receive.",
        "`#` asks for everything: what is granted has to be decided, and again when each message is delivered.",
        "MQTT 3.1.1 and 5.0, section 3.8",
        _SIZE,
    ),
    "suback": Explanation(
        "What of a SUBSCRIBE is granted, filter by filter.",
        "A refusal stands in here and is easily overlooked: 0x80, or 0x87 in MQTT 5.0.",
        "MQTT 3.1.1 and 5.0, section 3.9",
        _SIZE,
    ),
    "pingreq": Explanation(
        "The client is still there, and asks whether the broker is.",
        "Without it a dead connection would be noticed only by the next message. Sent within each Keep Alive.",
        "MQTT 3.1.1 and 5.0, section 3.12",
        "A regular beat, also through TLS: the smallest packet there is.",
    ),
    "pingresp": Explanation(
        "The broker is still there.",
        "The other half of the Keep Alive.",
        "MQTT 3.1.1 and 5.0, section 3.13",
        "A regular beat, also through TLS.",
    ),
    "disconnect": Explanation(
        "The end in order: the client leaves and its will is not published.",
        "A connection that ends without it counts as lost, and the will goes out.",
        "MQTT 3.1.1 and 5.0, section 3.14",
        _SIZE,
    ),
    "malformed_mqtt": Explanation(
        "Bytes in the place of a packet that the standard does not allow.",
        "A broker closes the connection for it; if it does not, look closer.",
        "MQTT 5.0, section 4.13",
        _SIZE,
    ),
    "other": Explanation(
        "A packet of the exchange for QoS 2, of unsubscribing, or of authentication.",
        "Each of them carries the Packet Identifier of what it answers.",
        "MQTT 3.1.1 and 5.0, section 3",
        _SIZE,
    ),
}
