"""The publisher of the lab: alice writes three temperatures.

python publisher.py mqtts://localhost:8883
"""

import sys
from pathlib import Path

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from mqttsecure.client.client import connect
from mqttsecure.client.options import ClientOptions, TlsOptions


async def main(reactor, endpoint):
    options = ClientOptions(
        client_id="alice",
        username="alice",
        password=Path("alice.password").read_bytes().strip(),
        tls=TlsOptions(ca_file=Path("ca/ca.pem")),  # the only CA that may vouch for the broker
    )
    client = await connect(endpoint, reactor, options)
    for temperature in ("21.5", "21.6", "21.7"):
        await client.publish("lab/temperature", temperature.encode(), qos=1)  # until the broker has it
        print("published", temperature)
    await client.disconnect()


react(lambda reactor, endpoint: ensureDeferred(main(reactor, endpoint)), sys.argv[1:])
