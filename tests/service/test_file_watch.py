"""Tests for mqttsecure.service.file_watch: files that were changed are read again, when they are left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.service.assembly import Assembly, check
from mqttsecure.service.config import load_config
from mqttsecure.service.file_watch import FileWatch, ReloadOnChange, Seen, files_of
from tests.support.config import BrokerFiles, write_config
from tests.support.process import BrokerProcess
from tests.system.attacks.case import wait_until
from tests.system.conformance.client import Client

_BANS = '[[policy]]\nid = "bans"\nuse = "ban"\nfile = "bans.json"\n'


class FileWatchTests(SynchronousTestCase):
    """Looks, on a clock that is moved by hand."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.file = self.folder / "rules"
        self.file.write_text("one")
        self.clock = Clock()
        self.told: list[Seen] = []
        self.watch = FileWatch(self.clock, self.told.append)
        self.watch.start([self.file, self.folder / "other"], 3.0, {})

    def wait(self, seconds: int) -> int:
        """How many changes are told within this time."""
        before = len(self.told)
        self.clock.pump([1.0] * seconds)
        return len(self.told) - before

    def test_nothing_is_changed(self) -> None:
        """Nothing is told."""
        self.assertEqual(self.wait(60), 0)

    def test_told_once_when_it_was_left_alone(self) -> None:
        """Not while it goes on being written, and not again."""
        for text in ("t", "tw", "two"):
            self.file.write_text(text)
            self.assertEqual(self.wait(3), 0)
        self.assertEqual(self.wait(2), 1)
        self.assertEqual(self.wait(60), 0)

    def test_each_way_of_changing_it(self) -> None:
        """Replaced, made, removed, shut to others, led elsewhere: even with the same size and time of change."""
        times = os.stat(self.file)

        def replace() -> None:
            new = self.folder / "new"
            new.write_text("two")
            os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
            new.replace(self.file)

        def lead_elsewhere() -> None:
            (self.folder / "elsewhere").write_text("two")
            self.file.unlink(missing_ok=True)
            self.file.symlink_to("elsewhere")

        changes: list[Callable[[], object]] = [
            replace,
            lambda: (self.folder / "other").touch(),
            lambda: self.file.chmod(0o600),
            lead_elsewhere,
            self.file.unlink,
        ]
        for number, change in enumerate(changes):
            change()
            self.assertEqual(self.wait(6), 1, number)

    def test_changed_while_it_was_read(self) -> None:
        """What was there before the reading counts, not what is there after it."""
        seen = self.watch.look()
        self.file.write_text("two")
        self.watch.start([self.file], 3.0, seen)
        self.assertEqual(self.wait(5), 1)

    def test_stopped(self) -> None:
        """Nothing more is told, and no timer is left."""
        self.watch.stop()
        self.watch.stop()
        self.file.write_text("two")
        self.assertEqual(self.wait(10), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ReloadOnChangeTests(SynchronousTestCase):
    """What is done about it, with configurations that are really built."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.files: BrokerFiles = write_config(self.folder, extra_policies=_BANS)
        self.write("[reload]\nwatch = true\nsettle_seconds = 3\n")
        self.clock = Clock()
        self.reloads: list[Assembly] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.on_change = ReloadOnChange(self.clock, self.reload)
        self.on_change.follow(check(load_config(self.files.config)), {})

    def write(self, more: str) -> None:
        with self.files.config.open("a") as file:
            file.write(more)

    def name_rules(self, file: str) -> None:
        text = self.files.config.read_text()
        self.files.config.write_text(text.replace("rules = [", f'rules_file = "{file}"\nrules = ['))

    def reload(self, still: Callable[[Assembly], None]) -> None:
        seen = self.on_change.look()
        assembly = check(load_config(self.files.config))
        self.meanwhile()
        still(assembly)
        self.reloads.append(assembly)
        self.on_change.follow(assembly, seen)

    def wait(self, seconds: int) -> int:
        before = len(self.reloads)
        self.clock.pump([1.0] * seconds)
        return len(self.reloads) - before

    def test_files_of_a_configuration(self) -> None:
        """The configuration, certificates, keys, CAs, users, rules; not what a policy writes."""
        self.files.config.write_text(
            self.files.config.read_text().replace("rules = [", 'rules_file = "rules"\nrules = [')
        )
        (self.folder / "rules").write_text("permit everyone publish t\n")
        found = {file.name for file in files_of(check(load_config(self.files.config)))}
        self.assertTrue({"broker.toml", "ca.pem", "users", "rules"} <= found, found)
        self.assertNotIn("bans.json", found)

    def test_change_is_reloaded(self) -> None:
        """After it has settled, once."""
        self.write("\n[limits]\n")
        self.assertEqual((self.wait(3), self.wait(3), self.wait(30)), (0, 1, 0))

    def test_state_of_a_policy(self) -> None:
        """A ban is no reason to reload."""
        (self.folder / "bans.json").write_text("{}")
        self.assertEqual(self.wait(10), 0)

    def test_changed_while_it_is_read(self) -> None:
        """Nothing of it is put in force; when it has settled all of it is."""
        self.meanwhile = lambda: self.files.users.touch()
        self.write("\n")
        self.assertEqual(self.wait(10), 0)
        self.meanwhile = lambda: None
        self.assertEqual(self.wait(10), 1)

    def test_file_that_is_new(self) -> None:
        """One that nobody has watched may be half written: it has to settle as well."""
        rules = self.folder / "more-rules"
        rules.write_text("permit everyone publish a\n")
        self.files.config.write_text(
            self.files.config.read_text().replace("rules = [", f'rules_file = "{rules}"\nrules = [')
        )
        self.assertEqual(self.wait(5), 0)
        for number in range(3):
            rules.write_text(f"permit everyone publish a/{number}\n")
            self.assertEqual(self.wait(3), 0, number)
        self.assertEqual(self.wait(5), 1)
        rules.write_text("permit everyone publish b\n")
        self.assertEqual(self.wait(6), 1)

    def test_not_asked_for(self) -> None:
        """Off unless the configuration says otherwise; and off again when it says so."""
        text = self.files.config.read_text()
        self.files.config.write_text(text.replace("watch = true", "watch = false"))
        self.assertEqual(self.wait(6), 1)
        self.files.config.write_text(text)
        self.assertEqual(self.wait(10), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNone(load_config(write_config(self.folder).config).watch)

    def test_stop(self) -> None:
        """With the broker it ends."""
        self.on_change.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StartedBrokerTests(SynchronousTestCase):
    """A broker that is really started, and told nothing."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        extra = "[reload]\nwatch = true\nsettle_seconds = 1\n"
        rules = ["permit everyone publish,read later/#"]
        self.files = write_config(self.folder, plaintext=True, rules=rules, extra_policies=_BANS, extra=extra)
        self.broker = BrokerProcess(self.files.config, self.folder)
        self.addCleanup(self.broker.kill)
        self.broker.start(listeners=2)

    def client(self) -> Client:
        client = Client(self.broker.ports["plain"])
        self.addCleanup(client.drop)
        client.connect("alice-1", username="alice", password=self.files.passwords["alice"].encode())
        return client

    def await_log(self, text: str) -> None:
        wait_until(lambda: text in self.broker.log, text, 30)

    def test_rules_take_effect_by_themselves(self) -> None:
        """What is no longer granted ends; a mistake keeps all of the old and is told once; the mend counts again."""
        client = self.client()
        client.subscribe("later/#")
        good = self.files.config.read_text()
        self.files.config.write_text(good.replace("publish,read later/#", "publsh later/#"))
        self.await_log("not reloaded; policy version 1 stays in force")
        self.assertIn("publsh", self.broker.log)
        client.ping()
        self.files.config.write_text(good.replace("publish,read later/#", "publish later/#"))
        self.await_log("policy version 2 is in force")
        client.expect_closed([0x87])
        self.assertEqual(self.broker.log.count("not reloaded"), 1)
