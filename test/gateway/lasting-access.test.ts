/**
 * Everything open depends on its token: it ends when the token is removed or expires, and its requests count against
 * the rate.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Permissions } from '../../src/gateway/access/permissions.ts'
import { addToken, removeTokens } from '../../src/gateway/access/token-file.ts'
import { type ServeOptions, type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, type ConnectOptions, connect, consumer, event, queue, stream } from '../../src/index.ts'

const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })
const loose = (id: string): never => ({ type: 't', id, source: '/s' }) as never
const Placed = event('placed')
const Told = event('told')
const orders = stream('orders')

let folder: string
let tokens: string
let broker: Broker
let server: ServingGateway
const clients: Broker[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-lasting-'))
  tokens = join(folder, 'tokens.json')
  broker = await connect('memory:')
  await broker.declare(orders, queue('jobs', { events: [Placed] }), stream('told', { events: [Told] }))
})
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close()
  await server.close()
  await broker.close()
  rmSync(folder, { recursive: true })
})

const make = (permissions: Permissions, rest: object = {}): string =>
  addToken(tokens, { name: 'gone', permissions, ...rest }).token
async function serve(options: ServeOptions = {}): Promise<void> {
  server = await serveGateway(broker, { port: 0, drain: 0, access: { tokens }, ...options })
}
async function client(options: ConnectOptions): Promise<Broker> {
  const opened = await connect(`${server.url.replace('http', 'ws')}/ws`, options)
  clients.push(opened)
  return opened
}
const codeOf = (act: Promise<unknown>): Promise<string> =>
  act.then(
    () => 'done',
    (error: { code?: string }) => error.code ?? String(error),
  )
async function* lines(token: string): AsyncGenerator<string> {
  const answer = await fetch(`${server.url}/channels/orders/stream`, { headers: { authorization: `Bearer ${token}` } })
  for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) yield Buffer.from(chunk).toString()
}

/** How the credentials become invalid. */
const ENDINGS: readonly [string, object, () => void][] = [
  ['is removed', {}, () => void removeTokens(tokens, 'gone')],
  ['expires', { expiresAtMs: Date.now() + 3000 }, () => undefined],
  [
    'is given less',
    {},
    () => writeFileSync(tokens, readFileSync(tokens, 'utf8').replace(/"(publish|consume|read)"/g, '"manage"')),
  ],
]

describe.each(ENDINGS)('a token that %s', (_how, rest, act) => {
  const facts = (): object => ('expiresAtMs' in rest ? { expiresAtMs: Date.now() + 2500 } : rest)
  test('loses its WebSocket: publishing, reading and consuming end', { timeout: 40_000 }, async () => {
    const token = make({ publish: ['>'], read: ['>'], consume: ['>'] }, facts())
    await serve()
    const alarms: string[] = []
    const remote = await client({ token, onAlarm: ({ code }) => alarms.push(code) })
    await remote.publish('orders', loose('before'))
    const seen: string[] = []
    const reading = codeOf(
      (async () => {
        for await (const { id } of remote.read('orders', { follow: true })) seen.push(id)
      })(),
    )
    const handled: string[] = []
    await remote.start(consumer('mine', orders).onAny(({ id }) => void handled.push(id)))
    await eventually(() => [seen, handled]).toEqual([['before'], ['before']])
    act()
    await eventually(() => alarms.length).toBeGreaterThan(0)
    expect(['UNAUTHENTICATED', 'FORBIDDEN']).toContain(await codeOf(remote.publish('orders', loose('after'))))
    await broker.publish('orders', loose('secret'))
    expect(['UNAUTHENTICATED', 'FORBIDDEN']).toContain(await reading)
    expect([seen, handled]).toEqual([['before'], ['before']])
  })
  test('loses its event stream and the pull that waits, long before a heartbeat', { timeout: 40_000 }, async () => {
    const token = make({ read: ['>'], consume: ['>'] }, facts())
    await serve({ heartbeat: '10m', stall: '10m' })
    const stream = lines(token)
    expect((await stream.next()).value).toContain('retry:')
    const pulling = fetch(`${server.url}/consumers/slow/pull`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ channels: ['orders'], from: 'end', wait: '60s' }),
    })
    act()
    expect((await pulling).status).toBe(401)
    let last = await stream.next()
    while (last.done !== true) last = await stream.next()
  })
})

