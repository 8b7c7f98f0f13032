// The publisher of the lab with mqtt.js: alice writes three temperatures.
// node publisher.mjs mqtts://localhost:8883

import { readFileSync } from 'node:fs'
import mqtt from 'mqtt'

const client = await mqtt.connectAsync(process.argv[2], {
  protocolVersion: 5,
  clientId: 'alice',
  username: 'alice',
  password: readFileSync('alice.password', 'utf8').trim(),
  ca: readFileSync('ca/ca.pem'), // the only CA that may vouch for the broker
  rejectUnauthorized: true, // never false: whoever is in between would get the password
})
for (const temperature of ['21.5', '21.6', '21.7']) {
  await client.publishAsync('lab/temperature', temperature, { qos: 1 })
  console.log('published', temperature)
}
await client.endAsync()
