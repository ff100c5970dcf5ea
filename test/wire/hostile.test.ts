/**
 * Clients that violate the protocol, with frames of every type. Whatever is sent, the server answers with a typed error
 * or ends the connection. There is no unhandled rejection, no hang, no allocation by a number in a frame, and no
 * settlement of a delivery that was not in flight.
 *
 * MILLRACE_FUZZ=10 multiplies the number of tries. A failure names its seed.
 */
import { crc32 } from 'node:zlib'
import { expect, test } from 'vitest'
import type { EncodedEvent } from '../../src/broker/encoded-event.ts'
import { stream } from '../../src/channel/channel.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { encodeBlock, voidBlock } from '../../src/event/block.ts'
import { encoded } from '../../src/testing/conformance/port.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'
import { type Access, localAccess } from '../../src/wire/access.ts'
import { FRAME, FRAME_HEADER_BYTES, jsonFrame, jsonOf, newFrame, numberedFrame } from '../../src/wire/frame.ts'
import { SessionServer } from '../../src/wire/server/session-server.ts'
import { loopback } from '../../src/wire/transport.ts'
import { damaged, numbers, odd, Raw, TIMES, watchUnhandled } from './raw.ts'
import { workerSpec } from './worker-spec.ts'

const stranger: Access = { ...localAccess, name: 'stranger', trusted: false }
const unhandled = watchUnhandled()

function subscribe(request: number, subscription: number, value: unknown): Buffer {
  const text = Buffer.from(JSON.stringify(value))
  const frame = newFrame(FRAME.subscribe, 8 + text.length)
  frame.writeUInt32LE(request, FRAME_HEADER_BYTES)
  frame.writeUInt32LE(subscription, FRAME_HEADER_BYTES + 4)
  frame.set(text, FRAME_HEADER_BYTES + 8)
  return frame
}

function publish(block: Uint8Array, dueAtMs = Number.NaN): Buffer {
  const frame = numbers(FRAME.publish, [7], 32 + 6 + block.length)
  frame.writeDoubleLE(dueAtMs, FRAME_HEADER_BYTES + 4)
  frame.writeDoubleLE(Number.NaN, FRAME_HEADER_BYTES + 12)
  frame.writeUInt16LE(6, FRAME_HEADER_BYTES + 28)
  frame.write('orders', FRAME_HEADER_BYTES + 32)
  frame.set(block, FRAME_HEADER_BYTES + 38)
  return frame
}

interface Settle {
  readonly deliveries: readonly number[]
  readonly verb: number
  readonly json?: unknown
}

function settle({ deliveries, verb, json }: Settle): Buffer {
  const text = Buffer.from(json === undefined ? '' : JSON.stringify(json))
  const count = deliveries.length
  const frame = numbers(FRAME.settle, [1, count, 0, text.length, ...deliveries], 16 + 5 * count + text.length)
  frame.fill(verb, FRAME_HEADER_BYTES + 16 + 4 * count, FRAME_HEADER_BYTES + 16 + 5 * count)
  frame.set(text, FRAME_HEADER_BYTES + 16 + 5 * count)
  return frame
}

/** A server with three events in "orders". */
async function serve(access: Access): Promise<{
  connect(): Promise<Raw>
  publish(event: EncodedEvent): Promise<void>
  events(): Promise<number>
  lag(): Promise<number>
  close(): Promise<void>
}> {
  const engine = openMemoryEngine()
  const sessions = new SessionServer(engine)
  await engine.declare(stream('orders').spec)
  for (let n = 0; n < 3; n++) await engine.publish('orders', encoded('a', null, n), null)
  return {
    connect: async () => {
      const [near, far] = loopback()
      sessions.accept(far, () => access)
      const raw = new Raw(near)
      raw.send(jsonFrame(FRAME.hello, { protocol: 1, session: null, received: 0, token: null }))
      await expect.poll(() => raw.of(FRAME.welcome).length, { interval: 1, timeout: 5000 }).toBe(1)
      return raw
    },
    publish: async (event) => void (await engine.publish('orders', event, null)),
    events: async () => (await engine.describe()).channels.find(({ name }) => name === 'orders')?.next as number,
    lag: async () => (await engine.describe()).consumers.find(({ name }) => name === 'worker')?.channels[0]?.lag ?? 3,
    close: async () => {
      sessions.close()
      await engine.close()
    },
  }
}

/** The error codes that a client received, and whether the connection is over. */
function outcome(raw: Raw): string[] {
  const errors = raw.of(FRAME.error).map((body) => (jsonOf(body, 4) as { readonly code: string }).code)
  const refusals = raw.of(FRAME.refused).map((body) => (jsonOf(body, 0) as { readonly code: string }).code)
  return [...errors, ...refusals]
}

