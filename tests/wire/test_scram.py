"""Tests for mqttsecure.wire.scram: against the RFC's example, an independent implementation, and hostile messages."""

from __future__ import annotations

import base64

import scramp
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.wire.scram import (
    METHOD,
    METHOD_PLUS,
    ScramClient,
    ScramError,
    derive_keys,
    parse_client_final,
    parse_client_first,
    prepare,
    server_final,
    server_first,
    verify_proof,
)

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
KEYS = derive_keys("pencil", SALT, 4096)
NONCE = b"rOprNGfwEbeRWgbNEkqO"
SERVER_NONCE = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"


class ExampleTests(SynchronousTestCase):
    """RFC 7677 section 3."""

    def test_both_ends(self) -> None:
        """Each message is as the RFC has it, and each end believes the other."""
        client = ScramClient("user", "pencil", NONCE)
        self.assertEqual(client.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        first = parse_client_first(client.first())
        question = server_first(first, SERVER_NONCE, KEYS)
        self.assertEqual(
            question,
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        )
        answer = client.final(question)
        self.assertEqual(
            answer,
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        final = parse_client_final(answer)
        self.assertTrue(verify_proof(first, question, final, KEYS, None))
        proof = server_final(first, question, final, KEYS)
        self.assertEqual(proof, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
        client.check(proof)


def _exchange(client: ScramClient, password: str = "pencil", server_binding: bytes | None = None) -> tuple[bool, bytes]:
    first = parse_client_first(client.first())
    keys = derive_keys(password, SALT, 4096)
    question = server_first(first, SERVER_NONCE, keys)
    final = parse_client_final(client.final(question))
    return verify_proof(first, question, final, keys, server_binding), server_final(first, question, final, keys)


class ExchangeTests(SynchronousTestCase):
    """Who is believed."""

    def test_only_the_right_password(self) -> None:
        """A wrong one is none, and the server that knows another one is not believed either."""
        for password, right in (("pencil", True), ("pencils", False)):
            client = ScramClient("user", password, NONCE)
            believed, proof = _exchange(client)
            self.assertEqual(believed, right)
            if not right:
                self.assertRaises(ScramError, client.check, proof)

    def test_only_over_the_same_connection(self) -> None:
        """With channel binding a man in the middle passes nothing on: his two connections differ."""
        for server_binding, right in ((b"x" * 32, True), (b"y" * 32, False), (None, False)):
            client = ScramClient("user", "pencil", NONCE, b"x" * 32)
            self.assertEqual(client.method, METHOD_PLUS)
            self.assertTrue(parse_client_first(client.first()).is_bound)
            self.assertEqual(_exchange(client, server_binding=server_binding)[0], right)
        # Nor does it help to say afterwards that there was none: the header is part of the proof.
        unbound = ScramClient("user", "pencil", NONCE)
        self.assertEqual(unbound.method, METHOD)
        self.assertTrue(_exchange(unbound, server_binding=b"x" * 32)[0])

    def test_a_proof_is_for_one_exchange(self) -> None:
        """What was overheard is of no use with another nonce."""
        client = ScramClient("user", "pencil", NONCE)
        first = parse_client_first(client.first())
        final = parse_client_final(client.final(server_first(first, SERVER_NONCE, KEYS)))
        self.assertFalse(verify_proof(first, server_first(first, b"another", KEYS), final, KEYS, None))

    @settings(deadline=None, max_examples=25)
    @given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
    def test_names_and_passwords_of_any_characters(self, name: str, password: str) -> None:
        """Commas, equals signs and letters of all the world come through, or are refused."""
        try:
            client = ScramClient(name, password, NONCE)
            believed, proof = _exchange(client, password)
        except ScramError:
            return
        self.assertTrue(believed)
        client.check(proof)


class IndependentTests(SynchronousTestCase):
    """scramp, which others wrote, at the other end."""

    def test_its_client(self) -> None:
        """Is let in with the right password alone."""
        for name, password, tried, right in (
            ("user", "pencil", "pencil", True),
            ("a,b=c", "pass=,word", "pass=,word", True),
            ("müller", "paßwort\u00aa", "paßwort\u00aa", True),
            ("user", "pencil", "penci", False),
        ):
            client = scramp.ScramClient(["SCRAM-SHA-256"], name, tried)
            first = parse_client_first(client.get_client_first().encode())
            self.assertEqual(first.username, prepare(name))
            keys = derive_keys(password, SALT, 4096)
            question = server_first(first, SERVER_NONCE, keys)
            client.set_server_first(question.decode())
            final = parse_client_final(client.get_client_final().encode())
            self.assertEqual(verify_proof(first, question, final, keys, None), right)
            if right:
                client.set_server_final(server_final(first, question, final, keys).decode())

    def test_its_server(self) -> None:
        """Lets us in, and is believed."""
        mechanism = scramp.ScramMechanism("SCRAM-SHA-256")
        stored = mechanism.make_auth_info("paßwort", iteration_count=4096)
        server = mechanism.make_server(lambda name: stored)
        client = ScramClient("a,b=c", "paßwort", NONCE)
        server.set_client_first(client.first().decode())
        server.set_client_final(client.final(server.get_server_first().encode()).decode())
        client.check(server.get_server_final().encode())

    def test_its_keys(self) -> None:
        """Are the same for the same password."""
        stored = scramp.ScramMechanism("SCRAM-SHA-256").make_auth_info("pencil", iteration_count=4096, salt=SALT)
        self.assertEqual((KEYS.salt, KEYS.stored_key, KEYS.server_key), (stored[0], stored[1], stored[2]))


class HostileTests(SynchronousTestCase):
    """Messages that nobody sends who means well."""

    def test_first_messages(self) -> None:
        """Each is refused."""
        for data in (
            b"",
            b"n",
            b"n,,",
            b"n,,n=user",
            b"n,,n=user,r=",
            b"n,,n=user,r=short",
            b"n,,n=,r=rOprNGfwEbeRWgbNEkqO",
            b"n,,n=us=er,r=rOprNGfwEbeRWgbNEkqO",
            b"n,,n=\xff,r=rOprNGfwEbeRWgbNEkqO",
            b"n,,n=a\0b,r=rOprNGfwEbeRWgbNEkqO",
            b"n,,n=a\x07b,r=rOprNGfwEbeRWgbNEkqO",
            b"n,,m=ext,n=user,r=rOprNGfwEbeRWgbNEkqO",
            b"n,a=root,n=user,r=rOprNGfwEbeRWgbNEkqO",
            b"p=tls-unique,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            b"x,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            b"n,,n=user,r=" + b"x" * 257,
            b"n,,n=" + b"x" * 3000 + b",r=rOprNGfwEbeRWgbNEkqO",
        ):
            self.assertRaises(ScramError, parse_client_first, data)
        self.assertTrue(parse_client_first(b"y,,n=user,r=rOprNGfwEbeRWgbNEkqO").saw_no_binding)

    def test_final_messages(self) -> None:
        """Each is refused, or proves nothing."""
        for data in (b"", b"c=biws,r=x", b"c=biws,p=AA==", b"c=?,r=x,p=AA==", b"c=biws,r=x,p=?", b"x" * 3000):
            self.assertRaises(ScramError, parse_client_final, data)
        first = parse_client_first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        question = server_first(first, SERVER_NONCE, KEYS)
        for proof in (b"", b"AA==", base64.b64encode(bytes(32)), base64.b64encode(bytes(33))):
            final = parse_client_final(b"c=biws,r=" + NONCE + SERVER_NONCE + b",p=" + proof)
            self.assertFalse(verify_proof(first, question, final, KEYS, None))

    def test_questions_of_servers(self) -> None:
        """A client gives no proof to a server that would learn its password by it, or stall it."""
        nonce = NONCE + SERVER_NONCE
        for question in (
            b"",
            b"e=unknown-user",
            b"r=%b,s=W22Z" % nonce,
            b"r=other,s=W22Z,i=4096",
            b"r=%b,s=W22Z,i=4096" % NONCE,
            b"r=%b,s=,i=4096" % nonce,
            b"r=%b,s=?,i=4096" % nonce,
            b"r=%b,s=W22Z,i=1" % nonce,
            b"r=%b,s=W22Z,i=4095" % nonce,
            b"r=%b,s=W22Z,i=1000001" % nonce,
            b"r=%b,s=W22Z,i=%b" % (nonce, b"9" * 5000),
            b"r=%b,s=W22Z,i=-1" % nonce,
            b"r=%b,s=%b,i=4096" % (nonce, b"A" * 4000),
        ):
            self.assertRaises(ScramError, ScramClient("user", "pencil", NONCE).final, question)

    def test_answers_of_servers(self) -> None:
        """A server that does not prove itself is not believed, not even one that asked nothing."""
        client = ScramClient("user", "pencil", NONCE)
        for answer in (None, b"", b"v=", b"e=other-error"):
            self.assertRaises(ScramError, client.check, answer)

    @settings(deadline=None)
    @given(st.binary(max_size=100))
    def test_any_bytes(self, data: bytes) -> None:
        """Nothing but a ScramError comes of them."""
        for read in (parse_client_first, parse_client_final, ScramClient("user", "pencil", NONCE).final):
            try:
                read(data)
            except ScramError:
                pass

    def test_preparation(self) -> None:
        """RFC 4013 section 3."""
        for text, prepared in (
            ("I\u00adX", "IX"),
            ("user", "user"),
            ("\u00aa", "a"),
            ("\u2168", "IX"),
            ("a\u00a0b", "a b"),
        ):
            self.assertEqual(prepare(text), prepared)
        for text in ("\u0007", "\u0627\u0031", "\ud800", "\ue000", "\u0221"):
            self.assertRaises(ScramError, prepare, text)

    def test_keys_are_not_shown(self) -> None:
        """Nor a proof."""
        self.assertNotIn("stored_key", repr(KEYS))
        self.assertNotIn(" proof=", repr(parse_client_final(b"c=biws,r=x,p=AA==")))
