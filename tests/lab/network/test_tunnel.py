# -*- test-case-name: tests.lab.network.test_tunnel -*-
"""WireGuard between the broker and its devices."""

from __future__ import annotations

import base64
import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.network.firewall import counters, load_firewall
from mqttsecure.lab.network.lan import build_lan
from mqttsecure.lab.network.machine import examine
from mqttsecure.lab.network.plan import BROKER, PUBLISHER, SUBSCRIBER
from mqttsecure.lab.network.processes import read_line
from mqttsecure.lab.network.tunnel import build_tunnel, configuration, new_pair, only_from_tunnel
from tests.lab.experiment.case import short_folder
from tests.lab.network.case import cannot_run, open_space
from tests.support.foreign import require

_LISTEN = """
import socket
server = socket.create_server(("", 8883))
print("ready", flush=True)
input()
"""
_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 8883), 20)
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


class ConfigurationTests(SynchronousTestCase):
    """What stands in the files."""

    def test_keys_fit(self) -> None:
        """As `wg` itself derives the one from the other."""
        private, public = new_pair()
        self.assertEqual(len(base64.b64decode(private)), 32)
        derived = subprocess.run([require("wg"), "pubkey"], input=private, capture_output=True, text=True, timeout=60)
        self.assertEqual(derived.stdout.strip(), public)

    def test_a_device_reaches_the_broker_alone(self) -> None:
        """And the broker each device by its own key."""
        public = {"broker": "B=", "subscriber": "S=", "publisher": "P="}
        device = configuration(PUBLISHER, "p=", public)
        self.assertIn("Endpoint = 10.77.0.10:51820", device)
        self.assertIn("AllowedIPs = 10.99.0.10/32", device)
        self.assertEqual(device.count("[Peer]"), 1)
        broker = configuration(BROKER, "b=", public)
        self.assertIn("ListenPort = 51820", broker)
        self.assertEqual(broker.count("[Peer]"), 2)


class TunnelTests(SynchronousTestCase):
    """MQTT through the tunnel, and only there."""

    def test_through_the_tunnel_and_not_beside_it(self) -> None:
        """By the tunnel's address it connects; by the LAN's it is reset at once."""
        kind = examine().tunnel
        if kind is None:
            raise cannot_run("no WireGuard here: wg, and a kernel with it or wireguard-go as root, are needed")
        folder = short_folder(self)
        space = open_space()
        self.addCleanup(space.close)
        build_lan(space)
        build_tunnel(space, kind, folder.tunnel, lambda text: None)
        load_firewall(space, only_from_tunnel())
        process = space.popen(BROKER, [sys.executable, "-c", _LISTEN])
        assert process.stdout is not None and process.stdin is not None
        self.assertEqual(read_line(process.stdout, 60), "ready\n")
        for host in (PUBLISHER, SUBSCRIBER):
            self.assertEqual(space.run(host, sys.executable, "-c", _CONNECT, "10.99.0.10").strip(), "connected")
            refused = space.run(host, sys.executable, "-c", _CONNECT, "10.77.0.10").strip()
            self.assertEqual(refused, "ConnectionRefusedError")
        counted = {each["comment"]: each["packets"] for each in counters(space)}
        self.assertEqual(counted["MQTT beside the tunnel"], 2)
        process.stdin.close()
        process.stdout.close()
        process.wait(60)
