"""``mqttsecure pub`` and ``sub`` with Mosquitto's broker, and with Mosquitto's clients at ours."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.client_case import PATIENCE, ClientCase, Running, run_command
from tests.support.config import write_config
from tests.support.foreign import require
from tests.support.mosquitto_broker import MosquittoBroker, free_port


class MosquittoBrokerTests(SynchronousTestCase):
    """Mosquitto's broker."""

    def test_pub_and_sub(self) -> None:
        """A message of each QoS, by both versions, retained for who comes later; and TLS verified."""
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(parents=True)
        files = write_config(directory)
        port = free_port()
        lines = ["user root"] if os.geteuid() == 0 else []
        lines += [f"listener {port} 127.0.0.1", "allow_anonymous true"]
        lines += [f"certfile {directory / 'server.pem'}", f"keyfile {directory / 'server.key'}"]
        (directory / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        broker = MosquittoBroker(directory / "mosquitto.conf", port)
        self.addCleanup(broker.kill)
        broker.start()
        base = ("-L", f"mqtts://localhost:{port}", "--cafile", files.ca)
        for version in ("5", "3.1.1"):
            for qos in (0, 1, 2):
                topic = f"lab/{version}/{qos}"
                done = run_command("pub", *base, "-V", version, "-t", topic, "-m", topic, "-q", qos, "-r")
                self.assertEqual((done.returncode, done.stderr.count(b"Traceback")), (0, 0), done.stderr)
            done = run_command("sub", *base, "-V", version, "-t", f"lab/{version}/+", "-q", "2", "-C", "3")
            self.assertEqual(sorted(done.stdout.decode().split()), [f"lab/{version}/{qos}" for qos in (0, 1, 2)])
        self.assertEqual(run_command("pub", *base[:2], "-t", "x", "-m", "x").returncode, 4)


class MosquittoClientTests(ClientCase):
    """Mosquitto's clients on the other side."""

    def test_both_ways(self) -> None:
        """What one sends the other shows."""
        port = self.broker.ports["tls"]
        base = ["-h", "localhost", "-p", str(port), "--cafile", str(self.files.ca), "-V", "5"]
        base += ["-u", "alice", "-P", self.files.passwords["alice"], "-q", "1"]
        reader: Running = self.subscribe("ours", "-t", "lab/x", "-C", "1", "-F", "{payload} {user:k}")
        sent = [require("mosquitto_pub"), *base, "-i", "theirs", "-t", "lab/x", "-m", "hello"]
        subprocess.run([*sent, "-D", "publish", "user-property", "k", "v"], check=True, timeout=PATIENCE)
        self.assertEqual(reader.wait()[1], b"hello v\n")
        self.run_client("pub", "-t", "lab/kept", "-m", "kept", "-r", "-q", "1")
        shown = subprocess.run(
            [require("mosquitto_sub"), *base, "-i", "theirs", "-t", "lab/kept", "-C", "1"],
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        self.assertEqual(shown.stdout, b"kept\n")
