import { execFile } from 'node:child_process'
import { connect as connectSocket } from 'node:net'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createGateway, type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, queue, stream } from '../../src/index.ts'

const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })
const run = promisify(execFile)

let broker: Broker
let server: ServingGateway

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('orders'), stream('orders.eu'), queue('mail'), stream('results'))
  server = await serveGateway(broker, { port: 0, drain: '200ms' })
})
afterEach(async () => {
  await server.close()
  await broker.close()
})

interface Delivery {
  readonly lease: string
  readonly offset: number
  readonly attempt: number
  readonly expiresAt: string
  readonly event: { readonly id: string }
}
interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: answers are inspected freely
  readonly body: any
}
async function post(path: string, body?: unknown, method = 'POST'): Promise<Answer> {
  const response = await fetch(`${server.url}${path}`, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  })
  const text = await response.text()
  return { status: response.status, body: text === '' ? null : JSON.parse(text) }
}
async function pull(name: string, body: object = {}): Promise<Delivery[]> {
  const answer = await post(`/consumers/${name}/pull`, body)
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body.deliveries
}
const publish = (id: string, channel = 'orders', rest: object = {}): Promise<unknown> =>
  broker.publish(channel, { id, source: '/s', type: 'order.placed', data: { id }, ...rest })
const ids = (deliveries: readonly Delivery[]): string[] => deliveries.map(({ event }) => event.id)
const lagOf = async (name: string): Promise<number | undefined> =>
  (await broker.describe()).consumers.find((one) => one.name === name)?.channels[0]?.lag
const orders = { channels: ['orders'] }

