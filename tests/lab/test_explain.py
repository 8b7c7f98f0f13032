"""Tests for mqttsecure.lab: explanations, corrections, verdicts, the document, the text."""

from __future__ import annotations

import dataclasses
import json

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.document import reading_document
from mqttsecure.lab.explain import EXPLANATIONS, explanation_key
from mqttsecure.lab.history import VERSIONS
from mqttsecure.lab.model import Connection, Outcome, as_json
from mqttsecure.lab.text import render
from mqttsecure.lab.tls.names import HANDSHAKE_TYPES
from tests.lab.samples import all_samples, one_connection, read_sample
from tests.lab.scenarios import IN_MEMORY, OPENSSL
from tests.lab.tls.test_session import read


def here(connection: Connection) -> dict[str, str]:
    return {each.row: each.here for each in connection.corrections}


class ExplanationTests(SynchronousTestCase):
    """Each message says what it is, why it matters, where it is written, what an attacker sees."""

    def test_every_message_of_every_handshake(self) -> None:
        """None is left without."""
        for name in (*IN_MEMORY, *OPENSSL):
            connection, facts = read(name)
            for message in connection.messages:
                key = explanation_key(message, facts)
                self.assertIs(message.explanation, EXPLANATIONS[key], (name, message.name))
        for name in all_samples():
            for keys in (True, False):
                for message in one_connection(name, keys=keys).messages:
                    self.assertIsNotNone(message.explanation, (name, message.name))

    def test_nothing_is_left_out(self) -> None:
        """All four parts, and a section of a specification."""
        for key, explanation in EXPLANATIONS.items():
            for part in dataclasses.astuple(explanation):
                self.assertTrue(part, key)
            self.assertRegex(explanation.specification, r"RFC \d+|MQTT", key)
            self.assertRegex(explanation.specification, r"section|appendix", key)

    def test_versions_differ(self) -> None:
        """What is readable in TLS 1.2 is not in TLS 1.3, and the explanation knows it."""
        for kind in ("certificate", "finished", "change_cipher_spec", "new_session_ticket", "certificate_request"):
            self.assertIn(f"tls.{kind}.1_3", EXPLANATIONS)
        connection, facts = read("rsa key exchange")
        key = explanation_key(connection.of_kind("client_key_exchange")[0], facts)
        self.assertEqual(key, "tls.client_key_exchange.rsa")
        connection, facts = read("ticket")
        keys = [explanation_key(message, facts) for message in connection.of_kind("finished")]
        self.assertEqual(keys, ["tls.finished.resumed", "tls.finished"])

    def test_history(self) -> None:
        """What came before TLS 1.2 is refused, and why."""
        usable = {version.name: version.usable for version in VERSIONS}
        self.assertEqual([name for name, may in usable.items() if may], ["TLS 1.2", "TLS 1.3"])
        text = "\n".join(line.text for line in render(read_sample("tls13.pcap")))
        self.assertIn(
            "SSL 3.0  1996, RFC 6101; forbidden by RFC 7568: refused; its padding can be guessed (POODLE)", text
        )

    def test_common_kinds_have_one(self) -> None:
        """Of all handshake messages that are in use."""
        rare = {"certificate_url", "supplemental_data", "compressed_certificate", "next_protocol"}
        kinds = {kind for kind, _name in HANDSHAKE_TYPES.values()} - rare
        self.assertEqual({kind for kind in kinds if f"tls.{kind}" not in EXPLANATIONS}, set())


class CorrectionTests(SynchronousTestCase):
    """What the old lab text says, and what the wire says."""

    def test_rows(self) -> None:
        """All seven, for every connection with TLS; none without."""
        rows = [each.row for each in one_connection("tls12-ecdhe-rsa.pcap").corrections]
        self.assertEqual(rows, ["C2a", "C4c", "C4d", "C5", "C6a", "C7", "E4"])
        self.assertEqual(one_connection("plain-v311.pcap").corrections, [])

    def test_version(self) -> None:
        """Three numbers that look like it, and which one counts."""
        self.assertIn("the version is TLS 1.2", here(one_connection("tls12-mtls.pcap"))["C2a"])
        text = here(one_connection("tls13.pcap"))["C2a"]
        self.assertIn("legacy_version 0x0303, supported_versions 0x0304: the version is TLS 1.3", text)
        text = here(one_connection("fail-tls10-refused.pcap"))["C2a"]
        self.assertIn("offered TLS 1.0, refused by the alert protocol_version in frame 6", text)

    def test_finished(self) -> None:
        """It is no random under a public key; computed anew it is equal."""
        found = here(one_connection("tls12-rsa-aes128-sha256.pcap"))
        self.assertIn("verify_data ccc51625c51b1b3cc00e2435", found["C4c"])
        self.assertEqual(found["C4d"], "computed ccc51625c51b1b3cc00e2435, on the wire ccc51625c51b1b3cc00e2435: equal")
        found = here(one_connection("tls12-rsa-aes128-sha256.pcap", keys=False))
        self.assertIn("could be opened", found["C4c"])
        self.assertEqual(found["C4d"], "needs a key log")

    def test_two_keys(self) -> None:
        """The certificate's and the one-time key, and the signature between them."""
        for name, text in (
            ("tls12-ecdhe-ecdsa.pcap", "certificate: ECDSA on secp256r1; one-time key: ECDHE key for x25519; the sig"),
            ("tls12-rsa-aes128-sha256.pcap", "no one-time key at all"),
            ("tls13.pcap", "one-time key: x25519, in ServerHello"),
            ("tls12-ecdhe-rsa.pcap", "the signature between them is right"),
        ):
            self.assertIn(text, here(one_connection(name))["C6a"])

    def test_what_is_inside(self) -> None:
        """MQTT; without keys a count and no guess."""
        found = here(one_connection("tls12-ecdhe-rsa.pcap"))["C7"]
        self.assertEqual(found, "MQTT 3.1.1: CONNECT, CONNACK, PUBLISH, PUBACK, DISCONNECT")
        found = here(one_connection("tls12-ecdhe-rsa.pcap", keys=False))["C7"]
        self.assertIn("5 encrypted records", found)

    def test_refusal(self) -> None:
        """A device refuses; one that does not is told."""
        self.assertIn("the client sent no byte of MQTT", here(one_connection("fail-expired.pcap"))["C5"])
        self.assertIn("the client went on all the same", here(one_connection("mitm-rogue-accepted.pcap"))["C5"])


