"""Tests for mqttsecure.lab.live and ``mqttsecure handshake HOST:PORT``: real servers, real handshakes."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from tests.lab.authority import Credential, credential, root
from tests.lab.tshark import tshark_frames
from tests.support.config import write_config
from tests.support.foreign import require
from tests.support.process import BrokerProcess

_ACCEPT: Final = re.compile(rb"ACCEPT .*:(\d+)\s")


@contextmanager
def server(folder: Path, *arguments: str, found: Credential | None = None) -> Iterator[int]:
    """OpenSSL's server for one connection; its port."""
    folder.mkdir(exist_ok=True)
    found = found or credential("localhost", names=("localhost", "127.0.0.1"))
    (folder / "server.pem").write_bytes(found.pem + found.key_pem)
    (folder / "ca.pem").write_bytes(root().pem)
    command = [require("openssl"), "s_server", "-accept", "127.0.0.1:0", "-cert", "server.pem", "-naccept", "1"]
    process = subprocess.Popen(
        [*command, *arguments], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        if process.stdout is None:
            raise AssertionError("no output")
        said = b""
        while not (match := _ACCEPT.search(said)):
            piece = process.stdout.readline()
            if not piece:
                raise AssertionError(said)
            said += piece
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield int(match[1])
    finally:
        process.kill()
        process.wait(30)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


class LiveCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.authority = self.folder / "ca.pem"

    def run_command(self, *arguments: str | Path, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["handshake", *map(str, arguments)])
        self.assertEqual(result.exit_code, code, result.output)
        return result

    def ask(self, port: int, *arguments: str | Path, code: int = 0) -> Any:
        target = f"localhost:{port}"
        result = self.run_command(target, "--ca", self.authority, "--json", *arguments, code=code)
        return json.loads(result.stdout)["connections"][0]


class LiveTests(LiveCase):
    """A server, explained while I wait."""

    def test_versions_suites_and_protocols(self) -> None:
        """What I ask for is what is offered; everything is opened and checked."""
        for options, version, suite in (
            ((), "TLS 1.3", "TLS_AES_256_GCM_SHA384"),
            (("--suites", "TLS_CHACHA20_POLY1305_SHA256"), "TLS 1.3", "TLS_CHACHA20_POLY1305_SHA256"),
            (("--tls", "1.2"), "TLS 1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
            (
                ("--tls", "1.2", "--suites", "ECDHE-ECDSA-AES128-GCM-SHA256", "--alpn", "mqtt"),
                "TLS 1.2",
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            ),
        ):
            with server(self.folder, "-alpn", "mqtt") as port:
                connection = self.ask(port, "--no-connect", *options)
            facts = connection["tls"]
            self.assertEqual((facts["version"], facts["suite"]["name"]), (version, suite))
            self.assertEqual(facts["key_log"]["state"], "used")
            self.assertEqual(facts["alpn"], "mqtt" if "--alpn" in options else None)
            self.assertEqual(connection["verdict"]["outcome"], "completed")
            checks = [each["outcome"] for each in facts["server_certificates"][0]["checks"]]
            self.assertEqual(set(checks), {"ok"})

    def test_a_client_certificate(self) -> None:
        """I show one, and see it go by; without it I see the refusal."""
        found = credential("sensor-1", client=True)
        (self.folder / "client.pem").write_bytes(found.pem + found.key_pem)
        for options, code, state in (
            (("--cert", self.folder / "client.pem"), 0, "certificate"),
            ((), 3, "asked, empty"),
        ):
            with server(self.folder, "-Verify", "1", "-CAfile", "ca.pem", "-verify_return_error") as port:
                connection = self.ask(port, "--no-connect", *options, code=code)
            self.assertEqual(connection["tls"]["client_authentication"], state)

    def test_a_wrong_certificate(self) -> None:
        """Every fault is told, and no user name or password has gone out."""
        rogue = credential("elsewhere.test", issuer=root("Rogue"))
        (self.folder / "rogue.pem").write_bytes(rogue.pem + rogue.key_pem)
        self.authority.write_bytes(root().pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "rogue.pem")
        listener = socket.create_server(("127.0.0.1", 0))

        def broker() -> None:
            peer, _address = listener.accept()
            with context.wrap_socket(peer, server_side=True) as connection:
                connection.recv(1000)
                connection.sendall(b"\x20\x02\0\0")
                connection.recv(1000)

        thread = threading.Thread(target=broker, daemon=True)
        thread.start()
        connection = self.ask(listener.getsockname()[1], code=3)
        thread.join(30)
        listener.close()
        keys = {finding["key"] for finding in connection["verdict"]["findings"]}
        self.assertEqual(keys, {"certificate_name", "certificate_trust"})
        (connect,) = (each for each in connection["messages"] if each["kind"] == "connect")
        self.assertEqual({"username", "password"} & {each["name"] for each in connect["fields"]}, set())

    def test_kept_for_wireshark(self) -> None:
        """The file is mine alone, and tshark reads in it what I was told."""
        file = self.folder / "kept.pcapng"
        with server(self.folder) as port:
            connection = self.ask(port, "--no-connect", "--save", file)
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        (frames,) = tshark_frames(file, (port,)).values()
        names = [name for frame in frames for name in frame.get("handshake", ())]
        self.assertEqual(names, [name for frame in connection["frames"] for name in frame.get("handshake", ())])
        self.assertIn("Finished", names)
        self.run_command(f"localhost:{port}", "--save", "/nowhere/x", code=1)

    def test_our_own_broker(self) -> None:
        """The broker of this package: its handshake, and that it lets nobody in without credentials."""
        files = write_config(self.folder)
        broker = BrokerProcess(files.config, self.folder)
        self.addCleanup(broker.kill)
        broker.start()
        result = self.run_command(f"127.0.0.1:{broker.ports['tls']}", "--ca", files.ca, "--json", code=3)
        (connection,) = json.loads(result.stdout)["connections"]
        self.assertEqual(connection["tls"]["version"], "TLS 1.3")
        self.assertIn("the broker refused the CONNECT", connection["verdict"]["text"])
        keys = [each["key"] for each in connection["verdict"]["findings"]]
        self.assertEqual(keys, ["connect_refused", "no_client_certificate"])
        self.assertEqual(connection["round_trips"]["tls"], 1)


class UnreachableTests(LiveCase):
    """Servers that are not there, and options that cannot be used."""

    def problem(self, text: str, *arguments: str | Path, code: int = 1) -> None:
        self.assertIn(text, self.run_command(*arguments, code=code).stderr)

    def test_nobody_there(self) -> None:
        """A closed port, no such host, no such port."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.problem("nobody listens there", f"127.0.0.1:{port}")
        self.problem("no such host", "host.invalid:8883")
        self.problem("is no port", "localhost:99999")

    def test_somebody_who_says_nothing(self) -> None:
        """The time is limited, and what was said is told."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            target = f"127.0.0.1:{listener.getsockname()[1]}"
            result = self.run_command(target, "--timeout", "0.3", "--brief", code=3)
        self.assertIn("the server said nothing more within 0.3 s", result.stdout)

    def test_somebody_who_speaks_no_tls(self) -> None:
        """A plain MQTT port, a web server: it is told."""
        listener = socket.create_server(("127.0.0.1", 0))

        def answer() -> None:
            peer, _address = listener.accept()
            peer.recv(1000)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            peer.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        result = self.run_command(f"127.0.0.1:{listener.getsockname()[1]}", "--brief", code=3)
        thread.join(30)
        listener.close()
        self.assertIn("bytes that are no TLS records", result.stdout)

    def test_options_that_cannot_be_used(self) -> None:
        """Files that are not there or do not belong together, suites that are none."""
        (self.folder / "a.pem").write_bytes(credential().pem)
        (self.folder / "b.pem").write_bytes(credential(kind="rsa").key_pem)
        target = "localhost:8883"
        self.problem("cannot be used as client certificate", target, "--cert", self.folder / "missing.pem")
        pair = ("--cert", self.folder / "a.pem", "--key", self.folder / "b.pem")
        self.problem("belong together", target, *pair)
        self.problem("--key without --cert", target, "--key", self.folder / "b.pem")
        self.problem("names no cipher suite", target, "--suites", "NONSENSE")
        self.problem("names no cipher suite", target, "--suites", "TLS_NONSENSE")
        self.problem("is no host name", target, "--sni", "x" * 300)
        self.problem("there is no such file", target, "--ca", self.folder / "missing.pem")
        self.problem("Missing argument", code=2)
