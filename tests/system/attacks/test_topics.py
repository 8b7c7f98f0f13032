# -*- test-case-name: tests.system.attacks.test_topics -*-
"""Reading and writing what one may not: rows A3 to A8, and the classes about wills, ``$`` trees and substitutions."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from mqttsecure.wire.constants import MQTT_3_1, MQTT_3_1_1, MQTT_5_0
from mqttsecure.wire.packets import Disconnect, Puback, Publish, Will
from tests.support.config import ALICE_PASSWORD, BOB_PASSWORD, BrokerFiles, write_config
from tests.system.attacks.case import AttackCase, allow_many_connections
from tests.system.attacks.client import AttackClient

_RULES = (
    "permit user:alice publish,read lab/#",
    "permit user:bob read lab/#",
    "deny user:alice publish,read lab/secret/#",
    "deny user:bob publish,read lab/secret/#",
    "permit user:root publish,read #",
)
_ROOT = {"root": "over all"}
_DENIED_FILTERS = ("#", "+/x", "+", "+/#", "secret/#", "lab/+/x", "$SYS/#", "$SYS/broker/uptime", "$share/g/lab/x")


class SubscriptionTests(AttackCase):
    """A3 and A4: what one may not read is refused in SUBACK, and would not be delivered either."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        users = {"alice": ALICE_PASSWORD, "bob": BOB_PASSWORD, **_ROOT}
        return allow_many_connections(write_config(directory, plaintext=True, users=users, rules=_RULES))

    def _root(self) -> AttackClient:
        client = self.client(tls=False)
        self.assertEqual(0, client.connect("root", "root", _ROOT["root"]))
        return client

    def test_forbidden_filters_are_refused(self) -> None:
        """bob subscribes to everything, in every way he can think of: each filter is refused by its own code."""
        filters = (
            "#",
            "+/x",
            "+",
            "+/#",
            "/#",
            "secret/#",
            "LAB/#",
            "$SYS/#",
            "$SYS/broker/+",
            "$foo/x",
        )
        for topic_filter in filters:
            for version, code in ((MQTT_3_1_1, 0x80), (MQTT_5_0, 0x87)):
                bob = self.login("bob", version=version)
                self.assertEqual([code], bob.subscribe(topic_filter, qos=2), topic_filter)

    def test_nothing_of_a_refused_filter_arrives(self) -> None:
        """After all refusals bob hears nothing of what others write."""
        bob = self.login("bob")
        self.assertEqual([0x87] * 4, bob.subscribe("#", "+/x", "secret/#", "$share/g/secret/#"))
        root = self._root()
        for topic in ("a/x", "secret/x", "lab/secret/x", "x"):
            root.publish(topic, b"not for bob", retain=True)
        self.assertEqual([], bob.messages())
        self.assertEqual([0x87], bob.subscribe("#"))
        self.assertEqual([], bob.messages())

    def test_denied_part_of_a_permitted_tree(self) -> None:
        """bob may read lab/#, but not lab/secret: he gets no subscription that would reach into it."""
        bob = self.login("bob")
        self.assertEqual([0x87] * 3, bob.subscribe("lab/#", "lab/secret/x", "lab/+/x"))
        self.assertEqual([0, 0], bob.subscribe("lab/open", "lab/open/#"))

    def test_shared_subscriptions_are_judged_by_their_inner_filter(self) -> None:
        """`$share/g/secret/#` is `secret/#`, whatever the group is called."""
        bob = self.login("bob")
        denied = ("$share/g/secret/#", "$share/g/#", "$share/lab/#", "$share/g/$SYS/#", "$share/g/lab/secret/x")
        self.assertEqual([0x87] * len(denied), bob.subscribe(*denied))
        self.assertEqual([0], bob.subscribe("$share/g/lab/x"))

    def test_shared_subscription_of_a_shared_subscription(self) -> None:
        """`$share/g/$share/h/lab/x` is no way round either."""
        bob = self.login("bob")
        self.assertEqual([0x87], bob.subscribe("$share/g/$share/h/lab/x"))

    def test_dollar_trees_are_no_part_of_everything(self) -> None:
        """Even who may read `#` gets nothing below `$`."""
        root = self._root()
        self.assertEqual([0], root.subscribe("#"))
        self.assertEqual([0x87, 0x87], root.subscribe("$SYS/#", "$other/x"))
        self.assertEqual(0x87, root.publish("$SYS/broker/uptime", b"forged"))
        self.assertEqual(0x87, root.publish("$share/g/x", b"forged"))
        self.assertFalse([topic for topic, _ in root.messages() if topic.startswith("$")])

    def test_audit_names_policy_rule_and_line(self) -> None:
        """The administrator can see why bob was refused; bob cannot."""
        bob = self.login("bob")
        self.assertEqual([0x87], bob.subscribe("lab/secret/x"))
        line = self.assert_logged("denied", "SUBSCRIBE", "lab/secret/x", "lab:bob", "policy topics")
        self.assertRegex(line, r"rule \S+, \S*broker\.toml:\d+")


