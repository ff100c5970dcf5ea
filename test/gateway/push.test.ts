/** Push subscriptions against a real subscriber: what arrives, what becomes of refusals, and who may have them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Webhook } from 'standardwebhooks'
import { afterEach, beforeEach, describe, expect, it, test } from 'vitest'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway, type GatewayOptions } from '../../src/gateway/index.ts'
import { type Broker, connect, type StoredEvent, stream } from '../../src/index.ts'
import { eventually, published } from '../rules/support.ts'
import { type Answer, ask as askOf, type Received, SECRET, Subscriber } from './subscriber.ts'

const OTHER_SECRET = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'

type Subscription = Readonly<Record<string, unknown>>

let subscriber: Subscriber
let broker: Broker
let gateway: Gateway
let received: readonly Received[]
let url: string

beforeEach(async () => {
  subscriber = new Subscriber()
  await subscriber.start()
  ;({ received, url } = subscriber)
  broker = await connect('memory:')
  await broker.declare(stream('orders'), stream('orders.eu'), stream('replies'))
  gateway = open()
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
  await subscriber.stop()
})

const open = (options: GatewayOptions = {}): Gateway =>
  createGateway(broker, { push: { allow: ['127.0.0.0/8'] }, drain: '500ms', ...options })

const ask = (method: string, path: string, body?: unknown, token?: string): Promise<Answer> =>
  askOf(gateway, method, path, body, token)
const put = (more: object = {}, name = 'billing', token?: string): Promise<Answer> =>
  ask('PUT', `/api/subscriptions/${name}`, { channels: ['orders'], url, secret: SECRET, ...more }, token)
const show = async (name = 'billing'): Promise<Subscription> => (await ask('GET', `/api/subscriptions/${name}`)).body
const deadLetters = (name = 'billing') => broker.deadLetters(`push.${name}`).list()
const quickly = { backoff: { min: '1ms', max: '2ms' } }

describe('a subscriber', () => {
  it('gets what is published from then on, as it is, signed', async () => {
    await broker.publish('orders', { type: 'before', id: 'e-0' })
    expect(await put()).toMatchObject({
      status: 201,
      body: { name: 'billing', url, enabled: true, consumer: 'push.billing', problem: null },
    })
    const publish = (body: string): Promise<Response> =>
      gateway.fetch(
        new Request('http://localhost/channels/orders/events', {
          method: 'POST',
          headers: { 'content-type': 'application/cloudevents+json' },
          body,
        }),
      )
    const text =
      '{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.placed","tenant":"t-1","data":{"big":9007199254740993,"note":"tea ☕"}}'
    await publish(text)
    await eventually(() => expect(received).toHaveLength(1))
    const [{ method, path, headers, body }] = received as [Received]
    expect([method, path, headers['content-type']]).toEqual([
      'POST',
      '/hook',
      'application/cloudevents+json; charset=utf-8',
    ])
    expect(JSON.parse(body)).toEqual(JSON.parse(text))
    expect(body).toContain('"big":9007199254740993')
    expect(headers['webhook-id']).toMatch(/^msg_[\w-]{27}$/)
    expect(headers['prefer']).toBeUndefined()
    new Webhook(SECRET).verify(body, headers as Record<string, string>)
    await eventually(async () =>
      expect(await show()).toMatchObject({ lag: 0, deadLetters: 0, lastFailure: null, stalled: null }),
    )
  })
  it('is given a secret that is made for it, shown once', async () => {
    const { status, body } = await put({ secret: undefined })
    expect([status, body['secret']]).toEqual([201, expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/)])
    expect((await put({ secret: undefined })).body['secret']).toBeUndefined()
    expect(await show()).not.toHaveProperty('secret')
    await broker.publish('orders', { type: 'a' })
    await eventually(() => expect(received).toHaveLength(1))
    new Webhook(body['secret'] as string).verify(
      received[0]?.body ?? '',
      received[0]?.headers as Record<string, string>,
    )
  })
  it('verifies by either secret while one takes over from the other', async () => {
    await put({ secret: [OTHER_SECRET, SECRET] })
    await broker.publish('orders', { type: 'a' })
    await eventually(() => expect(received).toHaveLength(1))
    for (const secret of [SECRET, OTHER_SECRET])
      new Webhook(secret).verify(received[0]?.body ?? '', received[0]?.headers as Record<string, string>)
  })
  it('chooses by type, pattern, wildcard and place, and gets headers of its own', async () => {
    await broker.publish('orders.eu', { type: 'order.placed', id: 'old', data: { n: 1 } })
    await put({
      channels: ['orders.*'],
      from: 'beginning',
      types: ['order.placed', 'order/odd:name'],
      where: { data: { n: [1] } },
      headers: { Authorization: 'Bearer t', 'X-Team': 'ops' },
    })
    await broker.publish('orders', { type: 'order.placed', id: 'other-channel', data: { n: 1 } })
    await broker.publish('orders.eu', [
      { type: 'order.placed', id: 'other-data', data: { n: 2 } },
      { type: 'order.paid', id: 'other-type', data: { n: 1 } },
      { type: 'order/odd:name', id: 'odd', data: { n: 1 } },
    ])
    await broker.publish(stream('orders.us'), { type: 'order.placed', id: 'new-channel', data: { n: 1 } })
    await eventually(() =>
      expect(received.map(({ body }) => (JSON.parse(body) as StoredEvent).id).sort()).toEqual([
        'new-channel',
        'odd',
        'old',
      ]),
    )
    expect(received[0]?.headers).toMatchObject({ authorization: 'Bearer t', 'x-team': 'ops' })
    const shown = await show()
    expect(shown['headers']).toEqual(['authorization', 'x-team'])
    expect(JSON.stringify(shown)).not.toContain('Bearer t')
  })
  it('gets the events of a key in order, one at a time, while one of them fails', async () => {
    await put({ ...quickly, concurrency: 8 })
    subscriber.answer = (response, count) => response.writeHead(count % 3 === 0 ? 500 : 204).end()
    await broker.publish(
      'orders',
      Array.from({ length: 30 }, (_, n) => ({ type: 'a', partitionkey: `k-${n % 3}`, data: { n } })),
    )
    const taken = (): number[] => {
      const seen = new Set<number>()
      for (const { body } of received) seen.add((JSON.parse(body) as { data: { n: number } }).data.n)
      return [...seen]
    }
    await eventually(async () => expect([taken().length, (await show())['lag']]).toEqual([30, 0]))
    for (const key of [0, 1, 2])
      expect(taken().filter((n) => n % 3 === key)).toEqual(Array.from({ length: 10 }, (_, n) => n * 3 + key))
  })
})

describe('a refusal', () => {
  it('is tried again with the same id and another time, then is a dead letter, and can be redriven', async () => {
    subscriber.answer = (response, count) => response.writeHead(count === 4 ? 200 : 500).end('out of order')
    await put({ ...quickly, attempts: 3 })
    await broker.publish('orders', { type: 'a', id: 'e-1' })
    await eventually(async () => expect(await deadLetters()).toHaveLength(1))
    expect(await deadLetters()).toMatchObject([
      {
        id: 'e-1',
        attempts: 3,
        failure: { code: 'UNAVAILABLE', message: `${new URL(url).origin} answered 500: out of order` },
      },
    ])
    expect(await show()).toMatchObject({
      deadLetters: 1,
      lastFailure: { message: expect.stringContaining('answered 500') as string },
    })
    const letters = await gateway.fetch(
      new Request('http://localhost/api/consumers/push.billing/dead-letters/redrive?all=true', { method: 'POST' }),
    )
    expect(await letters.json()).toEqual({ redriven: 1 })
    await eventually(() => expect(received).toHaveLength(4))
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    await eventually(async () => expect(await deadLetters()).toEqual([]))
  })
  it('without a backoff of its own goes by the schedule of Standard Webhooks: five seconds, ten attempts', async () => {
    subscriber.answer = (response) => response.writeHead(502).end()
    await put()
    await broker.publish('orders', { type: 'a' })
    await eventually(async () => expect(await show()).toMatchObject({ retrying: 1, lag: 1 }))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(received).toHaveLength(1)
  })
  it('by 410 switches the subscription off, until somebody switches it on', async () => {
    subscriber.answer = (response, count) => response.writeHead(count === 1 ? 410 : 204).end('moved away')
    await put()
    await broker.publish('orders', { type: 'a', id: 'e-1' })
    await eventually(async () =>
      expect(await show()).toMatchObject({
        enabled: false,
        by: 'millrace',
        reason: expect.stringContaining('410: moved away') as string,
      }),
    )
    await broker.publish('orders', { type: 'a', id: 'e-2' })
    expect(await show()).toMatchObject({ lag: 1, deadLetters: 1 })
    expect(received).toHaveLength(1)
    expect(await ask('POST', '/api/subscriptions/billing/enable')).toMatchObject({
      status: 200,
      body: { enabled: true, reason: null },
    })
    await eventually(() => expect(received).toHaveLength(2))
    expect(JSON.parse(received[1]?.body ?? '')).toMatchObject({ id: 'e-2' })
  })
  it.each([429, 503])('by %d with Retry-After is not tried again before, nor is anything else sent', async (status) => {
    subscriber.answer = (response, count) =>
      (count === 1 ? response.writeHead(status, { 'retry-after': '1' }) : response.writeHead(204)).end()
    await put({ ...quickly, concurrency: 1 })
    await broker.publish('orders', { type: 'a', id: 'e-1', partitionkey: 'a' })
    await eventually(() => expect(received).toHaveLength(1))
    await broker.publish('orders', { type: 'a', id: 'e-2', partitionkey: 'b' })
    await eventually(() => expect(received).toHaveLength(3))
    const [first, ...rest] = received as [Received, ...Received[]]
    for (const later of rest) expect(later.atMs - first.atMs).toBeGreaterThanOrEqual(990)
  })
  it('by a redirect is a failure: it is never followed', async () => {
    subscriber.answer = (response) => response.writeHead(307, { location: '/elsewhere' }).end()
    await put({ ...quickly, attempts: 2 })
    await broker.publish('orders', { type: 'a' })
    await eventually(async () => expect(await deadLetters()).toHaveLength(1))
    expect(received.map(({ path }) => path)).toEqual(['/hook', '/hook'])
    expect((await deadLetters())[0]?.failure.message).toContain('redirects are not followed')
  })
  it('by silence is one, after the timeout', async () => {
    subscriber.answer = () => undefined
    await put({ ...quickly, attempts: 1, timeout: '50ms' })
    await broker.publish('orders', { type: 'a' })
    await eventually(async () =>
      expect((await deadLetters())[0]?.failure.message).toContain('did not answer within 50 ms'),
    )
  })
})

describe('connections', () => {
  it('are kept for the next event, and one that the subscriber closed as it was used again costs no attempt', async () => {
    const ports = new Set<unknown>()
    subscriber.answer = (response, count) => {
      ports.add(response.socket?.remotePort)
      // The answer is out, and then the connection is gone, without a word of it before.
      response.writeHead(204).end(() => (count === 10 ? setTimeout(() => response.socket?.destroy(), 5) : undefined))
    }
    await put({ concurrency: 1, attempts: 1 })
    for (let n = 0; n < 20; n++) {
      await broker.publish('orders', { type: 'a' })
      await eventually(() => expect(received).toHaveLength(n + 1))
    }
    await eventually(async () => expect(await show()).toMatchObject({ lag: 0, deadLetters: 0 }))
    expect(ports.size).toBeLessThanOrEqual(3)
  })
  it('that trickle an answer, or one without end, are cut', async () => {
    subscriber.answer = (response, count) => {
      response.writeHead(count === 1 ? 500 : 200)
      const trickle = setInterval(() => response.write(count === 1 ? 'x' : 'x'.repeat(1000)), 5)
      response.on('close', () => clearInterval(trickle))
    }
    await put({ ...quickly, concurrency: 1, attempts: 1, timeout: '200ms' })
    await broker.publish('orders', [{ type: 'a' }, { type: 'a' }])
    await eventually(async () => expect([received.length, (await show())['lag']]).toEqual([2, 0]))
    expect((await deadLetters()).map(({ offset }) => offset)).toEqual([0])
  })
})

describe('addresses that are not public', () => {
  const inside = [
    'http://127.0.0.1:1/',
    'http://[::1]/',
    'http://169.254.169.254/latest',
    'http://10.0.0.1/',
    'http://0x7f000001/',
    'http://2130706433/',
    'http://[::ffff:10.0.0.1]/',
  ]
  it.each(inside)('%s is refused when it is asked for', async (target) => {
    await gateway.close()
    gateway = open({ push: {} })
    expect(await put({ url: target })).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } })
  })
  it('behind a name are found when it is resolved, and not connected to', async () => {
    await gateway.close()
    gateway = open({ push: {} })
    expect((await put({ url: url.replace('127.0.0.1', 'localhost'), ...quickly, attempts: 1 })).status).toBe(201)
    await broker.publish('orders', { type: 'a' })
    await eventually(async () => expect((await deadLetters())[0]?.failure.code).toBe('FORBIDDEN'))
    expect(received).toEqual([])
  })
})

describe('the handshake', () => {
  const origin = 'millrace.example'
  beforeEach(async () => {
    await gateway.close()
    gateway = open({ push: { allow: ['127.0.0.0/8'], origin } })
  })
  it('comes first, with the credentials, and its rate is kept to', async () => {
    subscriber.answer = (response, _, { method }) =>
      (method === 'OPTIONS'
        ? response.writeHead(200, { 'webhook-allowed-origin': origin, 'webhook-allowed-rate': '120' })
        : response.writeHead(204)
      ).end()
    expect(await put({ handshake: true, headers: { authorization: 'Bearer t' } })).toMatchObject({
      status: 201,
      body: { grantedPerMinute: 120 },
    })
    expect(received).toMatchObject([
      { method: 'OPTIONS', headers: { 'webhook-request-origin': origin, authorization: 'Bearer t' } },
    ])
    await broker.publish(
      'orders',
      Array.from({ length: 4 }, () => ({ type: 'a' })),
    )
    await eventually(() => expect(received).toHaveLength(5))
    // Two a second: the first second's at once, and then evenly.
    expect((received[4] as Received).atMs - (received[1] as Received).atMs).toBeGreaterThanOrEqual(900)
  })
  it('that grants nothing leaves nothing', async () => {
    subscriber.answer = (response) => response.writeHead(200).end()
    expect(await put({ handshake: true })).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } })
    expect((await ask('GET', '/api/subscriptions')).body).toEqual({ subscriptions: [] })
    subscriber.answer = (response) => response.destroy()
    expect(await put({ handshake: true })).toMatchObject({ status: 503, body: { code: 'UNAVAILABLE' } })
  })
  it('may be asked of everybody', async () => {
    await gateway.close()
    gateway = open({ push: { allow: ['127.0.0.0/8'], origin, handshake: true } })
    subscriber.answer = (response) => response.writeHead(200).end()
    expect((await put()).status).toBe(403)
    expect((await put({ handshake: false })).status).toBe(403)
    subscriber.answer = (response) => response.writeHead(200, { 'webhook-allowed-origin': '*' }).end()
    expect(await put()).toMatchObject({ status: 201, body: { handshake: true, grantedPerMinute: null } })
  })
})

describe('a reply', () => {
  const structured = { 'content-type': 'application/cloudevents+json' }
  const binary = {
    'ce-specversion': '1.0',
    'ce-id': 'r-1',
    'ce-source': '/billing',
    'ce-type': 'invoice.made',
    'content-type': 'application/json',
  }
  const reply = { reply: { channel: 'replies' }, ...quickly }
  it('in any mode is published, with the completion, and says what caused it', async () => {
    subscriber.answer = (response, count) =>
      count === 1
        ? response.writeHead(200, binary).end('{"n":9007199254740993}')
        : count === 2
          ? response
              .writeHead(200, structured)
              .end('{"specversion":"1.0","id":"r-2","source":"/billing","type":"invoice.made"}')
          : response.writeHead(200, { 'content-type': 'application/cloudevents-batch+json' }).end('[]')
    await put({ ...reply, concurrency: 1 })
    await broker.publish(
      'orders',
      ['e-1', 'e-2', 'e-3'].map((id) => ({ type: 'a', id })),
    )
    const replies = await published(broker, 'replies', 2)
    expect(replies).toMatchObject([
      { id: 'r-1', source: '/billing', type: 'invoice.made', causationid: 'e-1', rulehops: 1 },
      { id: 'r-2', causationid: 'e-2' },
    ])
    expect(received[0]?.headers['prefer']).toBe('reply')
    const page = await gateway.fetch(new Request('http://localhost/channels/replies/events'))
    expect(await page.text()).toContain('9007199254740993')
    await eventually(async () => expect([received.length, (await show())['lag']]).toEqual([3, 0]))
  })
  it('is none with a 202, with another content, or where the subscription takes none', async () => {
    subscriber.answer = (response, count) =>
      count === 1
        ? response.writeHead(202, binary).end('{}')
        : count === 2
          ? response.writeHead(200, { 'content-type': 'application/json' }).end('{"ok":true}')
          : response.writeHead(200, binary).end('{}')
    await put({ ...reply, concurrency: 1 })
    await broker.publish('orders', [{ type: 'a' }, { type: 'a' }])
    await eventually(async () => expect([received.length, (await show())['lag']]).toEqual([2, 0]))
    await put(quickly)
    await broker.publish('orders', { type: 'a' })
    await eventually(async () => expect([received.length, (await show())['lag']]).toEqual([3, 0]))
    expect(await published(broker, 'replies', 0)).toEqual([])
  })
  it('that is malformed or too large is a dead letter that says so, and not sent again', async () => {
    subscriber.answer = (response, count) =>
      count === 1
        ? response.writeHead(200, structured).end('{"specversion":"1.0"}')
        : response.writeHead(200, binary).end(`"${'x'.repeat(2_000_000)}"`)
    await put({ ...reply, concurrency: 1 })
    await broker.publish('orders', [{ type: 'a' }, { type: 'a' }])
    await eventually(async () => expect(await deadLetters()).toHaveLength(2))
    expect((await deadLetters()).map(({ failure }) => failure.code ?? failure.message)).toEqual([
      'INVALID_EVENT',
      expect.stringContaining('larger than'),
    ])
    expect(received).toHaveLength(2)
  })
  it('that comes back to the same subscriber ends, and does not go round for ever', async () => {
    subscriber.answer = (response, count) => response.writeHead(200, { ...binary, 'ce-id': `r-${count}` }).end('{}')
    await put({ reply: { channel: 'orders' } })
    await broker.publish('orders', { type: 'a' })
    await eventually(async () => expect(await deadLetters()).toHaveLength(1))
    expect(received).toHaveLength(17)
    expect((await deadLetters())[0]?.failure.code).toBe('INVALID_RULE')
  })
})

describe('changes', () => {
  it('are in force when they are answered: another URL, off, on, gone', async () => {
    await put()
    expect(await put({ url: `${url}/2` })).toMatchObject({ status: 200, body: { url: `${url}/2` } })
    await broker.publish('orders', { type: 'a', id: 'e-1' })
    await eventually(() => expect(received.map(({ path }) => path)).toEqual(['/hook/2']))
    expect((await ask('POST', '/api/subscriptions/billing/disable')).body).toMatchObject({ enabled: false })
    await broker.publish('orders', { type: 'a', id: 'e-2' })
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(received).toHaveLength(1)
    await ask('POST', '/api/subscriptions/billing/enable')
    await eventually(() => expect(received).toHaveLength(2))
    await eventually(async () => expect((await show())['lag']).toBe(0))
    expect((await ask('DELETE', '/api/subscriptions/billing')).status).toBe(204)
    expect(await ask('GET', '/api/subscriptions/billing')).toMatchObject({
      status: 404,
      body: { code: 'UNKNOWN_SUBSCRIPTION' },
    })
    await eventually(async () =>
      expect((await broker.describe()).consumers.map(({ name }) => name)).not.toContain('push.billing'),
    )
    await broker.publish('orders', { type: 'a', id: 'e-3' })
    await put()
    await broker.publish('orders', { type: 'a', id: 'e-4' })
    await eventually(() =>
      expect(received.map(({ body }) => (JSON.parse(body) as StoredEvent).id)).toEqual(['e-1', 'e-2', 'e-4']),
    )
  })
  it('are all refused that cannot be', async () => {
    const wrong: [object, string][] = [
      [{ url: 'ftp://example.com' }, 'INVALID_OPTION'],
      [{ url: 'https://user:secret@example.com/' }, 'INVALID_OPTION'],
      [{ url: '/hook' }, 'INVALID_OPTION'],
      [{ url: undefined }, 'INVALID_OPTION'],
      [{ channels: [] }, 'INVALID_REQUEST'],
      [{ channels: ['nowhere'] }, 'UNKNOWN_CHANNEL'],
      [{ channels: ['a b'] }, 'INVALID_NAME'],
      [{ reply: { channel: 'nowhere' } }, 'UNKNOWN_CHANNEL'],
      [{ reply: { channel: '$audit' } }, 'FORBIDDEN'],
      [{ reply: 'replies' }, 'INVALID_REQUEST'],
      [{ secret: 'short' }, 'INVALID_OPTION'],
      [{ secret: [SECRET, SECRET, SECRET] }, 'INVALID_OPTION'],
      [{ headers: { host: 'x' } }, 'INVALID_OPTION'],
      [{ headers: { 'webhook-id': 'x' } }, 'INVALID_OPTION'],
      [{ headers: { 'x-a': 'b\r\nevil: 1' } }, 'INVALID_OPTION'],
      [{ headers: { 'x a': 'b' } }, 'INVALID_OPTION'],
      [{ timeout: '1h' }, 'INVALID_OPTION'],
      [{ concurrency: 0 }, 'INVALID_OPTION'],
      [{ concurrency: 257 }, 'INVALID_OPTION'],
      [{ rate: 'fast' }, 'INVALID_OPTION'],
      [{ attempts: 0 }, 'INVALID_OPTION'],
      [{ backoff: { min: '2s', max: '1s' } }, 'INVALID_OPTION'],
      [{ backoff: { backoff: 'fixed' } }, 'INVALID_REQUEST'],
      [{ where: { data: 1 } }, 'INVALID_PATTERN'],
      [{ from: true }, 'INVALID_REQUEST'],
      [{ onDead: 'x' }, 'INVALID_REQUEST'],
      [{ handshake: 'yes' }, 'INVALID_OPTION'],
      [{ enabled: 'yes' }, 'INVALID_REQUEST'],
      [{ colour: 'red' }, 'INVALID_REQUEST'],
    ]
    for (const [more, code] of wrong) expect([more, (await put(more)).body['code']]).toEqual([more, code])
    expect((await ask('PUT', '/api/subscriptions/a%20b', { channels: ['orders'], url })).body['code']).toBe(
      'INVALID_NAME',
    )
    expect((await ask('GET', '/api/subscriptions')).body).toEqual({ subscriptions: [] })
    expect((await broker.describe()).consumers).toEqual([])
  })
})

test('who may: consume for its channels, publish for replies; and each change is on the audit trail', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-push-'))
  const tokens = join(folder, 'tokens.json')
  const orders = addToken(tokens, {
    name: 'orders',
    permissions: { consume: ['orders'], publish: ['orders'], read: ['orders'] },
  }).token
  const all = addToken(tokens, {
    name: 'all',
    permissions: { consume: ['>'], publish: ['>'], read: ['>', '$audit'] },
  }).token
  await gateway.close()
  gateway = open({ access: { tokens }, hosts: 'any' })
  try {
    expect((await put({}, 'mine', orders)).status).toBe(201)
    expect((await put({ channels: ['orders.eu'] }, 'theirs', orders)).status).toBe(403)
    expect((await put({ channels: ['>'] }, 'theirs', orders)).status).toBe(403)
    expect((await put({ reply: { channel: 'replies' } }, 'mine', orders)).status).toBe(403)
    expect((await put({ channels: ['orders.eu'] }, 'theirs', all)).status).toBe(201)
    for (const [method, path] of [
      ['GET', ''],
      ['PUT', ''],
      ['DELETE', ''],
      ['POST', '/enable'],
      ['POST', '/disable'],
    ] as const) {
      const body = method === 'PUT' ? { channels: ['orders'], url } : undefined
      expect([method, (await ask(method, `/api/subscriptions/theirs${path}`, body, orders)).status]).toEqual([
        method,
        403,
      ])
    }
    // Who may not consume everything does not learn which names there are.
    expect((await ask('GET', '/api/subscriptions/none', undefined, orders)).status).toBe(403)
    expect((await ask('GET', '/api/subscriptions/none', undefined, all)).status).toBe(404)
    const namesFor = async (token: string): Promise<unknown[]> =>
      ((await ask('GET', '/api/subscriptions', undefined, token)).body['subscriptions'] as Subscription[]).map(
        ({ name }) => name,
      )
    expect([await namesFor(orders), await namesFor(all)]).toEqual([['mine'], ['mine', 'theirs']])
    // Secrets stand in the channel of subscriptions: a wildcard does not open it.
    expect((await ask('GET', '/channels/$push/events', undefined, all)).status).toBe(403)
    const trail = await published(broker, '$audit', 8)
    expect(trail.map(({ data }) => data)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          action: 'putSubscription',
          target: { subscription: 'mine', to: new URL(url).origin, channels: 'orders' },
          outcome: 'done',
          by: expect.objectContaining({ kind: 'token' }) as object,
        }),
        expect.objectContaining({
          action: 'putSubscription',
          target: expect.objectContaining({ subscription: 'theirs', channels: 'orders.eu' }) as object,
          outcome: 'refused',
          code: 'FORBIDDEN',
        }),
        expect.objectContaining({ action: 'removeSubscription', outcome: 'refused' }),
      ]),
    )
    expect(JSON.stringify(trail)).not.toContain(SECRET.slice(6))
  } finally {
    rmSync(folder, { recursive: true })
  }
})
