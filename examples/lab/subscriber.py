"""The subscriber of the lab: bob reads three temperatures.

python subscriber.py mqtts://localhost:8883
"""

import sys
from pathlib import Path

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import react

from mqttsecure.client.client import connect
from mqttsecure.client.options import ClientOptions, TlsOptions


async def main(reactor, endpoint):
    temperatures = []
    done = Deferred()

    def take(message):
        print(message.topic, message.payload.decode(), flush=True)
        temperatures.append(message.payload)
        if len(temperatures) == 3:
            done.callback(None)

    options = ClientOptions(
        client_id="bob",
        username="bob",
        password=Path("bob.password").read_bytes().strip(),
        tls=TlsOptions(ca_file=Path("ca/ca.pem")),
    )
    client = await connect(endpoint, reactor, options, on_message=take)
    await client.subscribe("lab/#", qos=1)
    print("subscribed", flush=True)
    await done
    await client.disconnect()


react(lambda reactor, endpoint: ensureDeferred(main(reactor, endpoint)), sys.argv[1:])