class FilteredTests(AttackCase):
    """A3 again: with granted and filtered subscriptions it is the delivery that is judged."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        users = {"bob": BOB_PASSWORD, "alice": ALICE_PASSWORD, **_ROOT}
        files = allow_many_connections(write_config(directory, plaintext=True, users=users, rules=_RULES))
        files.config.write_text(
            files.config.read_text().replace('use = "topic-acl"\n', 'use = "topic-acl"\nsubscribe = "filtered"\n')
        )
        return files

    def test_delivery_is_judged(self) -> None:
        """bob's subscription to # is granted; live, retained and queued messages he may not read never come."""
        root = self.client(tls=False)
        self.assertEqual(0, root.connect("root", "root", _ROOT["root"]))
        root.publish("secret/kept", b"no", retain=True)
        root.publish("lab/kept", b"yes", retain=True)
        bob = self.login("bob", "bob", clean_start=False, properties={"session_expiry_interval": 60})
        self.assertLess(bob.subscribe("#", qos=1)[0], 3)
        for topic in ("secret/live", "lab/secret/live", "lab/live"):
            root.publish(topic)
        topics = {topic for topic, _ in bob.messages()}
        self.assertEqual({"lab/kept", "lab/live"}, topics)
        bob.close()
        for topic in ("secret/queued", "lab/secret/queued", "lab/queued"):
            root.publish(topic)
        again = self.login("bob", "bob", clean_start=False, properties={"session_expiry_interval": 0})
        assert again.connack is not None
        self.assertTrue(again.connack.session_present)
        self.assertNotIn(
            "secret/queued", {topic for topic, _ in again.messages()} - {"lab/queued", "lab/live", "lab/kept"}
        )


