# -*- test-case-name: tests.cli.test_policy_prove -*-
"""``mqttsecure policy prove``."""

from __future__ import annotations

from click.testing import Result

from tests.cli.asking import RATES, AskingTestCase


class ProveTests(AskingTestCase):
    """Someone has to be sure."""

    def prove(self, *arguments: object, exit_code: int = 0) -> Result:
        return self.run_command("policy", "prove", "-c", self.files.config, *arguments, exit_code=exit_code)

    def test_holds(self) -> None:
        """And for whom, by which policies, is told."""
        result = self.prove("--who", "group:guests", "--never", "publish", "plant/#")
        self.assertIn("group:guests never publish plant/#: HOLDS\n", result.stdout)
        self.assertIn("judged for: a client of lab that no rule names in guests", result.stdout)
        self.assertIn("by what they grant: topics", result.stdout)

    def test_fails(self) -> None:
        """With a topic, and the rule."""
        result = self.prove("--who", "everyone", "--never", "publish", "+/1", exit_code=1)
        self.assertIn("+/1: FAILS\n  lab:alice on tls may publish lab/1 qos 0\n", result.stdout)
        self.assertRegex(result.stdout, r"by topics/rules\[0\] \[.*broker\.toml:\d+\]: permit user:alice")
        result = self.prove("--who", "user:alice", "--always", "receive", "lab/#", exit_code=1)
        self.assertIn("is refused receive lab/secret", result.stdout)

    def test_provided_and_unproved(self) -> None:
        """Have exit codes of their own."""
        self.files = self.write(extra_policies=RATES)
        result = self.prove("--who", "user:alice", "--always", "publish", "lab/#", exit_code=3)
        self.assertIn("HOLDS provided that\n  policy rates does not deny\n", result.stdout)
        self.assertIn("not known: rates", result.stdout)
        self.files = self.write(rules=["permit everyone publish a where size>=100000"])
        result = self.prove("--who", "everyone", "--never", "publish", "a", exit_code=4)
        self.assertIn("cannot be proved", result.stdout)

    def test_narrower_claims(self) -> None:
        """At a QoS, with RETAIN, for a Client Identifier, on a listener, in one more group."""
        self.files = self.write(rules=["permit group:g publish plant/{client}/# where qos<=1 retain=no"])
        claim = ("--who", "user:bob", "--never", "publish", "plant/#")
        self.prove(*claim)
        self.prove(*claim, "--group", "g", exit_code=1)
        self.prove(*claim, "--group", "g", "--qos", "2", "--listener", "tls")
        self.prove(*claim, "--group", "g", "--retain", "yes")
        self.prove(*claim[:-1], "plant/7/#", "--group", "g", "--client-id", "8")

    def test_json(self) -> None:
        """For programs."""
        claim = ("--who", "user:alice", "--never", "publish", "lab/#")
        answer = self.answer("policy", "prove", "-c", self.files.config, *claim, exit_code=1)
        self.assertEqual((answer["answer"], answer["counterexample"]["topic"]), ("fails", "lab"))
        claim = ("--who", "user:bob", "--never", "publish", "lab/#")
        answer = self.answer("policy", "prove", "-c", self.files.config, *claim)
        self.assertEqual((answer["answer"], answer["counterexample"]), ("holds", None))

    def test_what_makes_no_sense(self) -> None:
        """Exit code 2 for the command line, 1 for what the configuration does not know."""
        for arguments in (
            ("--who", "everyone"),
            ("--who", "everyone", "--never", "publish", "a", "--always", "publish", "a"),
            ("--who", "alice", "--never", "publish", "a"),
            ("--who", "everyone", "--never", "fly", "a"),
        ):
            self.prove(*arguments, exit_code=2)
        self.assertIn("after #", self.prove("--who", "everyone", "--never", "publish", "#/a", exit_code=1).stderr)
        self.assertIn("no authority", self.prove("--who", "user:x:a", "--never", "publish", "a", exit_code=1).stderr)
        self.run_command(
            "policy", "prove", "-c", "none.toml", "--who", "everyone", "--never", "publish", "a", exit_code=1
        )
