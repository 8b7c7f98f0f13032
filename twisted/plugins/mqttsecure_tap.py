"""Names the ``mqttsecure`` command to twistd; loaded for every ``twistd --help``, so it imports nothing of ours."""

from twisted.application.service import ServiceMaker

mqttsecure = ServiceMaker(
    "mqttsecure",
    "mqttsecure.tap",
    "A secure MQTT broker.",
    "mqttsecure",
)
