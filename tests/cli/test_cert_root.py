# -*- test-case-name: tests.cli.test_cert_root -*-
"""``mqttsecure cert init``."""

from __future__ import annotations

from click.testing import CliRunner

from mqttsecure.cli import cert_options
from mqttsecure.cli.main import main
from tests.cli.cert_case import CertCase
from tests.support.openssl import openssl


class InitTests(CertCase):
    """Someone makes a CA."""

    def test_passphrase_from_file_environment_or_not_at_all(self) -> None:
        """Without a terminal and without any it is not made; a file that others can read is refused."""
        self.write("p", "correct horse\n")
        self.cert("init", "a", "--passphrase-file", "p")
        self.cert("init", "b", MQTTSECURE_CA_PASSPHRASE="correct horse")
        self.cert("init", "c", "--passphrase-env", "MINE", MINE="correct horse")
        for ca in ("a", "b", "c"):
            openssl("pkey", "-in", f"{ca}/ca.key", "-passin", "pass:correct horse", "-noout")
            self.assertIn("needs a passphrase", self.cert("client", ca, "x", code=1).output)
            self.cert("client", ca, f"x-{ca}", "--passphrase-file", "p")
        self.assertIn("here is no terminal", self.cert("init", "d", code=1).output)
        self.assertFalse((self.folder / "d").exists())
        self.write("open", "correct horse\n", 0o644)
        self.assertIn("others can read", self.cert("init", "d", "--passphrase-file", "open", code=1).output)
        self.assertIn("has no NOT_SET", self.cert("init", "d", "--passphrase-env", "NOT_SET", code=1).output)
        self.assertIn("shorter than 8", self.cert("init", "d", MQTTSECURE_CA_PASSPHRASE="short", code=1).output)

    def test_passphrase_at_a_terminal(self) -> None:
        """Asked for unseen, twice when it is new and once when it is used; no prompt is part of the output."""
        self.patch(cert_options, "_is_terminal", lambda: True)
        runner = CliRunner()
        made = runner.invoke(main, ["cert", "init", "ca"], input="correct horse\ncorrect horse\n")
        self.assertEqual(made.exit_code, 0, made.output)
        self.assertNotIn("correct horse", made.output)
        self.assertNotIn("Passphrase", made.stdout)
        openssl("pkey", "-in", "ca/ca.key", "-passin", "pass:correct horse", "-noout")
        used = runner.invoke(main, ["cert", "client", "ca", "alice"], input="correct horse\n")
        self.assertEqual(used.exit_code, 0, used.output)
        wrong = runner.invoke(main, ["cert", "client", "ca", "bob"], input="wrong horse\n")
        self.assertEqual(wrong.exit_code, 1, wrong.output)
        self.assertIn("does not open with this passphrase", wrong.output)

    def test_nothing_is_overwritten_without_force(self) -> None:
        """Exit code 1, and what is there is told."""
        self.make_ca()
        before = (self.folder / "ca" / "ca.key").read_bytes()
        self.assertIn("is there already, and is kept", self.cert("init", "ca", "--no-passphrase", code=1).output)
        self.assertEqual((self.folder / "ca" / "ca.key").read_bytes(), before)
        self.cert("init", "ca", "--no-passphrase", "--force")

    def test_offline(self) -> None:
        """Request out, certificate in; a client that trusts the root alone accepts what the lower CA issues."""
        self.cert("init", "root", "--no-passphrase", "--path-length", "1")
        self.assertIn("next: mqttsecure cert sign", self.cert("init", "plant", "--no-passphrase", "--request").output)
        self.cert(
            "sign", "root", "plant/ca.csr", "--as", "ca", "--take", "all", "--out", "s.pem", "--permit", "DNS:x.test"
        )
        self.cert("init", "plant", "--no-passphrase", "--certificate", "s.pem")
        self.cert("server", "plant", "a.x.test")
        openssl("verify", "-CAfile", "root/ca.pem", "-untrusted", "a.x.test.pem", "a.x.test.pem")
        self.cert("verify", "a.x.test.pem", "--ca", "root/ca.pem", "--host", "a.x.test")
        self.assertIn("may not vouch for DNS:b.test", self.cert("server", "plant", "b.test", code=1).output)

    def test_command_lines_that_make_no_sense(self) -> None:
        """Exit code 2."""
        self.cert("init", "ca", "--request", "--permit", "DNS:x", "--no-passphrase", code=2)
        self.cert("init", "ca", "--lifetime", "10", "--no-passphrase", code=2)
        self.cert("init", "ca", "--key", "rsa-512", code=2)