test('JSON of a wrong type in a call, a subscription or a read is refused with a fitting code', async () => {
  const served = await serve(stranger)
  const frames = odd.flatMap((value) => [
    numberedFrame(FRAME.call, 1, value),
    numberedFrame(FRAME.call, 1, { method: value, args: [] }),
    ...[
      'declare',
      'channel',
      'rewind',
      'setPause',
      'removeConsumer',
      'removeChannel',
      'deadLetters',
      'redrive',
      'dropDeadLetters',
      'pending',
    ].map((method) => numberedFrame(FRAME.call, 1, { method, args: [value, value, value] })),
    ...['deadLetters', 'redrive', 'dropDeadLetters'].flatMap((method) =>
      ['channel', 'id', 'key', 'limit', 'offset', 'more'].map((name) =>
        numberedFrame(FRAME.call, 1, { method, args: ['worker', { [name]: value }] }),
      ),
    ),
    ...[[value], [{ channel: value, offset: 0 }], [{ channel: 'orders', offset: value }]].map((events) =>
      numberedFrame(FRAME.call, 1, { method: 'pending', args: ['worker', events] }),
    ),
    numberedFrame(FRAME.read, 1, value),
    ...['channel', 'from', 'to'].map((name) =>
      numberedFrame(FRAME.read, 1, { channel: 'orders', from: { at: 'end' }, to: null, [name]: value }),
    ),
    subscribe(1, 1, value),
    subscribe(1, 1, { spec: value, claims: [] }),
    subscribe(1, 1, { spec: workerSpec, claims: [value] }),
    ...Object.keys(workerSpec).map((name) => subscribe(1, 1, { spec: { ...workerSpec, [name]: value }, claims: [] })),
    subscribe(1, 1, { spec: { ...workerSpec, wants: [value] }, claims: [] }),
    subscribe(1, 1, { spec: { ...workerSpec, wants: [{ type: value, pattern: value }] }, claims: [] }),
  ])
  const wrong: string[] = []
  for (const frame of frames) {
    const raw = await served.connect()
    raw.send(frame)
    await expect
      .poll(() => raw.over || raw.of(FRAME.error).length + raw.of(FRAME.result).length > 0, {
        interval: 1,
        timeout: 5000,
      })
      .toBe(true)
    if (outcome(raw).includes('UNAVAILABLE'))
      wrong.push(`${frame.toString('utf8', FRAME_HEADER_BYTES)}: ${String(raw.of(FRAME.error)[0])}`)
    raw.end()
  }
  expect(wrong).toEqual([])
  expect(await served.events()).toBe(3)
  expect(unhandled).toEqual([])
  await served.close()
})

/** Blocks with a correct checksum and invalid columns. */
function crooked(): Buffer[] {
  const events = Array.from({ length: 200 }, (_, n) => encoded('a', 'k', n))
  const change = (at: number, bytes: 2 | 4, value: number): Buffer => {
    const { bytes: block } = encodeBlock(0, 0, 0, events)
    if (bytes === 2) block.writeUInt16LE(value, at)
    else block.writeUInt32LE(value, at)
    return block
  }
  const texts = 40
  const types = texts + 4 * events.length
  return [
    ...[0, 1, 201, 2 ** 32 - 1].map((count) => change(12, 4, count)),
    ...[0, 1, 2 ** 32 - 1].map((size) => change(32, 4, size)),
    ...[0, 2, 65_535].map((size) => change(38, 2, size)),
    ...[0, 2 ** 31, 2 ** 32 - 1].flatMap((end) => [change(texts, 4, end), change(texts + 400, 4, end)]),
    change(types, 2, 9),
    ...[0, 65_535].flatMap((length) => [
      change(types + 400, 2, length),
      change(types + 800, 2, length === 0 ? 0 : 60_000),
    ]),
    Buffer.from(voidBlock(0, 0, 2 ** 32 - 1, 0).bytes),
  ].map(resealed)
}

function resealed(block: Buffer): Buffer {
  block.writeUInt32LE(crc32(block.subarray(8)), 4)
  return block
}

test.each([
  ['a stranger', stranger],
  ['this program', localAccess],
])('a block whose columns do not fit together is refused, from %s', async (_, access) => {
  const served = await serve(access)
  for (const block of crooked()) {
    const raw = await served.connect()
    raw.send(publish(block))
    await expect.poll(() => raw.over, { interval: 1, timeout: 5000 }).toBe(true)
    expect(outcome(raw)[0]).toMatch(/^(DATA_DAMAGED|INVALID_REQUEST)$/)
  }
  for (const dueAtMs of [Number.POSITIVE_INFINITY, -1e300, 1e17]) {
    const raw = await served.connect()
    raw.send(publish(encodeBlock(0, 0, 0, [encoded('a', null, 0)]).bytes, dueAtMs))
    await expect.poll(() => raw.over, { interval: 1, timeout: 5000 }).toBe(true)
  }
  expect(await served.events()).toBe(3)
  expect(unhandled).toEqual([])
  await served.close()
})

