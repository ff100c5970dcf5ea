import { expect, test } from 'vitest'
import type { Delivery } from '../../src/broker/engine.ts'
import { stream } from '../../src/channel/channel.ts'
import { encodeBlock } from '../../src/event/block.ts'
import { encoded } from '../../src/testing/conformance/port.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import { RemoteEngine } from '../../src/wire/client/remote-engine.ts'
import { FRAME, FRAME_HEADER_BYTES, jsonFrame, numberedFrame } from '../../src/wire/frame.ts'
import { loopback, type Transport } from '../../src/wire/transport.ts'
import { damaged, numbers, odd, Raw, TIMES, watchUnhandled } from './raw.ts'
import { workerSpec } from './worker-spec.ts'

const unhandled = watchUnhandled()

const welcome = {
  protocol: 1,
  session: 's',
  resumed: false,
  received: 0,
  nowMs: 0,
  heartbeatMs: 10_000,
  engine: 'x',
  capabilities: {},
  methods: ['channels', 'bounds', 'consumer', 'describeChannel', 'alarms', 'pending'],
}

/** A server that answers each connection as the test says. */
function hostile(
  answer: (raw: Raw, frame: { readonly type: number; readonly body: Buffer }) => void,
): () => Promise<Transport> {
  return async () => {
    const [near, far] = loopback()
    const raw = new Raw(far)
    let seen = 0
    const timer = setInterval(() => {
      if (raw.over) clearInterval(timer)
      while (seen < raw.frames.length) answer(raw, raw.frames[seen++] as { type: number; body: Buffer })
    }, 1)
    return near
  }
}

test('a first answer of another protocol fails the connection at once', async () => {
  const firsts = [
    Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9]),
    numbers(FRAME.welcome, [1]),
    numbers(FRAME.refused, [1]),
    ...odd.map((value) => jsonFrame(FRAME.welcome, value)),
    ...odd.map((value) => jsonFrame(FRAME.refused, value)),
    ...['session', 'resumed', 'nowMs', 'heartbeatMs', 'capabilities'].map((name) =>
      jsonFrame(FRAME.welcome, { ...welcome, [name]: null }),
    ),
    jsonFrame(FRAME.welcome, { ...welcome, heartbeatMs: 0 }),
    jsonFrame(FRAME.welcome, { ...welcome, nowMs: 1e300 }),
  ]
  for (const first of firsts) {
    const dial = hostile((raw, { type }) => type === FRAME.hello && raw.send(first))
    await expect(RemoteEngine.open({ name: 'remote', dial })).rejects.toMatchObject({ name: 'MillraceError' })
  }
  expect(unhandled).toEqual([])
})

test('an unreadable answer fails its call, and no call hangs', async () => {
  const answers = [
    ...odd.map((value) => (request: number) => numberedFrame(FRAME.result, request, value)),
    (request: number) => numbers(FRAME.result, [request]),
  ]
  const errors = odd.map((value) => (request: number) => numberedFrame(FRAME.error, request, value))
  const receipts = [
    (request: number) => numbers(FRAME.receipts, [request, 1], 15),
    (request: number) => numbers(FRAME.receipts, [request, 2], 16),
    ...odd.map((value) => (request: number) => {
      const text = Buffer.from(JSON.stringify([value]))
      const frame = numbers(FRAME.receipts, [request, 1], 16 + text.length)
      frame.writeDoubleLE(Number.NaN, FRAME_HEADER_BYTES + 8)
      frame.set(text, FRAME_HEADER_BYTES + 16)
      return frame
    }),
  ]
  for (const make of [...answers, ...errors, ...receipts]) {
    const dial = hostile((raw, { type, body }) => {
      if (type === FRAME.hello) raw.send(jsonFrame(FRAME.welcome, { ...welcome, session: `s${Math.random()}` }))
      else if (type === FRAME.call || type === FRAME.publish) raw.send(make(body.readUInt32LE(0)))
    })
    const remote = await RemoteEngine.open({ name: 'remote', dial, reconnectMsMax: 5 })
    const calls = [
      remote.describe(),
      remote.consumers.describe('a worker'),
      remote.consumers.deadLetters('a worker', {}),
      remote.consumers.redrive('a worker', {}),
      remote.consumers.pending('a worker', [{ channel: 'orders', offset: 0 }]),
      remote.bounds('orders'),
      remote.describeChannel('orders'),
      remote.alarms.ask(),
      remote.channels(),
      remote.channel('orders'),
      remote.declare(stream('orders').spec),
    ]
    const results = await Promise.allSettled([
      ...calls,
      remote.publish('orders', encoded('a', null, 1), null),
      remote.publishBatch('orders', [encoded('a', null, 1)], null),
    ])
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ name: 'MillraceError' })
    await remote.close()
  }
  expect(unhandled).toEqual([])
}, 60_000)

