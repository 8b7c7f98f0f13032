"""Tests of principals and their aliases."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.core.decisions import Principal
from mqttsecure.policy.identity import Aliases, parse_principal


class ParsePrincipalTests(SynchronousTestCase):
    """authority:name."""

    def test_name_may_hold_colons(self) -> None:
        """The first colon divides; a name such as urn:dev:7 is kept whole."""
        self.assertEqual(parse_principal("devices:urn:dev:7"), Principal("devices", "urn:dev:7"))

    def test_bad_forms_name_the_mend(self) -> None:
        """What is no principal is refused with the form that is meant."""
        for text in ("", "alice", ":alice", "users:"):
            error = self.assertRaises(ValueError, parse_principal, text)
            self.assertIn("authority:name", str(error))


class AliasesTests(SynchronousTestCase):
    """Which principals are the same person."""

    def test_resolves_once(self) -> None:
        """An alias is its target, and anyone else is themselves."""
        aliases = Aliases({"devices:phone": "users:alice"})
        self.assertEqual(aliases.resolve(Principal("devices", "phone")), Principal("users", "alice"))
        self.assertEqual(aliases.resolve(Principal("devices", "other")), Principal("devices", "other"))
        self.assertEqual(aliases.problems, [])

    def test_anonymous_clients_are_never_somebody(self) -> None:
        """A principal that is not shared cannot become a user by an alias."""
        nobody = Principal("anonymous", "7", shared=False)
        self.assertIs(Aliases({"anonymous:7": "users:alice"}).resolve(nobody), nobody)

    def test_problems(self) -> None:
        """Malformed aliases, aliases of aliases and the broker's own name are told and do nothing."""
        aliases = Aliases({"a:1": "a:2", "a:2": "a:3", "bad": "a:1", "b:1": "bad", "c:1": "broker:broker"})
        self.assertEqual(len(aliases.problems), 4)
        for word in ("'bad' is not", "itself an alias", "broker's own"):
            self.assertIn(word, "\n".join(aliases.problems))
