/**
 * Events that clients in other languages publish and emit over the wire: keys come from the declaration, and data that
 * the stored schema refuses is refused, in single publishes, batches, delayed events and emissions.
 */
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import type { EncodedEvent } from '../../src/broker/encoded-event.ts'
import type { Delivery } from '../../src/broker/engine.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { event, stream } from '../../src/index.ts'
import { localAccess } from '../../src/wire/access.ts'
import { RemoteEngine } from '../../src/wire/client/remote-engine.ts'
import { FRAME, FRAME_HEADER_BYTES, FrameReader, jsonFrame, jsonOf, newFrame } from '../../src/wire/frame.ts'
import { decodeReceipts, publishFrame } from '../../src/wire/publish-frame.ts'
import { SessionServer } from '../../src/wire/server/session-server.ts'
import { SettleBatch, VERB } from '../../src/wire/settle-frame.ts'
import { loopback } from '../../src/wire/transport.ts'

const Placed = event('order.placed', z.object({ order: z.string(), n: z.int().min(1) }))
const orders = stream('orders', { events: [Placed], key: 'data.order' })
const keyed = stream('keyed', { events: [Placed], key: ({ data }) => (data.n === 1 ? undefined : data.order) })
const loose = stream('loose')
const keyless = stream('keyless', { key: false })

let made = 0
function encoded(data: unknown, key: string | null = null, more: object = {}): EncodedEvent {
  const id = `e${made++}`
  return {
    id,
    type: 'order.placed',
    key,
    text: JSON.stringify({ specversion: '1.0', id, source: '/python', type: 'order.placed', ...more, data }),
  }
}

interface Frame {
  readonly type: number
  readonly body: Buffer
}

/** A client without the channels' code, and the keys stored in each channel. */
async function served(): Promise<{
  send(frame: Buffer): void
  next(type: number): Promise<Buffer>
  publish(
    channel: string,
    events: readonly EncodedEvent[],
    options?: { readonly batch?: boolean; readonly dueAtMs?: number },
  ): Promise<unknown[]>
  keys(channel: string): Promise<(string | null)[]>
  remote(): Promise<RemoteEngine>
}> {
  const engine = openMemoryEngine()
  const sessions = new SessionServer(engine)
  for (const { spec } of [orders, keyed, loose, keyless]) await engine.declare(spec)
  onTestFinished(async () => {
    sessions.close()
    await engine.close()
  })
  const access = { ...localAccess, name: 'stranger', trusted: false }
  const [near, far] = loopback()
  sessions.accept(far, () => access)
  const frames: Frame[] = []
  const reader = new FrameReader(2 ** 26, (type, body) => frames.push({ type, body }))
  near.open({ data: (chunk) => reader.push(chunk), drain: () => undefined, closed: () => undefined })
  const next = async (...types: readonly number[]): Promise<Frame> => {
    await expect.poll(() => frames.some(({ type }) => types.includes(type)), { interval: 1 }).toBe(true)
    return frames.splice(
      frames.findIndex(({ type }) => types.includes(type)),
      1,
    )[0] as Frame
  }
  near.write([jsonFrame(FRAME.hello, { protocol: 1, session: null, received: 0, token: null })])
  await next(FRAME.welcome)
  return {
    send: (frame) => void near.write([frame]),
    next: async (type) => (await next(type)).body,
    publish: async (channel, events, { batch = false, dueAtMs } = {}) => {
      const frame = publishFrame(1, channel, events, dueAtMs ?? null, batch)
      frame.writeUInt16LE(batch ? 1 : 0, FRAME_HEADER_BYTES + 30)
      near.write([frame])
      const { type, body } = await next(FRAME.receipts, FRAME.error)
      if (type === FRAME.error) return [(jsonOf(body, 4) as { readonly code: string }).code]
      const ids = events.map(({ id }) => id)
      return decodeReceipts(body, channel, ids).map((answer) => ('offset' in answer ? answer.offset : answer.code))
    },
    keys: async (channel) => {
      const keys: (string | null)[] = []
      const options = {
        from: { at: 'beginning' },
        to: null,
        follow: false,
        signal: new AbortController().signal,
      } as const
      for await (const batch of engine.read(channel, options)) for (const { key } of batch) keys.push(key)
      return keys
    },
    remote: () => {
      const dial = async () => {
        const [mine, its] = loopback()
        sessions.accept(its, () => access)
        return mine
      }
      return RemoteEngine.open({ name: 'remote', dial })
    },
  }
}

test('the server takes the key from the declared path, whatever the frame says', async () => {
  const { publish, keys } = await served()
  expect(await publish('orders', [encoded({ order: 'a', n: 1 }), encoded({ order: 'b', n: 1 }, 'other')])).toEqual([
    0, 1,
  ])
  expect(
    await publish('orders', [encoded({ order: 'c', n: 1 }), encoded({ order: 'd', n: 1 })], { batch: true }),
  ).toEqual([2, 3])
  expect(await publish('orders', [encoded({ order: 'e', n: 1 })])).toEqual([4])
  expect(await keys('orders')).toEqual(['a', 'b', 'c', 'd', 'e'])
  for (const order of ['', 'x\0', 7.5, null, 'x'.repeat(70_000)])
    expect(await publish('orders', [encoded({ order, n: 1 })])).not.toEqual([5])
  expect(await keys('orders')).toHaveLength(5)
})

