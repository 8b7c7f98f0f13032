"""Tests for mqttsecure.lab.tls: what is read of real handshakes, with everything that can be computed anew."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.lab.model import Connection, Outcome, TlsFacts
from mqttsecure.lab.reading import read_capture_bytes
from tests.lab.authority import root
from tests.lab.scenarios import IN_MEMORY, OPENSSL, recording_of
from tests.lab.traffic import capture, record


def read(name: str, *, keys: bool = True) -> tuple[Connection, TlsFacts]:
    recording = recording_of(name)
    data = capture(record(recording).frames, secrets=recording.key_log if keys else b"")
    (connection,) = read_capture_bytes(data, source=name, authorities=[root().certificate]).connections
    if connection.tls is None:
        raise AssertionError(name)
    return connection, connection.tls


def outcomes(connection: Connection) -> dict[str, Outcome]:
    return {check.key: check.outcome for check in connection.checks}


class ScenarioTests(SynchronousTestCase):
    """Handshakes of fifty kinds."""

    def test_all_is_opened_and_right(self) -> None:
        """With the secrets every record opens, and every signature and Finished is right."""
        computed = 0
        for name in (*IN_MEMORY, *OPENSSL):
            connection, facts = read(name)
            found = outcomes(connection)
            for key in found:
                if key.endswith(("_signature", "_finished")) or key == "master_secret":
                    self.assertEqual(found[key], Outcome.OK, (name, key))
                    computed += 1
            if facts.handshake_complete:
                self.assertEqual(facts.key_log.state, "used", name)
                self.assertIn("client_finished", found, name)
                self.assertIn("server_finished", found, name)
        self.assertGreater(computed, 120)

    def test_without_secrets(self) -> None:
        """Nothing is made up: no Finished is judged; signatures of TLS 1.2 still are, for they need no secret."""
        for name in IN_MEMORY:
            connection, facts = read(name, keys=False)
            found = outcomes(connection)
            self.assertFalse([key for key in found if key.endswith("_finished")], name)
            signed = facts.version == "TLS 1.2" and not facts.resumed and facts.key_exchange != "RSA"
            self.assertEqual("server_key_exchange_signature" in found, signed, name)
            self.assertNotIn("connect", [message.kind for message in connection.messages])

    def test_resumption(self) -> None:
        """How a session was resumed, or that it was not."""
        for name, resumption in (
            ("ticket", "ticket"),
            ("session id", "session id"),
            ("psk", "psk"),
            ("external psk", "psk"),
            ("tls12", None),
            ("tls13", None),
            ("psk 1.2", None),
        ):
            facts = read(name)[1]
            self.assertEqual((facts.resumption, facts.resumed), (resumption, resumption is not None), name)
        self.assertEqual(read("psk")[1].psk_mode, "psk_dhe_ke")

    def test_extended_master_secret(self) -> None:
        """With and without; from the premaster secret of RSA both are computed anew."""
        for name, extended in (("tls12", True), ("no extended master secret", False), ("tls13", None)):
            self.assertEqual(read(name)[1].extended_master_secret, extended, name)
        for name in ("rsa key exchange", "rsa, no extended master secret"):
            self.assertEqual(outcomes(read(name)[0])["master_secret"], Outcome.OK, name)

    def test_retry(self) -> None:
        """A HelloRetryRequest is no ServerHello; the group is the one that it asked for."""
        connection, facts = read("retry")
        self.assertEqual(len(connection.of_kind("hello_retry_request")), 1)
        self.assertEqual(len(connection.of_kind("server_hello")), 1)
        self.assertEqual(len(connection.of_kind("client_hello")), 2)
        self.assertEqual((facts.hello_retry_request, facts.group), (True, "secp521r1"))
        self.assertIn("a key for secp521r1", connection.of_kind("hello_retry_request")[0].value)

    def test_client_certificates(self) -> None:
        """Shown, not shown, not asked for, hidden."""
        for name, keys, expected in (
            ("mutual", True, "certificate"),
            ("mutual 1.3", True, "certificate"),
            ("mutual, none", True, "asked, empty"),
            ("mutual 1.3, none", True, "asked, empty"),
            ("tls12", True, "none"),
            ("mutual 1.3", False, "unknown"),
        ):
            self.assertEqual(read(name, keys=keys)[1].client_authentication, expected, name)
        connection, facts = read("mutual")
        self.assertEqual(facts.client_certificates[0].subject, "CN=sensor-1,O=Test\\, Lab")
        self.assertEqual(outcomes(connection)["client_certificate_verify_signature"], Outcome.OK)
        wanted = connection.of_kind("certificate_request")[0].field("certificate_authorities")
        self.assertEqual(wanted, [root().certificate.subject.rfc4514_string()])

    def test_early_data(self) -> None:
        """Data before the handshake: taken, thrown away, or overtaken by a retry; all of it opens."""
        for name, state, trips in (
            ("early data", "accepted", 0),
            ("early data refused", "rejected", 1),
            ("early data and a retry", "rejected", 2),
        ):
            connection, facts = read(name)
            self.assertEqual((facts.early_data, facts.key_log.state), (state, "used"), name)
            self.assertEqual(connection.round_trips.tls if connection.round_trips else None, trips, name)
            self.assertEqual(connection.messages[5].name, "CONNECT")
            self.assertEqual(connection.records[connection.messages[5].records[0]].key_epoch, "early")
        self.assertEqual(len(read("early data")[0].of_kind("end_of_early_data")), 1)
        self.assertEqual(read("early data", keys=False)[1].early_data, "sent")

    def test_key_update(self) -> None:
        """Each end changes its key, and what follows still opens."""
        connection, facts = read("key update")
        updates = [message.sender for message in connection.of_kind("key_update")]
        self.assertEqual(updates, ["client", "server", "client"])
        self.assertEqual([message.name for message in connection.messages if message.layer == "mqtt"][-1], "PUBLISH")
        self.assertEqual(facts.key_log.state, "used")

    def test_renegotiation(self) -> None:
        """A second handshake within the connection, made or refused."""
        connection, _facts = read("renegotiated")
        self.assertEqual([message.encrypted for message in connection.of_kind("client_hello")], [False, True])
        self.assertEqual([message.name for message in connection.messages if message.layer == "mqtt"], ["CONNECT"])
        connection, _facts = read("renegotiation refused")
        self.assertIn("renegotiation_refused", [finding.key for finding in connection.verdict.findings])

    def test_authentication_after_the_handshake(self) -> None:
        """TLS 1.3: the server asks later, and the answer is checked against the whole conversation."""
        connection, _facts = read("post-handshake authentication")
        found = [message for message in connection.of_kind("finished") if message.sender == "client"]
        self.assertEqual([check.outcome for message in found for check in message.checks], [Outcome.OK] * 2)
        found = [message for message in connection.of_kind("certificate_verify") if message.sender == "client"]
        self.assertEqual([check.outcome for message in found for check in message.checks], [Outcome.OK] * 2)

    def test_keys_of_the_exchange(self) -> None:
        """One-time keys and what they are not: the certificate's."""
        connection, facts = read("finite field")
        exchange = connection.of_kind("server_key_exchange")[0]
        self.assertEqual((facts.key_exchange, facts.group), ("DHE", "ffdhe2048"))
        self.assertEqual(len(str(exchange.field("dh_p"))), 512)
        self.assertIn("known to be good", next(each.meaning for each in exchange.fields if each.name == "dh_p"))
        self.assertEqual(read("finite field 1.3")[1].key_exchange, "TLS 1.3 (ffdhe2048)")
        self.assertEqual(len(str(read("rsa key exchange")[0].of_kind("client_key_exchange")[0].fields[0].value)), 512)

    def test_application_protocol(self) -> None:
        """What ALPN agreed on, readable in TLS 1.2, encrypted in TLS 1.3."""
        self.assertEqual(read("alpn")[1].alpn, "mqtt")
        self.assertEqual(read("alpn", keys=False)[1].alpn, None)
        self.assertEqual(read("alpn 1.2", keys=False)[1].alpn, "mqtt")

    def test_where_encryption_starts(self) -> None:
        """The first encrypted message of each end: Finished in TLS 1.2, everything after ServerHello in TLS 1.3."""
        connection, facts = read("tls12")
        names = {sender: connection.messages[at - 1].name for sender, at in facts.encryption_starts.items()}
        self.assertEqual(names, {"client": "Finished", "server": "Finished"})
        connection, facts = read("tls13")
        names = {sender: connection.messages[at - 1].name for sender, at in facts.encryption_starts.items()}
        self.assertEqual(names, {"client": "Finished", "server": "EncryptedExtensions"})

    def test_bytes_of_fields(self) -> None:
        """Each field that tells where it stands has its bytes there."""
        for name in ("tls12", "tls13", "mutual"):
            for message in read(name)[0].messages:
                for field in message.fields:
                    if field.start is not None:
                        self.assertLessEqual(field.start + field.length, len(message.raw), (message.name, field.name))
                    if field.name == "random":
                        start = field.start or 0
                        self.assertEqual(message.raw[start : start + 32].hex(), field.value)


class RoundTripTests(SynchronousTestCase):
    """How often the client had to wait (lab row E4)."""

    def test_counts(self) -> None:
        """1.2 full 2, 1.2 resumed 1, 1.3 full 1, 1.3 after a retry 2."""
        for name, expected in (
            ("tls12", 2),
            ("mutual", 2),
            ("rsa key exchange", 2),
            ("ticket", 1),
            ("session id", 1),
            ("tls13", 1),
            ("mutual 1.3", 1),
            ("psk", 1),
            ("retry", 2),
            ("post-handshake authentication", 1),
        ):
            trips = read(name)[0].round_trips
            found = (trips.tls, trips.tcp, trips.before_connect) if trips is not None else None
            self.assertEqual(found, (expected, 1, True), name)
            trips = read(name, keys=False)[0].round_trips
            self.assertEqual(trips.tls if trips is not None else None, expected, name)