test('a malformed settlement settles nothing', async () => {
  const served = await serve(stranger)
  const failure = { name: 'Error', message: 'x', kind: 'error' }
  const details = (detail: unknown): unknown => ({ details: [[0, detail]], channels: [] })
  const frames = [
    settle({ deliveries: [9], verb: 1 }),
    settle({ deliveries: [2 ** 32 - 1], verb: 1 }),
    settle({ deliveries: [0], verb: 0 }),
    settle({ deliveries: [0], verb: 9 }),
    ...odd.map((value) => settle({ deliveries: [0], verb: 2, json: value })),
    ...odd.map((value) => settle({ deliveries: [0], verb: 2, json: details(value) })),
    ...odd.map((value) => settle({ deliveries: [0], verb: 2, json: details({ failure: value }) })),
    ...odd
      .filter((value) => typeof value !== 'string')
      .map((value) => settle({ deliveries: [0], verb: 3, json: details({ failure: { ...failure, message: value } }) })),
    ...[-1, 1e308, 'x', {}].map((delayMs) => settle({ deliveries: [0], verb: 2, json: details({ delayMs, failure }) })),
    numbers(FRAME.settle, [1, 2 ** 32 - 1, 0, 0]),
    numbers(FRAME.settle, [1, 1, 2 ** 32 - 1, 0, 0], 40),
  ]
  for (const frame of frames) {
    const raw = await served.connect()
    raw.send(subscribe(1, 1, { spec: workerSpec, claims: [] }))
    await expect.poll(() => raw.of(FRAME.deliver).length > 0, { interval: 1, timeout: 5000 }).toBe(true)
    raw.send(frame)
    await raw.answered()
    raw.send(jsonFrame(FRAME.goodbye, {}))
    await expect.poll(() => raw.over, { interval: 1, timeout: 5000 }).toBe(true)
  }
  expect(await served.lag()).toBe(3)
  expect(unhandled).toEqual([])
  await served.close()
})

test('a number in use is refused, and a reader gets no more room than the limit', async () => {
  const served = await serve(stranger)
  const raw = await served.connect()
  raw.send(
    subscribe(1, 1, { spec: workerSpec, claims: [] }),
    subscribe(2, 1, { spec: { ...workerSpec, name: 'other' }, claims: [] }),
  )
  await expect.poll(() => raw.of(FRAME.error).length, { interval: 1, timeout: 5000 }).toBe(1)
  expect(outcome(raw)).toEqual(['INVALID_REQUEST'])
  raw.end()
  const big = { ...encoded('a', null, 0) }
  const reader = await served.connect()
  const padding = 'x'.repeat(200_000)
  const events = Array.from({ length: 40 }, (_, n) => {
    const text = JSON.stringify({ ...(JSON.parse(big.text) as object), id: `big${n}`, padding })
    return { ...big, id: `big${n}`, text }
  })
  for (const event of events) await served.publish(event)
  reader.send(
    numberedFrame(FRAME.read, 9, { channel: 'orders', from: { at: 'beginning' }, to: null, follow: false }),
    numbers(FRAME.readMore, [9, 2 ** 32 - 1]),
  )
  await expect.poll(() => reader.of(FRAME.events).length, { interval: 5, timeout: 5000 }).toBeGreaterThan(3)
  await reader.answered()
  expect(reader.of(FRAME.result).length).toBe(0)
  reader.end()
  await served.close()
})

/** Valid frames of every type, to be damaged. */
function proper(): Buffer[] {
  return [
    subscribe(1, 1, { spec: workerSpec, claims: [{ channel: 'orders', offset: 0, attempt: 1 }] }),
    publish(encodeBlock(0, 0, 0, [encoded('z', 'k', 1)]).bytes),
    settle({
      deliveries: [77],
      verb: 2,
      json: {
        details: [[0, { delayMs: 5, failure: { name: 'E', message: 'm', kind: 'error' } }]],
        channels: ['orders'],
      },
    }),
    numberedFrame(FRAME.call, 3, { method: 'describe', args: [] }),
    numberedFrame(FRAME.read, 4, { channel: 'orders', from: { offset: 0 }, to: { offset: 2 }, follow: false }),
    ...[
      FRAME.renew,
      FRAME.switch,
      FRAME.flush,
      FRAME.unsubscribe,
      FRAME.readMore,
      FRAME.readStop,
      FRAME.mark,
      FRAME.ack,
      FRAME.ping,
      FRAME.pong,
    ].map((type) => numbers(type, [1, 1], 16)),
    ...Object.values(FRAME).map((type) => numbers(type, [1])),
  ]
}

test('a client that sends damaged frames of every type settles nothing and ends only its own connection', async () => {
  const served = await serve(stranger)
  const other = await served.connect()
  for (let seed = 1; seed <= 300 * TIMES; seed++) {
    const raw = await served.connect()
    raw.send(...damaged(proper(), seededRandom(seed)))
    await new Promise((resolve) => setImmediate(resolve))
    raw.end()
    if (unhandled.length > 0) expect.fail(`seed ${seed}: ${String(unhandled[0])}`)
  }
  await other.answered()
  expect(other.over).toBe(false)
  expect(unhandled).toEqual([])
  await served.close()
}, 60_000)
