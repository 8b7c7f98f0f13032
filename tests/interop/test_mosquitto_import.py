"""`mqttsecure import mosquitto`, measured by a real mosquitto: both decide the same about all that is sampled."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
from collections.abc import Iterable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.policy.trace import Outcome
from mqttsecure.service.assembly import Assembly, check
from mqttsecure.service.config import load_config
from mqttsecure.service.mosquitto.importing import Imported, import_mosquitto, verify, write
from mqttsecure.service.mosquitto.notes import DIFFERS
from mqttsecure.service.scenario import Scenario, judge
from mqttsecure.wire.topics import intersects
from tests.support.mosquitto_broker import MosquittoBroker, free_port, hash_with_mosquitto
from tests.support.process import BrokerProcess
from tests.system.attacks.case import wait_until
from tests.system.attacks.client import AttackClient

_LEVELS = ("a", "b", "home", "alice", "bob")
_CLIENTS = (("alice", "alice-1"), ("bob", "c2"), ("carol", "a"), ("b+b", "c4"), (None, "b"), (None, "anon#"))
_ORACLE = ("oracle", "oracle")
_PASSWORDS = {"alice": "one", "bob": "two", "carol": "three", "b+b": "four", "oracle": "five"}
_Question = tuple[str | None, str, str, str]
"""User, Client Identifier, action, topic."""


def _topics(choose: random.Random, count: int) -> list[str]:
    found = {"$SYS/broker/uptime", "$SYS/x", "$other/a", "home/alice", "home/bob"}
    while len(found) < count:
        found.add("/".join(choose.choices(_LEVELS, k=choose.randint(1, 3))))
    return sorted(found)


def _filter(choose: random.Random, *more: str) -> str:
    levels = choose.choices((*_LEVELS, "+", *more), k=choose.randint(1, 3))
    if choose.random() < 0.3:
        levels[-1] = "#"
    return "/".join(levels)


class MosquittoImportTests(SynchronousTestCase):
    """What a user of mosquitto could do stays possible, and nothing else becomes so."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.compared = 0

    def serve(self, name: str, *lines: str) -> tuple[MosquittoBroker, Imported, Assembly]:
        """A real mosquitto, and what the import makes of the same file."""
        port = free_port()
        text = [*lines, f"listener {port} 127.0.0.1"]
        if os.geteuid() == 0:
            text.insert(0, "user root")
        config = self.folder / f"{name}.conf"
        config.write_text("\n".join(text) + "\n")
        broker = MosquittoBroker(config, port)
        self.addCleanup(broker.kill)
        broker.start()
        imported = import_mosquitto(config)
        out = self.folder / name
        write(imported, out)
        self.assertEqual(verify(out), [])  # its policy tests included: they are required
        return broker, imported, check(load_config(out / "broker.toml"))

    def client(self, broker: MosquittoBroker, user: str | None, client_id: str) -> AttackClient:
        client = AttackClient(broker.port)
        self.addCleanup(client.close)
        password = None if user is None else _PASSWORDS[user]
        self.assertEqual(client.connect(client_id, user, password), 0, (user, client_id))
        return client

    def ours(self, assembly: Assembly, question: _Question, groups: Iterable[str] = ()) -> bool:
        user, client_id, action, topic = question
        trial = judge(
            assembly,
            Scenario(action, topic, username=user, client_id=client_id, groups=frozenset(groups)),
        )
        return trial.outcome in (Outcome.PERMIT, Outcome.PROVIDED)

    def asked_of_mosquitto(self, broker: MosquittoBroker, topics: list[str]) -> dict[_Question, bool]:
        """What the real broker lets each client publish and receive."""
        answers: dict[_Question, bool] = {}
        clients = {key: self.client(broker, *key) for key in _CLIENTS}
        oracle = self.client(broker, *_ORACLE)
        for client in clients.values():
            self.assertEqual(client.subscribe("#", "$other/#"), [0, 0])
        written = [topic for topic in topics if oracle.publish(topic, b"?") != 0x87]
        self.assertGreater(len(written), len(topics) - 4)  # all but those below $SYS
        for key, client in clients.items():
            received = {topic for topic, payload in client.messages() if payload == b"?"}
            answers |= {(*key, "receive", topic): topic in received for topic in written}
        for key, client in clients.items():
            answers |= {(*key, "publish", topic): client.publish(topic) != 0x87 for topic in topics}
            client.messages()
        return answers

    def assert_same(self, answers: dict[_Question, bool], imported: Imported, assembly: Assembly) -> None:
        """The rules and the model agree with the real broker, question by question."""
        (model,) = imported.models.values()
        for question, real in answers.items():
            self.assertEqual(model.decide(*question), real, f"the model: {question}")
            self.assertEqual(self.ours(assembly, question), real, f"the rules: {question}")
        self.compared += len(answers)
        self.assertTrue(any(answers.values()) and not all(answers.values()))

    def acl(self, choose: random.Random) -> str:
        lines = ["topic read " + _filter(choose) for _ in range(3)] + ["topic deny " + _filter(choose)]
        for user in ("alice", "bob", "b+b"):
            lines.append(f"user {user}")
            lines += [
                f"topic {choose.choice(('', 'read ', 'write ', 'readwrite ', 'deny '))}{_filter(choose)}"
                for _ in range(5)
            ]
        for _ in range(4):
            access = choose.choice(("read", "write", "readwrite", "deny"))
            lines.append(f"pattern {access} {choose.choice(('%u', '%c', 'home/%u', 'a-%c/b'))}/{_filter(choose, '%u')}")
        return "\n".join([*lines, "pattern read home/%u", "user oracle", "topic write #", "topic write $other/#", ""])

    def test_access_control_files(self) -> None:
        """Eight hundred and more decisions about random access control files are the same."""
        choose = random.Random(20)
        hash_with_mosquitto(self.folder / "passwords", _PASSWORDS)
        for number in range(3):
            (self.folder / f"acl-{number}").write_text(self.acl(choose))
            broker, imported, assembly = self.serve(
                f"acl{number}",
                "allow_anonymous true",
                f"password_file {self.folder / 'passwords'}",
                f"acl_file {self.folder / f'acl-{number}'}",
            )
            answers = self.asked_of_mosquitto(broker, _topics(choose, 26))
            self.assert_same(answers, imported, assembly)
            broker.kill()
        self.assertGreater(self.compared, 800)

    def test_clients_move(self) -> None:
        """The same client with its old password goes from one broker to the other, and its hash becomes argon2id."""
        hash_with_mosquitto(self.folder / "passwords", _PASSWORDS)
        (self.folder / "acl").write_text("user alice\ntopic plant/#\n")
        theirs, _, _ = self.serve(
            "move", f"password_file {self.folder / 'passwords'}", f"acl_file {self.folder / 'acl'}"
        )
        self.assertNotEqual(self.client(theirs, "alice", "c").publish("plant/1"), 0x87)
        theirs.kill()
        ours = BrokerProcess(self.folder / "move" / "broker.toml", self.folder)
        self.addCleanup(ours.kill)
        ours.start()
        users = self.folder / "move" / "users"
        self.assertIn("\nalice:$7$", "\n" + users.read_text())
        with AttackClient(theirs.port) as client:
            self.assertEqual(client.connect("c", "alice", "not it"), 0x86)
        with AttackClient(theirs.port) as client:
            self.assertEqual(client.connect("c", "alice", _PASSWORDS["alice"]), 0)
            self.assertNotEqual(client.publish("plant/1"), 0x87)
            self.assertEqual(client.publish("lab/1"), 0x87)
            wait_until(lambda: "\nalice:$argon2id$" in "\n" + users.read_text(), "the new hash")
        self.assertIn("\nbob:$7$", users.read_text())
        with AttackClient(theirs.port) as client:
            self.assertEqual(client.connect("c", "alice", _PASSWORDS["alice"]), 0)

    # -- dynamic security ----------------------------------------------------------------------------------------

    def dynsec(self, choose: random.Random) -> dict[str, object]:
        def role(name: str) -> dict[str, object]:
            kinds = ("publishClientSend", "publishClientReceive", "subscribePattern", "subscribeLiteral")
            acls = [
                {
                    "acltype": choose.choice(kinds),
                    "topic": _filter(choose),
                    "priority": choose.randint(-1, 3),
                    "allow": choose.random() < 0.6,
                }
                for _ in range(6)
            ]
            return {"rolename": name, "acls": acls}

        def has(*names: str) -> list[dict[str, object]]:
            return [{"rolename": name, "priority": number} for number, name in enumerate(names)]

        everything = [
            {"acltype": kind, "topic": topic, "priority": 9, "allow": True}
            for kind in ("publishClientSend", "subscribePattern")
            for topic in ("#", "$other/#")
        ]
        listening = [
            {"acltype": "subscribePattern", "topic": topic, "priority": 9, "allow": True} for topic in ("#", "$other/#")
        ]
        groups = {"alice": ["g1"], "bob": ["g1", "g2"], "carol": ["g2"]}
        roles = {"alice": ["r1"], "carol": ["r2", "r1"], "oracle": ["oracle"]}
        return {
            "defaultACLAccess": {
                "publishClientSend": False,
                "publishClientReceive": choose.random() < 0.5,
                "subscribe": False,
                "unsubscribe": True,
            },
            "clients": [
                {
                    "username": user,
                    **_hashed(password),
                    "roles": [{"rolename": "ear", "priority": 99}, *has(*roles.get(user, []))],
                }
                for user, password in _PASSWORDS.items()
            ],
            "groups": [
                {
                    "groupname": group,
                    "roles": has(*names),
                    "clients": [{"username": user} for user, mine in groups.items() if group in mine],
                }
                for group, names in (("g1", ["r3"]), ("g2", ["r4", "r5"]), ("nobody", ["r6", "ear"]))
            ],
            "roles": [
                *(role(f"r{number}") for number in range(1, 7)),
                {"rolename": "oracle", "acls": everything},
                {"rolename": "ear", "acls": listening},
            ],
            "anonymousGroup": "nobody",
        }

    def test_dynamic_security(self) -> None:
        """Three hundred and more decisions by random roles, groups and priorities are the same."""
        choose = random.Random(7)
        for number in range(2):
            file = self.folder / f"dynsec-{number}.json"
            document = self.dynsec(choose)
            file.write_text(json.dumps(document, indent=1))
            broker, imported, assembly = self.serve(
                f"dynsec{number}",
                "allow_anonymous true",
                f"plugin {next(Path('/usr/lib').glob('*/mosquitto_dynamic_security.so'))}",
                f"plugin_opt_config_file {file}",
            )
            topics = [topic for topic in _topics(choose, 20) if not topic.startswith("$other")]  # a note tells of those
            self.assert_same(self.asked_of_mosquitto(broker, topics), imported, assembly)
            self.compare_subscriptions(broker, imported, assembly, choose)
            broker.kill()
        self.assertGreater(self.compared, 300)

    def compare_subscriptions(
        self, broker: MosquittoBroker, imported: Imported, assembly: Assembly, choose: random.Random
    ) -> None:
        """A SUBSCRIBE is decided the same, but where a note says that it is not."""
        told = [note.text.split("'")[1] for note in imported.notes if note.kind == DIFFERS and "ubscri" in note.text]
        (model,) = imported.models.values()
        for user, client_id in _CLIENTS[:3]:
            client = self.client(broker, user, f"{client_id}-s")
            for topic_filter in {_filter(choose) for _ in range(15)}:
                (code,) = client.subscribe(topic_filter)
                question = (user, f"{client_id}-s", "subscribe", topic_filter)
                self.assertEqual(model.decide(*question), code < 0x80, f"the model: {question}")
                if not any(intersects(each, topic_filter) for each in told):
                    self.assertEqual(self.ours(assembly, question), code < 0x80, f"the rules: {question}")
                self.compared += 1


def _hashed(password: str) -> dict[str, object]:
    salt = b"twelve bytes"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101, 64)
    return {
        "password": base64.b64encode(digest).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": 101,
    }
