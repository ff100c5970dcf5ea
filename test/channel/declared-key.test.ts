/**
 * A channel's key path and schemas are stored with its declaration, and apply to programs that know the channel only by
 * name.
 */
import { expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { engineOf } from '../../src/broker/engine-of.ts'
import type { ChannelSpec } from '../../src/channel/channel.ts'
import { knownSchemas } from '../../src/channel/kept-schemas.ts'
import { mergedSpec } from '../../src/channel/merged-spec.ts'
import { type Broker, connect, consumer, event, queue, stream } from '../../src/index.ts'

const Placed = event(
  'order.placed',
  z.object({ order: z.string(), lines: z.array(z.object({ sku: z.string(), count: z.int().min(1) })) }),
)
const data = { order: 'o-1', lines: [{ sku: 'tea', count: 1 }] }

/** The application, and another process on the same engine without the code of the channels. */
async function two(): Promise<{ readonly app: Broker; readonly other: Broker }> {
  const app = await connect('memory:')
  onTestFinished(() => app.close())
  const engine = engineOf(app)
  return { app, other: new ConnectedBroker(engine, { source: '/other', random: Math.random }) }
}

/** The key of the channel's first event. */
function keyIn(of: Broker, channel: string): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const reading = consumer('reader', stream(channel)).onAny((_, ctx) => resolve(ctx.key))
    of.start(reading).catch(reject)
  })
}

test.each([
  ['data.order', data, 'o-1'],
  ['data.lines', data, null],
  ['data.missing.more', data, null],
  ['data.n', { n: 7 }, '7'],
  ['data.n', { n: 0.5 }, null],
  ['data.constructor.name', {}, null],
  ['data.order', { order: '' }, null],
] as const)('the key at %s of %j is %s', async (path, given, expected) => {
  const { app, other } = await two()
  const orders = stream('orders', { key: path as string })
  await app.declare(orders)
  const event = { type: 'order.placed', data: given }
  for (const publish of [() => app.publish(orders, event), () => other.publish('orders', event)]) {
    const published = publish()
    if (expected === null)
      await expect(published).rejects.toMatchObject({
        code: 'INVALID_EVENT',
        message: expect.stringContaining(path),
        details: { key: path },
      })
    else await published
  }
  if (expected !== null) expect(await keyIn(app, 'orders')).toBe(expected)
})

test.each(['subject', 'tenant'])('the key may be the attribute %s', async (name) => {
  const { app, other } = await two()
  const channel = stream('orders', { key: name })
  await app.publish(channel, {
    type: 'order.placed',
    ...(name === 'subject' ? { subject: 'a' } : { extensions: { tenant: 'a' } }),
  })
  expect(await keyIn(app, 'orders')).toBe('a')
  await expect(other.publish('orders', { type: 'order.placed' })).rejects.toMatchObject({
    code: 'INVALID_EVENT',
    details: { key: name },
  })
})

test.each(['', 'data', 'data.', 'data..a', 'Subject', 'subject.a', '.a', 1, {}, true, null])('%j is no key', (key) => {
  for (const make of [stream, queue])
    expect(() => make('orders', { key: key as never })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: { option: 'key' } }),
    )
})

test('an event without a key is refused by name where the key is a function', async () => {
  const { app, other } = await two()
  const orders = stream('orders', { events: [Placed], key: ({ data: { order } }) => order })
  await app.declare(orders)
  await expect(other.publish('orders', { type: 'order.placed', data })).rejects.toMatchObject({
    code: 'INVALID_EVENT',
    message: expect.stringMatching(/partitionkey.*key: 'data\.order'/s),
    details: { channel: 'orders', key: 'function' },
  })
  await other.publish('orders', { type: 'order.placed', data, partitionkey: 'o-1' })
  await app.publish(orders, Placed(data))
})

