/** Event streams with wildcards: the channels that the caller may read, including those created later. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createClient } from '../../src/browser/index.ts'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { EventClient } from './event-client.ts'

const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })

let broker: Broker
let server: ServingGateway
const opened: EventClient[] = []

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('shop.carts'), stream('shop.orders'), stream('other'))
  server = await serveGateway(broker, { port: 0 })
})
afterEach(async () => {
  for (const client of opened.splice(0)) client.close()
  await server.close()
  await broker.close()
})

const publish = (channel: string, id: string): Promise<unknown> =>
  broker.publish(channel, { id, source: '/s', type: 't', data: null })

function open(path: string, headers: Record<string, string> = {}, at: ServingGateway = server): EventClient {
  const client = new EventClient(at, `/channels/${path}`, headers)
  opened.push(client)
  return client
}

async function refused(path: string, headers: Record<string, string> = {}): Promise<unknown> {
  const answer = await fetch(`${server.url}/channels/${path}`, { headers })
  return [answer.status, ((await answer.json()) as { code: string }).code]
}

test('streams of a wildcard bring the events of each matching channel, with its name', async () => {
  await publish('shop.carts', 'c0')
  await publish('other', 'x0')
  const client = open('shop.*/stream?from=beginning')
  await eventually(() => client.came).toEqual([['shop.carts', 'c0']])
  await publish('shop.orders', 'o0')
  await eventually(() => client.came).toEqual([
    ['shop.carts', 'c0'],
    ['shop.orders', 'o0'],
  ])
  expect(client.lastEventId).toBe('shop.carts=0,shop.orders=0')
})

test('streams of a wildcard bring a channel that is created later, from its beginning', async () => {
  const client = open('shop.*,other/stream')
  await eventually(() => client.lastEventId).toBe('other=-1,shop.carts=-1,shop.orders=-1')
  await broker.declare(stream('shop.returns'))
  await publish('shop.returns', 'r0')
  await eventually(() => client.came).toEqual([['shop.returns', 'r0']])
  await publish('other', 'x0')
  await eventually(() => client.came.length).toBe(2)
})

test('a removed channel does not end the stream, and is read again when it is created again', async () => {
  const client = open('shop.*/stream')
  await eventually(() => client.lastEventId).toBe('shop.carts=-1,shop.orders=-1')
  await publish('shop.carts', 'c0')
  await eventually(() => client.ids).toEqual(['c0'])
  await broker.channel('shop.carts').remove()
  await publish('shop.orders', 'o0')
  await eventually(() => client.ids).toEqual(['c0', 'o0'])
  expect(client.lastEventId).toBe('shop.orders=0')
  await broker.declare(stream('shop.carts'))
  await publish('shop.carts', 'c0 again')
  await eventually(() => client.ids).toEqual(['c0', 'o0', 'c0 again'])
})

test.each(['end', '1h'])(
  'a client that reconnects misses nothing, also of channels that were created meanwhile (from %s)',
  async (from) => {
    const first = open(`shop.*/stream?from=${from}`)
    await eventually(() => first.lastEventId).toBe('shop.carts=-1,shop.orders=-1')
    first.close()
    await publish('shop.carts', 'c0')
    await broker.declare(stream('shop.returns'))
    await publish('shop.returns', 'r0')
    await broker.channel('shop.orders').remove()
    const second = open(`shop.*/stream?from=${from}`, { 'last-event-id': first.lastEventId })
    await eventually(() => second.ids.toSorted()).toEqual(['c0', 'r0'])
  },
)

test('a client that reconnects before any channel exists misses nothing', async () => {
  const first = open('later.*/stream')
  await eventually(() => first.lastEventId).toBe('*')
  first.close()
  await broker.declare(stream('later.one'))
  await publish('later.one', 'l0')
  const second = open('later.*/stream', { 'last-event-id': first.lastEventId })
  await eventually(() => second.came).toEqual([['later.one', 'l0']])
})

test('streams of a wildcard bring only channels that the token may read, and reveal no other name', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-wild-'))
  const tokens = join(folder, 'tokens.json')
  const headers = {
    authorization: `Bearer ${addToken(tokens, { name: 'carts', permissions: { read: ['shop.carts', 'shop.returns'] } }).token}`,
  }
  const guarded = await serveGateway(broker, { port: 0, access: { tokens } })
  try {
    const client = open('>/stream?from=beginning', headers, guarded)
    await broker.declare(stream('shop.secret'), stream('shop.returns'))
    for (const channel of ['other', 'shop.orders', 'shop.secret', 'shop.returns', 'shop.carts'])
      await publish(channel, channel)
    await eventually(() => client.ids.toSorted()).toEqual(['shop.carts', 'shop.returns'])
    expect(JSON.stringify([client.frames, client.comments])).not.toMatch(/other|orders|secret/)
    for (const path of ['shop.*,other/stream', 'other/stream'])
      expect((await fetch(`${guarded.url}/channels/${path}`, { headers })).status, path).toBe(403)
    const stale = await fetch(`${guarded.url}/channels/shop.*/stream`, {
      headers: { ...headers, 'last-event-id': 'shop.secret=0' },
    })
    expect(stale.status).toBe(400)
  } finally {
    await guarded.close()
    rmSync(folder, { recursive: true })
  }
})

test('a malformed wildcard, an unknown name, and too many channels are refused', async () => {
  expect(await refused('shop.*x/stream')).toEqual([400, 'INVALID_NAME'])
  expect(await refused('shop.*,nowhere/stream')).toEqual([404, 'UNKNOWN_CHANNEL'])
  const many = Array.from({ length: 33 }, (_, n) => stream(`many.n${n}`))
  await broker.declare(...many.slice(0, 32))
  const client = open('many.*/stream')
  await eventually(() => client.status).toBe(200)
  await broker.declare(...many.slice(32))
  await eventually(() => client.frames.at(-1)?.event).toBe('error')
  await client.done
  expect(await refused('many.*/stream')).toEqual([400, 'INVALID_REQUEST'])
})

test('streams of a wildcard end when the broker closes', async () => {
  const client = open('shop.*/stream')
  await eventually(() => client.status).toBe(200)
  await broker.close()
  await client.done
})

test('the client for pages accepts wildcards, too', async () => {
  const over = new AbortController()
  const came: string[] = []
  const reading = (async () => {
    for await (const { channel, event } of createClient(server.url).subscribe(['shop.>'], {
      from: 'beginning',
      signal: over.signal,
    }))
      came.push(`${channel} ${event.id}`)
  })()
  await publish('shop.carts', 'c0')
  await publish('shop.orders', 'o0')
  await eventually(() => came.toSorted()).toEqual(['shop.carts c0', 'shop.orders o0'])
  over.abort()
  await reading
})
