import { HTTP, CloudEvent as SdkEvent } from 'cloudevents'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { createGateway, type Gateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, event, queue, stream } from '../../src/index.ts'
import { type FormatSuite, loadSuite } from '../event-http/suites.ts'

/** Machines that build and test are busy, so this waits for up to 15 s. */
const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })

const Added = event('cart.item.added', z.object({ sku: z.string(), quantity: z.int() }))
const carts = stream('carts', { events: [Added], key: (e) => e.data.sku })
const anything = stream('anything', { maxEventBytes: '8KiB' })
const suite = loadSuite<FormatSuite>('cloudevents-format-json.json')

let broker: Broker
let gateway: Gateway

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(carts, anything, queue('mail'))
  gateway = createGateway(broker, { maxBodyBytes: '64KiB' })
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
})

interface Answer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: answers are inspected freely
  readonly body: any
}

async function call(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await gateway.fetch(new Request(`http://localhost:8080${path}`, init))
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) }
}
const structured = (value: unknown, channel = 'anything'): Promise<Answer> =>
  call(`/channels/${channel}/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/cloudevents+json' },
    body: JSON.stringify(value),
  })
const batched = (value: unknown, channel = 'anything'): Promise<Answer> =>
  call(`/channels/${channel}/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/cloudevents-batch+json' },
    body: JSON.stringify(value),
  })
const good = { specversion: '1.0', id: '1', source: '/test', type: 'thing.happened' }

describe('publishing', () => {
  test('a structured event gets a receipt with its offset, which also names a duplicate', async () => {
    const first = await structured({ ...good, data: { a: 1 } })
    expect(first).toMatchObject({
      status: 202,
      body: { receipts: [{ channel: 'anything', id: '1', offset: 0, duplicate: false }] },
    })
    expect((await structured(good)).body.receipts[0]).toMatchObject({ offset: 0, duplicate: true })
  })
  test('a binary event can have a percent-encoded attribute', async () => {
    const headers = {
      'ce-specversion': '1.0',
      'ce-id': '7',
      'ce-source': '/x',
      'ce-type': 't',
      'ce-subject': 'caf%C3%A9',
      'content-type': 'text/plain',
    }
    expect((await call('/channels/anything/events', { method: 'POST', headers, body: 'hello' })).status).toBe(202)
    expect((await call('/channels/anything/events')).body).toMatchObject([
      { id: '7', subject: 'café', datacontenttype: 'text/plain', data: 'hello' },
    ])
  })
  test('binary data comes back as the same bytes', async () => {
    const headers = {
      'ce-specversion': '1.0',
      'ce-id': '7',
      'ce-source': '/x',
      'ce-type': 't',
      'content-type': 'image/png',
    }
    await call('/channels/anything/events', { method: 'POST', headers, body: new Uint8Array([0, 255, 1]) })
    expect((await call('/channels/anything/events')).body).toMatchObject([
      { datacontenttype: 'image/png', data_base64: 'AP8B' },
    ])
  })
  test('a batch is stored as a whole or not at all', async () => {
    expect(
      (await batched([good, { ...good, id: '2' }])).body.receipts.map((receipt: { offset: number }) => receipt.offset),
    ).toEqual([0, 1])
    const bad = await batched([
      { ...good, id: '3' },
      { ...good, id: '' },
    ])
    expect(bad).toMatchObject({
      status: 400,
      body: { code: 'INVALID_EVENT', details: { index: 1, reasons: ['id must not be empty'] } },
    })
    expect((await call('/channels/anything/events')).body).toHaveLength(2)
    expect((await batched([])).body).toEqual({ receipts: [] })
  })
  test('a delayed event has no offset in its receipt', async () => {
    const later = await call('/channels/anything/events?delay=1h', {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body: JSON.stringify(good),
    })
    expect(later.body.receipts[0]).toMatchObject({ offset: null, dueAtMs: expect.any(Number) })
  })
  test('the schema and the key that the application declared apply', async () => {
    const bad = await structured({ ...good, type: 'cart.item.added', data: { sku: 'tea', quantity: 'two' } }, 'carts')
    expect(bad).toMatchObject({
      status: 422,
      body: { code: 'SCHEMA_MISMATCH', title: 'Unprocessable Entity', status: 422 },
    })
    expect(bad.headers.get('content-type')).toBe('application/problem+json')
    expect((await structured(good, 'carts')).body.code).toBe('TYPE_NOT_CARRIED')
    const keys: (string | null)[] = []
    await broker.start(
      consumer('keys', carts).on(Added, (_, ctx) => {
        keys.push(ctx.key)
      }),
    )
    await structured({ ...good, id: '5', type: 'cart.item.added', data: { sku: 'tea', quantity: 2 } }, 'carts')
    await eventually(() => keys).toEqual(['tea'])
  })
  test('the official SDK can publish and read', async () => {
    const sent = new SdkEvent({
      id: 's',
      source: '/sdk',
      type: 't',
      data: { a: 1 },
      myext: 'x',
      time: '2026-01-31T12:00:00.000Z',
    })
    for (const [message, channel] of [
      [HTTP.binary(sent), 'anything'],
      [HTTP.structured(sent), 'mail'],
    ] as const) {
      const init = { method: 'POST', headers: message.headers as Record<string, string>, body: message.body as string }
      expect((await call(`/channels/${channel}/events`, init)).status).toBe(202)
      const page = await gateway.fetch(new Request(`http://localhost/channels/${channel}/events`))
      const [read] = HTTP.toEvent({
        headers: Object.fromEntries(page.headers),
        body: await page.text(),
      }) as SdkEvent<unknown>[]
      expect(read?.toJSON()).toMatchObject({
        id: 's',
        source: '/sdk',
        type: 't',
        myext: 'x',
        time: '2026-01-31T12:00:00.000Z',
        data: { a: 1 },
      })
    }
  })
  for (const { id, event: bad } of suite.invalidEvents) {
    test(`official suite: ${id} is a 400`, async () => expect((await structured(bad)).status).toBe(400))
  }
  for (const { id, event: fine } of suite.validEvents) {
    test(`official suite: ${id} is a 202`, async () => expect((await structured(fine)).status).toBe(202))
  }
})

