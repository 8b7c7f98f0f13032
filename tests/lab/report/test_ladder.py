# -*- test-case-name: tests.lab.report.test_ladder -*-
"""The pictures of five handshakes (lab row E3), as they were when somebody looked at them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.report.ladder import Rung, draw, left_out, rungs_of
from mqttsecure.lab.report.layers import draw_layers, layers_of, one_frame
from tests.lab.samples import one_connection
from tests.lab.test_ladders import NAMES

LADDERS: Final = Path(__file__).parent / "ladders"


def picture(name: str) -> str:
    """Both pictures of a capture, an element a line."""
    rungs = rungs_of(one_connection(name, authority=None))
    pictures = draw(rungs, title=name), draw(rungs, title=name, narrow=True)
    return "\n".join(each.replace("><", ">\n<") for each in pictures) + "\n"


class LadderTests(SynchronousTestCase):
    """A picture that changes is to be looked at."""

    maxDiff = None

    def test_five_ladders(self) -> None:
        """Look at the difference in a browser; where it is meant, write the files anew."""
        for name in NAMES:
            self.assertEqual(picture(name), (LADDERS / f"{name}.svg").read_text(encoding="utf-8"), name)

    def test_where_encryption_starts(self) -> None:
        """One line in each direction, at ChangeCipherSpec's successor; none without TLS."""
        for name, lines in (("tls12-ecdhe-rsa.pcap", 2), ("plain-v311.pcap", 0)):
            drawn = draw(rungs_of(one_connection(name)), title="")
            self.assertEqual((drawn.count('class="start"'), drawn.count('class="shade"')), (lines, lines), name)

    def test_long_names_and_conversations(self) -> None:
        """A name from a capture is cut before it leaves the picture, and a long conversation after its beginning."""
        self.assertNotIn("x" * 31, draw([Rung("client", "x" * 500, False)], title=""))
        connection = one_connection("tls12-ecdhe-rsa.pcap")
        connection.messages *= 5
        self.assertEqual(len(rungs_of(connection)) + left_out(connection), len(connection.messages))


class LayersTests(SynchronousTestCase):
    """What lies in what (lab row C1)."""

    def test_bytes_of_the_capture(self) -> None:
        """Frames, TCP, TLS and MQTT, each with what the capture holds of it."""
        connection = one_connection("tls12-ecdhe-rsa.pcap")
        names = [name for (name, _), _words in layers_of(connection)]
        self.assertEqual(names, ["Link, IP", "TCP", "TLS", "MQTT"])
        drawn = draw_layers(connection)
        for expected in ("2,081 bytes carried", "18 records", "5 packets, 69 bytes"):
            self.assertIn(expected, drawn)
        frame = one_frame(connection)
        self.assertIn("226 bytes = 66 of link", frame[0] if frame is not None else "")

    def test_without_tls_or_keys(self) -> None:
        """No box for what is not there, and no number for what cannot be seen."""
        self.assertEqual([name for (name, _), _words in layers_of(one_connection("plain-v5.pcap"))][2:], ["MQTT"])
        self.assertIn("cannot be seen", draw_layers(one_connection("tls13.pcap", keys=False)))
        self.assertIsNone(one_frame(one_connection("plain-v5.pcap")))


def write() -> None:
    """Write them anew: ``python -c 'from tests.lab.report.test_ladder import write; write()'``."""
    for name in NAMES:
        (LADDERS / f"{name}.svg").write_text(picture(name), encoding="utf-8")
