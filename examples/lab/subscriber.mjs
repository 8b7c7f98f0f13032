// The subscriber of the lab with mqtt.js: bob reads three temperatures.
// node subscriber.mjs mqtts://localhost:8883

import { readFileSync } from 'node:fs'
import mqtt from 'mqtt'

const client = await mqtt.connectAsync(process.argv[2], {
  protocolVersion: 5,
  clientId: 'bob',
  username: 'bob',
  password: readFileSync('bob.password', 'utf8').trim(),
  ca: readFileSync('ca/ca.pem'),
  rejectUnauthorized: true,
})
let left = 3
client.on('message', (topic, payload) => {
  console.log(topic, payload.toString())
  if (--left === 0) client.end()
})
await client.subscribeAsync('lab/#', { qos: 1 })
console.log('subscribed')
