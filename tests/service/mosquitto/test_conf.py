"""mosquitto.conf: which line is about which listener."""

from __future__ import annotations

import os

from mqttsecure.errors import ConfigError
from mqttsecure.service.mosquitto.conf import MosquittoConf, is_true, read_conf
from tests.service.mosquitto.case import ImportCase


class ConfTests(ImportCase):
    """Lines in the order in which mosquitto reads them."""

    def conf(self, *lines: str) -> MosquittoConf:
        return read_conf(self.file("mosquitto.conf", *lines))

    def ports(self, *lines: str) -> list[tuple[int, str]]:
        return [(each.port, each.address) for each in self.conf(*lines).listeners]

    def test_listeners(self) -> None:
        """Without any line there is one on this machine alone; `port` and `bind_address` are about one listener."""
        self.assertEqual(self.ports("# nothing"), [(1883, "localhost")])
        self.assertEqual(self.ports("allow_anonymous true"), [(1883, "localhost")])
        self.assertEqual(self.ports("listener 1884", "listener 1885 127.0.0.1"), [(1884, ""), (1885, "127.0.0.1")])
        self.assertEqual(self.ports("bind_address 192.0.2.1", "port 1900"), [(1900, "192.0.2.1")])
        self.assertEqual(self.ports("listener 1884", "port 1883"), [(1883, ""), (1884, "")])

    def test_what_belongs_to_a_listener(self) -> None:
        """A line below `listener` is about that one; users and rights are, where per_listener_settings says so."""
        lines = ("listener 1", "max_connections 5", "password_file /p", "listener 2", "certfile /c")
        conf = self.conf(*lines)
        first, second = conf.listeners
        self.assertEqual((first.get("max_connections"), second.get("max_connections")), ("5", None))
        self.assertEqual(second.get("certfile"), "/c")
        self.assertEqual([conf.security(each, "password_file") is not None for each in conf.listeners], [True, True])
        conf = self.conf("per_listener_settings true", *lines)
        self.assertEqual([conf.security(each, "password_file") is not None for each in conf.listeners], [True, False])

    def test_included_folders(self) -> None:
        """Files of an included folder are read in their order where the line stands, others there are not."""
        self.file("conf.d/b.conf", "listener 2")
        self.file("conf.d/a.conf", "listener 1")
        self.file("conf.d/a.bak", "listener 9")
        self.assertEqual(self.ports("include_dir {folder}/conf.d", "listener 3"), [(1, ""), (2, ""), (3, "")])
        setting = self.conf("include_dir {folder}/conf.d").lines[1]
        self.assertEqual((setting.source.file, setting.source.line), (str(self.folder / "conf.d/a.conf"), 1))

    def test_bridges(self) -> None:
        """All lines of a bridge are told apart from those of the broker."""
        conf = self.conf("listener 1", "connection up", "address example.org", "topic # both", "cafile /x")
        self.assertEqual([each.name for each in conf.bridges], ["connection", "address", "topic", "cafile"])
        self.assertIsNone(conf.listeners[0].get("cafile"))

    def test_yes_and_no(self) -> None:
        """What mosquitto takes for true."""
        conf = self.conf("allow_anonymous true", "persistence 1", "retain_available false")
        self.assertTrue(is_true(conf.general["allow_anonymous"]) and is_true(conf.general["persistence"]))
        self.assertFalse(is_true(conf.general["retain_available"], default=True))
        self.assertTrue(is_true(None, default=True))

    def test_what_makes_no_sense(self) -> None:
        """A file that is missing or no text, a port that is none and folders that include each other are refused."""
        self.file("loop/x.conf", "include_dir {folder}/loop")
        for lines, text in (
            (["listener many"], "mosquitto.conf:1: listener: 'many' is no port"),
            (["# x", "port 0"], "mosquitto.conf:2: port: '0' is no port"),
            (["include_dir {folder}/none"], "mosquitto.conf:1: include_dir"),
            (["include_dir {folder}/loop"], "include each other"),
        ):
            self.assertIn(text, self.problems(*lines))
        self.assertRaises(ConfigError, read_conf, self.folder / "none")
        os.mkfifo(self.folder / "pipe")
        with self.assertRaisesRegex(ConfigError, "pipe: cannot be read: is not a regular file"):
            read_conf(self.folder / "pipe")
        (self.folder / "binary").write_bytes(b"listener 1\n\xff\n")
        with self.assertRaisesRegex(ConfigError, "binary:2: not UTF-8"):
            read_conf(self.folder / "binary")
