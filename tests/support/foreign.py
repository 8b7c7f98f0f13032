# -*- test-case-name: tests.interop.test_require -*-
"""Foreign clients that tests need and a user's machine may lack."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from unittest import SkipTest

from tests.support.process import CHECKOUT

__all__ = ["MQTT_JS", "require"]

MQTT_JS: Final = CHECKOUT / "tests" / "interop" / "node_modules" / "mqtt"
"""Where ``npm ci`` in ``tests/interop`` puts mqtt.js."""

_MENDS: Final = {
    "mqtt.js": "run: npm ci --prefix tests/interop",
    "paho-mqtt": "run: pip install '.[test]'",
}


def require(program: str, *, environment: Mapping[str, str] = os.environ, mqtt_js: Path = MQTT_JS) -> str:
    """Where ``program`` is: a name to look up in PATH, "paho-mqtt" or "mqtt.js".

    Raises:
        SkipTest: it is not installed, on a user's machine.
        AssertionError: it is not installed, in CI (``CI=true``), where a test that does not run proves nothing.
    """
    found = _find(program, environment, mqtt_js)
    if found is not None:
        return found
    text = f"{program} is not installed; {_MENDS.get(program, f'install the Debian package that has {program}')}"
    if environment.get("CI", "").lower() == "true":
        raise AssertionError(f"{text} (in CI no test may be skipped)")
    raise SkipTest(text)


def _find(program: str, environment: Mapping[str, str], mqtt_js: Path) -> str | None:
    if program == "paho-mqtt":
        spec = importlib.util.find_spec("paho")
        return None if spec is None else "paho.mqtt.client"
    if program == "mqtt.js":
        has_node = shutil.which("node", path=environment.get("PATH")) is not None
        return str(mqtt_js) if has_node and (mqtt_js / "package.json").is_file() else None
    return shutil.which(program, path=environment.get("PATH"))
