"""Tests for mqttsecure.service.unix_address: sockets deep within folders can be reached."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.service.unix_address import FolderHandle, unix_address


class UnixAddressTests(SynchronousTestCase):
    """Both ends, with real sockets."""

    def test_short_path_as_it_is(self) -> None:
        """Nothing is held open for it."""
        with unix_address(Path("/tmp/socket")) as address:
            self.assertEqual(address, "/tmp/socket")

    def test_long_path(self) -> None:
        """A socket is made and reached under a path that the kernel would not take."""
        folder = Path(self.mktemp()).absolute() / ("x" * 120)
        folder.mkdir(parents=True)
        path = folder / "control"
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        self.assertRaises(OSError, server.bind, str(path))
        handle = FolderHandle(path)
        self.addCleanup(handle.close)
        server.bind(handle.address)
        server.listen()
        self.assertTrue(path.is_socket())
        with unix_address(path) as address, socket.socket(socket.AF_UNIX) as client:
            client.connect(address)
        before = len(os.listdir("/proc/self/fd"))
        handle.close()
        handle.close()
        self.assertEqual(len(os.listdir("/proc/self/fd")), before - 1)

    def test_no_such_folder(self) -> None:
        """Told as that."""
        self.assertRaises(FileNotFoundError, FolderHandle, Path("/nowhere") / ("x" * 120) / "control")
