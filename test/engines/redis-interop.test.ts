/** The entries of Millrace on Redis have the documented layout, and entries of plain clients arrive in handlers. */
import { randomUUID } from 'node:crypto'
import { CloudEvent, HTTP } from 'cloudevents'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { redisKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { collecting, ItemAdded } from './cases.ts'
import { kindOf } from './servers.ts'

const kind = kindOf('redis', () => redisKind())

const PARTITIONS = 4

describe.skipIf(kind === undefined)('Redis', () => {
  let server: Server
  let plain: Redis
  let broker: Broker
  let base: string
  const brokers: Broker[] = []

  async function open(): Promise<void> {
    const prefix = `i${randomUUID().slice(0, 8)}`
    base = `{${prefix}}:`
    broker = await connect(`${server.url}?partitions=${PARTITIONS}&prefix=${prefix}`)
    brokers.push(broker)
  }

  beforeAll(async () => {
    if (kind === undefined) return
    server = await Server.start(kind)
    plain = new Redis(server.url)
  })

  afterAll(async () => {
    for (const each of brokers) await each.close()
    await plain?.quit()
    await server?.stop()
  })

  it('events are entries that a plain client reads: the CloudEvent in JSON, the key, and an id of offset and time', async () => {
    await open()
    const carts = stream('shop.carts', { events: [ItemAdded], key: ({ data }) => data.sku })
    const before = Date.now()
    const receipt = await broker.publish(carts, ItemAdded({ sku: 'tea ☕' }))
    const streams = Array.from({ length: PARTITIONS }, (_, partition) => `${base}stream:shop.carts:${partition}`)
    const found = await plain.xread('COUNT', 10, 'STREAMS', ...streams, ...streams.map(() => '0-0'))
    expect(found).toHaveLength(1)
    const [, entries] = (found as [string, [string, string[]][]][])[0] as [string, [string, string[]][]]
    const [id, fields] = entries[0] as [string, string[]]
    const [offset, timeMs] = id.split('-').map(Number)
    expect(offset).toBe(receipt.offset)
    expect(Math.abs((timeMs ?? 0) - before)).toBeLessThan(5000)
    expect(fields.slice(0, 1).concat(fields.slice(2, 4))).toEqual(['data', 'key', 'tea ☕'])
    expect(new CloudEvent(JSON.parse(fields[1] as string))).toMatchObject({
      id: receipt.id,
      type: 'cart.item.added',
      data: { sku: 'tea ☕' },
    })
  })

  it('events that go out together keep their id, key and text, whatever characters these have; a known event is not stored again', async () => {
    await open()
    const carts = stream('mixed', { events: [ItemAdded], key: ({ data }) => (data.sku === '' ? undefined : data.sku) })
    const skus = ['tea', '', 'é', '☕', 'tea "quoted" \\ \u0001', '𝄞', '', 'tea']
    const ids = [undefined, 'plain', 'naïve', 'with "quotes"', undefined, '☕☕', 'plain', undefined]
    const events = skus.map((sku, at) => ({ ...ItemAdded({ sku }), ...(ids[at] !== undefined && { id: ids[at] }) }))
    const receipts = await Promise.all(events.map((each) => broker.publish(carts, each)))
    expect(receipts.map(({ duplicate }) => duplicate)).toEqual(skus.map((_, at) => at === 6))
    expect(receipts[6]?.offset).toBe(receipts[1]?.offset)
    const again = await broker.publish(carts, { ...ItemAdded({ sku: 'other' }), id: 'with "quotes"' })
    expect([again.duplicate, again.offset]).toEqual([true, receipts[3]?.offset])
    const read: [string, string][] = []
    for await (const { id, data } of broker.read(carts)) read.push([id, data.sku])
    const stored = skus.flatMap((sku, at): [string, string][] => (at === 6 ? [] : [[receipts[at]?.id as string, sku]]))
    expect(read.sort()).toEqual(stored.sort())
    const keys: string[] = []
    for (let partition = 0; partition < PARTITIONS; partition++) {
      for (const [, fields] of await plain.xrange(`${base}stream:mixed:${partition}`, '-', '+'))
        if (fields[2] === 'key') keys.push(fields[3] as string)
    }
    expect(keys.sort()).toEqual(skus.filter((sku) => sku !== '').sort())
  })

  it('the server does not notify the only subscriber of its own appends; it notifies others', async () => {
    await open()
    const carts = stream('rung', { events: [ItemAdded] })
    await broker.declare(carts)
    await collecting(broker, 'rung')
    const told: string[] = []
    const listener = new Redis(server.url)
    listener.on('message', (_, message) => told.push(message))
    const rings = async (): Promise<number> =>
      Number(/cmdstat_publish:calls=(\d+)/.exec(await plain.info('commandstats'))?.[1] ?? 0)
    try {
      // The first may come before the server is known to tell of it.
      await broker.publish(carts, ItemAdded({ sku: 'tea' }))
      const before = await rings()
      await broker.publish(carts, ItemAdded({ sku: 'tea' }))
      expect(await rings()).toBe(before)
      await listener.subscribe(`${base}bell:rung`)
      const { offset } = await broker.publish(carts, ItemAdded({ sku: 'jam' }))
      await expect.poll(() => told.length, { timeout: 10_000 }).toBe(1)
      expect(told[0]).toMatch(new RegExp(`^\\S+ \\d:${(offset ?? -1) + 1}$`))
    } finally {
      listener.disconnect()
    }
  })

  it('a plain client writes structured events, and another SDK binary ones: they arrive at once, in order of their key, each id once', async () => {
    await open()
    const carts = stream('carts', { events: [ItemAdded] })
    await broker.declare(carts)
    const given = await collecting(broker, 'carts')
    const begun = performance.now()
    const inbox = `${base}in:carts`
    const structured = {
      specversion: '1.0',
      id: 'plain-1',
      source: '/dapr',
      type: 'cart.item.added',
      partitionkey: 'k',
      data: { sku: 'tea', big: 1 },
    }
    const text = JSON.stringify(structured).replace('"big":1', '"big":12345678901234567890')
    await plain.xadd(inbox, '*', 'data', text)
    await plain.xadd(inbox, '*', 'data', text)
    await plain.xadd(
      inbox,
      '*',
      'data',
      JSON.stringify({ ...structured, id: 'plain-2', partitionkey: undefined }),
      'key',
      'k',
    )
    const { headers, body } = HTTP.binary(
      new CloudEvent({
        id: 'sdk-1',
        source: '/sdk',
        type: 'cart.item.added',
        partitionkey: 'k',
        region: 'Euro €',
        datacontenttype: 'application/json',
        data: { sku: 'jam' },
      }),
    )
    const fields = Object.entries(headers).flatMap(([name, value]) => [
      name.replace(/^ce-/, 'ce_'),
      name === 'ce-region' ? 'Euro €' : String(value),
    ])
    await plain.xadd(inbox, '*', ...fields, 'data', body as string)
    await expect.poll(() => given.length, { timeout: 10_000 }).toBe(3)
    expect(performance.now() - begun).toBeLessThan(5000)
    expect(
      given.map(({ id, source, partitionkey, ...each }) => [
        id,
        source,
        partitionkey,
        (each as unknown as { region?: string }).region,
      ]),
    ).toEqual([
      ['plain-1', '/dapr', 'k', undefined],
      ['plain-2', '/dapr', undefined, undefined],
      ['sdk-1', '/sdk', 'k', 'Euro €'],
    ])
    await expect.poll(() => plain.xlen(inbox)).toBe(0)
    const stored = await Promise.all(
      Array.from({ length: PARTITIONS }, (_, partition) => plain.xrange(`${base}stream:carts:${partition}`, '-', '+')),
    )
    expect(stored.flat()[0]?.[1][1]).toBe(text)
  })

  it('an entry that is not an event goes to the dead letters with its bytes, and stops no consumer', async () => {
    await open()
    await broker.declare(stream('carts', { events: [ItemAdded] }))
    const inbox = `${base}in:carts`
    const bytes = Buffer.from([0xff, 0x00, 0x7b])
    await plain.xadd(inbox, '*', 'data', '{"specversion":"1.0","id":')
    await plain.xadd(inbox, '*', 'data', '{"hello":"world"}')
    await plain.xadd(inbox, '*', 'data', bytes)
    await plain.xadd(inbox, '*', 'temperature', '21', 'unit', 'C')
    const wrong = JSON.stringify({
      specversion: '1.0',
      id: 'wrong',
      source: '/dapr',
      type: 'cart.item.added',
      data: { sku: 7 },
    })
    await plain.xadd(inbox, '*', 'data', wrong)
    const given = await collecting(broker, 'carts')
    await broker.publish('carts', { type: 'cart.item.added', data: { sku: 'tea' } })
    await expect.poll(async () => (await broker.deadLetters('worker').list()).length, { timeout: 10_000 }).toBe(5)
    await expect.poll(() => given.length).toBe(1)
    const letters = await broker.deadLetters('worker').list()
    expect(letters.map(({ text }) => text).sort()).toEqual(
      [
        '{"specversion":"1.0","id":',
        '{"hello":"world"}',
        `data:application/octet-stream;base64,${bytes.toString('base64')}`,
        '{"temperature":"21","unit":"C"}',
        wrong,
      ].sort(),
    )
    expect(new Set(letters.map(({ failure }) => failure.kind))).toEqual(new Set(['poison']))
    // Reading without consuming skips a record that is not an event.
    const read: string[] = []
    for await (const each of broker.read('carts')) read.push(each.id)
    expect(read).toHaveLength(2)
  })

  it('an entry of a client in a partition, with an id that Redis chose, is taken in with the next event, and the channel goes on', async () => {
    await open()
    const carts = stream('carts', { events: [ItemAdded], key: () => 'k' })
    const first = await broker.publish(carts, ItemAdded({ sku: 'a' }))
    const given = await collecting(broker, 'carts')
    const keys = await plain.keys(`${base}stream:carts:*`)
    expect(keys).toHaveLength(1)
    await plain.xadd(
      keys[0] as string,
      '*',
      'data',
      JSON.stringify({ specversion: '1.0', id: 'stray', source: '/s', type: 'cart.item.added', data: { sku: 'b' } }),
    )
    const second = await broker.publish(carts, ItemAdded({ sku: 'c' }))
    expect(second.offset).toBe((first.offset ?? -1) + 1)
    await broker.publish(carts, ItemAdded({ sku: 'd' }))
    await expect
      .poll(() => given.map(({ data }) => (data as { sku: string }).sku).sort(), { timeout: 10_000 })
      .toEqual(['a', 'b', 'c', 'd'])
  })
})
