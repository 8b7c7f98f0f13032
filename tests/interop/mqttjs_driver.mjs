// Clients of mqtt.js, driven by lines of JSON as tests/interop/driver.py tells; a process of its own.
// It reads one command a line from stdin and answers each with one line. Messages and lost connections come as lines
// of their own in between.

import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import mqtt from 'mqtt'

const PATIENCE = 15000 // milliseconds that an answer of the broker may take

const write = (line) => process.stdout.write(JSON.stringify(line) + '\n')

// mqtt.js says userProperties and correlationData (a Buffer); the tests say user_property and correlation_data.
const toCamel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase())
const toSnake = (name) => name.replace(/[A-Z]/g, (letter) => '_' + letter.toLowerCase())

function toProperties (plain) {
  if (plain === undefined) return undefined
  const found = {}
  for (const [name, value] of Object.entries(plain)) {
    if (name === 'user_property') found.userProperties = Object.fromEntries(value)
    else if (name === 'correlation_data') found.correlationData = Buffer.from(value)
    else if (name === 'payload_format_indicator') found.payloadFormatIndicator = value === 1
    else found[toCamel(name)] = value
  }
  return found
}

function toPlain (properties) {
  const found = {}
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name === 'userProperties') found.user_property = Object.entries(value)
    else if (name === 'payloadFormatIndicator') found.payload_format_indicator = value ? 1 : 0
    else found[toSnake(name)] = Buffer.isBuffer(value) ? value.toString() : value
  }
  return found
}

function failure (error, code) {
  return { error: error.message, code: code ?? error.code }
}

// Runs start(done) and answers with what it hands to done(), or with an error in time.
function answered (start) {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve({ error: `no answer within ${PATIENCE} ms` }), PATIENCE)
    start((answer) => {
      clearTimeout(timer)
      resolve(answer)
    })
  })
}

class Client {
  constructor (name, command) {
    this.name = name
    this.connected = false
    this.emptyTopics = 0
    this.options = {
      protocol: 'mqtts',
      host: command.host,
      port: command.port,
      ca: readFileSync(command.ca),
      cert: command.certificate && readFileSync(command.certificate),
      key: command.key && readFileSync(command.key),
      username: command.username,
      password: command.password,
      clientId: command.client_id,
      protocolVersion: command.version,
      protocolId: command.version === 3 ? 'MQIsdp' : 'MQTT',
      clean: command.clean,
      keepalive: command.keep_alive,
      properties: toProperties(command.properties),
      will: command.will && { qos: 0, retain: false, ...command.will, properties: toProperties(command.will.properties) },
      autoUseTopicAlias: command.topic_aliases,
      autoAssignTopicAlias: command.topic_aliases,
      reconnectPeriod: 0,
      connectTimeout: PATIENCE,
      resubscribe: false
    }
  }

  connect () {
    return answered((done) => {
      this.client = mqtt.connect(this.options)
      this.client.on('connect', (packet) => {
        this.connected = true
        done({ session_present: packet.sessionPresent, properties: toPlain(packet.properties) })
      })
      this.client.on('error', (error) => done(failure(error)))
      this.client.on('disconnect', (packet) => this.ended(packet.reasonCode))
      this.client.on('close', () => {
        this.ended(null)
        done({ error: 'the connection was closed' })
      })
      this.client.on('packetsend', (packet) => {
        if (packet.cmd === 'publish' && packet.topic === '') this.emptyTopics += 1
      })
      this.client.on('message', (topic, payload, packet) => write({
        client: this.name,
        event: 'message',
        topic,
        payload: payload.toString(),
        qos: packet.qos,
        retain: packet.retain,
        properties: toPlain(packet.properties)
      }))
    })
  }

  ended (code) {
    if (this.connected) write({ client: this.name, event: 'disconnected', code })
    this.connected = false
  }

  subscribe (command) {
    return answered((done) => this.client.subscribe(command.filter, { qos: command.qos }, (error, granted, packet) => {
      // mqtt.js takes a filter that it has refused for an error; what the broker said is in the packet.
      const codes = error?.packet?.granted ?? packet?.granted
      done(codes ? { granted: codes } : failure(error))
    }))
  }

  unsubscribe (command) {
    return answered((done) => this.client.unsubscribe(command.filter, (error, packet) => {
      done(error ? failure(error) : { codes: packet?.granted ?? [] })
    }))
  }

  publish (command) {
    const options = { qos: command.qos, retain: command.retain, properties: toProperties(command.properties) }
    return answered((done) => {
      this.client.once('close', () => done({ error: 'the connection was closed' }))
      this.client.publish(command.topic, command.payload, options, (error) => {
        done(error ? failure(error) : { empty_topics: this.emptyTopics })
      })
    })
  }

  disconnect () {
    this.connected = false
    return answered((done) => this.client.end(false, () => done({})))
  }

  // End the connection as a broken network does: without DISCONNECT.
  drop () {
    this.connected = false
    this.client.stream.destroy()
    return {}
  }
}

const clients = new Map()

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  if (command.do === 'connect') clients.set(command.client, new Client(command.client, command))
  const answer = await clients.get(command.client)[command.do](command)
  write({ id: command.id, ...answer })
}
process.exit(0)
