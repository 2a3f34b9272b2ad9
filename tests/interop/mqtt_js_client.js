// The stories of scenario.rs, told with MQTT.js. Started by script.rs with its assignment as JSON;
// prints `ok FEATURE` or `FAIL FEATURE reason` for each.
'use strict'

const assert = require('node:assert')
const fs = require('node:fs')
const { once } = require('node:events')
const mqtt = require('mqtt')

const TASK = JSON.parse(process.argv[2])
const PATIENCE = TASK.patience_seconds * 1000
const IS_V5 = TASK.version === 5
const WEBSOCKET = TASK.transport === 'ws'

/** Fails when the promise takes too long. */
async function inTime(promise, what) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in time`)), PATIENCE)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** An MQTT.js client that is connected, with what has arrived. */
class Session {
  static async open(story, name, options = {}) {
    const { tls = false, certificate = false, port = TASK.plain_port, clean = true, will } = options
    const scheme = WEBSOCKET ? (tls ? 'wss' : 'ws') : (tls ? 'mqtts' : 'mqtt')
    const path = WEBSOCKET ? '/mqtt' : ''
    const session = new Session()
    session.client = mqtt.connect(`${scheme}://localhost:${port}${path}`, {
      protocolVersion: TASK.version,
      clientId: `mqttjs-${story.name}-${name}`,
      clean,
      reconnectPeriod: 0,
      connectTimeout: PATIENCE,
      ...(IS_V5 && !clean ? { properties: { sessionExpiryInterval: 300 } } : {}),
      ...(will ? { will: { topic: will[0], payload: will[1], qos: 1, retain: false } } : {}),
      ...(tls ? { ca: fs.readFileSync(TASK.authority) } : {}),
      ...(certificate
        ? { cert: fs.readFileSync(TASK.certificate), key: fs.readFileSync(TASK.key) }
        : {})
    })
    session.arrived = []
    session.waiting = null
    session.client.on('message', (topic, payload, packet) => {
      session.arrived.push(packet)
      session.waiting?.()
    })
    const refused = new Promise((_, reject) => {
      session.client.on('error', reject)
      session.client.on('close', () => reject(new Error('the connection was closed')))
    })
    // Later errors show in what does not arrive.
    refused.catch(() => {})
    try {
      await inTime(Promise.race([once(session.client, 'connect'), refused]), 'CONNACK')
    } catch (error) {
      session.client.end(true)
      throw error
    }
    return session
  }

  async subscribe(topic, qos) {
    const [grant] = await inTime(this.client.subscribeAsync(topic, { qos }), 'SUBACK')
    assert(grant.qos < 128, `refused: ${grant.qos}`)
  }

  publish(topic, payload, qos, options = {}) {
    return inTime(this.client.publishAsync(topic, payload, { qos, ...options }), 'acknowledgement')
  }

  /** The next message; undefined if none comes within this time. */
  async next(milliseconds = PATIENCE) {
    if (this.arrived.length === 0) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, milliseconds)
        this.waiting = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.waiting = null
    }
    return this.arrived.shift()
  }

  async expect(topic, payload, qos, retain = false) {
    const packet = await this.next()
    assert(packet, `no message for ${topic}`)
    const got = [packet.topic, packet.payload.toString(), packet.qos, packet.retain]
    assert.deepStrictEqual(got, [topic, payload, qos, retain])
    return packet
  }

  disconnect() {
    return inTime(this.client.endAsync(), 'end')
  }

  /** The connection ends without a DISCONNECT. */
  abort() {
    this.client.stream.destroy()
    return inTime(this.client.endAsync(true), 'end')
  }
}

class Story {
  constructor(feature) {
    this.name = `${TASK.prefix}-${feature}`
  }

  topic(name) {
    return `interop/mqttjs-${this.name}/${name}`
  }

  session(name, options) {
    return Session.open(this, name, options)
  }

  async eachOnceAndInOrder(qos) {
    const topic = this.topic('t')
    const subscriber = await this.session('subscriber')
    await subscriber.subscribe(topic, qos)
    const publisher = await this.session('publisher')
    for (const payload of '12345') await publisher.publish(topic, payload, qos)
    for (const payload of '12345') await subscriber.expect(topic, payload, qos)
    await publisher.disconnect()
    await subscriber.disconnect()
  }

  qos0() {
    return this.eachOnceAndInOrder(0)
  }

  qos1() {
    return this.eachOnceAndInOrder(1)
  }

  qos2() {
    return this.eachOnceAndInOrder(2)
  }

  async retained() {
    const topic = this.topic('state')
    const publisher = await this.session('publisher')
    await publisher.publish(topic, 'old', 1, { retain: true })
    await publisher.publish(topic, 'kept', 1, { retain: true })
    const early = await this.session('early')
    await early.subscribe(topic, 1)
    await early.expect(topic, 'kept', 1, true)
    await publisher.publish(topic, '', 1, { retain: true })
    await early.expect(topic, '', 1)
    const late = await this.session('late')
    await late.subscribe(topic, 1)
    await publisher.publish(topic, 'live', 1)
    await late.expect(topic, 'live', 1)
    for (const session of [publisher, early, late]) await session.disconnect()
  }