test('data that the stored schema refuses is refused: single publishes one by one, a batch as a whole', async () => {
  const { publish, keys } = await served()
  const [good, bad] = [() => encoded({ order: 'a', n: 1 }), () => encoded({ order: 'a', n: 0 })]
  expect(await publish('orders', [bad()])).toEqual(['SCHEMA_MISMATCH'])
  expect(await publish('orders', [good(), bad(), good()])).toEqual([0, 'SCHEMA_MISMATCH', 1])
  expect(await publish('orders', [bad(), bad()])).toEqual(['SCHEMA_MISMATCH', 'SCHEMA_MISMATCH'])
  expect(await publish('orders', [good(), bad()], { batch: true })).toEqual(['SCHEMA_MISMATCH'])
  expect(await publish('orders', [bad()], { dueAtMs: Date.now() + 60_000 })).toEqual(['SCHEMA_MISMATCH'])
  expect(await publish('orders', [{ ...good(), text: '{}' }])).toEqual(['INVALID_EVENT'])
  expect(await keys('orders')).toEqual(['a', 'a'])
})

test('an event without a key is refused if the key is a function that the client does not have', async () => {
  const { publish, keys, remote } = await served()
  const one = { order: 'a', n: 1 }
  expect(await publish('keyed', [encoded(one)])).toEqual(['INVALID_EVENT'])
  expect(await publish('keyed', [encoded(one, 'mine'), encoded(one, null, { partitionkey: 'its' })])).toEqual([0, 1])
  const engine = await remote()
  expect(await engine.publish('keyed', encoded(one), null)).toMatchObject({ offset: 2 })
  await engine.close()
  expect(await publish('loose', [encoded(one), encoded(one, null, { partitionkey: 'its' })])).toEqual([0, 1])
  expect([...(await keys('keyed')), ...(await keys('loose'))]).toEqual(['mine', 'its', null, null, 'its'])
})

test('with `key: false` an event has no key, whatever the frame says', async () => {
  const { publish, keys } = await served()
  const one = { order: 'a', n: 1 }
  expect(await publish('keyless', [encoded(one, 'mine'), encoded(one, null, { partitionkey: 'its' })])).toEqual([0, 1])
  expect(await keys('keyless')).toEqual([null, null])
})

const spec = {
  name: 'worker',
  channels: ['loose'],
  wants: [{ type: null, pattern: null }],
  from: { at: 'beginning' },
  onDead: null,
  credit: 10,
  perKey: 1,
  leaseMs: 30_000,
  attemptsMax: 2,
  stallMs: 30_000,
} as const

function numbered(type: number, values: readonly number[], json?: unknown): Buffer {
  const text = Buffer.from(json === undefined ? '' : JSON.stringify(json))
  const frame = newFrame(type, 4 * values.length + text.length)
  for (const [index, value] of values.entries()) frame.writeUInt32LE(value, FRAME_HEADER_BYTES + 4 * index)
  frame.set(text, FRAME_HEADER_BYTES + 4 * values.length)
  return frame
}

test('emissions are checked in the same way, in order with later settlements', async () => {
  const { send, next, publish, keys } = await served()
  for (let n = 0; n < 4; n++) await publish('loose', [encoded(n)])
  send(numbered(FRAME.subscribe, [1, 1], { spec, claims: [] }))
  await next(FRAME.result)
  await next(FRAME.deliver)
  const settle = (number: number, channel: string, emitted: EncodedEvent): void => {
    const batch = new SettleBatch()
    batch.add(number, VERB.complete, null, [{ channel, event: emitted, dueAtMs: null }])
    const frame = batch.take(1)
    frame.write('null', frame.indexOf('"keyed":true') + 8)
    send(frame)
  }
  settle(0, 'orders', encoded({ order: 'a', n: 1 }, 'other'))
  settle(1, 'orders', encoded({ order: 'a', n: 0 }))
  settle(2, 'keyed', encoded({ order: 'a', n: 1 }))
  settle(3, 'orders', encoded({ order: 'b', n: 1 }))
  send(numbered(FRAME.flush, [2, 1]))
  await next(FRAME.result)
  expect(await keys('orders')).toEqual(['a', 'b'])
  expect(await keys('keyed')).toEqual([])
  // The attempts of the two others have failed, so they are delivered again.
  const again = await next(FRAME.deliver)
  expect(again.readUInt32LE(0)).toBe(1)
})

test("a client with the channel's code publishes and emits as before", async () => {
  const { remote, keys } = await served()
  const engine = await remote()
  await engine.publishBatch('orders', [encoded({ order: 'a', n: 1 }, 'a'), encoded({ order: 'b', n: 1 }, 'b')], null)
  await engine.publish('loose', encoded(1), null)
  const deliveries: Delivery[] = []
  const subscription = await engine.subscribe(spec, {
    deliver: (given) => void deliveries.push(...given),
    passesOn: false,
    revoked: () => undefined,
  })
  await expect.poll(() => deliveries.length).toBe(1)
  subscription.complete(deliveries[0] as Delivery, [
    { channel: 'keyed', event: encoded({ order: 'a', n: 1 }), dueAtMs: null },
  ])
  await subscription.flushed()
  expect([await keys('orders'), await keys('keyed')]).toEqual([['a', 'b'], [null]])
  await engine.close()
})

test('the server does not check again the data that a client with the channel’s code has checked, and still takes the key from the path', async () => {
  const { send, next, keys } = await served()
  const judged = encoded({ order: 'a', n: -1 })
  send(publishFrame(7, 'orders', [judged], null, false))
  expect(decodeReceipts(await next(FRAME.receipts), 'orders', [judged.id])).toMatchObject([{ offset: 0 }])
  expect(await keys('orders')).toEqual(['a'])
})
