"""Hostile files: whatever is in them, reading ends in time, with a reading or with the one class of error."""

from __future__ import annotations

import json
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import CaptureError
from mqttsecure.lab.capture.limits import Budget, Limits
from mqttsecure.lab.document import reading_document
from mqttsecure.lab.model import Reading
from mqttsecure.lab.reading import read_capture_bytes
from mqttsecure.lab.text import render
from tests.lab.keep import KEPT
from tests.lab.samples import CAPTURES, all_samples, keys_of_sample
from tests.lab.scenarios import recording_of
from tests.lab.traffic import MOMENT, Recording, capture, record

_SETTINGS = settings(
    max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
)
_SAMPLES = [
    ((CAPTURES / name).read_bytes(), keys.read_bytes() if (keys := keys_of_sample(name)) is not None else b"")
    for name in (*all_samples(), "wireguard-mqtts.pcap", *(f"{each}.pcapng" for each in KEPT))
]


def read(data: bytes, key_log: bytes = b"", limits: Limits | None = None) -> Reading | None:
    """Read it all and tell it all; None where it was refused."""
    budget = Budget(Limits(seconds=20) if limits is None else limits)
    try:
        reading = read_capture_bytes(data, source="hostile", key_log=key_log, budget=budget)
    except CaptureError:
        return None
    json.dumps(reading_document(reading))
    for line in render(reading):
        if not line.text.isprintable():
            raise AssertionError(f"not to be shown on a terminal: {line.text!r}")
    return reading


@st.composite
def mutated(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A capture with some bytes changed, cut out, or doubled."""
    data, key_log = draw(st.sampled_from(_SAMPLES))
    changed = bytearray(data)
    for _change in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(changed) - 1))
        kind = draw(st.integers(0, 3))
        if kind == 0:
            changed[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == 1:
            changed[at : at + 2] = draw(st.sampled_from((b"\0\0", b"\xff\xff", b"\x7f\xff", b"\0\1")))
        elif kind == 2:
            del changed[at : at + draw(st.integers(1, 40))]
        else:
            changed[at:at] = changed[at : at + draw(st.integers(1, 60))]
        if not changed:
            break
    return bytes(changed), key_log


class HostileTests(SynchronousTestCase):
    """I read a file that somebody else made."""

    @_SETTINGS
    @given(mutated())
    def test_changed_captures(self, sample: tuple[bytes, bytes]) -> None:
        """Bytes changed anywhere: in the file's own structure, in headers, in messages."""
        read(*sample)

    @_SETTINGS
    @given(st.binary(max_size=400), st.booleans())
    def test_noise_over_tls(self, noise: bytes, from_client: bool) -> None:
        """Anything at all in the place of TLS records, from either end."""
        head = [(True, recording_of("tls12").chunks[0][1])]
        read(capture(record(Recording([*head, (from_client, noise)])).frames))
        read(capture(record(Recording([(from_client, b"\x16\x03\x03" + noise)])).frames))

    @_SETTINGS
    @given(st.integers(1, 255), st.binary(max_size=300), st.sampled_from(["tls12", "tls13", "rsa key exchange"]))
    def test_noise_in_handshake_messages(self, kind: int, noise: bytes, name: str) -> None:
        """A message of each kind with anything in it, after real hellos."""
        chunks = recording_of(name).chunks[:2]
        message = bytes((kind,)) + len(noise).to_bytes(3, "big") + noise
        bad = b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message
        for sender in (True, False):
            read(capture(record(Recording([*chunks, (sender, bad)])).frames))
            read(capture(record(Recording([(sender, bad)])).frames))

    @_SETTINGS
    @given(st.binary(max_size=200))
    def test_noise_as_a_file(self, noise: bytes) -> None:
        """Anything at all, also behind the beginnings of capture files."""
        read(noise)
        for sample in ("tls13.pcap", "tls13-dsb.pcapng"):
            head = (CAPTURES / sample).read_bytes()
            read(head[:24] + noise)
            read(head[:160] + noise)

    @_SETTINGS
    @given(st.binary(max_size=300))
    def test_noise_as_a_key_log(self, noise: bytes) -> None:
        """Anything at all as a key log."""
        read((CAPTURES / "tls13.pcap").read_bytes(), noise)

    def test_each_limit_holds(self) -> None:
        """Frames, frame sizes, streams, messages, secrets, time: each ends reading, or what lies beyond is left out."""
        data = (CAPTURES / "tls12-ecdhe-rsa-dsb.pcapng").read_bytes()
        pcap = (CAPTURES / "tls13.pcap").read_bytes()
        for limits in (Limits(frames=3), Limits(frame_bytes=100), Limits(secrets=0), Limits(seconds=-1)):
            self.assertIsNone(read(data, limits=limits), limits)
        for limits in (Limits(frames=3), Limits(frame_bytes=100), Limits(seconds=-1)):
            self.assertIsNone(read(pcap, limits=limits), limits)
        for limits in (Limits(stream_bytes=500), Limits(total_bytes=500), Limits(segments=2)):
            reading = read(pcap, limits=limits)
            self.assertTrue(
                reading is not None and "more than is looked at" in str(reading.connections[0].notes), limits
            )
        reading = read(pcap, limits=Limits(messages=3))
        self.assertTrue(reading is not None and "only the first 3" in str(reading.connections[0].notes))
        reading = read(pcap, limits=Limits(connections=0))
        self.assertTrue(reading is not None and "beyond the limit" in str(reading.notes))

    def test_much_of_everything(self) -> None:
        """Thousands of tiny records and fragments, hundreds of connections: read within seconds."""
        started = time.monotonic()
        hello = recording_of("tls12").chunks[0][1]
        many = b"".join(b"\x16\x03\x01\x00\x01" + bytes((byte,)) for byte in hello[5:]) + b"\x17\x03\x03\0\0" * 5000
        read(capture(record(Recording([(True, many)])).frames))
        frames = [
            frame for port in range(300) for frame in record(Recording([(True, hello)]), client_port=port + 1).frames
        ]
        reading = read(capture(frames))
        self.assertEqual(len(reading.connections) if reading is not None else 0, 300)
        fragment = bytes.fromhex("450000240001200040110000") + b"\x0a\0\0\1\x0a\0\0\2" + bytes(16)
        pieces = [
            (MOMENT, bytes(12) + b"\x08\0" + fragment[:4] + at.to_bytes(2, "big") + fragment[6:]) for at in range(5000)
        ]
        self.assertIsNotNone(read(capture(pieces)))
        self.assertLess(time.monotonic() - started, 60)
