# -*- test-case-name: tests.system.attacks.test_sessions -*-
"""Taking somebody else's session by its Client Identifier: rows A9 and A10, and every pair of identities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mqttsecure.wire.constants import MQTT_3_1_1, MQTT_5_0
from mqttsecure.wire.packets import Publish, Will
from tests.support.config import ALICE_PASSWORD, BOB_PASSWORD, BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections, wait_until
from tests.system.attacks.client import AttackClient

_ANONYMOUS = """
[[policy]]
id = "strangers"
use = "anonymous"
"""
_LASTING = {"session_expiry_interval": 600}
_IDENTITIES = ("alice", "bob", "alice by certificate", "eve by certificate", "anonymous")
_PRINCIPAL = {"alice by certificate": "alice"}


class HijackTests(AttackCase):
    """One session per Client Identifier, owned by a principal; whoever else wants it is refused."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        rules = ("permit user:alice publish,read #", "permit user:bob publish,read #", "permit user:eve publish,read #")
        users = {"alice": ALICE_PASSWORD, "bob": BOB_PASSWORD}
        files = write_config(directory, plaintext=True, rules=rules, users=users, extra_policies=_ANONYMOUS)
        cls.certificates = {name: files.issue(name) for name in ("alice", "eve")}
        return allow_many_connections(files)

    def _connect(self, identity: str, client_id: str, version: int = MQTT_5_0, **more: Any) -> tuple[AttackClient, int]:
        name, by_certificate, _ = identity.partition(" by ")
        port = self.broker.ports["tls" if by_certificate else "plain"]
        context = self.files.client_context(self.certificates[name]) if by_certificate else None
        client = AttackClient(port, version=version, context=context)
        self.addCleanup(client.close)
        if by_certificate or identity == "anonymous":
            return client, client.connect(client_id, **more)
        return client, client.connect(client_id, name, self.files.passwords[name], **more)

    def test_content_of_another_users_session(self) -> None:
        """A9: a message waits for alice, bob comes as her Client Identifier; he gets neither session nor message."""
        alice, _ = self._connect("alice", "hers", clean_start=False, properties=_LASTING)
        self.assertEqual([1], alice.subscribe("private/#", qos=1))
        alice.close()
        self.assert_logged("'hers'", "left")
        writer, _ = self._connect("alice", "writer")
        writer.publish("private/q", b"for alice")
        for clean in (False, True):
            for version, code in ((MQTT_5_0, 0x85), (MQTT_3_1_1, 2)):
                bob, answer = self._connect("bob", "hers", version, clean_start=clean)
                assert bob.connack is not None
                self.assertEqual((code, False), (answer, bob.connack.session_present))
                self.assertEqual([], bob.remaining())
        again, answer = self._connect("alice", "hers", clean_start=False)
        assert again.connack is not None
        self.assertEqual((0, True), (answer, again.connack.session_present))
        self.assertEqual(b"for alice", again.expect(Publish).payload)

    def test_owner_is_not_kicked(self) -> None:
        """A10: bob comes as alice's Client Identifier while she is connected: she stays, without noticing."""
        alice, _ = self._connect("alice", "online", will=Will("lab/will", b"kicked", 1))
        watcher, _ = self._connect("alice", "watcher")
        watcher.subscribe("lab/will")
        for clean in (False, True):
            bob, answer = self._connect("bob", "online", clean_start=clean)
            self.assertEqual(0x85, answer)
            self.assertEqual([], bob.remaining())
        self.assertEqual([], alice.messages())
        self.assertEqual([], watcher.messages())
        self.assert_logged("'online'", "belongs to lab:alice")

    def test_every_pair_of_identities(self) -> None:
        """Every identity tries every other's session: clean or resuming, its owner online or away."""
        number = 0
        for owner in _IDENTITIES:
            for taker in _IDENTITIES:
                for clean in (False, True):
                    for online in (False, True):
                        number += 1
                        self._pair(f"session-{number}", owner, taker, clean, online)

    def _pair(self, client_id: str, owner: str, taker: str, clean: bool, online: bool) -> None:
        same = _PRINCIPAL.get(owner, owner) == _PRINCIPAL.get(taker, taker) and owner != "anonymous"
        first, answer = self._connect(owner, client_id, clean_start=False, properties=_LASTING)
        self.assertEqual(0, answer, (owner, client_id))
        if not online:
            first.close()
            wait_until(lambda: self._left(client_id), f"{client_id} left")
        second, answer = self._connect(taker, client_id, clean_start=clean, properties=_LASTING)
        assert second.connack is not None
        story = f"{taker} takes the session of {owner}, clean {clean}, online {online}"
        if owner == "anonymous" and not online:
            # Nobody can prove to be the same stranger, so nothing was kept.
            self.assertEqual((0, False), (answer, second.connack.session_present), story)
        elif same:
            self.assertEqual((0, not clean), (answer, second.connack.session_present), story)
        else:
            self.assertEqual((0x85, False), (answer, second.connack.session_present), story)
            if online:
                first.ping()
        for client in (first, second):
            client.close()

    def _left(self, client_id: str) -> bool:
        return any(f"({client_id!r})" in line and " left" in line for line in self.new_log.splitlines())


class DefaultPatternTests(AttackCase):
    """With the Client Identifier bound to the user, as in the shipped configuration, nobody gets that far."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        files = allow_many_connections(write_config(directory, plaintext=True))
        text = files.config.read_text().replace('patterns = ["*"]', 'patterns = ["{user}", "{user}-*"]')
        files.config.write_text(text)
        return files

    def test_bob_cannot_name_himself_after_alice(self) -> None:
        """bob uses alice's Client Identifiers, with and without saying who he is."""
        for client_id in ("alice", "alice-1", "ALICE", "bobalice", "*", "{user}"):
            client = self.client(tls=False)
            self.assertEqual(0x85, client.connect(client_id, "bob", BOB_PASSWORD), client_id)

    def test_certificate_and_user_name_must_agree(self) -> None:
        """bob's certificate with alice's user name does not make him alice."""
        client = AttackClient(self.broker.ports["tls"], context=self.files.client_context(self.files.issue("bob")))
        self.addCleanup(client.close)
        self.assertNotEqual(0, client.connect("alice", "alice"))
        both = AttackClient(self.broker.ports["tls"], context=self.files.client_context(self.files.issue("bob")))
        self.addCleanup(both.close)
        self.assertNotEqual(0, both.connect("alice", "alice", ALICE_PASSWORD))