class VerdictTests(SynchronousTestCase):
    """The sample captures, each with its trap."""

    def test_outcomes(self) -> None:
        """A refusal is none the less one when the wire shows a complete handshake."""
        for name, outcome, refused in (
            ("tls12-ecdhe-rsa.pcap", "completed", False),
            ("tls13.pcap", "completed", False),
            ("tls13-psk-resumed.pcap", "completed", False),
            ("fail-selfsigned.pcap", "completed_left", True),
            ("fail-rogue.pcap", "completed_left", True),
            ("fail-expired.pcap", "completed_left", True),
            ("fail-unknown-ca-alert.pcap", "refused_by_client", True),
            ("fail-no-shared-cipher.pcap", "refused_by_server", True),
            ("fail-tls10-refused.pcap", "refused_by_server", True),
            ("tls12-mtls-nocert.pcap", "refused_by_server", True),
            ("mitm-rogue-accepted.pcap", "completed", False),
            ("plain-v5.pcap", "plaintext", False),
        ):
            for keys in (True, False):
                verdict = one_connection(name, keys=keys).verdict
                self.assertEqual((verdict.outcome, verdict.refused), (outcome, refused), name)
        text = one_connection("fail-rogue.pcap").verdict.text
        self.assertIn("handshake completed, the client left without sending data", text)
        self.assertIn("the NAMES MATCH, THE SIGNATURE DOES NOT", text)

    def test_the_password(self) -> None:
        """Visible, not visible, or given to somebody who should not have it."""
        self.assertTrue(one_connection("plain-v311.pcap").verdict.secret_visible)
        self.assertFalse(one_connection("tls13.pcap").verdict.secret_visible)
        findings = {each.key: each for each in one_connection("mitm-rogue-accepted.pcap").verdict.findings}
        self.assertIn("PASSWORD", findings["accepted_bad_certificate"].text)

    def test_flights(self) -> None:
        """Client1, Server1, Client2, Server2, with their bytes (lab row E3 and its measured sizes)."""
        for name, sizes in (
            ("tls12-ecdhe-rsa.pcap", [226, 1360, 159, 324]),
            ("tls12-mtls.pcap", [334, 2259, 2155, 1188]),
        ):
            connection = one_connection(name)
            self.assertEqual(
                [each.name for each in connection.flights[:4]], ["Client1", "Server1", "Client2", "Server2"]
            )
            self.assertEqual([each.frame_bytes for each in connection.flights[:4]], sizes)
            trips = connection.round_trips
            self.assertEqual(trips.handshake_frame_bytes if trips else 0, sum(sizes))


class DocumentTests(SynchronousTestCase):
    """What other programs read."""

    def test_all_of_it_is_json(self) -> None:
        """Every sample, bytes as hexadecimal, with the frames beside."""
        for name in (*all_samples(), "wireguard-mqtts.pcap"):
            document = json.loads(json.dumps(reading_document(read_sample(name))))
            for connection in document["connections"]:
                self.assertIn("summary", connection)
                self.assertEqual(connection["messages"][0]["kind"], "syn")
        self.assertEqual(as_json({"a": (b"\1", Outcome.OK, 1.5, None)}), {"a": ["01", "ok", 1.5, None]})
        self.assertRaises(TypeError, as_json, object())

    def test_text_is_safe_and_bounded(self) -> None:
        """Whatever a peer puts in names and payloads, lines stay short and printable."""
        for name in all_samples():
            for line in render(read_sample(name)):
                self.assertTrue(line.text.isprintable() and len(line.text) <= 120, line.text)