test('a server that sends damaged deliveries and events gives handlers only valid events', async () => {
  for (let seed = 1; seed <= 25 * TIMES; seed++) {
    const random = seededRandom(seed)
    const block = encodeBlock(0, 0, 0, [encoded('a', 'k', 0), encoded('a', 'k', 1)]).bytes
    const deliver = numbers(FRAME.deliver, [1, 0, 2], 22 + block.length)
    deliver.writeUInt16LE(6, FRAME_HEADER_BYTES + 14)
    deliver.write('orders', FRAME_HEADER_BYTES + 16)
    deliver.set(block, FRAME_HEADER_BYTES + 22)
    const sent = [
      deliver,
      numbers(FRAME.revoked, [1, 0, 1]),
      numbers(FRAME.settled, [1, 5]),
      numbers(FRAME.events, [1, 2], 60),
      numbers(FRAME.ack, [0, 0]),
    ]
    const dial = hostile((raw, { type, body }) => {
      if (type === FRAME.hello) raw.send(jsonFrame(FRAME.welcome, { ...welcome, session: `s${Math.random()}` }))
      else if (type === FRAME.subscribe)
        raw.send(numberedFrame(FRAME.result, body.readUInt32LE(0), []), ...damaged(sent, random))
      else if (type === FRAME.flush || type === FRAME.unsubscribe)
        raw.send(numberedFrame(FRAME.result, body.readUInt32LE(0), null))
    })
    const remote = await RemoteEngine.open({ name: 'remote', dial, reconnectMsMax: 5 })
    const seen: Delivery[] = []
    const subscription = await remote.subscribe(
      { ...workerSpec, from: { at: 'beginning' } },
      { deliver: (deliveries) => void seen.push(...deliveries), revoked: () => undefined, passesOn: false },
    )
    await new Promise((resolve) => setTimeout(resolve, 5))
    for (const delivery of seen) {
      expect(typeof delivery.type, `seed ${seed}`).toBe('string')
      expect(Number.isSafeInteger(delivery.offset), `seed ${seed}`).toBe(true)
      expect(delivery.text.length, `seed ${seed}`).toBeLessThan(1000)
      subscription.complete(delivery, null)
    }
    await remote.close()
    if (unhandled.length > 0) expect.fail(`seed ${seed}: ${String(unhandled[0])}`)
  }
}, 60_000)

test('for a server without the method `pending`, all events count as pending while the consumer works', async () => {
  let inFlight = 1
  const consumer = { name: 'a worker', channels: [], inFlight: 0, retrying: 0 }
  const dial = hostile((raw, { type, body }) => {
    if (type === FRAME.hello) raw.send(jsonFrame(FRAME.welcome, { ...welcome, methods: [] }))
    if (type !== FRAME.call) return
    const answer = { channels: [], consumers: [{ ...consumer, inFlight }], alarms: [] }
    raw.send(numberedFrame(FRAME.result, body.readUInt32LE(0), answer))
  })
  const remote = await RemoteEngine.open({ name: 'remote', dial, reconnectMsMax: 5 })
  const events = [{ channel: 'orders', offset: 0 }]
  expect(await remote.consumers.pending('a worker', events)).toEqual(events)
  inFlight = 0
  expect(await remote.consumers.pending('a worker', events)).toEqual([])
  await remote.close()
})