class PublishTests(AttackCase):
    """A5 to A8: what one may not write is refused, not stored, not announced and not remembered."""

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        users = {"alice": ALICE_PASSWORD, "bob": BOB_PASSWORD, **_ROOT}
        return allow_many_connections(write_config(directory, plaintext=True, users=users, rules=_RULES))

    def _watcher(self) -> AttackClient:
        root = self.client(tls=False)
        self.assertEqual(0, root.connect("root", "root", _ROOT["root"]))
        self.assertEqual([0], root.subscribe("#"))
        root.messages()
        return root

    def test_forbidden_topic_in_5_0(self) -> None:
        """bob publishes where he may not: 0x87 for QoS 1 and 2, silence for QoS 0, and an audit line."""
        watcher, bob = self._watcher(), self.login("bob")
        for topic in ("lab/x", "secret/x", "lab/secret/x"):
            self.assertEqual(0x87, bob.publish(topic))
        bob.send(Publish("lab/x", b"x", 2, packet_id=77), Publish("lab/x", b"x", 0))
        answers = bob.ping()
        self.assertEqual([0x87], [getattr(each, "reason_code", None) for each in answers])
        self.assertEqual([], watcher.messages())
        line = self.assert_logged("denied PUBLISH to 'lab/secret/x'", "lab:bob", "policy topics")
        self.assertRegex(line, r"rule \S+, \S*broker\.toml:\d+")

    def test_forbidden_topic_in_3_x(self) -> None:
        """3.x has no way to say no: the connection is closed, and no acknowledgement pretends anything."""
        for version in (MQTT_3_1, MQTT_3_1_1):
            for qos in (0, 1, 2):
                bob = self.login("bob", version=version)
                bob.send(Publish("secret/x", b"x", qos, packet_id=5 if qos else 0))
                self.assertEqual([], bob.remaining())

    def test_retained_message_is_not_stored(self) -> None:
        """A refused retained message is not there for later subscribers, and cannot delete one either."""
        watcher = self._watcher()
        watcher.publish("secret/sign", b"genuine", retain=True)
        bob = self.login("bob")
        self.assertEqual(0x87, bob.publish("secret/sign", b"forged", retain=True))
        self.assertEqual(0x87, bob.publish("secret/sign", b"", retain=True))
        self.assertEqual(0x87, bob.publish("secret/other", b"forged", retain=True))
        late = self._late_topics("secret/#")
        self.assertEqual([("secret/sign", b"genuine")], late)

    def _late_topics(self, topic_filter: str) -> list[tuple[str, bytes]]:
        late = self.client(tls=False)
        self.assertEqual(0, late.connect("late", "root", _ROOT["root"]))
        self.assertEqual([0], late.subscribe(topic_filter))
        return late.messages()

    def test_forbidden_will_is_refused_in_connect(self) -> None:
        """A will, retained or not, to a topic that bob may not write, is refused before it exists."""
        watcher = self._watcher()
        for version, code in ((MQTT_3_1_1, 5), (MQTT_5_0, 0x87)):
            for topic in ("secret/will", "lab/x", "lab/secret/will", "$SYS/will"):
                for retain in (False, True):
                    bob = self.client(tls=False, version=version)
                    will = Will(topic, b"gone", 1, retain)
                    self.assertEqual(code, bob.connect("bob-w", "bob", BOB_PASSWORD, will=will), topic)
                    self.assertEqual([], bob.remaining())
        self.assertEqual([], watcher.messages())
        self.assert_logged("denied a will on 'secret/will'", "lab:bob", "default deny", "topics (")

    def test_no_will_from_a_refused_connect(self) -> None:
        """A CONNECT with a wrong password and a will to a permitted topic leaves no will behind."""
        watcher = self._watcher()
        eve = self.client(tls=False)
        self.assertEqual(0x86, eve.connect("eve", "alice", "wrong", will=Will("lab/will", b"gone", 1)))
        eve.remaining()
        self.assertEqual([], watcher.messages())

    def test_will_of_an_attacker_does_not_outlive_takeover_by_name(self) -> None:
        """A permitted will is sent once when its connection breaks, and not again."""
        watcher = self._watcher()
        alice = self.login("alice", "alice-will", will=Will("lab/will", b"gone", 1))
        alice.close()
        self.assert_logged("alice-will", "left")
        self.assertEqual([("lab/will", b"gone")], watcher.messages())

    def test_alias_of_a_denied_publish_is_not_kept(self) -> None:
        """bob sets a Topic Alias with a denied PUBLISH and uses it: it means nothing, and nobody hears of it."""
        watcher, bob = self._watcher(), self.login("bob")
        self.assertEqual(0x87, bob.publish("secret/x", topic_alias=1))
        self._assert_alias_means_nothing(bob, 1)
        self.assertEqual([], watcher.messages())

    def _assert_alias_means_nothing(self, client: AttackClient, alias: int) -> None:
        client.send(Publish("", b"by alias", 1, packet_id=99, properties={"topic_alias": alias}))
        codes = [getattr(each, "reason_code", None) for each in client.remaining()]
        self.assertEqual([0x94], codes)

    def test_alias_of_a_denied_publish_does_not_stand_for_an_older_topic(self) -> None:
        """An alias that meant a permitted topic, set anew by a denied PUBLISH, means neither from then on."""
        watcher, alice = self._watcher(), self.login("alice")
        self.assertIn(alice.publish("lab/x", b"1", topic_alias=2), (0, 0x10))
        self.assertEqual(0x87, alice.publish("secret/x", b"2", topic_alias=2))
        self.assertIn(alice.publish("lab/y", b"3", topic_alias=2), (0, 0x10))
        self.assertIn(alice.publish("", b"4", topic_alias=2), (0, 0x10))
        self.assertEqual(0x87, alice.publish("secret/x", b"5", topic_alias=2))
        self._assert_alias_means_nothing(alice, 2)
        self.assertEqual([("lab/x", b"1"), ("lab/y", b"3"), ("lab/y", b"4")], watcher.messages())

    def test_alias_that_was_never_set(self) -> None:
        """An alias that nobody set, 0, and one above the announced maximum end the connection."""
        for alias, code in ((7, 0x82), (33, 0x94), (65535, 0x94)):
            bob = self.login("bob")
            assert bob.connack is not None
            self.assertLess(bob.connack.properties.get("topic_alias_maximum", 0), 33)
            bob.send(Publish("" if alias == 7 else "lab/x", b"x", 1, packet_id=9, properties={"topic_alias": alias}))
            packets = bob.remaining()
            self.assertEqual([code], [each.reason_code for each in packets if isinstance(each, Disconnect)], alias)
            self.assertFalse([each for each in packets if isinstance(each, Puback)])

    def test_response_topic_gives_no_right(self) -> None:
        """A Response Topic that the reader may not write is passed on, and writing to it is refused all the same."""
        bob = self.login("bob")
        bob.subscribe("lab/ask")
        self.login("alice").publish("lab/ask", response_topic="secret/answer")
        question = bob.expect(Publish)
        self.assertEqual(0x87, bob.publish(question.properties["response_topic"]))


