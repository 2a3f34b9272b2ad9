// Callbacks by filter with MQTT.js, which leaves the routing to the application: one map from filters
// to callbacks, and the rules of section 4.7. The assignment is that of routing.py.
'use strict'

const assert = require('node:assert')
const mqtt = require('mqtt')

const TASK = JSON.parse(process.argv[2])
const PATIENCE = 15_000

function matches (filter, topic) {
  const [wanted, levels] = [filter.split('/'), topic.split('/')]
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false
  for (const [place, level] of wanted.entries()) {
    if (level === '#') return true
    if (place >= levels.length || (level !== '+' && level !== levels[place])) return false
  }
  return wanted.length === levels.length
}

function client (name) {
  return mqtt.connectAsync(`mqtt://127.0.0.1:${TASK.port}`, {
    clientId: name,
    protocolVersion: TASK.version,
    reconnectPeriod: 0,
    connectTimeout: PATIENCE
  })
}

/** Subscribes, publishes, and sees what is delivered. */
async function tell ({ filter, routed, topics }) {
  const consumer = await client('consumer')
  const arrived = []
  let wake = () => {}
  consumer.on('message', topic => {
    arrived.push(topic)
    wake()
  })
  const [grant] = await consumer.subscribeAsync(filter, { qos: 1 })
  assert(grant.qos < 128, `refused: ${grant.qos}`)
  const producer = await client('producer')
  for (const [topic, expected] of topics) {
    await producer.publishAsync(topic, 'x', { qos: 1 })
    if (arrived.length === 0) {
      await new Promise((resolve, reject) => {
        wake = resolve
        setTimeout(() => reject(new Error(`${topic} does not come`)), PATIENCE).unref()
      })
    }
    const delivered = arrived.shift()
    assert(matches(routed, delivered), `${topic} came as ${delivered}`)
    assert(delivered.startsWith(expected), `${topic} came as ${delivered}`)
    if (delivered.includes('/$lease/')) {
      await producer.publishAsync(`$queue/jobs/$ack/${delivered.split('/')[3]}`, '', { qos: 1 })
    }
  }
  await consumer.endAsync()
  await producer.endAsync()
}

async function main () {
  for (const task of TASK.cases) {
    try {
      await tell(task)
      console.log('ok', task.filter)
    } catch (error) {
      console.log('FAIL', task.filter, error.message)
    }
  }
  process.exit(0)
}

main()