  async will() {
    const topic = this.topic('last')
    const heir = await this.session('heir')
    await heir.subscribe(topic, 1)
    const polite = await this.session('polite', { will: [topic, 'of the polite'] })
    await polite.disconnect()
    const gone = await this.session('gone', { will: [topic, 'of the gone'] })
    await gone.abort()
    await heir.expect(topic, 'of the gone', 1)
    await heir.disconnect()
  }

  async shared() {
    const topic = this.topic('work')
    const workers = [await this.session('worker-1'), await this.session('worker-2')]
    for (const worker of workers) await worker.subscribe(`$share/workers/${topic}`, 1)
    const publisher = await this.session('publisher')
    const expected = [...'0123456789']
    for (const payload of expected) await publisher.publish(topic, payload, 1)
    const done = [[], []]
    const deadline = Date.now() + PATIENCE
    while (done.flat().length < expected.length && Date.now() < deadline) {
      for (const [index, worker] of workers.entries()) {
        const packet = await worker.next(20)
        if (packet) done[index].push(packet.payload.toString())
      }
    }
    assert.deepStrictEqual(done.flat().sort(), expected)
    assert(done.every((payloads) => payloads.length > 0), 'one member got everything')
    for (const session of [publisher, ...workers]) await session.disconnect()
  }

  async wildcards() {
    const house = `mqttjs-${this.name}`
    const subscriber = await this.session('subscriber')
    await subscriber.subscribe('home/+/#', 1)
    const publisher = await this.session('publisher')
    const matching = [`home/${house}`, `home/${house}/kitchen`, `home/${house}/kitchen/light`]
    const others = [`garden/${house}`, `home-${house}/kitchen`]
    for (const topic of [others[0], matching[0], matching[1], others[1], matching[2]]) {
      await publisher.publish(topic, 'on', 1)
    }
    const arrived = []
    while (arrived.length < matching.length) {
      const packet = await subscriber.next()
      assert(packet, `home/+/# got only ${arrived}`)
      // Other houses are other clients' business.
      if (packet.topic.includes(house)) arrived.push(packet.topic)
    }
    assert.deepStrictEqual(arrived.sort(), matching)
    await publisher.disconnect()
    await subscriber.disconnect()
  }

  async roundTrip(options) {
    const topic = this.topic('t')
    const payload = 'x'.repeat(20_000)
    const session = await this.session('both', { tls: true, ...options })
    await session.subscribe(topic, 1)
    await session.publish(topic, payload, 1)
    await session.expect(topic, payload, 1)
    await session.disconnect()
  }

  tls() {
    return this.roundTrip({ port: TASK.tls_port })
  }

  async certificate() {
    const port = TASK.mutual_tls_port
    const stranger = this.session('stranger', { port, tls: true })
    await assert.rejects(stranger, 'a client without a certificate was let in')
    await this.roundTrip({ port, certificate: true })
  }

  async offline() {
    const topic = this.topic('t')
    const absent = await this.session('absent', { clean: false })
    await absent.subscribe(topic, 1)
    await absent.disconnect()
    const publisher = await this.session('publisher')
    for (const payload of '123') await publisher.publish(topic, payload, 1)
    await publisher.disconnect()
    // It does not subscribe again: the subscription is part of the session.
    const present = await this.session('absent', { clean: false })
    for (const payload of '123') await present.expect(topic, payload, 1)
    await present.disconnect()
  }

  async properties() {
    const topic = this.topic('t')
    const session = await this.session('both')
    await session.subscribe(topic, 1)
    const userProperties = { a: ['1', '3'], b: '2' }
    await session.publish(topic, 'payload', 1, { properties: { userProperties } })
    const packet = await session.expect(topic, 'payload', 1)
    assert.deepStrictEqual({ ...packet.properties.userProperties }, userProperties)
    await session.disconnect()
  }

  async request() {
    const [requests, responses] = [this.topic('requests'), this.topic('responses')]
    const responder = await this.session('responder')
    await responder.subscribe(requests, 1)
    const requester = await this.session('requester')
    await requester.subscribe(responses, 1)
    await requester.publish(requests, 'question', 1, {
      properties: { responseTopic: responses, correlationData: Buffer.from('the-first') }
    })
    const asked = await responder.expect(requests, 'question', 1)
    const { responseTopic, correlationData } = asked.properties
    await responder.publish(responseTopic, 'answer', 1, { properties: { correlationData } })
    const answered = await requester.expect(responses, 'answer', 1)
    assert.strictEqual(answered.properties.correlationData.toString(), 'the-first')
    await requester.disconnect()
    await responder.disconnect()
  }
}

async function main() {
  for (const feature of TASK.features) {
    try {
      await new Story(feature)[feature]()
      console.log('ok', feature)
    } catch (error) {
      console.log('FAIL', feature, `${error}`.replaceAll('\n', ' '))
    }
  }
}

// A failed story may have left connections behind.
main().then(() => process.exit(0))
