# -*- test-case-name: tests.cli.test_policy_diff -*-
"""``mqttsecure policy diff``."""

from __future__ import annotations

from pathlib import Path

from tests.cli.asking import AskingTestCase


class DiffTests(AskingTestCase):
    """Someone reviews a change."""

    def next(self, old: str, new: str) -> Path:
        """The same configuration with one thing replaced."""
        path = self.files.config.parent / "next.toml"
        text = self.files.config.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new))
        return path

    def test_same(self) -> None:
        """Nobody gains or loses anything."""
        result = self.run_command("policy", "diff", self.files.config, self.files.config)
        self.assertEqual(result.stdout, "nobody gains or loses a topic\n")

    def test_different(self) -> None:
        """Who, what, a topic, the rule; and the change in words."""
        new = self.next("deny everyone read lab/secret/#", "permit everyone publish plant/#")
        out = self.run_command("policy", "diff", self.files.config, new).stdout
        self.assertRegex(
            out, r"gained:\n  lab:alice: publish plant/#, as plant, by topics/rules\[2\] \[.*next\.toml:\d+\]"
        )
        self.assertIn("anyone else of lab: publish plant/#", out)
        self.assertIn("lab:bob: receive lab/#, as lab/secret, by topics/rules[1]", out)
        self.assertIn("changed:\n  policy topics: rules: - deny everyone read lab/secret/#", out)

    def test_lost(self) -> None:
        """What somebody has to be told of."""
        new = self.next("permit user:bob read lab/#", "permit user:bob read lab/# where qos<=1")
        out = self.run_command("policy", "diff", self.files.config, new).stdout
        self.assertIn("lost:\n", out)
        self.assertIn("lab:bob: receive lab/#, as lab at qos 2, qos 2 retain, by topics/rules[1]", out)

    def test_json(self) -> None:
        """For programs."""
        new = self.next("permit user:bob read lab/#", "permit user:bob read plant/#")
        answer = self.answer("policy", "diff", self.files.config, new)
        found = {(each["who"], each["gained"], each["action"], each["filter"]) for each in answer["changes"]}
        self.assertIn(("lab:bob", True, "receive", "plant/#"), found)
        self.assertIn(("lab:bob", False, "subscribe", "lab/#"), found)
        self.assertTrue(answer["words"])

    def test_what_cannot_be_used(self) -> None:
        """Both files' problems at once."""
        bad = self.next("[[listener]]", "[[listenr]]")
        result = self.run_command("policy", "diff", "none.toml", bad, exit_code=1)
        self.assertIn("none.toml: cannot be read", result.stderr)
        self.assertIn("did you mean `listener`?", result.stderr)
        self.run_command("policy", "diff", "one.toml", exit_code=2)
