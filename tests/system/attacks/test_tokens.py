# -*- test-case-name: tests.system.attacks.test_tokens -*-
"""Getting in by tokens that nobody issued, by proofs of nobody, and by exchanges that are none."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

from mqttsecure.policy.builtin.password_hash import PasswordFile
from mqttsecure.wire.constants import MQTT_5_0
from mqttsecure.wire.packets import Auth, Connack, Connect, Disconnect
from mqttsecure.wire.scram import METHOD, METHOD_PLUS, ScramClient
from tests.support.config import ALICE_PASSWORD, BrokerFiles, write_config
from tests.support.tokens import AUDIENCE, ISSUER, Issuer, encode, forge
from tests.system.attacks.case import AttackCase
from tests.system.attacks.client import AttackClient

NONCE = b"rOprNGfwEbeRWgbNEkqO"

POLICIES = f"""
[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.0/8"]

[[policy]]
id = "handshake"
use = "tls-requirements"

[[policy]]
id = "tokens"
use = "jwt"
issuer = "{ISSUER}"
audience = ["{AUDIENCE}"]
keys_file = "keys.json"
grants_claim = "mqtt"
grants_within = ["plant/#"]
final = ["AUTHENTICATE"]

[[policy]]
id = "scram"
use = "scram"
authority = "lab"

[[policy]]
id = "login"
use = "password-file"
authority = "lab"

[[policy]]
id = "client-ids"
use = "client-id"
patterns = ["*"]

[[policy]]
id = "topics"
use = "topic-acl"
authority = "lab"
rules = ["permit user:alice publish,read lab/#"]
"""


class TokenTests(AttackCase):
    """A broker that takes tokens, SCRAM and passwords."""

    listeners = 1

    @classmethod
    def configure(cls, directory: Path) -> BrokerFiles:
        files = write_config(directory, policies=POLICIES)
        PasswordFile(files.users).set_user("alice", ALICE_PASSWORD.encode(), scram=True)
        keys = directory / "keys.json"
        keys.write_text(json.dumps({"keys": [Issuer(key_id="k").jwk()]}))
        keys.chmod(0o600)
        return files

    def show(self, token: bytes) -> int:
        """The Reason Code that a token in the password field gets."""
        client = self.client()
        client.send(Connect(MQTT_5_0, f"token-{id(client):x}", username=None, password=token))
        return client.expect(Connack).reason_code

    def test_forged_tokens(self) -> None:
        """No algorithm, another one, the public key as a secret, another key, another audience, changed or endless."""
        now = int(time.time())
        issuer = Issuer(key_id="k")
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "root", "exp": now + 60}
        head = encode({"alg": "HS256", "kid": "k"}) + b"." + encode(claims)
        good = issuer.token(now)
        deep = encode({"alg": "EdDSA", "kid": "k"}) + b"." + encode(b"[" * 20_000) + b"." + encode(b"x")
        forged = [
            forge({"alg": "none", "kid": "k"}, claims, b"")[:-1] + b".",
            head + b"." + encode(hmac.digest(issuer.pem, head, hashlib.sha256)),
            head + b"." + encode(hmac.digest(issuer.jwk()["x"].encode(), head, hashlib.sha256)),
            Issuer(number=1, key_id="k").token(now),
            issuer.token(now, aud="another.example"),
            issuer.token(now, exp=now - 60),
            issuer.token(now, mqtt=["publish #"]),
            good[:-4] + b"AAAA",
            good.split(b".")[0] + b"." + encode({**claims, "sub": "root"}) + b"." + good.split(b".")[2],
            deep,
            forge({"alg": "EdDSA", "kid": "k", "crit": ["exp"]}, claims),
            issuer.token(now, pad="x" * 20_000),
        ]
        for token in forged:
            self.assertEqual(self.show(token), 0x86)
        self.assertEqual(self.show(good), 0)
        for part in good.split(b"."):
            self.assertNotIn(part.decode()[:40], self.new_log)

    def test_a_token_opens_no_other_topics(self) -> None:
        """Its grants are those that it brings, within what is allowed; a name with wildcards adds none."""
        now = int(time.time())
        token = Issuer(key_id="k").token(now, sub="+", mqtt=["publish,read plant/{user}/#", "publish plant/1"])
        client = self.client()
        client.send(Connect(MQTT_5_0, "plus", username=None, password=token))
        self.assertEqual(client.expect(Connack).reason_code, 0)
        self.assertEqual(client.subscribe("plant/+/#"), [0x87])
        self.assertEqual(client.subscribe("plant/a/#"), [0x87])
        self.assertEqual(client.publish("plant/a/x"), 0x87)
        self.assertEqual(client.publish("lab/x"), 0x87)
        self.assertIn(client.publish("plant/1"), (0, 0x10))

    def begin(self, name: str, data: bytes | None = None, method: str = METHOD) -> AttackClient:
        """A client that has sent its first SCRAM message."""
        client = self.client()
        first = ScramClient(name, "guess", NONCE).first() if data is None else data
        properties = {"authentication_method": method, "authentication_data": first}
        client.send(Connect(MQTT_5_0, f"scram-{id(client):x}", properties=properties))
        return client

    def test_nobody_learns_who_exists(self) -> None:
        """A user, one without SCRAM keys and one who does not exist are asked alike, each time, and refused alike."""
        seen: dict[str, set[bytes]] = {}
        for name in ("alice", "bob", "nobody") * 2:
            client = self.begin(name)
            question = client.expect(Auth).properties["authentication_data"]
            fields = question.split(b",")
            seen.setdefault(name, set()).add(b",".join(fields[1:]))
            self.assertEqual(len(fields[1]), len(b"s=") + 24)
            exchange = ScramClient(name, "guess", NONCE)
            exchange.first()
            answer = {"authentication_method": METHOD, "authentication_data": exchange.final(question)}
            client.send(Auth(0x18, answer))
            self.assertEqual(client.expect(Connack).reason_code, 0x87)
        self.assertEqual([len(each) for each in seen.values()], [1, 1, 1])
        self.assertEqual(len({each for salts in seen.values() for each in salts}), 3)

    def test_exchanges_that_are_none(self) -> None:
        """Broken messages, a proof of another exchange, no proof, and binding that somebody took away."""
        for data, method in (
            (b"", METHOD),
            (b"x" * 5000, METHOD),
            (b"n,,n=alice,r=short", METHOD),
            (b"n,a=root,n=alice,r=" + NONCE, METHOD),
            (b"y,,n=alice,r=" + NONCE, METHOD),
            (b"n,,n=alice,r=" + NONCE, METHOD_PLUS),
            (b"p=tls-exporter,,n=alice,r=" + NONCE, METHOD),
        ):
            self.assertEqual(self.begin("alice", data, method).expect(Connack).reason_code, 0x87)
        for answer in (b"", b"c=biws,r=x,p=AAAA", b"c=biws,r=" + NONCE + b",p=" + b"A" * 44):
            client = self.begin("alice")
            client.expect(Auth)
            client.send(Auth(0x18, {"authentication_method": METHOD, "authentication_data": answer}))
            self.assertEqual(client.expect(Connack).reason_code, 0x87)
        client = self.begin("alice", method="GS2-KRB5")
        self.assertEqual(client.expect(Connack).reason_code, 0x8C)

    def test_auth_out_of_place(self) -> None:
        """Before CONNECT, without a method, of another method, and in place of messages."""
        client = self.client()
        client.send(Auth(0x18, {"authentication_method": METHOD}))
        self.assertEqual(client.remaining(), [])
        logged_in = self.login("alice", tls=True)
        logged_in.send(Auth(0x19, {"authentication_method": METHOD}))
        self.assertEqual(logged_in.expect(Disconnect).reason_code, 0x82)
        client = self.begin("alice")
        client.expect(Auth)
        client.send(Auth(0x18, {"authentication_method": "OTHER", "authentication_data": b"x"}))
        refusals: list[Any] = [each for each in client.remaining() if isinstance(each, Connack | Disconnect)]
        self.assertTrue(all(each.reason_code >= 0x80 for each in refusals))
