# -*- test-case-name: tests.service.test_config -*-
"""Reading ``broker.toml``: what is right is resolved, what is wrong is told, all of it."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from mqttsecure.core.decisions import Principal
from mqttsecure.core.limits import Limits
from mqttsecure.errors import ConfigError
from mqttsecure.service.config import BrokerConfig, load_config

LISTENER = """\
[[listener]]
name = "plain"
bind = "127.0.0.1:1883"
plaintext = true
"""
POLICY = """\
[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.0/8"]
"""


class ConfigTestCase(unittest.SynchronousTestCase):
    """Writes a file and loads it."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "broker.toml"

    def write(self, name: str, content: str, mode: int = 0o600) -> Path:
        path = self.directory / name
        path.write_text(content)
        path.chmod(mode)
        return path

    def load(self, text: str) -> BrokerConfig:
        self.file.write_text(text)
        return load_config(self.file)

    def problems(self, text: str) -> list[str]:
        """The problems of a text, each less the file's name."""
        with self.assertRaises(ConfigError) as raised:
            self.load(text)
        return [problem.removeprefix(f"{self.file}:") for problem in raised.exception.problems]


class GoodConfigTests(ConfigTestCase):
    """What a right file says."""

    def test_listener(self) -> None:
        """Addresses, IPv6 too, and the defaults."""
        text = '[[listener]]\nname = "a"\nbind = ["127.0.0.1:1883", "[::1]:1883"]\nplaintext = true\n' + POLICY
        (listener,) = self.load(text).listeners
        self.assertEqual(listener.addresses, (("127.0.0.1", 1883), ("::1", 1883)))
        self.assertIsNone(listener.tls)
        self.assertEqual(listener.denied_publish_v3, "close")
        self.assertEqual(listener.maximum_connections, Limits().maximum_connections)
        self.assertEqual(listener.source.line, 1)

    def test_paths_are_relative_to_the_file(self) -> None:
        """Wherever the broker is started from."""
        for name in ("server.pem", "server.key", "ca.pem", "users"):
            self.write(name, "x")
        text = """\
[[listener]]
name = "tls"
bind = "127.0.0.1:8883"
tls = { certificate = "server.pem", key = "server.key", client_certificate = "optional", authorities = ["home"] }
[[authority]]
name = "home"
ca = ["ca.pem"]
password_file = "users"
"""
        config = self.load(text + POLICY)
        tls = config.listeners[0].tls
        assert tls is not None
        self.assertEqual(tls.key, self.directory / "server.key")
        self.assertEqual(config.authorities[0].ca, (self.directory / "ca.pem",))
        self.assertEqual(config.authorities[0].password_file, self.directory / "users")
        self.assertEqual(config.resolve("x/y"), self.directory / "x/y")
        self.assertEqual(config.directory, self.directory)

    def test_relative_name_of_the_file_itself(self) -> None:
        """A daemon changes its folder after this; nothing may depend on where it was."""
        self.file.write_text(LISTENER + POLICY)
        self.assertTrue(load_config(os.path.relpath(self.file)).path.is_absolute())

    def test_policy(self) -> None:
        """Common keys are taken out, the rest are the policy's own options."""
        (policy,) = self.load(LISTENER + POLICY + 'timeout_ms = 250\nfinal = ["ACCEPT"]\n').policies
        self.assertEqual((policy.id, policy.use, policy.on), ("addresses", "ip-allowlist", ("plain",)))
        self.assertEqual(policy.timeout, 0.25)
        self.assertEqual(policy.final, ("ACCEPT",))
        self.assertEqual(policy.options, {"permit": ["127.0.0.0/8"]})
        self.assertEqual(policy.source.line, 5)

    def test_limits_with_and_without_units(self) -> None:
        """256KiB and 262144 are the same."""
        limits = self.load(f'{LISTENER}{POLICY}[limits]\nmaximum_packet_size = "1MiB"\nconnect_timeout = 5\n').limits
        self.assertEqual(limits.maximum_packet_size, 1 << 20)
        self.assertEqual(limits.connect_timeout, 5)
        self.assertEqual(limits.receive_maximum, Limits().receive_maximum)

    def test_aliases(self) -> None:
        """Two principals that are one."""
        self.write("users", "x")
        self.write("ca.pem", "x")
        text = """\
[[authority]]
name = "people"
password_file = "users"
[[authority]]
name = "devices"
ca = ["ca.pem"]
[[alias]]
principal = "devices:laptop"
is = "people:alice"
"""
        config = self.load(LISTENER + POLICY + text)
        self.assertEqual(config.aliases, {Principal("devices", "laptop"): Principal("people", "alice")})

    def test_systemd_credentials(self) -> None:
        """A secret may come from the service manager."""
        self.write("userfile", "x")
        self.patch(os, "environ", {**os.environ, "CREDENTIALS_DIRECTORY": str(self.directory)})
        text = '[[authority]]\nname = "home"\npassword_file = "credential:userfile"\n'
        config = self.load(LISTENER + POLICY + text)
        self.assertEqual(config.authorities[0].password_file, self.directory / "userfile")

    def test_windows_line_ends(self) -> None:
        """A file edited elsewhere works, and its lines count right."""
        self.file.write_bytes((LISTENER + POLICY).replace("\n", "\r\n").encode())
        self.assertEqual(load_config(self.file).policies[0].source.line, 5)


class BadConfigTests(ConfigTestCase):
    """Every mistake is told with its line, its key and what to do."""

    def test_all_problems_at_once(self) -> None:
        """Nobody has to start the broker five times to find five mistakes."""
        text = """\
[[listener]]
name = "tls"
bnd = "127.0.0.1:8883"
bind = "127.0.0.1:8883"
tls = { certificate = "nowhere.pem", key = "server.key", client_certificate = "sometimes" }
[[listener]]
name = "tls"
bind = 8883
[[authority]]
name = "home"
[[policy]]
id = "p"
use = "ip-allowlist"
on = ["tsl"]
[limits]
receive_maximum = 0
maximum_packet_size = "3 parsecs"
[logg]
level = "info"
"""
        problems = self.problems(text)
        for expected in (
            "3: listener[0].bnd: unknown key; did you mean `bind`?",
            '5: listener[0].tls.client_certificate: must be "none", "optional" or "required", not "sometimes"',
            "5: listener[0].tls.certificate: ",
            "8: listener[1].bind: must be an array, not 8883",
            "9: authority[0]: vouches for nobody",
            '14: policy[0].on[0]: no `[[listener]]` is named "tsl"; did you mean `tls`?',
            "16: limits.receive_maximum: must be greater than or equal to 1, not 0",
            "17: limits.maximum_packet_size: must be a number and one of the units",
            "18: logg: unknown key; did you mean `log`?",
        ):
            self.assertTrue(any(problem.startswith(expected) for problem in problems), (expected, problems))
        self.assertEqual(
            [int(problem.partition(":")[0]) for problem in problems],
            sorted(int(problem.partition(":")[0]) for problem in problems),
        )

    def test_top_level_key_below_a_table(self) -> None:
        """TOML gives it to the table above; it is told where it belongs."""
        (problem,) = self.problems(f'{LISTENER}{POLICY}[limits]\nplugins = {{ path = ["."] }}\n')
        self.assertTrue(problem.startswith("10: limits.plugins: "), problem)
        self.assertIn("move it above line 1", problem)

    def test_syntax_error(self) -> None:
        """The line of a missing quote, and of an end that came too soon."""
        (problem,) = self.problems('[[listener]]\nname = "a\n')
        self.assertTrue(problem.startswith("2: not valid TOML: "), problem)
        (problem,) = self.problems("[[listener]]\nname = [\n")
        self.assertTrue(problem.startswith("3: not valid TOML: "), problem)

    def test_not_utf8(self) -> None:
        """A file in another encoding."""
        self.file.write_bytes(b"# fine\n# caf\xe9\n")
        with self.assertRaisesRegex(ConfigError, ":2: not UTF-8"):
            load_config(self.file)

    def test_no_file_and_folder(self) -> None:
        """A wrong name is told by that name."""
        with self.assertRaisesRegex(ConfigError, "nothing.toml: cannot be read"):
            load_config(self.directory / "nothing.toml")
        with self.assertRaisesRegex(ConfigError, "cannot be read"):
            load_config(self.directory)

    def test_nested_too_deeply(self) -> None:
        """No traceback for a file that is only brackets."""
        self.assertEqual(len(self.problems("a = " + "[" * 100_000)), 1)

    def test_wrong_brackets(self) -> None:
        """[listener] for [[listener]], and the reverse."""
        problems = self.problems('[listener]\nname = "a"\n[[limits]]\n')
        self.assertIn("1: listener: must be an array of tables; write `[[listener]]`", problems)
        self.assertIn("3: limits: must be a table; write `[limits]`", problems)

    def test_no_listener_and_no_policy(self) -> None:
        """An empty file is no broker."""
        problems = self.problems("")
        self.assertEqual(len(problems), 2)
        self.assertIn("an empty chain denies everything", problems[1])

    def test_listener_without_tls(self) -> None:
        """Plaintext has to be asked for by name."""
        (problem,) = self.problems(LISTENER.replace("plaintext = true\n", "") + POLICY)
        self.assertTrue(problem.startswith("1: listener[0]: has no TLS"), problem)

    def test_plaintext_beyond_loopback(self) -> None:
        """And once more by name where other machines can listen in; ::ffff:... and [::] are not loopback."""
        for address in ("0.0.0.0:1883", "[::]:1883", "192.0.2.1:1883", "[::ffff:192.0.2.1]:1883"):
            text = LISTENER.replace("127.0.0.1:1883", address) + POLICY
            (problem,) = self.problems(text)
            self.assertIn("plaintext_beyond_loopback = true", problem)
            self.load(text.replace("plaintext = true", "plaintext = true\nplaintext_beyond_loopback = true"))

    def test_loopback(self) -> None:
        """Every spelling of this machine."""
        for address in ("127.0.0.1:1883", "127.8.9.1:1883", "[::1]:1883", "[::ffff:127.0.0.1]:1883"):
            self.load(LISTENER.replace("127.0.0.1:1883", address) + POLICY)

    def test_development_beyond_loopback(self) -> None:
        """A certificate made for a first try does not face the world."""
        text = LISTENER.replace("127.0.0.1", "0.0.0.0").replace("true", "true\nplaintext_beyond_loopback = true")
        (problem,) = self.problems(f"{text}{POLICY}[development]\ngenerate = true\n")
        self.assertIn("only loopback is allowed", problem)

    def test_bad_addresses(self) -> None:
        """Each wrong way to write one comes with the right one."""
        for address, mend in (
            ("localhost:8883", '["127.0.0.1:8883", "[::1]:8883"]'),
            ("::1:8883", "brackets"),
            ("*:8883", "0.0.0.0:8883"),
            (":8883", "0.0.0.0:8883"),
            ("127.0.0.1", "no port"),
            ("127.0.0.1:65536", "no port"),
            ("127.0.0.1:٣", "no port"),
            ("300.0.0.1:1", "not an IP address"),
        ):
            (problem,) = self.problems(LISTENER.replace("127.0.0.1:1883", address) + POLICY)
            self.assertIn(mend, problem)
            self.assertTrue(problem.startswith("3: listener[0].bind[0]: "), problem)

    def test_same_address_twice(self) -> None:
        """The line of the first is told; port 0 is another port each time."""
        second = LISTENER.replace('"plain"', '"again"')
        (problem,) = self.problems(LISTENER + second + POLICY)
        self.assertIn("bound by line 3", problem)
        self.load((LISTENER + second).replace(":1883", ":0") + POLICY)

    def test_same_name_twice(self) -> None:
        """A log line has to mean one listener, one policy."""
        problems = self.problems(LISTENER + LISTENER.replace("1883", "1884") + POLICY + POLICY)
        self.assertEqual(
            problems,
            [
                '6: listener[1].name: "plain" is taken by line 2; choose another',
                '14: policy[1].id: "addresses" is taken by line 10; choose another',
            ],
        )

    def test_secrets_that_others_can_read(self) -> None:
        """A key for everybody is refused, one for a group is not, one that a group can change is."""
        self.write("server.pem", "x", 0o644)
        text = """\
[[listener]]
name = "tls"
bind = "127.0.0.1:8883"
tls = { certificate = "server.pem", key = "server.key" }
"""
        self.write("server.key", "x", 0o644)
        (problem,) = self.problems(text + POLICY)
        self.assertIn("can be read by others (mode 0644); run: chmod 600", problem)
        self.write("server.key", "x", 0o660)
        self.assertIn("changed by its group", self.problems(text + POLICY)[0])
        self.write("server.key", "x", 0o640)
        self.load(text + POLICY)

    def test_files_that_are_no_files(self) -> None:
        """A folder, an empty file, a pipe, and a credential that nobody gave."""
        self.write("empty", "")
        os.mkfifo(self.directory / "pipe")
        for name, what in ((".", "not a regular file"), ("empty", "is empty"), ("pipe", "not a regular file")):
            (problem,) = self.problems(f'{LISTENER}{POLICY}[[authority]]\nname = "a"\nca = ["{name}"]\n')
            self.assertIn(what, problem)
        self.patch(os, "environ", {key: value for key, value in os.environ.items() if key != "CREDENTIALS_DIRECTORY"})
        text = f'{LISTENER}{POLICY}[[authority]]\nname = "a"\npassword_file = "credential:users"\n'
        self.assertIn("add `LoadCredential=users:FILE`", self.problems(text)[0])

    def test_plugin_folder(self) -> None:
        """A folder that is not there."""
        (problem,) = self.problems(f'{LISTENER}{POLICY}[plugins]\npath = ["plugins"]\n')
        self.assertTrue(problem.startswith("10: plugins.path[0]: "), problem)

    def test_client_certificates(self) -> None:
        """Certificates are checked against an authority that has a CA, or not at all."""
        for name in ("server.pem", "server.key", "users", "ca.pem"):
            self.write(name, "x")
        for tls, what in (
            ('client_certificate = "required"', "wants `authorities"),
            ('authorities = ["home"]', "has no effect"),
            ('client_certificate = "optional", authorities = ["hom"]', "did you mean `home`?"),
            ('client_certificate = "optional", authorities = ["people"]', "has no `ca`"),
        ):
            text = f"""\
[[listener]]
name = "tls"
bind = "127.0.0.1:8883"
tls = {{ certificate = "server.pem", key = "server.key", {tls} }}
[[authority]]
name = "home"
ca = ["ca.pem"]
[[authority]]
name = "people"
password_file = "users"
"""
            (problem,) = self.problems(text + POLICY)
            self.assertIn(what, problem)

    def test_authorities_and_aliases(self) -> None:
        """Reserved names, empty authorities, unknown ones in aliases, chains of aliases."""
        text = """\
[[authority]]
name = "anonymous"
[[authority]]
name = "home"
crl = ["users"]
password_file = "users"
[[alias]]
principal = "hom:a"
is = "home:b"
[[alias]]
principal = "home:b"
is = "home:c"
[[alias]]
principal = "home"
is = "home:c"
"""
        self.write("users", "x")
        problems = "\n".join(self.problems(LISTENER + POLICY + text))
        for what in (
            "the broker's own word",
            "has no effect without `ca`",
            "did you mean `home`?",
            "is itself an alias",
            "is not a principal",
        ):
            self.assertIn(what, problems)

    def test_contradictions(self) -> None:
        """TLS and plaintext at once, and plaintext beyond loopback without plaintext."""
        self.write("server.pem", "x")
        self.write("server.key", "x")
        text = LISTENER + 'plaintext_beyond_loopback = true\ntls = { certificate = "server.pem", key = "server.key" }\n'
        self.assertIn("contradicts `tls`", self.problems(text + POLICY)[0])
        self.assertIn("has no effect", self.problems(text.replace("plaintext = true\n", "") + POLICY)[0])
        self.assertIn("names no listener", self.problems(f"{LISTENER}{POLICY}on = []\n")[0])
        self.assertIn("is there twice", self.problems(f'{LISTENER}{POLICY}on = ["plain", "plain"]\n')[0])

    def test_names(self) -> None:
        """Names that could forge a log line are no names."""
        (problem,) = self.problems(LISTENER.replace('"plain"', '"pl ain\\n"') + POLICY)
        self.assertIn("not a valid name", problem)

    def test_nothing_is_converted(self) -> None:
        """\"true\" is no true and 5 is no \"5\"."""
        problems = self.problems(LISTENER.replace("plaintext = true", 'plaintext = "true"') + POLICY + "on = 5\n")
        self.assertIn('4: listener[0].plaintext: must be true or false, not "true", such as true', problems)
        self.assertIn("9: policy[0].on: must be an array, not 5", problems)

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 400), st.sampled_from(["", "x", '"', "[", "]", "=", "\n", "1", "\x00", "#", "é"]))
    def test_broken_files_never_raise_anything_else(self, position: int, piece: str) -> None:
        """However a file is damaged, there is a configuration or a list of problems."""
        text = f'{LISTENER}{POLICY}[limits]\nmaximum_packet_size = "1MiB"\n[log]\nformat = "json"\n'
        position %= len(text)
        self.file.write_text(text[:position] + piece + text[position + 1 :])
        try:
            load_config(self.file)
        except ConfigError as error:
            self.assertTrue(error.problems)
