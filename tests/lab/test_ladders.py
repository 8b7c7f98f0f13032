"""The ladders of five handshakes (lab row E3), as they were before: 1.2 RSA, ECDHE, mutual, resumed, and 1.3."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.text import render
from tests.lab.keep import KEPT
from tests.lab.samples import one_connection, read_sample

LADDERS: Final = Path(__file__).parent / "ladders"
NAMES: Final = (
    "tls12-rsa-aes128-sha256.pcap",
    "tls12-ecdhe-rsa.pcap",
    "tls12-mtls.pcap",
    "made-tls12-ticket-resumed.pcapng",
    "tls13.pcap",
)


def ladder(name: str) -> str:
    """The verdict and the ladder of a capture, without the name of the file."""
    lines = [line.text for line in render(read_sample(name, authority=None), brief=True)]
    return "\n".join(lines[1:]) + "\n"


class LadderTests(SynchronousTestCase):
    """A picture that changes is to be looked at."""

    maxDiff = None

    def test_five_ladders(self) -> None:
        """Look at the difference; where it is meant, write the file anew."""
        for name in NAMES:
            self.assertEqual(ladder(name), (LADDERS / f"{name}.txt").read_text(), name)

    def test_captures_that_were_made(self) -> None:
        """Each can still be read, opened, and checked."""
        for name in KEPT:
            connection = one_connection(f"{name}.pcapng", keys=False, authority="made-ca.crt")
            self.assertEqual(connection.tls.key_log.state if connection.tls else "", "used", name)
            wrong = [check.key for check in connection.checks if check.outcome.value == "bad"]
            self.assertEqual(wrong, ["certificate_name"] if "wrong-name" in name else [], name)


def write() -> None:
    """Write the ladders anew: ``python -c 'from tests.lab.test_ladders import write; write()'``."""
    for name in NAMES:
        (LADDERS / f"{name}.txt").write_text(ladder(name))
