# -*- test-case-name: tests.system.attacks.test_reloads -*-
"""Permission that is taken away while one lives by it, and new files that are bad: A3 again, and the classes below."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from mqttsecure.wire.packets import Disconnect, Pingreq, Pingresp, Publish, Pubrec, Pubrel, Will
from tests.support.config import ALICE_PASSWORD, BOB_PASSWORD, BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections, wait_until
from tests.system.attacks.client import AttackClient

_RULES = ("permit user:alice publish,read lab/#", "permit user:bob read lab/#")
_ALICE_ALONE = _RULES[:1]
_LASTING = {"session_expiry_interval": 600}


class ReloadTests(AttackCase):
    """A broker that reloads by SIGHUP, with its rules in a file."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        users = {"alice": ALICE_PASSWORD, "bob": BOB_PASSWORD}
        files = allow_many_connections(write_config(directory, plaintext=True, users=users))
        text = files.config.read_text()
        files.config.write_text(text[: text.index("rules = [")] + 'rules_file = "rules"\n')
        (directory / "rules").write_text("\n".join(_RULES) + "\n")
        return files

    def setUp(self) -> None:
        super().setUp()
        self.directory = self.files.config.parent
        self.users = self.files.users.read_bytes()
        self.config = self.files.config.read_bytes()
        self.addCleanup(self.assert_serves)
        self.addCleanup(self._reload, _RULES)
        self.addCleanup(self.files.users.write_bytes, self.users)
        self.addCleanup(self.files.config.write_bytes, self.config)

    def _reload(self, rules: Sequence[str] | None = None, expected: str = "is in force") -> None:
        if rules is not None:
            (self.directory / "rules").write_text("\n".join(rules) + "\n")
        before = len(self.broker.log)
        self.broker.signal(signal.SIGHUP)
        wait_until(lambda: expected in self.broker.log[before:], f"{expected!r} in the log")
        if expected == "is in force":
            wait_until(lambda: "judged again" in self.broker.log[before:], "everything judged again")

    def _assert_unhurt(self) -> None:
        """What serves and what does not is each test's own matter; faults are not."""
        self.assertNotIn("internal error", self.new_log)
        self.assertNotIn("Unhandled", self.new_log)
        self.assertFalse(self.broker.has_ended)

    def _assert_gets_nothing(self, client: AttackClient) -> None:
        """Whether it is cut, as one who lost a subscription, or goes on: no message comes."""
        client.send(Pingreq())
        while (packet := client.receive()) is not None and not isinstance(packet, Pingresp):
            self.assertIsInstance(packet, Disconnect)

    def test_subscription_loses_its_permission(self) -> None:
        """A3: bob may read no more; his subscription was granted before, and yet nothing is delivered."""
        bob, alice = self.login("bob"), self.login("alice")
        self.assertEqual([0, 1], bob.subscribe("lab/#") + bob.subscribe("lab/x", qos=1))
        alice.publish("lab/x", b"before")
        self.assertEqual(1, len(bob.messages()))
        self._reload(_ALICE_ALONE)
        alice.publish("lab/x", b"after")
        self._assert_gets_nothing(bob)
        self.assertEqual([0x87], self.login("bob").subscribe("lab/x"))

    def test_queue_loses_its_permission(self) -> None:
        """Messages were queued for bob while he was away and might read them; now he may not, and gets none."""
        bob, alice = self.login("bob", "bob-queue", clean_start=False, properties=_LASTING), self.login("alice")
        bob.subscribe("lab/queue", qos=1)
        bob.close()
        self.assert_logged("'bob-queue'", "left")
        for _ in range(3):
            alice.publish("lab/queue", b"secret by now")
        self._reload(_ALICE_ALONE)
        again = self.login("bob", "bob-queue", clean_start=False, properties=_LASTING)
        self.assertEqual([], again.messages())

    def test_permission_lost_in_the_middle_of_qos_2(self) -> None:
        """alice loses the right to publish between PUBREC and PUBREL; bob gets the message once or never, not twice."""
        bob, alice = self.login("bob"), self.login("alice")
        bob.subscribe("lab/two", qos=2)
        alice.send(Publish("lab/two", b"x", 2, packet_id=5))
        alice.expect(Pubrec)
        self._reload(_RULES[1:])
        alice.send(Pubrel(5))
        if not alice.closed:
            self.assertEqual(0x87, alice.publish("lab/two", b"y"))
        self.assertLessEqual(len([each for each in bob.messages() if each[1] == b"x"]), 1)
        self.assertFalse([each for each in bob.messages() if each[1] == b"y"])

    def test_message_behind_the_quota_loses_its_permission(self) -> None:
        """bob takes one message at a time; those that waited when he lost the right never come."""
        bob, alice = self.login("bob", properties={"receive_maximum": 1}), self.login("alice")
        bob.subscribe("lab/slow", qos=1)
        for number in range(5):
            alice.publish("lab/slow", bytes((number,)))
        first = bob.expect(Publish)
        self._reload(_ALICE_ALONE)
        bob.send(b"\x40\x02" + first.packet_id.to_bytes(2, "big"))
        self._assert_gets_nothing(bob)

    def test_retained_message_of_a_writer_who_may_not_write(self) -> None:
        """alice's retained message stays, but her right to write it is gone: nobody gets it any more."""
        alice = self.login("alice")
        alice.publish("lab/kept", b"x", retain=True)
        self._reload(("permit user:alice publish lab/other", "permit user:bob read lab/#"))
        bob = self.login("bob")
        self.assertEqual([0], bob.subscribe("lab/#"))
        self.assertNotIn("lab/kept", [topic for topic, _ in bob.messages()])
        self._reload(_RULES)
        self.login("alice").publish("lab/kept", b"", retain=True)

    def test_will_of_a_writer_who_may_not_write(self) -> None:
        """The will was permitted at CONNECT; when it is sent, its writer may not write there: it is not."""
        bob = self.login("bob")
        bob.subscribe("lab/will")
        alice = self.login("alice", "alice-dies", will=Will("lab/will", b"gone", 1))
        self._reload(_RULES[1:])
        alice.close()
        self.assert_logged("'alice-dies'", "left")
        self.assertEqual([], bob.messages())

    def test_removed_user_is_cut(self) -> None:
        """A user who is taken out of the password file is disconnected, and does not come back."""
        bob = self.login("bob")
        kept = [line for line in self.users.splitlines(keepends=True) if not line.startswith(b"bob:")]
        self.files.users.write_bytes(b"".join(kept))
        self._reload()
        packets = bob.remaining()
        self.assertEqual([0x87], [each.reason_code for each in packets if isinstance(each, Disconnect)])
        again = self.client(tls=False)
        self.assertEqual(0x86, again.connect("bob", "bob", BOB_PASSWORD))

    def test_bad_files_keep_what_was_in_force(self) -> None:
        """A reload with a bad file changes nothing at all, says what is wrong, and falls open nowhere."""
        for name, content in (
            ("rules", b"permit everyone publish,read #\npermit user:bo"),
            ("rules", b""),
            ("rules", os.urandom(100)),
            ("users", b""),
            ("users", b"alice:$argon2id$v=19$m=1"),
            ("broker.toml", b""),
            ("broker.toml", self.config[: len(self.config) // 2]),
            ("broker.toml", self.config.replace(b'use = "password-file"', b'use = "anonymus"')),
        ):
            path = self.directory / name
            good = path.read_bytes()
            path.write_bytes(content)
            self._reload(expected="not reloaded; policy version")
            self.assertIn(name, self.new_log)
            path.write_bytes(good)
            bob = self.login("bob")
            self.assertEqual([0, 0x87], bob.subscribe("lab/x", "other/#"))
            self.assertEqual(0x87, bob.publish("lab/x"))
            stranger = self.client(tls=False)
            self.assertEqual(0x87, stranger.connect("stranger"))

    def test_missing_files_keep_what_was_in_force(self) -> None:
        """The same where a file is gone."""
        for name in ("rules", "users", "broker.toml"):
            path = self.directory / name
            path.rename(path.with_suffix(".away"))
            self._reload(expected="not reloaded; policy version")
            path.with_suffix(".away").rename(path)
            self.assertEqual([0, 0x87], self.login("bob").subscribe("lab/x", "other/#"))

    def test_reloads_in_a_storm(self) -> None:
        """Fifty reloads while messages flow: none is lost, none comes twice, nothing is denied that is permitted."""
        bob, alice = self.login("bob"), self.login("alice")
        bob.subscribe("lab/storm", qos=1)
        received = []
        for number in range(50):
            self.broker.signal(signal.SIGHUP)
            self.assertEqual(0, alice.publish("lab/storm", bytes((number,))))
            message = bob.expect(Publish)
            received.append(message.payload[0])
            bob.send(b"\x40\x02" + message.packet_id.to_bytes(2, "big"))
        self.assertEqual(list(range(50)), received)
