"""What the tests of commands that ask something of a configuration share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial import unittest

from mqttsecure.cli.main import main
from tests.support.config import BrokerFiles, write_config

RATES = '[[policy]]\nid = "rates"\nuse = "rate-limit"\nmessages = "100/second"\n'


class AskingTestCase(unittest.SynchronousTestCase):
    """Has a configuration, and a terminal."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.files: BrokerFiles = self.write()

    def write(self, name: str = "lab", **more: Any) -> BrokerFiles:
        folder = self.directory / name
        folder.mkdir(exist_ok=True)
        return write_config(folder, **more)

    def run_command(self, *arguments: object, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(main, list(map(str, arguments)))
        self.assertEqual(result.exit_code, exit_code, result.output)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def answer(self, *arguments: object, exit_code: int = 0) -> Any:
        return json.loads(self.run_command(*arguments, "--json", exit_code=exit_code).stdout)
