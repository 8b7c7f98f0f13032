"""Tests for mqttsecure.policy.https: real TLS to a service on loopback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trustme
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.server import NOT_DONE_YET

from mqttsecure.errors import ConfigError
from mqttsecure.policy.https import HttpsClient, HttpsFault
from mqttsecure.policy.https_tls import TlsMaterial, check_https_url
from tests.support.https import HttpsService, key_pair_pem


class HttpsClientTests(TestCase):
    """A policy asks a service."""

    timeout = 60

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.service = HttpsService(self.folder)
        self.addCleanup(self.service.stop)

    def client(self, *, maximum: int = 1000, seconds: float = 30.0, **more: Any) -> HttpsClient:
        files = {"ca": self.service.ca_file, **more}
        bounds = {name: more[name] for name in ("connections", "waiting") if name in more}
        tls = TlsMaterial.load(files["ca"], files.get("certificate"), files.get("key"))
        client = HttpsClient(reactor, tls, maximum=maximum, seconds=seconds, **bounds)
        self.addCleanup(client.close)
        return client

    async def fault(self, asked: Deferred[Any]) -> str:
        return str(await self.assertFailure(asked, HttpsFault))

    async def test_asks_over_one_connection(self) -> None:
        """An answer comes with its status and kind, and the next question takes the same connection."""
        self.service.say({"a": 1}, status=201, media_type="application/json; charset=utf-8")
        client = self.client()
        for _ in range(3):
            answer = await client.get(self.service.url)
            self.assertEqual((answer.status, answer.media_type, answer.body), (201, "application/json", b'{"a": 1}'))
        self.assertEqual(self.service.connections, 1)

    async def test_sends_a_body(self) -> None:
        """What is asked arrives."""
        self.service.say({})
        await self.client().ask("POST", self.service.url, b"question", {"Content-Type": "text/plain"})
        self.assertEqual(self.service.requests, [("POST", "/keys", b"question")])

    async def test_asks_again_where_an_idle_connection_was_closed(self) -> None:
        """A service that was restarted between two questions costs no denial."""
        self.service.say({})
        client = self.client()
        await client.ask("POST", self.service.url, b"1")
        await self.service.drop_connections()
        answer = await client.ask("POST", self.service.url, b"2")
        self.assertEqual(answer.status, 200)

    async def test_trusts_only_the_ca_that_is_named(self) -> None:
        """A certificate of another CA, the system's included, is no answer."""
        other = self.folder / "other.pem"
        trustme.CA().cert_pem.write_to_path(str(other))
        for ca in (other, None):
            self.assertIn("TLS: certificate verify failed", await self.fault(self.client(ca=ca).get(self.service.url)))
        self.assertEqual(self.service.requests, [])

    async def test_the_name_must_be_right(self) -> None:
        """A certificate for another host is no answer, though the CA is right."""
        wrong = HttpsService(self.folder / "wrong", hostname="elsewhere.example")
        self.addCleanup(wrong.stop)
        wrong.say({})
        fault = await self.fault(self.client(ca=wrong.ca_file).get(wrong.url))
        self.assertIn("certificate is for another name", fault)
        self.assertEqual(wrong.requests, [])

    async def test_shows_its_certificate(self) -> None:
        """A service that demands mutual TLS gets the broker's certificate, and answers nobody else."""
        ours = trustme.CA()
        service = HttpsService(self.folder / "mutual", client_ca=ours)
        self.addCleanup(service.stop)
        service.say({})
        certificate, key = key_pair_pem(ours.issue_cert("broker.example"), self.folder, "broker")
        answer = await self.client(ca=service.ca_file, certificate=certificate, key=key).get(service.url)
        self.assertEqual(answer.status, 200)
        await self.fault(self.client(ca=service.ca_file).get(service.url))
        self.assertEqual(len(service.requests), 1)

    async def test_follows_no_redirect(self) -> None:
        """Nobody else is asked than the configuration names."""
        self.service.answer = lambda request: request.redirect(b"https://localhost:1/") or b""
        self.assertEqual((await self.client().get(self.service.url)).status, 302)

    async def test_an_answer_has_a_size(self) -> None:
        """One that is larger, or never ends, or has a head without end, is given up."""
        self.service.say(b"x" * 1001)
        self.assertIn("larger than 1000 bytes", await self.fault(self.client().get(self.service.url)))
        self.service.say(b"x" * 1_000_000)
        self.assertIn("larger than", await self.fault(self.client().get(self.service.url)))

        def long_head(request: Any) -> bytes:
            for number in range(100):
                request.responseHeaders.addRawHeader(b"x-%d" % number, b"y" * 1000)
            return b""

        self.service.answer = long_head
        self.assertIn("larger than", await self.fault(self.client().get(self.service.url)))

    async def test_an_answer_has_a_time(self) -> None:
        """One that does not come, or trickles, is given up in the time that it may take in all."""
        self.service.hang()
        self.assertIn("no answer within 0.2 s", await self.fault(self.client(seconds=0.2).get(self.service.url)))

        def trickle(request: Any) -> Any:
            request.write(b"x")
            return NOT_DONE_YET

        self.service.answer = trickle
        self.assertIn("no answer within 0.2 s", await self.fault(self.client(seconds=0.2).get(self.service.url)))

    async def test_nobody_there(self) -> None:
        """A service that is not there is told as such."""
        await self.service.stop()
        self.assertIn("cannot be reached", await self.fault(self.client().get(self.service.url)))

    async def test_only_so_many_at_once(self) -> None:
        """More questions wait, and beyond what may wait they fail at once; one given up makes room."""
        self.service.hang()
        client = self.client(connections=2, waiting=2)
        asked = [client.get(self.service.url) for _ in range(4)]
        self.assertIn("wait already", await self.fault(client.get(self.service.url)))
        for each in asked:
            each.cancel()
        await gatherResults([self.assertFailure(each, CancelledError) for each in asked])
        self.service.say({})
        self.assertEqual((await client.get(self.service.url)).status, 200)


