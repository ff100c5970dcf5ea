/** The search of a channel: what it finds, in which order, and that it says what it has looked at. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { LIMITS } from '../../src/base/limits.ts'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, stream } from '../../src/index.ts'

interface Result {
  readonly offsets: readonly number[]
  readonly end: {
    readonly looked: number
    readonly of: number
    readonly found: number
    readonly next: number | null
  } | null
  readonly status: number
}

let broker: Broker
let gateway: Gateway
beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('orders'))
  const events = Array.from({ length: 5000 }, (_, n) => ({
    id: `e${n}`,
    type: n % 100 === 0 ? 'rare' : 'common',
    data: { n },
    partitionkey: `k${n % 7}`,
  }))
  await broker.publish('orders', events)
  gateway = createGateway(broker, { drain: 0 })
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
})

async function search(query: Readonly<Record<string, string>>): Promise<Result> {
  const response = await gateway.fetch(
    new Request(`http://localhost/channels/orders/search?${new URLSearchParams(query)}`),
  )
  const text = await response.text()
  if (!response.ok) return { offsets: [], end: null, status: response.status }
  const messages = text.split('\n\n').flatMap((block) => {
    const [, event, data] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? []
    return data === undefined ? [] : [{ event, data: JSON.parse(data) as Record<string, never> }]
  })
  const offsets = messages.flatMap(({ event, data }) => (event === 'hit' ? [data['offset'] as unknown as number] : []))
  const last = messages.at(-1)
  return {
    offsets,
    end: last?.event === 'end' ? (last.data as unknown as Result['end']) : null,
    status: response.status,
  }
}

describe('searching a channel', () => {
  test('finds the newest first, says how many events it read, and continues where it stopped', async () => {
    const rare = { filter: "type = 'rare'", limit: '20' }
    const first = await search(rare)
    expect(first.offsets.slice(0, 3)).toEqual([4900, 4800, 4700])
    expect(first.end).toEqual({ looked: 2000, of: 5000, found: 20, next: 3000 })
    const rest = await search({ ...rare, limit: '1000', to: '3000' })
    expect(rest.offsets).toHaveLength(30)
    expect(rest.end).toEqual({ looked: 3000, of: 3000, found: 30, next: null })
  })

  test('finds the oldest first if the request says so', async () => {
    const first = await search({ filter: "type = 'rare'", order: 'oldest', limit: '3' })
    expect(first.offsets).toEqual([0, 100, 200])
    expect(first.end?.next).toBe(201)
  })

  test('finds by key, by id and by pattern together', async () => {
    expect((await search({ id: 'e14' })).offsets).toEqual([14])
    expect((await search({ id: 'e14', key: 'k0' })).offsets).toEqual([14])
    expect((await search({ id: 'e14', key: 'k1' })).offsets).toEqual([])
    expect((await search({ where: '{"data":{"n":[{"numeric":[">",4997]}]}}' })).offsets).toEqual([4999, 4998])
  })

  test('says that nothing was found only if all events were read', async () => {
    expect(await search({ id: 'nobody' })).toEqual({
      offsets: [],
      end: { looked: 5000, of: 5000, found: 0, next: null },
      status: 200,
    })
  })

  test('holds few large events at once, in both orders', async () => {
    await broker.declare(stream('large'))
    const text = 'x'.repeat(900_000)
    for (let n = 0; n < 30; n++) await broker.publish('large', { type: 't', data: { n, text } })
    for (const [order, expected] of [
      ['newest', Array.from({ length: 30 }, (_, n) => 29 - n)],
      ['oldest', Array.from({ length: 30 }, (_, n) => n)],
    ] as const) {
      const answer = await gateway.fetch(new Request(`http://localhost/channels/large/search?order=${order}&limit=100`))
      const found: number[] = []
      const held: number[] = []
      let since = 0
      for (const block of (await answer.text()).split('\n\n')) {
        const [, kind, data = '{}'] = /^event: (\w+)\ndata: (.*)$/.exec(block) ?? []
        if (kind === 'hit') found.push((JSON.parse(data) as { offset: number }).offset)
        if (kind !== 'progress') continue
        held.push(found.length - since)
        since = found.length
      }
      expect([order, found]).toEqual([order, expected])
      expect(Math.max(...held)).toBeLessThanOrEqual(10)
    }
  })

  test('of more than the limit is refused, until one of the others ends', async () => {
    const begin = (): Promise<Response> =>
      gateway.fetch(new Request('http://localhost/channels/orders/search?limit=1000'))
    const running = await Promise.all(Array.from({ length: LIMITS.gatewaySearchesMax }, begin))
    expect(running.map(({ status }) => status)).not.toContain(503)
    const refused = await begin()
    expect(await refused.json()).toMatchObject({ code: 'BACKPRESSURE' })
    await running[0]?.body?.cancel()
    expect((await begin()).status).toBe(200)
  })

  test('and walks whose client takes nothing make room for others', async () => {
    const patient = createGateway(broker, { drain: 0, stall: '50ms' })
    for (const [path, most] of [
      ['/channels/orders/search?limit=1000', LIMITS.gatewaySearchesMax],
      ['/channels/orders/events/0/effects', LIMITS.gatewayWalksMax],
    ] as const) {
      const begin = (): Promise<Response> => patient.fetch(new Request(`http://localhost${path}`))
      const stalled = await Promise.all(Array.from({ length: most }, begin))
      await expect.poll(async () => (await begin()).status, { timeout: 15_000 }).toBe(200)
      expect(stalled.every(({ status }) => status === 200)).toBe(true)
      await stalled[0]?.text()
    }
    await patient.close()
  })

  test('refuses malformed parameters', async () => {
    for (const query of [
      { order: 'random' },
      { limit: '0' },
      { filter: '= =' },
      { where: '{' },
      { from: 'yesterday-ish' },
    ])
      expect([query, (await search(query as never)).status]).toEqual([query, 400])
  })

  test('the preview of a rewind counts what would be delivered again, and changes nothing', async () => {
    const running = await broker.start(consumer('billing', 'orders', { from: 'beginning' }).onAny(() => undefined))
    const floor = async (): Promise<number | undefined> => (await broker.describe()).consumers[0]?.channels[0]?.floor
    await expect.poll(floor).toBe(5000)
    const preview = await gateway.fetch(new Request('http://localhost/api/consumers/billing/rewind-preview?to=4990'))
    expect(await preview.json()).toEqual({
      channels: [
        { channel: 'orders', to: 4990, floor: 5000, events: 10, oldest: expect.any(String), keys: 7, keysOfAll: true },
      ],
    })
    expect(await floor()).toBe(5000)
    await running.stop()
  })
})
