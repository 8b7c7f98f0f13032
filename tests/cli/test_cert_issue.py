# -*- test-case-name: tests.cli.test_cert_issue -*-
"""``mqttsecure cert server`` and ``client``."""

from __future__ import annotations

import json
import stat

from mqttsecure.cli import cert_issue
from tests.cli.cert_case import CertCase
from tests.support.openssl import openssl


class ServerTests(CertCase):
    """Someone sets up a broker."""

    def test_files_and_names(self) -> None:
        """Named after the first name; the key is for its owner alone."""
        self.make_ca()
        result = self.cert("server", "ca", "broker.test", "10.0.0.1", "--out", "etc", "--lifetime", "90d", "--json")
        self.assertEqual(json.loads(result.output)["files"], ["etc/broker.test.key", "etc/broker.test.pem"])
        self.assertEqual(stat.S_IMODE((self.folder / "etc/broker.test.key").stat().st_mode), 0o600)
        openssl("verify", "-CAfile", "ca/ca.pem", "-verify_ip", "10.0.0.1", "etc/broker.test.pem")

    def test_nothing_is_overwritten_and_nothing_issued_for_nothing(self) -> None:
        """The refusal comes before a serial number is spent."""
        self.make_ca()
        self.cert("server", "ca", "a.test")
        self.assertIn("is there already", self.cert("server", "ca", "a.test", code=1).output)
        self.assertEqual(len(json.loads(self.cert("list", "ca", "--json").output)), 1)
        self.cert("server", "ca", "a.test", "--force")

    def test_bad_names_and_lifetimes(self) -> None:
        """Each in plain words."""
        self.make_ca()
        self.assertIn("without a port", self.cert("server", "ca", "a.test:8883", code=1).output)
        self.assertIn("outlive its CA", self.cert("server", "ca", "a.test", "--lifetime", "9999d", code=1).output)
        self.assertIn(
            "a number and one of the units", self.cert("server", "ca", "a.test", "--lifetime", "1y", code=2).output
        )


class ClientTests(CertCase):
    """Devices get certificates."""

    def test_batch_is_stopped_and_goes_on(self) -> None:
        """Ctrl-C ends it with 130 and tells how far it came; the same command finishes."""
        self.make_ca()
        self.write("devices", "".join(f"pump-{number}\n" for number in range(30)))
        real = cert_issue.issue_all

        def stopped(*arguments: object, **options: object) -> object:
            for count, each in enumerate(real(*arguments, **options)):  # type: ignore[arg-type]
                if count == 10:
                    raise KeyboardInterrupt
                yield each

        patched = self.patch(cert_issue, "issue_all", stopped)
        command = ("client", "ca", "--batch", "devices", "--out", "out", "--group", "pumps")
        self.assertIn("stopped: 10 of 30 are finished", self.cert(*command, code=130).output)
        patched.restore()
        self.assertIn("19 made in out, 11 were there already", self.cert(*command).output)
        self.assertIn("0 made in out, 30 were there already", self.cert(*command).output)
        self.assertEqual(len(json.loads(self.cert("list", "ca", "--json").output)), 30)

    def test_pkcs12(self) -> None:
        """OpenSSL opens it."""
        self.make_ca()
        self.cert("client", "ca", "alice", "--pkcs12", MQTTSECURE_PKCS12_PASSPHRASE="correct horse")
        openssl("pkcs12", "-in", "alice.p12", "-passin", "pass:correct horse", "-noout")
        self.assertEqual(stat.S_IMODE((self.folder / "alice.p12").stat().st_mode), 0o600)

    def test_command_lines_that_make_no_sense(self) -> None:
        """Exit code 2."""
        self.make_ca()
        self.write("devices", "a\n")
        self.cert("client", "ca", code=2)
        self.cert("client", "ca", "a", "--batch", "devices", code=2)
        self.cert("client", "ca", "--batch", "devices", "--force", code=2)
        self.cert("client", "ca", "a", "--pkcs12-passphrase-file", "devices", code=2)