test('data that the kept schema does not take is refused by name, with the place in it', async () => {
  const { app, other } = await two()
  await app.declare(stream('orders', { events: [Placed], key: 'data.order' }))
  await expect(
    other.publish('orders', { type: 'order.placed', data: { order: 'o-1', lines: [{ sku: 'tea', count: 0 }] } }),
  ).rejects.toMatchObject({
    code: 'SCHEMA_MISMATCH',
    details: { issues: [{ path: ['lines', 0, 'count'] }] },
  })
  await app.declare(stream('loose', { events: [Placed] }))
  for (const nothing of [{}, { data: new Uint8Array(1) }, { data_base64: 'AA==' }])
    await expect(other.publish('loose', { type: 'order.placed', ...nothing })).rejects.toMatchObject({
      code: 'SCHEMA_MISMATCH',
    })
  expect(await other.publish('orders', { type: 'order.placed', data })).toMatchObject({ offset: 0 })
})

test('a date is judged as it is stored', async () => {
  const { app, other } = await two()
  await app.declare(stream('dates', { events: [event('dated', z.object({ at: z.iso.datetime() }))] }))
  await other.publish('dates', { type: 'dated', data: { at: new Date() } })
  await expect(other.publish('dates', { type: 'dated', data: { at: 'today' } })).rejects.toMatchObject({
    code: 'SCHEMA_MISMATCH',
  })
})

test('a channel that is declared anew binds those who knew it by name before', async () => {
  const { app, other } = await two()
  await app.declare(stream('orders'))
  await other.publish('orders', { type: 'order.placed' })
  await app.declare(stream('orders', { key: 'subject' }))
  await expect
    .poll(
      () => other.publish('orders', { type: 'order.placed' }).then(String, (error: { code: string }) => error.code),
      { timeout: 5000 },
    )
    .toBe('INVALID_EVENT')
  await app.declare(stream('orders', { key: false }))
  await expect
    .poll(() => other.publish('orders', { type: 'order.placed', partitionkey: 'a' }).then(() => 'taken', String), {
      timeout: 5000,
    })
    .toBe('taken')
})

test('with `key: false`, `partitionkey` is not the key of an event published by the channel’s name', async () => {
  const { app, other } = await two()
  const orders = stream('orders', { key: false })
  await app.declare(orders)
  await other.publish('orders', { type: 'order.placed', partitionkey: 'a' })
  expect(await keyIn(app, 'orders')).toBeNull()
})

test('of a channel declared again, the key is the last that was said, and the schema of a type that of the last declaration that names it', () => {
  const Paid = event('order.paid', z.object({ order: z.string() }))
  const first = stream('orders', { events: [Placed, Paid], key: 'data.order' }).spec
  expect(mergedSpec(first, stream('orders', { events: [Placed] }).spec)).toBe(first)
  const withOpaque = mergedSpec(first, stream('orders', { events: [event('order.paid')], key: ({ id }) => id }).spec)
  expect(withOpaque).toMatchObject({ types: ['order.paid', 'order.placed'], key: 'function' })
  expect(Object.keys(withOpaque.schemas ?? {})).toEqual(['order.placed'])
  expect(mergedSpec(first, stream('orders', { events: [Paid, Placed], key: false }).spec).key).toBeNull()
})

test('a declaration from before there were keys and schemas in it stays as it is', () => {
  const old = JSON.parse(JSON.stringify(stream('orders', { events: [event('order.placed')] }).spec)) as ChannelSpec
  expect(Object.keys(old)).toEqual(['name', 'kind', 'types', 'retain', 'dedupe', 'eventBytesMax'])
  expect(mergedSpec(old, stream('orders', { events: [event('order.placed')] }).spec)).toBe(old)
  expect(mergedSpec(old, stream('orders', { events: [event('order.placed')], key: 'subject' }).spec).key).toEqual({
    path: 'subject',
  })
})

test('schemas beyond the room of a registration are not kept', () => {
  const large = event(
    'b.large',
    z.object(Object.fromEntries(Array.from({ length: 4000 }, (_, at) => [`member${at}`, z.string()]))),
  )
  const { spec } = stream('orders', { events: [large, event('a.small', z.string()), event('c.small', z.string())] })
  expect(Object.keys(knownSchemas(spec.schemas))).toEqual(['a.small', 'c.small'])
  expect(spec.schemas?.['b.large']).toEqual({ 'x-millrace-schema': 'too large' })
})
