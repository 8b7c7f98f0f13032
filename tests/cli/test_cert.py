# -*- test-case-name: tests.cli.test_cert -*-
"""``mqttsecure cert show``, ``verify``, ``list`` and ``bad``, and passphrases."""

from __future__ import annotations

import json

from click.testing import CliRunner

from mqttsecure.cli.cert import cert
from mqttsecure.cli.main import main
from tests.cli.cert_case import CertCase


class HelpTests(CertCase):
    """Someone asks how."""

    def test_each_command_has_examples_and_exit_codes(self) -> None:
        """And the group too."""
        for name in cert.commands:
            result = CliRunner().invoke(main, ["cert", name, "--help"])
            self.assertIn("Examples:", result.output, name)
            self.assertIn("Exit codes:", result.output, name)

    def test_no_passphrase_on_the_command_line(self) -> None:
        """Others could read it in the list of processes: there is no option that takes one."""
        for name, command in cert.commands.items():
            options = {option for parameter in command.params for option in parameter.opts}
            self.assertFalse({"--passphrase", "--password", "--pkcs12-passphrase"} & options, name)


class VerifyTests(CertCase):
    """Someone asks whether a certificate is good."""

    def test_good_and_bad_in_one_line_each(self) -> None:
        """Exit codes 0 and 1."""
        self.cert("bad", "lesson", "--host", "broker.test")
        options = ("--ca", "lesson/ca.pem", "--host", "broker.test")
        good = self.cert("verify", "lesson/good.pem", *options).output
        self.assertRegex(good, r"\Alesson/good.pem: broker.test: good: issued by .*\n\Z")
        bad = self.cert("verify", "lesson/b6-client-only.pem", *options, code=1).output
        self.assertRegex(bad, r"\A.*not to be trusted: it is for clients only.*\n\Z")

    def test_json_tells_all_that_is_wrong(self) -> None:
        """The gravest first."""
        self.cert("bad", "lesson", "--host", "broker.test")
        result = self.cert(
            "verify", "lesson/b3-expired.pem", "--ca", "lesson/ca.pem", "--host", "x.test", "--json", code=1
        )
        answer = json.loads(result.output)
        self.assertFalse(answer["trusted"])
        self.assertEqual([each["check"] for each in answer["problems"]], ["time", "host"])

    def test_at_another_time(self) -> None:
        """Will it still be good then."""
        self.make_ca()
        self.cert("server", "ca", "a.test")
        self.assertIn(
            "expired", self.cert("verify", "a.test.pem", "--ca", "ca/ca.pem", "--at", "2040-01-01", code=1).output
        )

    def test_files_that_cannot_be_read(self) -> None:
        """In plain words, exit code 1; a missing option is 2."""
        self.write("x.pem", "nonsense")
        self.assertIn("x.pem holds no certificate", self.cert("verify", "x.pem", "--ca", "x.pem", code=1).output)
        self.assertIn("does not exist", self.cert("verify", "y.pem", "--ca", "x.pem", code=1).output)
        self.cert("verify", "x.pem", code=2)


class ShowTests(CertCase):
    """Someone looks at files."""

    def test_all_in_a_folder(self) -> None:
        """As tables, or as JSON."""
        self.make_ca()
        self.cert("client", "ca", "alice", "--group", "people")
        self.assertIn("CN=alice,OU=people", self.cert("show", "alice.pem", "ca/crl.pem", "alice.key").output)
        kinds = [each["kind"] for each in json.loads(self.cert("show", "alice.pem", "ca/crl.pem", "--json").output)]
        self.assertEqual(kinds, ["certificate", "revocation list"])

    def test_a_closed_bundle(self) -> None:
        """Its passphrase comes from a file or the environment; here is no terminal to ask at."""
        self.make_ca()
        self.write("p", "correct horse\n")
        self.cert("client", "ca", "alice", "--pkcs12", "--pkcs12-passphrase-file", "p")
        self.assertIn("in PKCS#12", self.cert("show", "alice.p12", "--passphrase-file", "p").output)
        self.assertIn("in PKCS#12", self.cert("show", "alice.p12", MQTTSECURE_PASSPHRASE="correct horse").output)
        self.assertIn("no terminal to ask at", self.cert("show", "alice.p12", code=1).output)
        self.assertIn("does not open", self.cert("show", "alice.p12", MQTTSECURE_PASSPHRASE="wrong", code=1).output)


class ListTests(CertCase):
    """Someone asks what was issued."""

    def test_states(self) -> None:
        """Live and revoked; for programs too."""
        self.make_ca()
        self.cert("client", "ca", "a")
        self.cert("client", "ca", "b")
        self.cert("revoke", "ca", "a", "--reason", "superseded")
        rows = json.loads(self.cert("list", "ca", "--json").output)
        self.assertEqual([(row["name"], row["state"].split()[0]) for row in rows], [("a", "revoked"), ("b", "live")])
        self.assertIn("superseded", self.cert("list", "ca").output)
        self.assertIn("cannot be opened", self.cert("list", ".", code=1).output)


class BadTests(CertCase):
    """A teacher prepares a lesson."""

    def test_with_a_ca_of_ones_own(self) -> None:
        """Its good one is good for who trusts that CA, and all of them are in its index but the rogue's."""
        self.make_ca()
        self.cert("bad", "lesson", "--host", "broker.test", "--ca", "ca")
        self.cert("verify", "lesson/good.pem", "--ca", "ca/ca.pem", "--host", "broker.test")
        self.assertEqual(len(json.loads(self.cert("list", "ca", "--json").output)), 5)
        self.assertIn("is there already", self.cert("bad", "lesson", code=1).output)
