"""Tests for mqttsecure.client.scram: with the policy at the other end."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.client.failures import OptionsInvalid
from mqttsecure.client.options import Authenticator, BindingAuthenticator
from mqttsecure.client.scram import ScramAuthenticator
from mqttsecure.wire.packets import Auth, Connack
from mqttsecure.wire.scram import (
    METHOD,
    METHOD_PLUS,
    ScramError,
    ScramKeys,
    derive_keys,
    parse_client_final,
    parse_client_first,
    server_final,
    server_first,
    verify_proof,
)
from tests.client.conversation import Conversation

KEYS = derive_keys("pencil", b"s" * 16, 4096)
BINDING = b"b" * 32


def _authenticator(password: str = "pencil", **more: Any) -> ScramAuthenticator:
    return ScramAuthenticator("alice", password, random_bytes=lambda count: b"r" * count, **more)


def _prove(authenticator: ScramAuthenticator, binding: bytes | None = None, keys: ScramKeys = KEYS) -> bytes | None:
    """The broker's last word, None where it does not believe the client."""
    first = parse_client_first(authenticator.start())
    question = server_first(first, b"server-nonce", keys)
    final = parse_client_final(authenticator.respond(question))
    return server_final(first, question, final, keys) if verify_proof(first, question, final, keys, binding) else None


class ScramAuthenticatorTests(SynchronousTestCase):
    """Who I am, without sending my password."""

    def test_it_is_an_authenticator(self) -> None:
        """One that is told of the connection."""
        authenticator: Authenticator = _authenticator()
        self.assertIsInstance(authenticator, BindingAuthenticator)

    def test_proves_and_is_proved_to(self) -> None:
        """With the right password, as often as it is asked; a broker that does not know it is not believed."""
        authenticator = _authenticator()
        for _ in range(2):
            authenticator.finish(_prove(authenticator))
        self.assertIsNone(_prove(_authenticator("wrong")))
        deceived = _authenticator()
        _prove(deceived)
        self.assertRaises(ScramError, deceived.finish, b"v=AAAA")

    def test_binds_where_it_can(self) -> None:
        """Over TLS 1.3 the exchange is bound to the connection, unless it is told not to."""
        for binds, binding, method in (
            (True, BINDING, METHOD_PLUS),
            (True, None, METHOD),
            (False, BINDING, METHOD),
        ):
            authenticator = _authenticator(binds=binds)
            authenticator.bind(binding)
            self.assertEqual(authenticator.method, method)
            authenticator.finish(_prove(authenticator, binding))
        bound = _authenticator()
        bound.bind(BINDING)
        self.assertIsNone(_prove(bound, b"other"))

    def test_out_of_order(self) -> None:
        """A broker that skips steps is not followed."""
        for step in (_authenticator().respond, _authenticator().finish):
            self.assertRaises(ScramError, step, b"v=AAAA")
        asked = _authenticator()
        asked.start()
        self.assertRaises(ScramError, asked.respond, None)

    def test_options(self) -> None:
        """A name or password that no broker could have is told before there is a connection; neither is shown."""
        for name, password in (("a\x07", "x"), ("alice", "x\x07")):
            self.assertRaises(OptionsInvalid, ScramAuthenticator, name, password)
        self.assertNotIn("pencil", repr(_authenticator()))

    def test_in_a_conversation(self) -> None:
        """CONNECT names the method as the connection has it, and CONNACK's proof is judged."""
        authenticator = _authenticator()
        each = Conversation(authenticator=authenticator)
        each.machine.connection_made(0, 30, BINDING)
        (connect,) = each.sent()
        self.assertEqual(connect.properties["authentication_method"], METHOD_PLUS)
        first = parse_client_first(connect.properties["authentication_data"])
        question = server_first(first, b"server-nonce", KEYS)
        method = {"authentication_method": METHOD_PLUS}
        self.assertEqual(each.say(Auth(0x18, {**method, "authentication_data": question})), [])
        (answer,) = each.sent()
        final = parse_client_final(answer.properties["authentication_data"])
        self.assertTrue(verify_proof(first, question, final, KEYS, BINDING))
        proof = server_final(first, question, final, KEYS)
        (event,) = each.say(Connack(False, 0, {**method, "authentication_data": proof}))
        self.assertEqual(type(event).__name__, "Connected")
