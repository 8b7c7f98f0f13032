"""Identities at a broker that is really started: tokens that end sessions, SCRAM over TLS, groups of two sources."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mqttsecure.client.client import Client, connect
from mqttsecure.client.failures import ClientError, ConnectRefused, Disconnected
from mqttsecure.client.options import ClientOptions, TlsOptions
from mqttsecure.client.scram import ScramAuthenticator
from mqttsecure.policy.builtin.password_hash import PasswordFile
from tests.cli.client_case import run_command
from tests.support.config import BrokerFiles, write_config
from tests.support.https import HttpsService
from tests.support.process import BrokerProcess
from tests.support.tokens import AUDIENCE, ISSUER, Issuer

BEFORE = """
[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.0/8", "::1"]

[[policy]]
id = "handshake"
use = "tls-requirements"

[[policy]]
id = "client-ids"
use = "client-id"
patterns = ["*"]
"""

JWT = """
[[policy]]
id = "tokens"
use = "jwt"
issuer = "{issuer}"
audience = ["{audience}"]
jwks_url = "{url}"
ca_file = "{ca}"
groups_claim = "groups"
grants_claim = "mqtt"
grants_within = ["plant/#"]
leeway_seconds = 0

[[policy]]
id = "topics"
use = "topic-acl"
rules = ["permit group:tokens:staff publish,read all/#"]
"""

SCRAM = """
[[policy]]
id = "certificate"
use = "client-certificate"
authorities = ["lab"]

[[policy]]
id = "scram"
use = "scram"
authority = "lab"
channel_binding = "required"

[[policy]]
id = "topics"
use = "topic-acl"
rules = ["permit group:staff publish staff", "permit group:plant publish plant"]
"""


class _Watching(ScramAuthenticator):
    """Says when an exchange has come to its end."""

    def __init__(self, password: str) -> None:
        super().__init__("alice", password)
        self.done: Deferred[None] = Deferred()

    def finish(self, data: bytes | None) -> None:
        super().finish(data)
        done, self.done = self.done, Deferred()
        done.callback(None)


class IdentitiesCase(TestCase):
    """A started broker, and the client of this package."""

    timeout = 120

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    async def start(self, policies: str) -> BrokerFiles:
        files = write_config(self.folder, policies=policies)
        PasswordFile(files.users).set_user("alice", b"pencil", ["staff"], scram=True)
        self.broker = BrokerProcess(files.config, self.folder)
        self.addCleanup(self.broker.kill)
        await deferToThread(self.broker.start)
        return files

    async def connect(self, files: BrokerFiles, **more: Any) -> Client:
        certificate = more.pop("certificate", (None, None))
        tls = TlsOptions(ca_file=files.ca, certificate_file=certificate[0], key_file=certificate[1])
        options = ClientOptions(tls=tls, backoff=None, **more)
        client = await connect(f"mqtts://localhost:{self.broker.ports['tls']}", reactor, options)
        self.addCleanup(client.disconnect)
        return client

    async def refusal(self, files: BrokerFiles, **more: Any) -> int | None:
        error = await self.assertFailure(Deferred.fromCoroutine(self.connect(files, **more)), ConnectRefused)
        code: int | None = error.reason_code
        return code

    async def may_publish(self, client: Client, topic: str) -> bool:
        try:
            await client.publish(topic, b"x", qos=1)
        except ClientError:
            return False
        return True


class JwtTests(IdentitiesCase):
    """Tokens of an issuer that publishes its keys by HTTPS."""

    async def test_a_token_is_a_session_long(self) -> None:
        """Its bearer does what groups and grants allow, and is disconnected when it runs out."""
        service = HttpsService(self.folder / "issuer")
        self.addCleanup(service.stop)
        issuer = Issuer(key_id="k1")
        service.say({"keys": [issuer.jwk()]})
        places = {"issuer": ISSUER, "audience": AUDIENCE, "url": service.url, "ca": service.ca_file}
        files = await self.start(BEFORE + JWT.format(**places))

        def token(seconds: int, by: Issuer = issuer, **claims: Any) -> bytes:
            now = time.time()
            return by.token(now, exp=int(now) + seconds, **claims)

        for bad in (token(-5), token(600, Issuer(number=1, key_id="k1"))):
            self.assertEqual(await self.refusal(files, username="alice", password=bad), 0x86)
        client = await self.connect(
            files, password=token(600, groups=["staff"], mqtt=["publish plant/{user}/#"]), client_id="a"
        )
        for topic, expected in (("all/x", True), ("plant/alice/x", True), ("plant/bob/x", False)):
            self.assertEqual(await self.may_publish(client, topic), expected)
        short = await self.connect(files, password=token(6), client_id="b")
        error = await self.assertFailure(short.closed(), Disconnected)
        self.assertEqual(error.reason_code, 0x87)
        self.assertTrue(client.is_connected)
        self.assertEqual(len(service.requests), 1)
        self.assertNotIn(token(600)[:30].decode(), self.broker.log)


class ScramTests(IdentitiesCase):
    """A password that is never sent, beside a certificate."""

    async def test_scram_and_a_certificate(self) -> None:
        """Both make one principal with the groups of both, bound to the TLS connection; proved again while it lasts."""
        files = await self.start(BEFORE + SCRAM)
        certificate = files.issue("alice", ["plant"])
        authenticator = _Watching("pencil")
        client = await self.connect(files, authenticator=authenticator, certificate=certificate, client_id="a")
        self.assertEqual(authenticator.method, "SCRAM-SHA-256-PLUS")
        for topic, expected in (("staff", True), ("plant", True), ("other", False)):
            self.assertEqual(await self.may_publish(client, topic), expected)
        done = authenticator.done
        client.reauthenticate()
        await done
        self.assertTrue(await self.may_publish(client, "plant"))
        for more in (
            {"authenticator": ScramAuthenticator("alice", "wrong")},
            {"authenticator": ScramAuthenticator("nobody", "pencil")},
            {"authenticator": ScramAuthenticator("bob", "battery staple")},
            {"authenticator": ScramAuthenticator("alice", "pencil", binds=False)},
            {"authenticator": ScramAuthenticator("alice", "pencil"), "certificate": files.issue("bob")},
        ):
            self.assertEqual(await self.refusal(files, client_id="b", **more), 0x87, more)
        self.assertNotIn("pencil", self.broker.log)

    async def test_the_command_line_speaks_it(self) -> None:
        """`mqttsecure pub --auth scram`, with a certificate beside it."""
        files = await self.start(BEFORE + SCRAM)
        certificate, key = files.issue("alice")
        place = ["-L", f"mqtts://localhost:{self.broker.ports['tls']}", "--cafile", files.ca, "--cert", certificate]
        arguments = [*place, "--key", key, "-u", "alice", "--auth", "scram", "-q", "1", "-m", "x"]
        for topic, password, code in (("staff", "pencil", 0), ("staff", "wrong", 1)):
            result = await deferToThread(
                run_command, "pub", *arguments, "-t", topic, more={"MQTTSECURE_PASSWORD": password}
            )
            self.assertEqual(result.returncode == 0, code == 0, result.stderr.decode())
