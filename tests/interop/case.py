# -*- test-case-name: tests.interop -*-
"""A really started broker with every built-in policy that a production set-up has, each written out.

alice may write and read ``lab/#``, bob may read it and write ``lab/bob/#``; nobody may write ``lab/locked/#`` and
nobody has anything to do with other trees. Both can show a password or a certificate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from tests.support.config import USERS, BrokerFiles, write_config
from tests.support.process import BrokerProcess

__all__ = ["CREDENTIALS", "HOST", "BrokerCase"]

HOST: Final = "127.0.0.1"
CREDENTIALS: Final = ("password", "certificate")

_POLICIES: Final = """\
[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.0/8"]

[[policy]]
id = "connections"
use = "connection-limit"
per_address = 100

[[policy]]
id = "handshake"
use = "tls-requirements"
minimum_version = "TLSv1.2"
plaintext = "never"

[[policy]]
id = "certificate"
use = "client-certificate"
authorities = ["lab"]

[[policy]]
id = "password"
use = "password-file"
authority = "lab"

[[policy]]
id = "client-ids"
use = "client-id"
patterns = ["{user}", "{user}-*"]

[[policy]]
id = "rates"
use = "rate-limit"
messages = "1000/second"
bytes = "4MiB/second"
burst = 2.0
direction = "both"

[[policy]]
id = "topics"
use = "topic-acl"
authority = "lab"
rules = [
  "permit user:alice  publish,read  lab/#",
  "permit user:bob    read          lab/#",
  "permit user:bob    publish       lab/bob/#",
  "deny   everyone    publish       lab/locked/#",
]
"""


class BrokerCase(SynchronousTestCase):
    """A broker of its own for each test: it starts in half a second, and nothing of one test can reach another."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.files: BrokerFiles = write_config(self.directory, policies=_POLICIES)
        self.certificates = {user: self.files.issue(user) for user in USERS}
        self.broker = BrokerProcess(self.files.config, self.directory)
        self.addCleanup(self.broker.kill)
        self.broker.start()
        self.addCleanup(self._assert_served)

    @property
    def port(self) -> int:
        return self.broker.ports["tls"]

    def _assert_served(self) -> None:
        """Whatever the clients did, the broker is up, stops in order, and had no fault of its own."""
        self.assertEqual(0, self.broker.stop(), self.broker.log)
        self.assertNotIn("Traceback", self.broker.log)
