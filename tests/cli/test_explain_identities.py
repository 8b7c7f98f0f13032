"""`mqttsecure check` and `explain` on a configuration with all policies that ask, count, or tell the time."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.policy.builtin.password_hash import PasswordFile
from tests.support.config import write_config

POLICIES = """
[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.0/8"]

[[policy]]
id = "handshake"
use = "tls-requirements"

[[policy]]
id = "client-ids"
use = "client-id"
patterns = ["*"]

[[policy]]
id = "login"
use = "scram"
authority = "lab"

[[policy]]
id = "hours"
use = "schedule"
time_zone = "Europe/Berlin"
hours = ["08:00-18:00"]

[[policy]]
id = "guests"
use = "quota"
sessions = 2
retained_messages = 1

[[policy]]
id = "form"
use = "payload"
topics = ["lab/#"]
json = true

[[policy]]
id = "service"
use = "http"
url = "https://auth.invalid/"
stages = ["PUBLISH"]

[[policy]]
id = "tokens"
use = "jwt"
issuer = "https://id.invalid/"
audience = ["mqtt"]
jwks_url = "https://id.invalid/keys"
grants_claim = "mqtt"
grants_within = ["plant/#"]

[[policy]]
id = "topics"
use = "topic-acl"
authority = "lab"
rules = ["permit user:alice publish lab/#"]
"""


class ExplainTests(SynchronousTestCase):
    """Nobody is asked, nothing counted; what that leaves open is said."""

    def setUp(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        self.files = write_config(folder, policies=POLICIES, client_certificate="none")
        PasswordFile(self.files.users).set_user("alice", b"pencil", scram=True)

    def run_command(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments), catch_exceptions=False)

    def test_check(self) -> None:
        """It is a good configuration, though none of the services exists."""
        result = self.run_command("check", str(self.files.config))
        self.assertEqual(result.exit_code, 0, result.output)

    def test_explain(self) -> None:
        """A publish is permitted provided that those see it so whom only the running broker can ask."""
        arguments = ("explain", "--config", str(self.files.config), "--user", "alice", "publish", "lab/x", "--retain")
        result = self.run_command(*arguments, "--json")
        answer = json.loads(result.stdout)
        self.assertEqual(answer["outcome"], "provided", result.output)
        open_ = {condition["policy"] for condition in answer["conditions"]}
        self.assertLessEqual({"hours", "guests", "form", "service"}, open_, result.output)
        self.assertNotIn("pencil", result.output)

    def test_explain_denied(self) -> None:
        """What no policy grants is denied whatever the others say, unless a token could grant it."""
        arguments = ("explain", "--config", str(self.files.config), "--user", "alice", "publish", "other/x", "--json")
        answer = json.loads(self.run_command(*arguments).stdout)
        self.assertIn(answer["outcome"], ("deny", "provided"))

    def test_prove(self) -> None:
        """What tokens could grant is reckoned with, and nothing beyond it."""
        never = ("policy", "prove", "-c", str(self.files.config), "--who", "everyone", "--never", "publish")
        self.assertEqual(self.run_command(*never, "secret/#").exit_code, 0)
        result = self.run_command(*never, "plant/1")
        self.assertEqual(result.exit_code, 4)
        self.assertIn("tokens/grants_within[0]", result.stdout)
