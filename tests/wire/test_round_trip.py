# -*- test-case-name: tests.wire.test_round_trip -*-
"""What is encoded is decoded to the same, for every packet type, version and end; and noise does no harm."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import MqttError
from mqttsecure.wire import packets
from mqttsecure.wire.decoder import Decoder
from mqttsecure.wire.encoder import encode_packet
from mqttsecure.wire.packets import Packet
from tests.wire.codec_vectors import load
from tests.wire.strategies import VERSIONS, any_packet

SETTINGS = settings(max_examples=150, deadline=None)
SEEDS = [bytes.fromhex(seed["hex"]) for seed in load("fuzz_seeds.json")]
SEEDS += [bytes.fromhex(vector["hex"]) for vector in load("codec.json")["valid"] if len(vector["hex"]) < 400]
SEEDS += [bytes.fromhex(vector["hex"]) for vector in load("malformed.json") if len(vector["hex"]) < 400]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """``data`` in pieces, cut at ``places`` taken modulo its length."""
    borders = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(borders)]


def decode_all(pieces: list[bytes], version: int, from_client: bool) -> list[Packet]:
    """All packets of a stream that comes in these pieces."""
    decoder = Decoder(version, maximum_packet_size=1 << 20, from_client=from_client)
    found: list[Packet] = []
    for piece in pieces:
        decoder.feed(piece)
        while (packet := decoder.next_packet()) is not None:
            found.append(packet)
    return found


class RoundTripTests(SynchronousTestCase):
    """Encoder and decoder agree."""

    @given(st.data(), st.sampled_from(VERSIONS), st.booleans())
    @settings(max_examples=400, deadline=None)
    def test_every_packet(self, data: st.DataObject, version: int, from_client: bool) -> None:
        """What one end says is what the other hears, in every version."""
        packet = data.draw(any_packet(version, from_client))
        encoded = encode_packet(packet, version)
        at = 0 if isinstance(packet, packets.Connect) else version
        self.assertEqual(decode_all([encoded], at, from_client), [packet])

    @given(st.data(), st.sampled_from(VERSIONS), st.booleans(), st.lists(st.integers(0, 10_000), max_size=20))
    @SETTINGS
    def test_a_stream_in_pieces(self, data: st.DataObject, version: int, from_client: bool, places: list[int]) -> None:
        """However the network cuts a stream of packets, they come out whole and in order."""
        sent = data.draw(st.lists(any_packet(version, from_client), min_size=1, max_size=5))
        stream = b"".join(encode_packet(packet, version) for packet in sent)
        self.assertEqual(decode_all(cut(stream, places), version, from_client), sent)


class FuzzTests(SynchronousTestCase):
    """Whatever comes, there is a packet or an MqttError, and nothing else."""

    def _survives(self, data: bytes, version: int, from_client: bool) -> None:
        try:
            found = decode_all([data], version, from_client)
        except MqttError as error:
            self.assertGreaterEqual(error.reason_code, 0x80)
            self.assertTrue(str(error))
            return
        for packet in found:
            self.assertIsInstance(packet, Packet)

    @given(st.binary(max_size=60), st.sampled_from((0, *VERSIONS)), st.booleans())
    @SETTINGS
    def test_noise(self, data: bytes, version: int, from_client: bool) -> None:
        """Random bytes end in a clean refusal."""
        self._survives(data, version, from_client)

    @given(st.data(), st.sampled_from((0, *VERSIONS)), st.booleans())
    @settings(max_examples=400, deadline=None)
    def test_mutated_seeds(self, data: st.DataObject, version: int, from_client: bool) -> None:
        """Good packets with bytes changed, removed, added or repeated end in a packet or a clean refusal."""
        packet = bytearray(data.draw(st.sampled_from(SEEDS)))
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, max(len(packet) - 1, 0)))
            change = data.draw(st.sampled_from(("set", "cut", "add", "copy")))
            if change == "set" and packet:
                packet[at] = data.draw(st.integers(0, 255))
            elif change == "cut":
                del packet[at:]
            elif change == "add":
                packet[at:at] = data.draw(st.binary(min_size=1, max_size=4))
            else:
                packet += packet[at:]
        self._survives(bytes(packet), version, from_client)

    @given(st.data(), st.booleans())
    @SETTINGS
    def test_what_is_accepted_can_be_sent(self, data: st.DataObject, from_client: bool) -> None:
        """A mutated body that decodes in 5.0 encodes again, and to what decodes to the same."""
        body = bytearray(encode_packet(data.draw(any_packet(5, from_client)), 5))
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
        try:
            found = decode_all([bytes(body)], 5, from_client)
        except MqttError:
            return
        for packet in found:
            if isinstance(packet, packets.Connack) and 0 < packet.reason_code < 0x80:
                continue  # the answer of a server of 3.1.1, which is no packet of 5.0
            if isinstance(packet, packets.Connect):
                if not packet.client_id and packet.protocol_version != 5:
                    continue  # for the session layer to refuse, with a CONNACK
                self.assertEqual(decode_all([encode_packet(packet, 5)], 0, from_client), [packet])
            else:
                self.assertEqual(decode_all([encode_packet(packet, 5)], 5, from_client), [packet])
