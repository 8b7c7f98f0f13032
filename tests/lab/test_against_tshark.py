"""The analyzer and tshark read the same captures: dozens of handshakes, which the tests make, in one file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.capture.link import ETHERNET, LINUX_SLL, LINUX_SLL2, NULL, RAW
from mqttsecure.lab.capture.writer import PcapngWriter
from mqttsecure.lab.model import Connection
from mqttsecure.lab.reading import read_capture
from mqttsecure.lab.summary import frames_of
from mqttsecure.lab.tls.names import ALERTS
from tests.lab.scenarios import IN_MEMORY, OPENSSL, recording_of
from tests.lab.test_mqtt import conversation
from tests.lab.traffic import Recording, capture, record
from tests.lab.tshark import tshark_frames


def flat(row: dict[str, Any], connection: Connection) -> dict[str, Any]:
    """One of our frames in the form that tshark's fields can be put in."""
    sender = connection.client if row["from"] == "client" else connection.server
    found = {**row, "source_port": sender.port}
    del found["from"]
    if "handshake" in row:  # for tshark a retry is a ServerHello
        found["handshake"] = [each.replace("HelloRetryRequest", "ServerHello") for each in row["handshake"]]
        found["extensions"] = _extensions(connection, row["frame"])
    if "alert" in row:
        levels = {"warning": 1, "fatal": 2}
        codes = {name.replace("_", " "): code for code, name in ALERTS.items()}
        found["alert"] = [(levels[each["level"]], codes[each["description"].lower()]) for each in row["alert"]]
    for name in ("client_hello", "server_hello"):
        if name in row:
            found[name] = _flat_hello(row[name], name)
    if "server_key_exchange" in row:
        found["server_key_exchange"] = {
            key: [] if value is None else [value] for key, value in row["server_key_exchange"].items()
        }
    if "client_key_exchange" in row:
        found["client_key_exchange"] = [row["client_key_exchange"]["length"]]
    if "mqtt" in row:
        found["mqtt"] = _flat_packets(row["mqtt"])
    return found


def _extensions(connection: Connection, frame: int) -> list[Any]:
    """Numbers of the extensions of all messages that a frame completed."""
    found: list[Any] = []
    for message in connection.messages:
        if message.frame == frame and message.layer == "tls":
            for field in message.fields:
                if field.name in ("extensions", "certificate"):
                    found += [each.fields[0].value for each in field.fields]
    return found


def _flat_hello(hello: dict[str, Any], name: str) -> dict[str, Any]:
    common = {"legacy_version": [hello["legacy_version"]], "random": [hello["random"]]}
    if name == "client_hello":
        return {
            **common,
            "groups": hello["key_share_groups"],
            "suites": hello["cipher_suites"],
            "versions": hello["supported_versions"],
            "session_id_length": [hello["session_id_length"]],
            "server_name": [] if hello["server_name"] is None else [hello["server_name"]],
        }
    return {
        **common,
        "groups": [] if hello["key_share_group"] is None else [hello["key_share_group"]],
        "suites": [hello["cipher_suite"]],
        "versions": [] if hello["selected_version"] is None else [hello["selected_version"]],
    }


def _flat_packets(packets: dict[str, Any]) -> dict[str, Any]:
    found = {key: [value] for key, value in packets.items() if key not in ("types", "payload_hex")}
    if "payload_hex" in packets:
        found["payload"] = [packets["payload_hex"]]
    return {**found, "types": packets["types"]}


NOT_READ_BY_TSHARK = ("post-handshake authentication",)
"""tshark 4.0 takes the Finished of an authentication after the handshake for another one, and loses the keys."""


class AgainstTsharkTests(SynchronousTestCase):
    """What another program sees, we see: each record, message, alert and packet, in the same frames."""

    maxDiff = None

    def compare(self, data: bytes, ports: tuple[int, ...] = ()) -> list[Connection]:
        file = Path(self.mktemp())
        file.write_bytes(data)
        expected = tshark_frames(file, ports)
        connections = read_capture(file).connections
        for connection in connections:
            rows = [flat(row, connection) for row in frames_of(connection) if isinstance(row, dict)]
            theirs = expected.get(connection.number - 1, [])
            self.assertEqual(rows, theirs, f"connection {connection.number}")
        return connections

    def test_all_kinds_of_handshakes(self) -> None:
        """Every scenario, with its secrets, in one capture."""
        frames, secrets = [], b""
        names = [each for each in (*IN_MEMORY, *OPENSSL) if each not in NOT_READ_BY_TSHARK]
        for name in names:
            recording = recording_of(name)
            frames += record(recording).frames
            secrets += recording.key_log
        connections = self.compare(capture(frames, secrets=secrets))
        self.assertEqual(len(connections), len(names))

    def test_all_kinds_of_handshakes_without_keys(self) -> None:
        """The same, as anybody on the way sees it."""
        frames = [frame for name in IN_MEMORY for frame in record(recording_of(name)).frames]
        self.compare(capture(frames))

    def test_small_segments(self) -> None:
        """Messages over several segments, IPv6, another port."""
        frames, secrets = [], b""
        for name in ("rsa", "tls13", "mutual 1.3", "retry"):
            recording = recording_of(name)
            frames += record(recording, mss=400, addresses=("fd00::2", "fd00::1"), port=18883).frames
            frames += record(recording, mss=100, port=18883).frames
            secrets += recording.key_log
        self.compare(capture(frames, secrets=secrets), ports=(18883,))

    def test_plain_mqtt(self) -> None:
        """Each version in the clear."""
        frames = [
            frame for version in (3, 4, 5) for frame in record(Recording(conversation(version)), port=1883).frames
        ]
        for connection in self.compare(capture(frames)):
            self.assertEqual(connection.verdict.outcome, "plaintext")

    def test_link_layers(self) -> None:
        """Ethernet with VLAN tags, Linux cooked, raw IP and loopback: several interfaces in one pcapng, and pcap."""
        recording = recording_of("tls12")
        file = io.BytesIO()
        writer = PcapngWriter(file)
        for link_type in (ETHERNET, LINUX_SLL, LINUX_SLL2, RAW, NULL):
            interface = writer.add_interface(link_type)
            vlans = (7, 9) if link_type == ETHERNET else ()
            for time, data in record(recording, link_type=link_type, vlans=vlans).frames:
                writer.write_frame(data, time, interface=interface)
        outcomes = [connection.verdict.outcome for connection in self.compare(file.getvalue())]
        self.assertEqual(outcomes, ["completed"] * 5)
        frames = record(recording, link_type=LINUX_SLL).frames
        self.compare(capture(frames, link_type=LINUX_SLL, format="pcap"))