describe('refusals', () => {
  test.each<[string, string, RequestInit, number, string]>([
    [
      'an unknown channel',
      '/channels/nowhere/events',
      { method: 'POST', headers: { 'content-type': 'application/cloudevents+json' }, body: JSON.stringify(good) },
      404,
      'UNKNOWN_CHANNEL',
    ],
    ['a bad channel name', '/channels/..%2fetc/events', { method: 'GET' }, 400, 'INVALID_NAME'],
    [
      'no CloudEvent',
      '/channels/anything/events',
      { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'x' },
      415,
      'INVALID_REQUEST',
    ],
    [
      'an unknown format',
      '/channels/anything/events',
      { method: 'POST', headers: { 'content-type': 'application/cloudevents+avro' }, body: 'x' },
      415,
      'INVALID_REQUEST',
    ],
    [
      'no JSON',
      '/channels/anything/events',
      { method: 'POST', headers: { 'content-type': 'application/cloudevents+json' }, body: '{' },
      400,
      'INVALID_EVENT',
    ],
    [
      'a compressed body',
      '/channels/anything/events',
      {
        method: 'POST',
        headers: { 'content-type': 'application/cloudevents+json', 'content-encoding': 'gzip' },
        body: 'x',
      },
      415,
      'INVALID_REQUEST',
    ],
    [
      'too large a body',
      '/channels/anything/events',
      { method: 'POST', headers: { 'content-type': 'application/cloudevents+json' }, body: 'x'.repeat(70_000) },
      413,
      'REQUEST_TOO_LARGE',
    ],
    [
      'too large an event',
      '/channels/anything/events',
      {
        method: 'POST',
        headers: { 'content-type': 'application/cloudevents+json' },
        body: JSON.stringify({ ...good, data: 'x'.repeat(9000) }),
      },
      413,
      'EVENT_TOO_LARGE',
    ],
    ['another method', '/channels/anything/events', { method: 'PUT' }, 405, 'INVALID_REQUEST'],
    ['no such route', '/nothing/here', {}, 404, 'INVALID_REQUEST'],
    ['an unknown parameter', '/channels/anything/events?form=1', {}, 400, 'INVALID_REQUEST'],
    ['a parameter twice', '/channels/anything/events?limit=1&limit=2', {}, 400, 'INVALID_REQUEST'],
    ['a bad place', '/channels/anything/events?from=lunchtime', {}, 400, 'INVALID_REQUEST'],
    ['a bad limit', '/channels/anything/events?limit=0', {}, 400, 'INVALID_REQUEST'],
    ['a pattern that is no JSON', '/channels/anything/events?where=x', {}, 400, 'INVALID_REQUEST'],
    ['a bad pattern', '/channels/anything/events?where=%7B%22type%22%3A7%7D', {}, 400, 'INVALID_PATTERN'],
    ['an unknown consumer', '/api/consumers/nobody/dead-letters', {}, 404, 'UNKNOWN_CONSUMER'],
    [
      'dropping without saying what',
      '/api/consumers/nobody/dead-letters',
      { method: 'DELETE' },
      400,
      'INVALID_REQUEST',
    ],
    [
      'a bad delay',
      '/channels/anything/events?delay=soon',
      { method: 'POST', headers: { 'content-type': 'application/cloudevents+json' }, body: JSON.stringify(good) },
      400,
      'INVALID_OPTION',
    ],
    ['an unknown channel to follow', '/channels/nowhere/stream', {}, 404, 'UNKNOWN_CHANNEL'],
    [
      'a place that no stream gave',
      '/channels/anything/stream',
      { headers: { 'last-event-id': 'carts=1' } },
      400,
      'INVALID_REQUEST',
    ],
    ['HEAD of a stream', '/channels/anything/stream', { method: 'HEAD' }, 405, ''],
  ])('%s', async (_, path, init, status, code) => {
    const answer = await call(path, init)
    expect([answer.status, answer.body?.code ?? '']).toEqual([status, code])
    if (answer.body !== null)
      expect(answer.body).toMatchObject({ type: 'about:blank', status, detail: expect.any(String) })
  })
  test('an answer 405 names the allowed methods', async () => {
    expect((await call('/channels/anything/events', { method: 'PATCH' })).headers.get('allow')).toBe(
      'GET, HEAD, OPTIONS, POST',
    )
  })
  test('a body that grows beyond the limit while it is read is refused', async () => {
    const body = new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(8192)) })
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body,
      duplex: 'half',
    } as RequestInit
    expect((await call('/channels/anything/events', init)).status).toBe(413)
  })
  test('an unexpected error does not reveal internals', async () => {
    const told: unknown[] = []
    const broken = new Proxy(broker, {
      get: (target, name) => {
        if (name === 'describe') return () => Promise.reject(new Error('secret path /x'))
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const answer = await createGateway(broken, { onError: (error) => told.push(error) }).fetch(
      new Request('http://localhost/api/describe'),
    )
    expect([answer.status, await answer.text()]).toEqual([500, expect.not.stringContaining('secret')])
    expect(told).toHaveLength(1)
  })
  test('unknown options are refused', () => {
    expect(() => createGateway(broker, { host: 'x' } as never)).toThrow('no option "host"')
  })
})

describe('access without access control', () => {
  const get = (headers: Record<string, string>, url = 'http://localhost:8080/health'): Promise<Response> =>
    gateway.fetch(new Request(url, { headers }))
  test('only names of this machine are accepted: DNS rebinding is refused', async () => {
    expect((await get({}, 'http://evil.example:8080/health')).status).toBe(403)
    expect((await get({ host: 'evil.example' })).status).toBe(403)
    expect((await get({ host: 'localhost.evil.example' })).status).toBe(403)
    for (const host of ['localhost', '127.0.0.1:8080', '[::1]:99', 'LOCALHOST'])
      expect((await get({ host })).status).toBe(200)
  })
  test('pages of other sites are refused, and own pages are accepted', async () => {
    expect((await get({ origin: 'https://evil.example' })).status).toBe(403)
    expect((await get({ origin: 'null' })).status).toBe(403)
    expect((await get({ origin: 'http://localhost:8080' })).status).toBe(200)
    expect((await get({ origin: 'http://localhost:9090' })).status).toBe(403)
    expect((await get({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' })).status).toBe(403)
    expect((await get({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' })).status).toBe(200)
  })
  test('CORS is off, except for the configured origins', async () => {
    expect((await get({ origin: 'http://localhost:8080' })).headers.get('access-control-allow-origin')).toBeNull()
    const open = createGateway(broker, { cors: { origins: ['https://app.example'] } })
    const answer = await open.fetch(
      new Request('http://localhost/health', { headers: { origin: 'https://app.example' } }),
    )
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([200, 'https://app.example'])
  })
  test.each([
    [['localhost:3000'], 'must be origins of pages'],
    [['https://app.example/'], 'did you mean "https://app.example"?'],
    [['*'], 'must be origins of pages'],
    ['https://app.example', 'must be an array'],
    [undefined, 'must be an array'],
  ])('an origin that no page can have is refused: %j', (origins, says) => {
    expect(() => createGateway(broker, { cors: { origins } as never })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(says) }),
    )
  })
  test('an invalid certificate is refused before the port is opened', async () => {
    await expect(serveGateway(broker, { port: 0, tls: { cert: 'x', key: 'y' } })).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      details: { option: 'tls' },
    })
  })
  test('other hosts are accepted if they are configured', async () => {
    const named = createGateway(broker, { hosts: ['events.example'] })
    expect((await named.fetch(new Request('http://events.example/health'))).status).toBe(200)
    expect((await createGateway(broker, { hosts: 'any' }).fetch(new Request('http://any.example/health'))).status).toBe(
      200,
    )
  })
})

describe('reading', () => {
  const fill = (count: number): Promise<unknown> =>
    broker.publish(
      'anything',
      Array.from({ length: count }, (_, index) => ({
        id: `e${index}`,
        source: '/s',
        type: index % 2 ? 'odd' : 'even',
        data: { index },
      })),
    )

  test('pages lead to the end, with each event once', async () => {
    await fill(250)
    const ids: string[] = []
    for (let path: string | undefined = '/channels/anything/events?limit=100'; path !== undefined; ) {
      const answer: Answer = await call(path)
      ids.push(...answer.body.map((item: { id: string }) => item.id))
      path = /<(.+)>; rel="next"/.exec(answer.headers.get('link') ?? '')?.[1]
    }
    expect(ids).toEqual(Array.from({ length: 250 }, (_, index) => `e${index}`))
  })
  test('reading takes from, to and where', async () => {
    await fill(10)
    const where = encodeURIComponent('{"type":["odd"],"data":{"index":[{"numeric":[">",4]}]}}')
    const { body } = await call(`/channels/anything/events?from=2&to=9&where=${where}`)
    expect(body.map((item: { id: string }) => item.id)).toEqual(['e5', 'e7'])
    expect((await call('/channels/anything/events?from=1h')).body).toHaveLength(10)
    expect((await call('/channels/anything/events?from=2100-01-01T00:00:00Z')).body).toEqual([])
  })
  test('a batch has the events as they were published, and JSON has their offsets', async () => {
    await fill(2)
    const batch = await call('/channels/anything/events')
    expect(batch.headers.get('content-type')).toBe('application/cloudevents-batch+json; charset=utf-8')
    expect(batch.body[0]).not.toHaveProperty('offset')
    const json = await call('/channels/anything/events?limit=1', { headers: { accept: 'application/json' } })
    expect(json.body).toMatchObject({ channel: 'anything', events: [{ offset: 0, event: { id: 'e0' } }], next: 1 })
  })
  test('HEAD answers as GET, without a body', async () => {
    expect(await call('/channels/anything/events', { method: 'HEAD' })).toMatchObject({ status: 200, body: null })
  })
})

describe('for the person on call', () => {
  test('/api/describe, /health and /ready answer', async () => {
    expect((await call('/api/describe')).body).toMatchObject({
      engine: 'memory',
      channels: expect.arrayContaining([expect.objectContaining({ name: 'carts' })]),
    })
    expect((await call('/health')).body).toEqual({ status: 'ok' })
    expect((await call('/ready')).body).toEqual({ status: 'ready', alarms: [] })
  })
  test('/ready refuses if the broker is closed', async () => {
    await broker.close()
    expect((await call('/ready')).status).toBe(503)
    expect((await structured(good)).status).toBe(503)
  })
  test('/ready refuses if the disk is full', async () => {
    await broker.start({
      start: async ({ alarms }) => {
        alarms.raise('DISK_FULL', 'no space')
        return { stop: async () => undefined, done: Promise.resolve() }
      },
    })
    expect(await call('/ready')).toMatchObject({
      status: 503,
      body: { alarms: [{ code: 'DISK_FULL', message: 'no space' }] },
    })
  })
  test('dead letters can be listed, redriven and dropped', async () => {
    let broken = true
    const handled: string[] = []
    await broker.start(
      consumer('stock', carts, { onDead: 'skip' }).on(Added, ({ id }, ctx) => {
        if (broken) ctx.reject('no shelf')
        handled.push(id)
      }),
    )
    for (const id of ['a', 'b', 'c'])
      await structured({ ...good, id, type: 'cart.item.added', data: { sku: id, quantity: 1 } }, 'carts')
    const path = '/api/consumers/stock/dead-letters'
    await eventually(async () => (await call(path)).body.deadLetters.length).toBe(3)
    const { body } = await call(`${path}?id=b`)
    expect(body.deadLetters).toMatchObject([
      {
        id: 'b',
        channel: 'carts',
        offset: 1,
        key: 'b',
        event: { id: 'b', data: { sku: 'b' } },
        failure: { kind: 'rejected' },
      },
    ])
    broken = false
    expect((await call(`${path}/redrive?id=b&reason=mended`, { method: 'POST' })).body).toEqual({ redriven: 1 })
    await eventually(() => handled).toEqual(['b'])
    expect((await call(`${path}/redrive`, { method: 'POST' })).status).toBe(400)
    expect((await call(`${path}?id=a&reason=old`, { method: 'DELETE' })).body).toEqual({ dropped: 1 })
    expect((await call(`${path}/drop?all=true&reason=old`, { method: 'POST' })).body).toEqual({ dropped: 1 })
    expect((await call(path)).body).toEqual({ deadLetters: [] })
  })
  test('a request without a route goes to the application', async () => {
    const own = createGateway(broker, { fallback: () => new Response('shop') })
    expect(await (await own.fetch(new Request('http://localhost/'))).text()).toBe('shop')
    expect((await own.fetch(new Request('http://evil.example/'))).status).toBe(403)
  })
})