describe('pulling', () => {
  test('one request leases the available events; completing one is durable, and it is not delivered again', async () => {
    await publish('a')
    await publish('b')
    const [a, b] = await pull('stock', orders)
    expect([a?.event, a?.offset, a?.attempt]).toEqual([expect.objectContaining({ id: 'a', data: { id: 'a' } }), 0, 1])
    expect(a?.lease).toMatch(/^[\w-]{24}$/)
    expect(await pull('stock')).toEqual([])
    expect(await post(`/leases/${a?.lease}/complete`)).toEqual({
      status: 200,
      body: { lease: a?.lease, settled: 'completed' },
    })
    expect(await lagOf('stock')).toBe(1)
    expect((await post(`/leases/${b?.lease}/complete`)).status).toBe(200)
    expect(await lagOf('stock')).toBe(0)
    await post('/consumers/stock/leave')
    expect(await pull('stock', orders)).toEqual([])
  })
  test('a failed attempt and a dead letter are lines in the log of the gateway’s broker', async () => {
    const lines: string[] = []
    const noted = (line: unknown): void => void lines.push(String(line))
    const logging = await connect('memory:', { logger: { info: noted, warn: noted, error: noted } })
    const own = await serveGateway(logging, { port: 0 })
    const ask = async (path: string, body: object): Promise<Answer> => {
      const headers = { 'content-type': 'application/json' }
      const response = await fetch(`${own.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
      return { status: response.status, body: await response.json() }
    }
    await logging.publish(stream('orders'), { id: 'a', type: 'order.placed' })
    const spec = { channels: ['orders'], attempts: 2, wait: '5s' }
    const [first] = (await ask('/consumers/stock/pull', spec)).body.deliveries
    await ask(`/leases/${first.lease}/retry`, { delay: 1, reason: 'no stock' })
    const [second] = (await ask('/consumers/stock/pull', { wait: '5s' })).body.deliveries
    await ask(`/leases/${second.lease}/retry`, { reason: 'no stock' })
    await own.close()
    await logging.close()
    expect(lines).toEqual([
      expect.stringMatching(
        /^millrace: an attempt failed, and is tried again consumer=stock channel=orders offset=0 event=a .*attempt=1 attempts=2/,
      ),
      expect.stringMatching(
        /^millrace: the last attempt failed: an event is a dead letter consumer=stock .*attempt=2 attempts=2 error="Error: no stock"/,
      ),
    ])
  })
  test('a pull waits for the first event, up to its `wait`', async () => {
    const waiting = pull('stock', { ...orders, wait: '30s', max: 5 })
    await eventually(async () => (await broker.describe()).consumers.length).toBe(1)
    await publish('late')
    expect(ids(await waiting)).toEqual(['late'])
    const before = performance.now()
    expect(await pull('stock', { wait: 200 })).toEqual([])
    expect(performance.now() - before).toBeGreaterThan(150)
  })
  test('`max` bounds an answer, and two clients share the events', async () => {
    for (const id of ['a', 'b', 'c', 'd', 'e']) await publish(id)
    const [first, second] = await Promise.all([
      pull('stock', { ...orders, max: 2, wait: '5s' }),
      pull('stock', { ...orders, max: 2, wait: '5s' }),
    ])
    const third = await pull('stock', { max: 2, wait: '5s' })
    expect([first.length, second.length, third.length]).toEqual([2, 2, 1])
    expect(ids([...first, ...second, ...third]).sort()).toEqual(['a', 'b', 'c', 'd', 'e'])
  })
  test('events of one key are leased one at a time, in order; a release hands one back without using an attempt', async () => {
    for (const id of ['k1', 'k2']) await publish(id, 'orders', { partitionkey: 'k' })
    const [one, ...others] = await pull('stock', orders)
    expect([one?.event.id, others]).toEqual(['k1', []])
    expect((await post(`/leases/${one?.lease}/release`)).body.settled).toBe('released')
    const [again] = await pull('stock', { wait: '5s' })
    expect([again?.event.id, again?.attempt]).toEqual(['k1', 1])
    await post(`/leases/${again?.lease}/complete`)
    expect(ids(await pull('stock', { wait: '5s' }))).toEqual(['k2'])
  })
  test('a retry uses an attempt; after the last one the event is a dead letter, which a redrive gives back', async () => {
    await publish('a')
    const spec = { ...orders, attempts: 2 }
    const [first] = await pull('stock', spec)
    expect((await post(`/leases/${first?.lease}/retry`, { delay: 0, reason: 'no paper' })).body.settled).toBe('retried')
    const [second] = await pull('stock', { wait: '5s' })
    expect(second?.attempt).toBe(2)
    expect((await post(`/leases/${second?.lease}/retry`, { reason: 'still no paper' })).body.settled).toBe(
      'dead-lettered',
    )
    const { body } = await post('/api/consumers/stock/dead-letters', undefined, 'GET')
    expect(body.deadLetters).toMatchObject([
      { id: 'a', attempts: 2, failure: { message: 'still no paper', kind: 'error' } },
    ])
    await post('/api/consumers/stock/dead-letters/redrive?id=a&reason=mended')
    expect(await pull('stock', { wait: '5s' })).toMatchObject([{ redriven: true, event: { id: 'a' } }])
  })
  test('a retry waits for its delay; a reject makes a dead letter at once', async () => {
    await publish('a')
    const [first] = await pull('stock', orders)
    await post(`/leases/${first?.lease}/retry`, { delay: '1h' })
    expect(await pull('stock', { wait: 100 })).toEqual([])
    await publish('b')
    const [second] = await pull('stock', { wait: '5s' })
    expect((await post(`/leases/${second?.lease}/reject`, { reason: 'nonsense' })).body.settled).toBe('dead-lettered')
    expect((await broker.deadLetters('stock').list())[0]).toMatchObject({
      id: 'b',
      failure: { kind: 'rejected', message: 'nonsense' },
    })
  })
  test('an expired lease gives the event to another client, as the next attempt; a late settlement is refused', async () => {
    await publish('a')
    const [slow] = await pull('stock', { ...orders, lease: 60 })
    const [quick] = await pull('stock', { wait: '10s' })
    expect([quick?.event.id, quick?.attempt]).toEqual(['a', 2])
    expect(await post(`/leases/${slow?.lease}/complete`)).toMatchObject({ status: 409, body: { code: 'LEASE_LOST' } })
    // The holder of the new lease may still settle it if it is quick enough; it extends the lease first.
    const kept = await post(`/leases/${quick?.lease}/extend`, { lease: '1h' })
    if (kept.status === 200) expect((await post(`/leases/${quick?.lease}/complete`)).status).toBe(200)
  })
  test('an event that no client settles becomes a dead letter', async () => {
    await publish('a')
    const spec = { ...orders, lease: 60, attempts: 2 }
    expect((await pull('stock', spec))[0]?.attempt).toBe(1)
    expect((await pull('stock', { wait: '10s' }))[0]?.attempt).toBe(2)
    await eventually(async () =>
      (await broker.deadLetters('stock').list()).map(({ failure, attempts }) => [failure.kind, failure.code, attempts]),
    ).toEqual([['timeout', 'LEASE_LOST', 2]])
  })
  test('extending a lease prolongs it beyond its first end', async () => {
    await publish('a')
    const [one] = await pull('stock', { ...orders, lease: 400 })
    const { body } = await post(`/leases/${one?.lease}/extend`, { lease: '10m' })
    expect(Date.parse(body.expiresAt)).toBeGreaterThan(Date.now() + 500_000)
    expect(await pull('stock', { wait: 900 })).toEqual([])
    expect((await post(`/leases/${one?.lease}/complete`)).status).toBe(200)
  })
  test('a repeated settlement gets the same answer; a different one is refused', async () => {
    await publish('a')
    const [one] = await pull('stock', orders)
    const path = `/leases/${one?.lease}`
    const first = await post(`${path}/complete`)
    expect(await post(`${path}/complete`)).toEqual(first)
    expect(await post(`${path}/retry`)).toMatchObject({
      status: 409,
      body: { code: 'LEASE_LOST', details: { settled: 'completed' } },
    })
    expect((await post('/leases/nobody/complete')).status).toBe(409)
  })
  test('the emissions of a completion are stored with it, once, with all digits', async () => {
    await publish('a')
    const [one] = await pull('stock', orders)
    const body =
      '{"emit":[{"channel":"results","event":{"specversion":"1.0","id":"r","source":"/w","type":"t","data":{"n":12345678901234567890}}}]}'
    const complete = (): Promise<Response> =>
      fetch(`${server.url}/leases/${one?.lease}/complete`, {
        method: 'POST',
        body,
        headers: { 'content-type': 'application/json' },
      })
    expect((await complete()).status).toBe(200)
    expect((await complete()).status).toBe(200)
    const page = await (await fetch(`${server.url}/channels/results/events`)).text()
    expect(page).toContain('"data":{"n":12345678901234567890}')
    expect(JSON.parse(page)).toEqual([
      {
        ...{ specversion: '1.0', id: 'r', source: '/w', type: 't', data: expect.anything() },
        ...{ causationid: 'a', correlationid: 'a', traceparent: expect.stringMatching(/^00-.*-00$/) },
      },
    ])
  })
  test('a completion with a malformed emission is refused, and the client keeps its lease', async () => {
    await publish('a')
    const [one] = await pull('stock', orders)
    const emit = (channel: string, event: object): Promise<Answer> =>
      post(`/leases/${one?.lease}/complete`, { emit: [{ channel, event }] })
    expect((await emit('results', { specversion: '1.0', id: '', source: '/w', type: 't' })).body.code).toBe(
      'INVALID_EVENT',
    )
    expect((await emit('nowhere', { specversion: '1.0', id: '1', source: '/w', type: 't' })).body.code).toBe(
      'UNKNOWN_CHANNEL',
    )
    expect((await post(`/leases/${one?.lease}/complete`)).status).toBe(200)
  })
  test('one request settles many leases, each with its own answer', async () => {
    for (const id of ['a', 'b', 'c']) await publish(id)
    const [a, b, c] = await pull('stock', orders)
    const settlements = [
      { lease: a?.lease, as: 'complete' },
      { lease: 'nobody', as: 'complete' },
      { lease: b?.lease, as: 'retry', delay: '1h' },
      { lease: c?.lease, as: 'extend', for: '1m' },
      { lease: c?.lease, as: 'eat' },
    ]
    const { body } = await post('/leases/settle', { settlements })
    expect(body.settled).toMatchObject([
      { settled: 'completed' },
      { status: 409, code: 'LEASE_LOST' },
      { settled: 'retried' },
      { expiresAt: expect.any(String) },
      { status: 400 },
    ])
    expect(await lagOf('stock')).toBe(2)
  })
  test('a pull takes types, patterns, wildcards and a first position', async () => {
    await publish('a')
    await publish('b', 'orders.eu', { type: 'order.paid', data: { n: 7 } })
    expect(ids(await pull('wild', { channels: ['orders.*'] }))).toEqual(['b'])
    expect(ids(await pull('typed', { channels: ['orders', 'orders.eu'], types: ['order.paid'] }))).toEqual(['b'])
    expect(
      ids(await pull('matched', { channels: ['orders.eu'], where: { data: { n: [{ numeric: ['>', 7] }] } } })),
    ).toEqual([])
    expect(await pull('late', { ...orders, from: 'end' })).toEqual([])
    await publish('c')
    expect(ids(await pull('late', { wait: '5s' }))).toEqual(['c'])
  })
  test('events that are not pulled go to the consumer’s other instances, such as a worker of the application', async () => {
    for (let index = 0; index < 20; index++) await publish(`e${index}`)
    const [mine] = await pull('stock', { ...orders, max: 1 })
    const handled: string[] = []
    const running = await broker.start(consumer('stock', 'orders').onAny(({ id }) => void handled.push(id)))
    await eventually(() => handled.length).toBe(19)
    expect(handled).not.toContain(mine?.event.id)
    await running.stop()
  })
  test('a client that leaves while it waits holds no event', async () => {
    const gateway = createGateway(broker, { drain: 0 })
    const leaving = new AbortController()
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, signal: leaving.signal }
    const gone = gateway.fetch(
      new Request('http://localhost/consumers/stock/pull', {
        ...init,
        body: JSON.stringify({ ...orders, wait: '60s' }),
      }),
    )
    await eventually(async () => (await broker.describe()).consumers.length).toBe(1)
    const stays = gateway.fetch(
      new Request('http://localhost/consumers/stock/pull', { ...init, signal: null, body: '{"wait":"30s"}' }),
    )
    leaving.abort()
    expect(await (await gone).json()).toEqual({ deliveries: [] })
    await publish('a')
    expect(await (await stays).json()).toMatchObject({ deliveries: [{ attempt: 1, event: { id: 'a' } }] })
    await gateway.close()
  })
  test('a client whose connection breaks while it waits gets no lease on later events', async () => {
    const socket = connectSocket(server.port, '127.0.0.1')
    const body = JSON.stringify({ ...orders, wait: '60s', lease: '10m' })
    socket.write(
      `POST /consumers/stock/pull HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
    await eventually(async () => (await broker.describe()).consumers.length).toBe(1)
    socket.destroy()
    // Each event goes to the client that has waited longest. The broken one may still take one, but none after its end
    // is noticed.
    await eventually(async () => {
      await publish(crypto.randomUUID())
      return (await pull('stock', { wait: 50 })).length
    }).toBe(1)
  })
})

describe('opening', () => {
  test('PUT opens a consumer, and opens it again with other settings: leased events go back', async () => {
    await publish('a')
    expect((await post('/consumers/stock', orders, 'PUT')).status).toBe(201)
    expect((await post('/consumers/stock', orders, 'PUT')).status).toBe(200)
    const [one] = await pull('stock')
    expect((await post('/consumers/stock/pull', { channels: ['results'] })).status).toBe(409)
    expect((await post('/consumers/stock', { ...orders, lease: '5m' }, 'PUT')).status).toBe(201)
    expect((await post(`/leases/${one?.lease}/complete`)).status).toBe(409)
    expect(await pull('stock', { wait: '5s' })).toMatchObject([{ attempt: 1, event: { id: 'a' } }])
  })
  test('concurrent requests for one consumer open it once', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => post('/consumers/stock', orders, 'PUT')))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    expect((await broker.describe()).consumers).toMatchObject([{ name: 'stock', instances: 1 }])
  })
  test('the number of open consumers is limited', async () => {
    const answers: Answer[] = []
    for (let index = 0; index < 1001; index++) answers.push(await post(`/consumers/c${index}`, orders, 'PUT'))
    expect(answers.at(-1)).toMatchObject({ status: 503, body: { code: 'BACKPRESSURE' } })
    expect(answers.slice(0, -1).every(({ status }) => status === 201)).toBe(true)
    expect((await post('/consumers/c7/leave')).status).toBe(204)
    expect((await post('/consumers/other', orders, 'PUT')).status).toBe(201)
  })
  test.each<[string, object | undefined, number, string]>([
    ['no channels', {}, 400, 'INVALID_REQUEST'],
    ['a channel that is not there', { channels: ['nowhere'] }, 404, 'UNKNOWN_CHANNEL'],
    ['a bad name', { channels: ['../x'] }, 400, 'INVALID_NAME'],
    ['a bad wildcard', { channels: ['a.>.b'] }, 400, 'INVALID_NAME'],
    ['a member that does not exist', { ...orders, chanels: 1 }, 400, 'INVALID_REQUEST'],
    ['a lease of no time', { ...orders, lease: 0 }, 400, 'INVALID_OPTION'],
    ['a lease of a week', { ...orders, lease: '1w' }, 400, 'INVALID_OPTION'],
    ['a bad pattern', { ...orders, where: { type: 7 } }, 400, 'INVALID_PATTERN'],
    ['a bad place', { ...orders, from: {} }, 400, 'INVALID_REQUEST'],
    ['types that are none', { ...orders, types: [] }, 400, 'INVALID_REQUEST'],
    ['a backoff that does not exist', { ...orders, backoff: { least: 1 } }, 400, 'INVALID_OPTION'],
    ['onDead', { ...orders, onDead: 'cry' }, 400, 'INVALID_REQUEST'],
    ['a body that is no object', [] as object, 400, 'INVALID_REQUEST'],
  ])('refuses %s', async (_, body, status, code) => {
    const answer = await post('/consumers/stock', body, 'PUT')
    expect([answer.status, answer.body.code]).toEqual([status, code])
  })
  test('a pull of a consumer that is not open says what to do', async () => {
    expect(await post('/consumers/stock/pull')).toMatchObject({
      status: 404,
      body: { code: 'UNKNOWN_CONSUMER', detail: expect.stringContaining('PUT') },
    })
    expect((await post('/consumers/stock/pull', { lease: '1s' })).status).toBe(400)
    expect((await post('/consumers/stock/pull', { ...orders, max: 5000 })).status).toBe(400)
    expect((await post('/consumers/stock/pull', { ...orders, wait: '2m' })).status).toBe(400)
    expect((await post('/consumers/stock/leave')).status).toBe(404)
  })
})