class OfflineTests(SynchronousTestCase):
    """What is said before anything is asked."""

    def test_a_clock_asks_nobody(self) -> None:
        """`mqttsecure check` builds policies, and must not call services."""
        client = HttpsClient(Clock(), TlsMaterial(), maximum=1, seconds=1)
        fault = self.failureResultOf(client.get("https://localhost/"), HttpsFault)
        self.assertIn("only the running broker asks", str(fault.value))
        self.successResultOf(client.close())

    def test_urls(self) -> None:
        """Only HTTPS, with no secret in the address."""
        self.assertEqual(check_https_url("https://a.example:8443/x?y=z"), "https://a.example:8443/x?y=z")
        for url in (
            "http://a.example/",
            "https://",
            "https://u:p@a.example/",
            "https://a.example:x/",
            "https://a.example:0/",
            "https://a.example/#x",
            "https://a.example/ä",
            "https://a.example/" + "x" * 3000,
            "a.example",
        ):
            error = self.assertRaises(ValueError, check_https_url, url)
            self.assertNotIn("u:p", str(error))

    def test_files(self) -> None:
        """A file that is missing, no PEM, or a key that does not fit or is open to others, is told with its path."""
        folder = Path(self.mktemp())
        folder.mkdir()
        issued = trustme.CA()
        certificate, key = key_pair_pem(issued.issue_cert("a.example"), folder, "a")
        _, other = key_pair_pem(issued.issue_cert("b.example"), folder, "b")
        material = TlsMaterial.load(certificate, certificate, key)
        self.assertEqual(len(material.trust or ()), 1)
        self.assertNotIn("PRIVATE KEY", repr(material))
        (folder / "empty.pem").write_bytes(b"")
        (folder / "broken.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
        for arguments, text in (
            ((folder / "none.pem", None, None), "none.pem: cannot be read"),
            ((folder / "empty.pem", None, None), "holds no PEM certificate"),
            ((folder / "broken.pem", None, None), "no PEM certificate"),
            ((None, certificate, other), "that fits"),
            ((None, certificate, certificate), "chmod"),
        ):
            error = self.assertRaises(ConfigError, TlsMaterial.load, *arguments)
            self.assertIn(text, str(error))
