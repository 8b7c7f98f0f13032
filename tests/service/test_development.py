# -*- test-case-name: tests.service.test_development -*-
"""Certificates and a user made at the first start."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial import unittest

from mqttsecure.errors import ConfigError
from mqttsecure.policy.builtin.password_hash import read_users, verify
from mqttsecure.service.assembly import check
from mqttsecure.service.config import BrokerConfig, load_config
from mqttsecure.service.development import Owner, generate, instructions, preview, uses
from tests.support.process import CHECKOUT


class DevelopmentTests(unittest.SynchronousTestCase):
    """A stranger starts the shipped configuration."""

    def setUp(self) -> None:
        root = Path(self.mktemp()).absolute()
        (root / "etc").mkdir(parents=True)
        shutil.copy(CHECKOUT / "etc" / "broker.toml", root / "etc")
        self.file = root / "etc" / "broker.toml"
        self.certs = root / "certs"

    def config(self) -> BrokerConfig:
        return load_config(self.file)

    def contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.certs.iterdir()}

    def certificate(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate((self.certs / name).read_bytes())

    def test_first_start_makes_all_that_is_named(self) -> None:
        """The configuration is complete afterwards, and its policies can be built."""
        config = self.config()
        self.assertTrue(uses(config))
        made = generate(config)
        self.assertEqual(sorted(path.name for path in made), sorted(self.contents()))
        self.assertFalse(uses(config))
        self.assertEqual(check(self.config()).warnings, ())

    def test_second_start_makes_nothing(self) -> None:
        """What is there is used again, byte for byte."""
        generate(self.config())
        before = self.contents()
        self.assertEqual(generate(self.config()), [])
        self.assertEqual(self.contents(), before)

    def test_modes(self) -> None:
        """Keys, users and the password are for the owner alone."""
        generate(self.config())
        for path in self.certs.iterdir():
            expected = 0o644 if path.suffix == ".pem" else 0o600
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), expected, path)

    def test_modes_do_not_hang_on_the_umask(self) -> None:
        """Nor do they with a umask that would hide certificates or show keys."""
        for umask in (0o000, 0o077):
            old = os.umask(umask)
            try:
                generate(self.config())
            finally:
                os.umask(old)
            self.test_modes()
            shutil.rmtree(self.certs)

    def test_server_certificate(self) -> None:
        """For localhost by name and address, for servers only, signed by the CA."""
        generate(self.config())
        server, ca = self.certificate("server.pem"), self.certificate("ca.pem")
        server.verify_directly_issued_by(ca)
        names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertIn("localhost", names.get_values_for_type(x509.DNSName))
        self.assertEqual([str(ip) for ip in names.get_values_for_type(x509.IPAddress)], ["127.0.0.1", "::1"])
        usage = server.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usage), [ExtendedKeyUsageOID.SERVER_AUTH])

    def test_client_certificate(self) -> None:
        """For clients only: it cannot pass for the server."""
        generate(self.config())
        usage = self.certificate("alice.pem").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usage), [ExtendedKeyUsageOID.CLIENT_AUTH])

    def test_password_fits_the_user_and_is_not_told(self) -> None:
        """The password is in its file; the instructions name the file."""
        config = self.config()
        made = generate(config)
        password = (self.certs / "alice.password").read_text().strip()
        self.assertTrue(verify(read_users(self.certs / "users")["alice"].hash, password.encode()))
        told = "\n".join(instructions(config, made))
        self.assertNotIn(password, told)
        self.assertIn(f'-P "$(cat {self.certs}/alice.password)"', told)
        self.assertIn(f"--cafile {self.certs}/ca.pem", told)
        self.assertIn("mosquitto_sub -i alice-sub ", told)

    def test_commands_survive_a_folder_with_spaces(self) -> None:
        """They can be pasted as they are."""
        config = replace(self.config(), development=self.certs / "my certs")
        command = next(line for line in instructions(config, []) if "mosquitto_pub" in line)
        self.assertIn(f"{self.certs}/my certs/ca.pem", shlex.split(command))

    def test_python_can_be_pasted(self) -> None:
        """The lines for paho-mqtt are a program as they stand, without an indent."""
        told = "\n".join(instructions(self.config(), []))
        program = told[told.index("import pathlib") :]
        compile(program, "paho.py", "exec")
        self.assertIn("client.loop_forever()", program)

    def test_removed_password_file_is_not_missed(self) -> None:
        """Who knows the password may remove the file; a lost user file is made again for the same password."""
        generate(self.config())
        password = (self.certs / "alice.password").read_bytes()
        (self.certs / "users").unlink()
        self.assertEqual([path.name for path in generate(self.config())], ["users"])
        self.assertEqual((self.certs / "alice.password").read_bytes(), password)
        self.assertTrue(verify(read_users(self.certs / "users")["alice"].hash, password.strip()))
        (self.certs / "alice.password").unlink()
        self.assertEqual(generate(self.config()), [])

    def test_removed_certificate_is_made_again_by_the_same_ca(self) -> None:
        """Clients that trust the CA go on doing so."""
        generate(self.config())
        ca = (self.certs / "ca.pem").read_bytes()
        (self.certs / "server.pem").unlink()
        (self.certs / "server.key").unlink()
        generate(self.config())
        self.assertEqual((self.certs / "ca.pem").read_bytes(), ca)
        self.certificate("server.pem").verify_directly_issued_by(self.certificate("ca.pem"))

    def test_half_of_a_pair_is_told_and_kept(self) -> None:
        """A lost key is not made up for silently; the mend names the file to remove."""
        generate(self.config())
        (self.certs / "server.key").unlink()
        with self.assertRaisesRegex(ConfigError, r"server\.key: missing, while .*rm .*server\.pem"):
            generate(self.config())

    def test_lost_ca_is_told(self) -> None:
        """Certificates of a CA that is gone are not mixed with a new one's."""
        generate(self.config())
        (self.certs / "ca.pem").unlink()
        with self.assertRaisesRegex(ConfigError, r"ca\.pem: missing, while what it has signed is there"):
            generate(self.config())

    def test_ca_key_may_be_kept_elsewhere(self) -> None:
        """The broker needs it only to sign."""
        generate(self.config())
        (self.certs / "ca.key").unlink()
        self.assertEqual(generate(self.config()), [])
        (self.certs / "alice.pem").unlink()
        (self.certs / "alice.key").unlink()
        with self.assertRaisesRegex(ConfigError, r"ca\.key: missing"):
            generate(self.config())

    def test_broken_ca_is_told(self) -> None:
        """Not a traceback."""
        generate(self.config())
        for name in ("server.pem", "server.key"):
            (self.certs / name).unlink()
        (self.certs / "ca.pem").write_text("nonsense")
        with self.assertRaisesRegex(ConfigError, r"ca\.pem holds no certificate"):
            generate(self.config())

    def test_links_are_not_followed(self) -> None:
        """A link laid in the folder does not let root write elsewhere."""
        self.certs.mkdir()
        target = self.certs.parent / "target"
        (self.certs / "ca.key").symlink_to(target)
        with self.assertRaises(ConfigError):
            generate(self.config())
        self.assertFalse(target.exists())

    def test_folder_that_cannot_be_made(self) -> None:
        """The reason and the mend, not a traceback."""
        (self.certs.parent / "certs").write_text("a file")
        with self.assertRaisesRegex(ConfigError, "development files cannot be made"):
            generate(self.config())

    def test_owner(self) -> None:
        """Started by root for another user, the files are that user's."""
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can give files away")
        generate(self.config(), Owner(65_534, 65_534))
        for path in (self.certs, *self.certs.iterdir()):
            self.assertEqual((path.stat().st_uid, path.stat().st_gid), (65_534, 65_534), path)

    def test_preview_makes_nothing_that_stays(self) -> None:
        """``check`` sees the whole and leaves no file."""
        with preview(self.config()) as config:
            tls = config.listeners[0].tls
            assert tls is not None
            self.assertTrue(tls.certificate.exists())
            self.assertEqual(check(self.config()).config.path, self.file)
        self.assertFalse(self.certs.exists())
        self.assertFalse(tls.certificate.exists())

    def test_production_makes_nothing(self) -> None:
        """Without the table no file is made, and a missing one is an error."""
        text = self.file.read_text().replace("generate = true", "generate = false")
        self.file.write_text(text)
        self.assertRaises(ConfigError, self.config)
        self.assertFalse(self.certs.exists())
