"""The store that a configuration names."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.errors import ConfigError
from mqttsecure.service.config import BrokerConfig, StoreConfig, load_config
from mqttsecure.service.development_certificates import Owner
from mqttsecure.service.storage import durability_line, make_folder, make_store
from tests.support.config import write_config


class StorageTests(SynchronousTestCase):
    """From the configuration to a store that is not open yet."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def config(self, store: str = "") -> BrokerConfig:
        return load_config(write_config(self.folder, extra=store).config)

    def test_as_it_comes(self) -> None:
        """On disk, beside the configuration, before it is acknowledged."""
        self.assertEqual(self.config().store, StoreConfig(self.folder / "state" / "mqttsecure.db", 0.0))

    def test_modes(self) -> None:
        """Each is said at the start in words."""
        for text, word in (
            ("", "what is acknowledged is on disk in"),
            ('[store]\ndurability = "interval"\ninterval = "200ms"\n', "0.2 s later at most"),
            ('[store]\ndurability = "memory"\n', "a restart forgets"),
        ):
            config = self.config(text)
            self.assertIn(word, durability_line(config.store))
            self.assertEqual(make_store(config, None) is None, "memory" in text)

    def test_mistakes(self) -> None:
        """With file, line, key and mend."""
        for text, word in (
            ('[store]\ndurability = "disk"\n', "durability"),
            ('[store]\ninterval = "1h"\n', "interval"),
            ('[store]\npath = "x"\n', "path"),
        ):
            error = self.assertRaises(ConfigError, self.config, text)
            self.assertIn("broker.toml:", str(error))
            self.assertIn(word, str(error))

    def test_folder_for_another_user(self) -> None:
        """Root makes it for the user that serves, who may not be able to; one that is there is left as it is."""
        if os.geteuid() != 0:
            self.assertRaises(ConfigError, make_folder, self.config(), Owner(0, 0))
            return
        config = self.config()
        make_folder(config, Owner(65_534, 65_533))
        status = (self.folder / "state").stat()
        self.assertEqual((status.st_uid, status.st_gid, status.st_mode & 0o777), (65_534, 65_533, 0o700))
        make_folder(config, Owner(0, 0))
        self.assertEqual((self.folder / "state").stat().st_uid, 65_534)

    def test_whoever_serves_makes_it(self) -> None:
        """Without another user nothing is made before the store is opened, and with `memory` nothing ever."""
        make_folder(self.config(), None)
        make_folder(self.config('[store]\ndurability = "memory"\n'), Owner(0, 0))
        self.assertFalse((self.folder / "state").exists())
