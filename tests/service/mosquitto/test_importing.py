"""A whole import: what is written can be used, and decides as its policy tests say."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any

import trustme

from mqttsecure.errors import ConfigError
from mqttsecure.service.mosquitto.importing import Imported, verify, write
from tests.service.mosquitto.case import ALICE, ImportCase


class ImportingTests(ImportCase):
    """From mosquitto.conf to broker.toml."""

    def written(self, imported: Imported) -> dict[str, Any]:
        """Its configuration, after it was seen to be usable."""
        out = self.folder / "out"
        write(imported, out, force=True)
        self.assertEqual(verify(out), [])
        return tomllib.loads(imported.files["broker.toml"])

    def policies(self, *lines: str) -> dict[str, dict[str, Any]]:
        return {each["id"]: each for each in self.written(self.imported(*lines))["policy"]}

    def certificates(self) -> None:
        """ca.pem, server.pem and server.key."""
        ca = trustme.CA()
        server = ca.issue_cert("localhost", "127.0.0.1")
        ca.cert_pem.write_to_path(self.folder / "ca.pem")
        server.private_key_pem.write_to_path(self.folder / "server.key")
        (self.folder / "server.key").chmod(0o600)
        server.cert_chain_pems[0].write_to_path(self.folder / "server.pem")

    def test_users_and_rules(self) -> None:
        """Users keep their hashes, each line becomes a rule below its origin, and each rule has its test."""
        self.file("passwords", ALICE)
        self.file("acl", "user alice", "topic read a/#", "topic deny a/b", "pattern write c/%c")
        imported = self.imported("listener 1883 127.0.0.1", "password_file {folder}/passwords", "acl_file {folder}/acl")
        policies = {each["id"]: each for each in self.written(imported)["policy"]}
        self.assertEqual(imported.files["users"], ALICE + "\n")
        rules = [line for line in imported.files["topics.rules"].splitlines() if not line.startswith("#")]
        self.assertEqual(
            rules,
            [
                "deny   user:alice publish,read a/b",
                "permit user:alice read a/#",
                "permit everyone publish c/{client}",
            ],
        )
        self.assertIn(f"# {self.folder}/acl:3\ndeny", imported.files["topics.rules"])
        self.assertEqual(policies["topics"]["subscribe"], "filtered")
        self.assertNotIn("anonymous", policies)
        tests = tomllib.loads(imported.files["policy-tests.toml"])["test"]
        self.assertEqual(
            [(test["do"], test["topic"], test["expect"]) for test in tests],
            [
                ("publish", "a/b", "deny"),
                ("receive", "a/b", "deny"),
                ("receive", "a/x2", "permit"),
                ("publish", "c/client-1", "permit"),
            ],
        )
        self.assert_told("acl:2: differs", "every SUBSCRIBE", notes=imported)
        self.assert_told("acl:4: differs", "%c", notes=imported)
        self.assert_told("mosquitto.conf:1: differs", "acknowledged and dropped", notes=imported)

    def test_many_users(self) -> None:
        """With thousands of rules it takes seconds, and its tests, which would hold up each start, are run once."""
        names = [f"user{number}" for number in range(700)]
        self.file("passwords", *(ALICE.replace("alice", name) for name in names))
        self.file(
            "acl", *(line for name in names for line in (f"user {name}", f"topic {name}/#", f"topic read n/{name}"))
        )
        lines = ("listener 1 127.0.0.1", "password_file {folder}/passwords", "acl_file {folder}/acl")
        imported = self.imported(*lines)
        found = self.written(imported)
        self.assertEqual((imported.rules, found["tests"]["required"]), (1400, False))
        out = self.folder / "out"
        rules = (out / "topics.rules").read_text()
        (out / "topics.rules").write_text(rules.replace("permit user:user7 read", "permit user:user8 read"))
        self.assertTrue(any("'acl:" in problem and "user7" in problem for problem in verify(out)), verify(out))

    def test_pattern_that_denies(self) -> None:
        """A denial by pattern does not reach what a user was given by name: it goes into a policy behind."""
        self.file("acl", "user alice", "topic a/#", "pattern deny a/b", "pattern a/%u")
        policies = self.policies("allow_anonymous true", "acl_file {folder}/acl")
        self.assertEqual(policies["topics-1"]["final"], ["PUBLISH", "SUBSCRIBE", "DELIVER"])
        self.assertNotIn("final", policies["topics-2"])

    def test_nothing_but_the_defaults(self) -> None:
        """Mosquitto without any line serves everyone on this machine; so does what comes of it."""
        imported = self.imported("# nothing")
        found = self.written(imported)
        self.assertEqual(found["listener"][0]["bind"], ["127.0.0.1:1883", "[::1]:1883"])
        (anonymous,) = (each for each in found["policy"] if each["use"] == "anonymous")
        self.assertTrue(anonymous["ignore_password"])
        self.assert_told("mosquitto.conf:1: differs", "proves nothing", notes=imported)

    def test_password_file_without_usable_users(self) -> None:
        """Where mosquitto wanted passwords, nobody gets in without one because none could be carried over."""
        self.file("passwords", "alice:plain")
        policies = self.policies("allow_anonymous true", "password_file {folder}/passwords")
        self.assertNotIn("ignore_password", policies["anonymous"])

    def test_system_topics_are_not_written(self) -> None:
        """Mosquitto lets nobody write $SYS, whatever its file says."""
        self.file("acl", "topic $SYS/#", "topic #")
        imported = self.imported("allow_anonymous true", "acl_file {folder}/acl")
        self.written(imported)
        self.assertIn("deny   everyone publish $SYS/#", imported.files["topics.rules"])

    def test_empty_acl(self) -> None:
        """An access control file without a line denies everything, there as here."""
        self.file("acl", "# nothing")
        imported = self.imported("allow_anonymous true", "acl_file {folder}/acl")
        self.written(imported)
        self.assertIn("deny   everyone publish,read #", imported.files["topics.rules"])

    def test_tls(self) -> None:
        """Certificates stay where they are; who had to show one must here, and is named by it."""
        self.certificates()
        tls = ("certfile {folder}/server.pem", "keyfile {folder}/server.key")
        found = self.written(
            self.imported(
                "listener 8883 127.0.0.1", *tls, "cafile {folder}/ca.pem", "require_certificate true",
                "use_identity_as_username true", "tls_version tlsv1.3",
            )
        )  # fmt: skip
        self.assertEqual(
            found["listener"][0]["tls"],
            {
                "certificate": str(self.folder / "server.pem"),
                "key": str(self.folder / "server.key"),
                "minimum_version": "TLSv1.3",
                "client_certificate": "required",
                "authorities": ["mosquitto"],
            },
        )
        self.assertEqual(found["policy"][3]["use"], "client-certificate")

    def test_listeners_that_stay_closed(self) -> None:
        """A listener that cannot be carried over as safe as it was is not opened, and it is said why."""
        self.certificates()
        self.file("open.key", "x").chmod(0o644)
        (self.folder / "server.key").chmod(0o600)
        cases = (
            (("protocol websockets",), "websockets"),
            (("psk_hint x",), "psk_hint"),
            (("capath /x",), "capath"),
            (("bind_interface eth0",), "bind_interface"),
            (("mount_point a/",), "reach all topics"),
            (("certfile {folder}/server.pem",), "go together"),
            (("certfile {folder}/none.pem", "keyfile {folder}/server.key"), "does not exist"),
            (("certfile {folder}/server.pem", "keyfile {folder}/open.key"), "can be read by others"),
            (
                ("certfile {folder}/server.pem", "keyfile {folder}/server.key", "require_certificate true"),
                "without a cafile",
            ),
        )
        for lines, text in cases:
            with self.subTest(lines):
                imported = self.imported("listener 1 127.0.0.1", "allow_anonymous true", "listener 2 127.0.0.1", *lines)
                self.assertEqual([each["name"] for each in self.written(imported)["listener"]], ["mqtt-1"])
                self.assertTrue(any(text in note and "stays closed" in note for note in self.told(imported)), text)
        self.assertIn("stays closed until it is given one", self.problems("listener 1 example.org"))
        self.assertIn("Unix socket", self.problems("listener 0 /run/x"))

    def test_plugin_that_is_not_known(self) -> None:
        """Where somebody else's code decided, nobody is let in for want of it."""
        known = ("plugin /lib/mosquitto_dynamic_security.so", "plugin_opt_config_file {folder}/dynsec.json")
        for lines in (("plugin /lib/x.so",), (*known, "plugin /lib/x.so"), ("auth_plugin /lib/x.so", *known)):
            self.assertIn("stays closed", self.problems("listener 1 127.0.0.1", "allow_anonymous true", *lines))
        own = self.imported(
            "per_listener_settings true",
            "listener 1 127.0.0.1",
            "allow_anonymous true",
            "listener 2 127.0.0.1",
            "plugin /lib/x.so",
        )
        self.assertEqual([each["name"] for each in self.written(own)["listener"]], ["mqtt-1"])

    def test_address_families(self) -> None:
        """A listener of one family is opened for that alone, or not at all."""
        first = self.imported("listener 1", "allow_anonymous true")
        self.assertEqual(self.written(first)["listener"][0]["bind"], "[::]:1")
        second = self.imported("listener 1", "socket_domain ipv4", "allow_anonymous true")
        self.assertEqual(self.written(second)["listener"][0]["bind"], "0.0.0.0:1")
        self.assertIn("stays closed", self.problems("listener 1", "socket_domain ipv6"))

    def test_identifier_that_is_the_user(self) -> None:
        """Where the user name was the Client Identifier nobody can claim another one, and with it another's %c."""
        self.file("passwords", ALICE)
        imported = self.imported(
            "listener 1 127.0.0.1",
            "password_file {folder}/passwords",
            "listener 2 127.0.0.1",
            "use_username_as_clientid true",
        )
        found = {each["id"]: each for each in self.written(imported)["policy"]}
        self.assertEqual((found["client-ids"]["on"], found["client-ids"]["patterns"]), (["mqtt-1"], ["*"]))
        bound = found["client-ids-of-users"]
        self.assertEqual((bound["on"], bound["patterns"], bound["allow_empty"]), (["mqtt-2"], ["{user}"], False))
        self.assert_told("mosquitto.conf:4: differs", "name itself", notes=imported)

    def test_settings_of_their_own(self) -> None:
        """With per_listener_settings each listener has its users and rules, and they are different people."""
        self.file("one", ALICE)
        self.file("two", ALICE.replace("alice", "bob"))
        self.file("acl", "topic read a/#")
        imported = self.imported(
            "per_listener_settings true",
            "listener 1 127.0.0.1",
            "password_file {folder}/one",
            "listener 2 127.0.0.1",
            "password_file {folder}/two",
            "allow_anonymous true",
            "acl_file {folder}/acl",
        )
        found = self.written(imported)
        self.assertEqual([each["name"] for each in found["authority"]], ["mosquitto", "mosquitto-mqtt-2"])
        on = {each["id"]: each.get("on") for each in found["policy"]}
        self.assertEqual((on["passwords-mqtt-1"], on["anonymous-mqtt-2"]), (["mqtt-1"], ["mqtt-2"]))
        self.assert_told("mosquitto.conf:4: differs", "[[alias]]", notes=imported)

    def test_limits_and_other_options(self) -> None:
        """Limits go on, refusals become rules, and every other line is told."""
        imported = self.imported(
            "listener 1883 127.0.0.1",
            "allow_anonymous true",
            "max_qos 1",
            "max_connections 5",
            "max_packet_size 70000",
            "max_inflight_messages 0",
            "max_queued_messages 7",
            "persistent_client_expiration 2w",
            "retain_available false",
            "clientid_prefixes dev-",
            "max_keepalive 99999999",
            "persistence false",
            "no_such_option 1",
        )
        found = self.written(imported)
        self.assertEqual(
            found["limits"],
            {"maximum_packet_size": 70_000, "maximum_queued_messages": 7, "maximum_session_expiry": 1_209_600},
        )
        self.assertEqual(found["listener"][0]["maximum_connections"], 5)
        self.assertEqual(found["store"], {"durability": "memory"})
        rules = [rule for each in found["policy"] for rule in each.get("rules", ())]
        self.assertEqual(rules, ["deny everyone publish # where retain=yes", "deny everyone publish # where qos>1"])
        self.assertIn(["dev-*"], [each.get("patterns") for each in found["policy"]])
        for number, text in (
            (6, "always a limit"),
            (11, "maximum_keep_alive"),
            (13, "no option"),
        ):
            self.assert_told(f"mosquitto.conf:{number}: not carried over", text, notes=imported)

    def test_missing_files(self) -> None:
        """A file that mosquitto.conf names and that is not there is told by name."""
        for option in ("password_file", "acl_file"):
            self.assertIn("none: cannot be read", self.problems("listener 1 127.0.0.1", f"{option} {{folder}}/none"))

    def test_nothing_is_overwritten(self) -> None:
        """What is there already stays unless one says so; what is written is readable by its owner alone."""
        imported = self.imported("# nothing")
        out = self.folder / "out"
        out.mkdir()
        (out / "broker.toml").write_text("mine")
        with self.assertRaisesRegex(ConfigError, "broker.toml: is there already.*--force"):
            write(imported, out)
        self.assertEqual([(each.name, each.read_text()) for each in out.iterdir()], [("broker.toml", "mine")])
        write(imported, out, force=True)
        self.assertIn("[[listener]]", (out / "broker.toml").read_text())
        self.assertEqual({stat.S_IMODE(each.stat().st_mode) for each in out.iterdir()}, {0o600})
        with self.assertRaisesRegex(ConfigError, "cannot be written"):
            write(imported, self.file("a-file") / "out")

    def test_links_are_not_followed(self) -> None:
        """A link somebody put in the way is not written through."""
        out, victim = self.folder / "out", self.file("victim", "precious")
        out.mkdir()
        (out / "broker.toml").symlink_to(victim)
        with self.assertRaisesRegex(ConfigError, "is there already"):
            write(self.imported("# nothing"), out)
        write(self.imported("# nothing"), out, force=True)
        self.assertEqual(victim.read_text(), "precious\n")


class OptionsPageTests(ImportCase):
    """The page that tells of the import."""

    def test_every_option_is_on_the_page(self) -> None:
        """I find each option of mosquitto.conf with what becomes of it."""
        from mqttsecure.service.mosquitto.settings import CARRIED, LIMITS, NOT_CARRIED

        page = (Path(__file__).parents[3] / "docs/howto/from-mosquitto.md").read_text()
        for name, text in {**CARRIED, **NOT_CARRIED}.items():
            self.assertIn(f"| `{name}` | {text} |", page)
        for name, key in LIMITS.items():
            self.assertIn(f"| `{name}` | `{key}` of `[limits]` |", page)
