# -*- test-case-name: tests.lab.network.test_relay -*-
"""A relay that draws frames."""

from __future__ import annotations

import socket
import threading

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import LabError
from mqttsecure.lab.network.relay import Relay


class RelayTests(SynchronousTestCase):
    """No frames can be captured here."""

    def test_bytes_pass_both_ways_and_are_drawn(self) -> None:
        """From the address of the host; the end passes, too."""
        with socket.create_server(("127.77.1.10", 0)) as server:
            peers: list[str] = []

            def serve() -> None:
                connection, peer = server.accept()
                peers.append(peer[0])
                with connection:
                    connection.sendall(connection.recv(100).upper())

            thread = threading.Thread(target=serve)
            thread.start()
            with Relay("127.77.1.30", server.getsockname()) as relay:
                with socket.create_connection(("127.77.1.30", relay.port), 30) as client:
                    client.sendall(b"hello")
                    self.assertEqual(client.recv(100), b"HELLO")
                    self.assertEqual(client.recv(100), b"")
                thread.join(30)
            self.assertEqual(peers, ["127.77.1.30"])
            payloads = [data[54:] for _, data in relay.frames]
            self.assertIn(b"hello", payloads)
            self.assertIn(b"HELLO", payloads)
            self.assertEqual([moment for moment, _ in relay.frames], sorted(moment for moment, _ in relay.frames))

    def test_a_broker_that_is_not_there(self) -> None:
        """The client sees its connection closed."""
        with (
            Relay("127.77.1.30", ("127.77.1.10", 1)) as relay,
            socket.create_connection(("127.77.1.30", relay.port), 30) as client,
        ):
            self.assertEqual(client.recv(100), b"")
        self.assertEqual(relay.frames, [])

    def test_an_address_that_is_not_here(self) -> None:
        """In plain words."""
        with self.assertRaisesRegex(LabError, "192.0.2.1 cannot be used"):
            Relay("192.0.2.1", ("127.0.0.1", 1))
