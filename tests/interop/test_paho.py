# -*- test-case-name: tests.interop.test_paho -*-
"""paho-mqtt against a really started broker: 3.1, 3.1.1 and 5.0."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mqttsecure.wire.constants import ReasonCode
from tests.interop import scenarios
from tests.support.foreign import require

_DRIVER: Final = Path(__file__).with_name("paho_driver.py")


class _WithPaho(scenarios.LibraryCase):
    def driver_command(self) -> Sequence[str]:
        require("paho-mqtt")
        return [sys.executable, str(_DRIVER)]


class _PahoCodes:
    # What paho shows of 3.x: it turns the Return Codes into the Reason Codes of 5.0 that mean the same.
    refused_password = ReasonCode.BAD_USER_NAME_OR_PASSWORD
    refused_client_id = ReasonCode.CLIENT_IDENTIFIER_NOT_VALID


class Paho31Tests(_PahoCodes, _WithPaho, scenarios.Version3Scenarios):
    """MQTT 3.1."""

    version = 3


class Paho311Tests(_PahoCodes, _WithPaho, scenarios.Version3Scenarios):
    """MQTT 3.1.1."""

    version = 4


class Paho5Tests(_WithPaho, scenarios.Version5Scenarios):
    """MQTT 5.0."""