class SubstitutionTests(AttackCase):
    """Names with ``+``, ``#``, ``/`` and more never widen a rule with ``{user}`` or ``{client}``."""

    names: ClassVar[tuple[str, ...]] = ("+", "#", "a/b", "+/+", "alice/#", "$SYS", "eve")

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        rules = (
            "permit everyone publish,read people/{user}/#",
            "permit everyone publish,read devices/{client}/#",
            "permit user:alice publish,read lab/#",
        )
        users = {name: "pw" for name in cls.names if ":" not in name} | {"alice": ALICE_PASSWORD}
        files = allow_many_connections(write_config(directory, plaintext=True, users=users, rules=rules))
        files.config.write_text(
            files.config.read_text().replace('patterns = ["*"]', 'patterns = ["*"]\ncharset = "utf-8"')
        )
        return files

    def _as(self, user: str, client_id: str) -> AttackClient | None:
        client = self.client(tls=False)
        return client if client.connect(client_id, user, "pw") == 0 else None

    def test_user_names_widen_nothing(self) -> None:
        """A user called `+` or `#` reads and writes nobody else's tree."""
        for name in self.names:
            client = self._as(name, "c")
            if client is None:
                continue
            for level in ("alice", "+", "#", "a", "a/b"):
                for suffix in ("/x", "/#"):
                    if level == "#" or (level == name == "eve"):
                        continue
                    self.assertEqual([0x87], client.subscribe(f"people/{level}{suffix}"), (name, level, suffix))
            self.assertEqual(0x87, client.publish("people/alice/x"), name)
            self.assertEqual(0x87, client.publish("people/a/b/x"), name)
            self.assertEqual([0x87], client.subscribe("people/#"), name)
            client.close()

    def test_client_identifiers_widen_nothing(self) -> None:
        """The same for Client Identifiers, which anyone may choose."""
        for client_id in ("+", "#", "a/b", "+/+", "../x", "x/#", "", "\u202ealice"):
            client = self._as("eve", client_id)
            if client is None:
                continue
            for topic_filter in ("devices/+/x", "devices/#", "devices/a/#", "devices/a/b/#", "devices/other/#"):
                self.assertEqual([0x87], client.subscribe(topic_filter), (client_id, topic_filter))
            self.assertEqual(0x87, client.publish("devices/other/x"), client_id)
            self.assertEqual(0x87, client.publish("devices/a/b/x"), client_id)
            client.close()

    def test_own_tree_is_the_users_own(self) -> None:
        """eve's own tree is hers: the tests above are refused for the right reason."""
        eve = self._as("eve", "dev-1")
        assert eve is not None
        self.assertEqual([0, 0], eve.subscribe("people/eve/#", "devices/dev-1/#"))
