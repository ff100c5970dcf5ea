/** Looks at a running broker: what they find, what they remember, and that a client of a server finds the same. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { LIMITS } from '../../src/base/limits.ts'
import { type Catalogue, catalogueOf } from '../../src/catalogue/catalogue.ts'
import { CatalogueLook } from '../../src/catalogue/look.ts'
import { visibleFacts } from '../../src/catalogue/visible.ts'
import type { Permissions } from '../../src/gateway/access/permissions.ts'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, event, stream } from '../../src/index.ts'
import { startRules } from '../../src/rules/index.ts'

const opaque = { '~standard': { version: 1, vendor: 'own', validate: (value: unknown) => ({ value }) } } as const
const Placed = event('order.placed', z.object({ order: z.string(), card: z.string().meta({ 'x-sensitive': true }) }))
const orders = stream('orders', { events: [Placed, event('order.odd', opaque)] })
const payments = stream('payments')

let broker: Broker
beforeEach(async () => {
  broker = await connect('memory:')
  onTestFinished(() => broker.close())
  await broker.declare(orders, payments)
})

async function seenBy(look: CatalogueLook): Promise<Catalogue> {
  return catalogueOf(visibleFacts(await look.look(), { sees: () => true, reads: () => true }))
}
const place = (order: string, source = '/shop'): Promise<unknown> =>
  broker.publish(orders, Placed({ order, card: '4111-1111' }, { source }))
const makersOf = ({ events }: Catalogue, type: string): (readonly [string, string, boolean])[] =>
  events
    .find((each) => each.type === type)
    ?.producers.map(({ kind, name, certain }) => [kind, name, certain] as const) ?? []

describe('a look', () => {
  test('finds who emits what: consumers and rules, and not the consumers that run rules', async () => {
    const rules = await startRules(broker)
    onTestFinished(() => rules.stop())
    await rules.put({ name: 'copied', on: 'orders', then: { emit: { channel: 'payments', type: 'order.copied' } } })
    await broker.start(
      consumer('billing', orders).on(Placed, (_, ctx) => ctx.emit('payments', { type: 'payment.taken' })),
    )
    await place('1')
    const look = new CatalogueLook(broker)
    await expect.poll(async () => makersOf(await seenBy(look), 'payment.taken'), { timeout: 15_000 }).not.toEqual([])
    const catalogue = await seenBy(look)
    expect(makersOf(catalogue, 'order.placed')).toEqual([['source', '/shop', true]])
    expect(catalogue.consumers.map(({ name }) => name)).toEqual(['billing'])
    expect(
      [...makersOf(catalogue, 'payment.taken'), ...makersOf(catalogue, 'order.copied')].map(([, name]) => name),
    ).not.toContain('rules.orders')
  })

  test('reads only what is new, and remembers who published before', async () => {
    const look = new CatalogueLook(broker)
    await place('1')
    await seenBy(look)
    await place('2', '/partner')
    const catalogue = await seenBy(look)
    expect(makersOf(catalogue, 'order.placed').map(([, name]) => name)).toEqual(['/partner', '/shop'])
    expect(catalogue.events.find(({ type }) => type === 'order.placed')?.examples).toMatchObject([
      { offset: 1, event: { data: { order: '2', card: '[masked]' } } },
    ])
  })

  test('shows no example that is not kept any more, and nothing of a channel that was removed', async () => {
    await broker.declare(stream('short', { retain: { count: 1 } }))
    await broker.publish('short', { type: 'first', source: '/a' })
    const look = new CatalogueLook(broker)
    const examplesOf = ({ events }: Catalogue): string[] =>
      events.flatMap(({ type, examples }) => (examples.length > 0 ? [type] : []))
    expect(examplesOf(await seenBy(look))).toEqual(['first'])
    await expect
      .poll(
        async () => {
          await broker.publish('short', { type: 'second', source: '/a' })
          return examplesOf(await seenBy(look))
        },
        { timeout: 15_000 },
      )
      .toEqual(['second'])
    await broker.removeChannel('short')
    expect((await seenBy(look)).events.map(({ type }) => type)).toEqual(['order.odd', 'order.placed'])
    await broker.declare(stream('short'))
    await broker.publish('short', { type: 'third', source: '/b' })
    expect(makersOf(await seenBy(look), 'third')).toEqual([['source', '/b', true]])
  })

  test('keeps a bounded number of publishers and types, and shows no large event', async () => {
    const look = new CatalogueLook(broker)
    const count = LIMITS.catalogueMakersMax + 20
    await broker.publish(
      payments,
      Array.from({ length: count }, (_, at) => ({ type: 'one', source: `/${at}` })),
    )
    await seenBy(look)
    const types = LIMITS.catalogueTypesMax + 20
    for (let at = 0; at < types; at += 100) {
      await broker.publish(
        payments,
        Array.from({ length: 100 }, (_, each) => ({ type: `t${at + each}`, source: '/many' })),
      )
      await seenBy(look)
    }
    await broker.publish(payments, { type: 'one', source: '/large', data: 'x'.repeat(LIMITS.catalogueExampleChars) })
    const { events } = await seenBy(look)
    const one = events.find(({ type }) => type === 'one')
    expect(one?.producers).toHaveLength(LIMITS.catalogueMakersMax)
    expect(JSON.stringify(one?.examples)).not.toContain('xxx')
    expect(events.filter(({ channels }) => channels.includes('payments'))).toHaveLength(LIMITS.catalogueTypesMax)
  })

  test('reads the newest of large events first, and those before them in later looks', async () => {
    const look = new CatalogueLook(broker)
    const each = LIMITS.catalogueChannelBytes / 16
    for (let at = 0; at < 10; at++)
      await broker.publish(
        payments,
        Array.from({ length: 10 }, (_, n) => ({
          type: 'large',
          source: `/${Math.floor((at * 10 + n) / 25)}`,
          data: 'x'.repeat(each),
        })),
      )
    await broker.publish(payments, { type: 'small', source: '/newest' })
    const first = await seenBy(look)
    expect(makersOf(first, 'small')).toEqual([['source', '/newest', true]])
    expect(makersOf(first, 'large').map(([, name]) => name)).toEqual(['/3'])
    await broker.publish(payments, { type: 'small', source: '/later' })
    expect(makersOf(await seenBy(look), 'small').map(([, name]) => name)).toEqual(['/later', '/newest'])
    for (let looks = 0; looks < 8; looks++) await seenBy(look)
    const last = await seenBy(look)
    expect(makersOf(last, 'large').map(([, name]) => name)).toEqual(['/0', '/1', '/2', '/3'])
    expect(last.events.find(({ type }) => type === 'small')?.examples).toMatchObject([{ offset: 101 }])
  })

  test('is not stopped by what other systems write', async () => {
    await broker.publish(payments, { type: 'odd', source: '/a', data: '"}{', extensions: { causationid2: 'x' } })
    expect(makersOf(await seenBy(new CatalogueLook(broker)), 'odd')).toEqual([['source', '/a', true]])
  })
})

describe('a client of a server', () => {
  async function seenFrom(permissions: Permissions): Promise<Catalogue> {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-look-'))
    const tokens = join(folder, 'tokens.json')
    const { token } = addToken(tokens, { name: 'docs', permissions })
    const server = await serveGateway(broker, { port: 0, access: { tokens }, drain: '100ms' })
    const client = await connect(server.url.replace('http', 'ws'), { token })
    try {
      return await seenBy(new CatalogueLook(client))
    } finally {
      await client.close()
      await server.close()
      rmSync(folder, { recursive: true })
    }
  }

  test('finds the same as the process with the engine', async () => {
    await place('1')
    const here = await seenBy(new CatalogueLook(broker))
    expect(here.warnings).toMatchObject([{ code: 'opaque-schema', type: 'order.odd' }])
    const there = await seenFrom({ read: ['>', '$rules'], manage: ['>'], rules: ['>'], consume: ['>'] })
    expect(there).toEqual(here)
  })

  test('finds what its token permits, and says what it could not read', async () => {
    await place('1')
    const { events, channels, warnings } = await seenFrom({ publish: ['orders'] })
    expect(channels.map(({ name }) => name)).toEqual(['orders'])
    expect(events.map(({ type, examples }) => [type, examples])).toEqual([
      ['order.odd', []],
      ['order.placed', []],
    ])
    expect(warnings.map(({ code, channel }) => [code, channel])).toContainEqual(['not-read', 'orders'])
  })
})