describe('closing', () => {
  test('answers waiting pulls, takes settlements of leased events, and then closes', async () => {
    await publish('a')
    const [one] = await pull('stock', orders)
    const waiting = pull('stock', { wait: '60s' })
    await new Promise((resolve) => setTimeout(resolve, 20))
    const closed = server.close()
    expect(await waiting).toEqual([])
    expect((await post(`/leases/${one?.lease}/complete`)).status).toBe(200)
    await closed
    expect(await lagOf('stock')).toBe(0)
  })
  test('a broker that closes first ends the pulls', async () => {
    await pull('stock', orders)
    await broker.close()
    expect((await post('/consumers/stock/pull', orders)).status).toBe(503)
  })
})

const present = async (command: string): Promise<boolean> =>
  run(command, ['--version']).then(
    () => true,
    () => false,
  )

describe('real clients', () => {
  test('curl alone publishes, pulls and completes', async (context) => {
    if (!(await present('curl'))) return context.skip()
    const curl = async (path: string, ...options: string[]): Promise<Answer['body']> =>
      JSON.parse((await run('curl', ['-sS', '--fail-with-body', ...options, `${server.url}${path}`])).stdout)
    const headers = [
      'ce-specversion: 1.0',
      'ce-id: c1',
      'ce-source: /curl',
      'ce-type: order.placed',
      'content-type: application/json',
    ]
    expect(
      (await curl('/channels/orders/events', ...headers.flatMap((header) => ['-H', header]), '-d', '{"n":1}')).receipts,
    ).toMatchObject([{ offset: 0 }])
    const { deliveries } = await curl('/consumers/stock/pull', '-d', '{"channels":["orders"],"wait":"10s"}')
    expect(deliveries).toMatchObject([{ event: { id: 'c1', data: { n: 1 } } }])
    expect(await curl(`/leases/${deliveries[0].lease}/complete`, '-X', 'POST')).toMatchObject({ settled: 'completed' })
  })
  test('Python’s standard library is enough, too', async (context) => {
    if (!(await present('python3'))) return context.skip()
    await publish('p1')
    const program = `
import json, sys, urllib.request
def post(path, body=None):
    request = urllib.request.Request(sys.argv[1] + path, data=json.dumps(body or {}).encode(), headers={'content-type': 'application/json'}, method='POST')
    with urllib.request.urlopen(request) as answer: return json.load(answer)
pulled = post('/consumers/stock/pull', {'channels': ['orders'], 'wait': '10s'})
for delivery in pulled['deliveries']:
    print(delivery['event']['id'], post('/leases/' + delivery['lease'] + '/complete')['settled'])
`
    expect((await run('python3', ['-c', program, server.url])).stdout.trim()).toBe('p1 completed')
  })
})