describe('a request whose token is removed while its body arrives', () => {
  /** Send half of a body, let the token be removed, and send the other half. */
  async function slow(method: string, path: string, type: string, body: string): Promise<number> {
    const token = make({ publish: ['>'], rules: ['>'], consume: ['>'], manage: ['>'] })
    await serve()
    const answered = new Promise<number>((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': type, 'content-length': body.length }
      const sent = request(`${server.url}${path}`, { method, headers }, (answer) =>
        resolve(answer.resume().statusCode ?? 0),
      ).on('error', reject)
      sent.write(body.slice(0, 10))
      // When another request has been answered, the server has read the first half.
      void fetch(`${server.url}/health`)
        .then(() => removeTokens(tokens, 'gone'))
        .then(() => eventuallyRefused(token))
        .then(() => sent.end(body.slice(10)), reject)
    })
    return answered
  }
  const eventuallyRefused = (token: string): Promise<void> =>
    eventually(
      async () => (await fetch(`${server.url}/api/describe`, { headers: { authorization: `Bearer ${token}` } })).status,
    ).toBe(401)

  test.each([
    [
      'publishes nothing',
      'POST',
      '/channels/orders/events',
      'application/cloudevents+json',
      '{"specversion":"1.0","id":"late","source":"/s","type":"t"}',
    ],
    ['changes no rule', 'PUT', '/api/rules/late', 'application/json', '{"on":"orders","then":"drop"}'],
    [
      'makes no subscription',
      'PUT',
      '/api/subscriptions/late',
      'application/json',
      '{"channels":["orders"],"url":"https://example.com/hook"}',
    ],
    ['makes no channel', 'PUT', '/api/channels/late', 'application/json', '{"kind":"stream"}'],
  ])('%s', async (_what, method, path, type, body) => {
    expect(await slow(method, path, type, body)).toBe(401)
    const { channels } = await broker.describe()
    expect(channels.find(({ name }) => name === 'orders')?.next).toBe(0)
    expect(channels.map(({ name }) => name)).not.toContain('late')
  })
})

describe('the rate of a token', () => {
  test('holds over a WebSocket: publishes beyond it are refused', async () => {
    const token = make({ publish: ['>'] }, { limits: { requestsPerSecond: 5 } })
    await serve()
    const remote = await client({ token })
    await eventually(() => codeOf(remote.publish('orders', loose('first')))).toBe('done')
    await remote.publish(
      'orders',
      Array.from({ length: 50 }, (_, index) => loose(`b${index}`)),
    )
    const begun = performance.now()
    const codes = await Promise.all(
      Array.from({ length: 200 }, (_, index) => codeOf(remote.publish('orders', loose(`${index}`)))),
    )
    const done = codes.filter((code) => code === 'done').length
    expect([...new Set(codes)].sort()).toEqual(['RATE_LIMITED', 'done'])
    // What was refused is not stored.
    expect((await broker.describe()).channels.find(({ name }) => name === 'orders')?.next).toBe(51 + done)
    expect(done).toBeLessThanOrEqual(5 + Math.ceil((5 * (performance.now() - begun)) / 1000))
  })
  test('counts calls, too', async () => {
    const token = make({ read: ['>'] }, { limits: { requestsPerSecond: 5 } })
    await serve()
    const remote = await client({ token })
    const codes = await Promise.all(Array.from({ length: 50 }, () => codeOf(remote.describe())))
    expect([...new Set(codes)].sort()).toEqual(['RATE_LIMITED', 'done'])
  })
  test('slows emissions of handlers, and no event loses an attempt', { timeout: 30_000 }, async () => {
    const token = make({ consume: ['jobs'], publish: ['told'] }, { limits: { requestsPerSecond: 20 } })
    for (let index = 0; index < 40; index++) await broker.publish('jobs', Placed(index))
    await serve()
    const remote = await client({ token })
    const attempts = new Set<number>()
    const begun = performance.now()
    const running = await remote.start(
      consumer('jobs', queue('jobs', { events: [Placed] }), { concurrency: 1 }).on(Placed, async (_event, ctx) => {
        attempts.add(ctx.attempt)
        await ctx.emit('told', Told(1))
      }),
    )
    const told = async (): Promise<number> =>
      (await broker.describe()).channels.find(({ name }) => name === 'told')?.next ?? 0
    await eventually(told).toBe(40)
    expect(performance.now() - begun).toBeGreaterThan(500)
    expect([...attempts]).toEqual([1])
    expect(await broker.deadLetters('jobs').list()).toEqual([])
    await running.stop()
  })
})

describe('a file of tokens that is created later', () => {
  test('turns access control on, and a notice says so', { timeout: 30_000 }, async () => {
    let told = 0
    await serve({ access: { tokens: { file: tokens, arrived: () => told++ } } })
    const remote = await client({})
    await remote.publish('orders', loose('open'))
    const stream = await fetch(`${server.url}/channels/orders/stream`)
    expect((await fetch(`${server.url}/api/describe`)).status).toBe(200)
    const token = make({ read: ['>'] })
    await eventually(() => told).toBe(1)
    expect((await fetch(`${server.url}/api/describe`)).status).toBe(401)
    expect((await fetch(`${server.url}/api/describe`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(
      200,
    )
    expect(await stream.text()).toContain('retry:')
    expect(await codeOf(remote.publish('orders', loose('late')))).toBe('UNAUTHENTICATED')
    rmSync(tokens)
    await eventually(
      async () => (await fetch(`${server.url}/api/describe`, { headers: { authorization: `Bearer ${token}` } })).status,
    ).toBe(401)
    expect(told).toBe(1)
  })
  test('does not open other addresses before it exists', async () => {
    await serve()
    await expect(
      serveGateway(broker, { host: '0.0.0.0', access: { tokens: { file: tokens, arrived: () => undefined } } }),
    ).rejects.toThrow('loopback')
  })
})
