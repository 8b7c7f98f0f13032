"""Tests for mqttsecure.cli.handshake: captures and live servers, as someone types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from tests.lab.samples import CAPTURES


class HandshakeCase(SynchronousTestCase):
    def run_command(self, *arguments: str | Path, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["handshake", *map(str, arguments)])
        self.assertEqual(result.exit_code, code, result.output)
        return result


class CaptureTests(HandshakeCase):
    """A capture, explained."""

    def test_every_message_is_explained(self) -> None:
        """I read what each message is, what it says here, why it matters, where that is written, and who can see it."""
        name = CAPTURES / "tls12-ecdhe-rsa.pcap"
        authority = CAPTURES / "lab-ca.crt"
        output = self.run_command(name, "--keys", name.with_suffix(".keys"), "--ca", authority).stdout
        for text in (
            "TLS 1.2, ECDHE x25519, AES-128-GCM, certificate of broker.lab.test from MQTT Lab CA, password not visible",
            "7. ServerKeyExchange, from the server, frame 6, record 4, 300 bytes",
            "where  RFC 5246, section 7.4.3",
            "right: the certificate's key signed both randoms and the one-time key (rsa_pss_rsae_sha256)",
            "right: computed anew",
            "password: s3cret-alice",
            "C4c  : The encrypted handshake message holds a random number",
            "~ from here on the client encrypts ~",
        ):
            self.assertIn(text, output)

    def test_brief(self) -> None:
        """I want the ladder alone."""
        output = self.run_command(CAPTURES / "tls13.pcap", "--brief").stdout
        self.assertIn("-- ClientHello --", output)
        self.assertNotIn("RFC", output)

    def test_json(self) -> None:
        """My program reads the same, and the frames in tshark's terms beside it."""
        name = CAPTURES / "tls13-dsb.pcapng"
        document: Any = json.loads(self.run_command(name, "--json").stdout)
        (connection,) = document["connections"]
        self.assertEqual(document["format_version"], 1)
        self.assertEqual(connection["verdict"]["outcome"], "completed")
        expected = json.loads(name.with_name(f"{name.name}.json").read_text())["with_key_log"]
        self.assertEqual(connection["summary"], expected["summary"])
        self.assertEqual(connection["frames"], expected["frames"])

    def test_html(self) -> None:
        """I open it in a browser; it may hold a password, so it is mine alone. JSON may go to stdout all the same."""
        name = CAPTURES / "tls12-ecdhe-rsa.pcap"
        page = Path(self.mktemp())
        output = self.run_command(name, "--keys", name.with_suffix(".keys"), "--html", page).stdout
        self.assertEqual(output, f"made {page}\n")
        self.assertEqual(page.stat().st_mode & 0o777, 0o600)
        text = page.read_text(encoding="utf-8")
        self.assertIn("TLS 1.2, ECDHE x25519, AES-128-GCM", text)
        self.assertIn("Content-Security-Policy", text)
        document = json.loads(self.run_command(name, "--json", "--html", page, "--connection", "1").stdout)
        self.assertEqual(len(document["connections"]), 1)
        self.run_command(name, "--html", page / "no" / "place", code=1)

    def test_what_is_wrong_has_an_exit_code(self) -> None:
        """My script notices a refusal, and a client that took what it should have refused."""
        authority = CAPTURES / "lab-ca.crt"
        for name in ("fail-rogue.pcap", "fail-tls10-refused.pcap", "mitm-rogue-accepted.pcap", "plain-v5.pcap"):
            self.run_command(CAPTURES / name, "--ca", authority, "--brief", code=3)

    def test_one_connection(self) -> None:
        """I name the connection that I mean; one that is not there is told."""
        name = CAPTURES / "tls13.pcap"
        document: Any = json.loads(self.run_command(name, "--connection", "1", "--json").stdout)
        self.assertEqual(len(document["connections"]), 1)
        result = self.run_command(name, "--connection", "2", code=1)
        self.assertIn("there is no connection 2; the capture has 1", result.stderr)


class BadInputTests(HandshakeCase):
    """Each mistake is told with its mend."""

    def problem(self, content: bytes, text: str, *options: str | Path) -> None:
        file = Path(self.mktemp())
        file.write_bytes(content)
        result = self.run_command(file, *options, code=1)
        self.assertIn(text, result.stderr)
        self.assertIn(str(file), result.stderr)

    def test_files_that_are_no_captures(self) -> None:
        """Missing, a folder, empty, compressed, a key log, a certificate, anything else, another link type."""
        self.assertIn("there is no such file", self.run_command("missing.pcap", code=1).stderr)
        self.assertIn("not a file", self.run_command("/", code=1).stderr)
        self.problem(b"", "the file is empty")
        self.problem(b"\x1f\x8b\x08", "compressed by gzip; unpack it first")
        self.problem(b"CLIENT_RANDOM 00 00", "give it by --keys")
        self.problem((CAPTURES / "lab-ca.crt").read_bytes(), "give certificates by --ca")
        self.problem(b"hello", "begins neither like pcap nor like pcapng")
        wifi = bytearray((CAPTURES / "tls13.pcap").read_bytes())
        wifi[20] = 105
        self.problem(bytes(wifi), "it was captured on IEEE 802.11 (Wi-Fi), which is not read here")
        self.problem((CAPTURES / "tls13.pcap").read_bytes()[:24], "the capture is empty")

    def test_a_capture_that_was_cut(self) -> None:
        """What is there is told, and that it was cut."""
        file = Path(self.mktemp())
        file.write_bytes((CAPTURES / "tls13.pcap").read_bytes()[:2000])
        output = self.run_command(file).stdout
        self.assertIn("the file ends within frame", output)
        self.assertIn("the capture ends in the middle of the handshake", output)

    def test_key_logs_that_do_not_fit(self) -> None:
        """Of another run, without secrets, and with damaged ones."""
        capture = CAPTURES / "tls12-ecdhe-rsa.pcap"
        other = CAPTURES / "tls13.keys"
        self.assertIn("knows nothing of this connection", self.run_command(capture, "--keys", other).stdout)
        damaged = Path(self.mktemp())
        label, random, secret = (CAPTURES / "tls12-ecdhe-rsa.keys").read_text().split()
        damaged.write_text(f"{label} {random} {'0' * len(secret)}\n")
        self.assertIn("its secrets open nothing", self.run_command(capture, "--keys", damaged).stdout)
        damaged.write_text("nothing\n")
        self.assertIn("the key log holds no secret", self.run_command(capture, "--keys", damaged).stdout)
        self.assertIn("there is no such file", self.run_command(capture, "--keys", "missing.keys", code=1).stderr)

    def test_authorities_that_are_none(self) -> None:
        """A key, or nothing, in the place of a CA."""
        file = Path(self.mktemp())
        file.write_text("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
        result = self.run_command(CAPTURES / "tls13.pcap", "--ca", file, code=1)
        self.assertIn("holds no certificate", result.stderr)

    def test_options_that_do_nothing_are_refused(self) -> None:
        """An option of live connections beside a capture, and the other way round."""
        self.assertIn(
            "--save is for a live", self.run_command(CAPTURES / "tls13.pcap", "--save", "x.pcapng", code=2).stderr
        )
        self.assertIn("--keys is for captures", self.run_command("localhost:1", "--keys", "k", code=2).stderr)
