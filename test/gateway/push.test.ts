/** Push subscriptions against a real subscriber: what arrives, what a refusal does, and which changes are accepted. */
import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { type StoredEvent, stream } from '../../src/index.ts'
import { type Received, SECRET } from '../outbound/receiver.ts'
import { eventually } from '../rules/support.ts'
import { pushWorld, quickly } from './push-world.ts'

const world = pushWorld()
const OTHER_SECRET = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'

describe('a subscriber', () => {
  it('receives events that are published from then on, unchanged and signed', async () => {
    await world.broker.publish('orders', { type: 'before', id: 'e-0' })
    expect(await world.put()).toMatchObject({
      status: 201,
      body: { name: 'billing', url: world.url, enabled: true, consumer: 'push.billing', problem: null },
    })
    const publish = (body: string): Promise<Response> =>
      world.gateway.fetch(
        new Request('http://localhost/channels/orders/events', {
          method: 'POST',
          headers: { 'content-type': 'application/cloudevents+json' },
          body,
        }),
      )
    const text =
      '{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.placed","tenant":"t-1","data":{"big":9007199254740993,"note":"tea ☕"}}'
    await publish(text)
    await eventually(() => expect(world.received).toHaveLength(1))
    const [{ method, path, headers, body }] = world.received as [Received]
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
      expect(await world.show()).toMatchObject({ lag: 0, deadLetters: 0, lastFailure: null, stalled: null }),
    )
  })
  it('gets a generated secret, which is shown once', async () => {
    const { status, body } = await world.put({ secret: undefined })
    expect([status, body['secret']]).toEqual([201, expect.stringMatching(/^whsec_[A-Za-z0-9+/]{43}=$/)])
    expect((await world.put({ secret: undefined })).body['secret']).toBeUndefined()
    expect(await world.show()).not.toHaveProperty('secret')
    await world.broker.publish('orders', { type: 'a' })
    await eventually(() => expect(world.received).toHaveLength(1))
    new Webhook(body['secret'] as string).verify(
      world.received[0]?.body ?? '',
      world.received[0]?.headers as Record<string, string>,
    )
  })
  it('can verify with either secret while one is replaced', async () => {
    await world.put({ secret: [OTHER_SECRET, SECRET] })
    await world.broker.publish('orders', { type: 'a' })
    await eventually(() => expect(world.received).toHaveLength(1))
    for (const secret of [SECRET, OTHER_SECRET])
      new Webhook(secret).verify(world.received[0]?.body ?? '', world.received[0]?.headers as Record<string, string>)
  })
  it('selects by type, pattern, wildcard and position, and receives its own headers', async () => {
    await world.broker.publish('orders.eu', { type: 'order.placed', id: 'old', data: { n: 1 } })
    await world.put({
      channels: ['orders.*'],
      from: 'beginning',
      types: ['order.placed', 'order/odd:name'],
      where: { data: { n: [1] } },
      headers: { Authorization: 'Bearer t', 'X-Team': 'ops' },
    })
    await world.broker.publish('orders', { type: 'order.placed', id: 'other-channel', data: { n: 1 } })
    await world.broker.publish('orders.eu', [
      { type: 'order.placed', id: 'other-data', data: { n: 2 } },
      { type: 'order.paid', id: 'other-type', data: { n: 1 } },
      { type: 'order/odd:name', id: 'odd', data: { n: 1 } },
    ])
    await world.broker.publish(stream('orders.us'), { type: 'order.placed', id: 'new-channel', data: { n: 1 } })
    await eventually(() =>
      expect(world.received.map(({ body }) => (JSON.parse(body) as StoredEvent).id).sort()).toEqual([
        'new-channel',
        'odd',
        'old',
      ]),
    )
    expect(world.received[0]?.headers).toMatchObject({ authorization: 'Bearer t', 'x-team': 'ops' })
    const shown = await world.show()
    expect(shown['headers']).toEqual(['authorization', 'x-team'])
    expect(JSON.stringify(shown)).not.toContain('Bearer t')
  })
  it('receives the events of a key in order, also if one of them fails', async () => {
    await world.put({ ...quickly, concurrency: 8 })
    world.subscriber.answer = (response, count) => response.writeHead(count % 3 === 0 ? 500 : 204).end()
    await world.broker.publish(
      'orders',
      Array.from({ length: 30 }, (_, n) => ({ type: 'a', partitionkey: `k-${n % 3}`, data: { n } })),
    )
    const taken = (): number[] => {
      const seen = new Set<number>()
      for (const { body } of world.received) seen.add((JSON.parse(body) as { data: { n: number } }).data.n)
      return [...seen]
    }
    await eventually(async () => expect([taken().length, (await world.show())['lag']]).toEqual([30, 0]))
    for (const key of [0, 1, 2])
      expect(taken().filter((n) => n % 3 === key)).toEqual(Array.from({ length: 10 }, (_, n) => n * 3 + key))
  })
})

describe('a refusal', () => {
  it('is followed by attempts with the same id, then by a dead letter, which can be redriven', async () => {
    world.subscriber.answer = (response, count) => response.writeHead(count === 4 ? 200 : 500).end('out of order')
    await world.put({ ...quickly, attempts: 3 })
    await world.broker.publish('orders', { type: 'a', id: 'e-1' })
    await eventually(async () => expect(await world.deadLetters()).toHaveLength(1))
    expect(await world.deadLetters()).toMatchObject([
      {
        id: 'e-1',
        attempts: 3,
        failure: { code: 'UNAVAILABLE', message: `${new URL(world.url).origin} answered 500: out of order` },
      },
    ])
    expect(await world.show()).toMatchObject({
      deadLetters: 1,
      lastFailure: { message: expect.stringContaining('answered 500') as string },
    })
    const letters = await world.gateway.fetch(
      new Request('http://localhost/api/consumers/push.billing/dead-letters/redrive?all=true&reason=mended', {
        method: 'POST',
      }),
    )
    expect(await letters.json()).toEqual({ redriven: 1 })
    await eventually(() => expect(world.received).toHaveLength(4))
    expect(new Set(world.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    await eventually(async () => expect(await world.deadLetters()).toEqual([]))
  })
  it('is followed by the schedule of Standard Webhooks, if the subscription has no backoff', async () => {
    world.subscriber.answer = (response) => response.writeHead(502).end()
    await world.put()
    await world.broker.publish('orders', { type: 'a' })
    await eventually(async () => expect(await world.show()).toMatchObject({ retrying: 1, lag: 1 }))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(world.received).toHaveLength(1)
  })
  it('with 410 disables the subscription until it is enabled again', async () => {
    world.subscriber.answer = (response, count) => response.writeHead(count === 1 ? 410 : 204).end('moved away')
    await world.put()
    await world.broker.publish('orders', { type: 'a', id: 'e-1' })
    await eventually(async () =>
      expect(await world.show()).toMatchObject({
        enabled: false,
        by: 'millrace',
        reason: expect.stringContaining('410: moved away') as string,
      }),
    )
    await world.broker.publish('orders', { type: 'a', id: 'e-2' })
    expect(await world.show()).toMatchObject({ lag: 1, deadLetters: 1 })
    expect(world.received).toHaveLength(1)
    expect(await world.ask('POST', '/api/subscriptions/billing/enable')).toMatchObject({
      status: 200,
      body: { enabled: true, reason: null },
    })
    await eventually(() => expect(world.received).toHaveLength(2))
    expect(JSON.parse(world.received[1]?.body ?? '')).toMatchObject({ id: 'e-2' })
  })
  it.each([429, 503])('with %d and Retry-After delays the next attempt and all other events', async (status) => {
    world.subscriber.answer = (response, count) =>
      (count === 1 ? response.writeHead(status, { 'retry-after': '1' }) : response.writeHead(204)).end()
    await world.put({ ...quickly, concurrency: 1 })
    await world.broker.publish('orders', { type: 'a', id: 'e-1', partitionkey: 'a' })
    await eventually(() => expect(world.received).toHaveLength(1))
    await world.broker.publish('orders', { type: 'a', id: 'e-2', partitionkey: 'b' })
    await eventually(() => expect(world.received).toHaveLength(3))
    const [first, ...rest] = world.received as [Received, ...Received[]]
    for (const later of rest) expect(later.atMs - first.atMs).toBeGreaterThanOrEqual(990)
  })
  it('by a redirect is a failure, and the redirect is not followed', async () => {
    world.subscriber.answer = (response) => response.writeHead(307, { location: '/elsewhere' }).end()
    await world.put({ ...quickly, attempts: 2 })
    await world.broker.publish('orders', { type: 'a' })
    await eventually(async () => expect(await world.deadLetters()).toHaveLength(1))
    expect(world.received.map(({ path }) => path)).toEqual(['/hook', '/hook'])
    expect((await world.deadLetters())[0]?.failure.message).toContain('redirects are not followed')
  })
  it('occurs after the timeout if there is no answer', async () => {
    world.subscriber.answer = () => undefined
    await world.put({ ...quickly, attempts: 1, timeout: '50ms' })
    await world.broker.publish('orders', { type: 'a' })
    await eventually(async () =>
      expect((await world.deadLetters())[0]?.failure.message).toContain('did not answer within 50 ms'),
    )
  })
})

describe('connections', () => {
  it('are reused for the next event, and one that the subscriber closed during reuse costs no attempt', async () => {
    const ports = new Set<unknown>()
    world.subscriber.answer = (response, count) => {
      ports.add(response.socket?.remotePort)
      // The connection is closed after the answer, without an announcement in the answer.
      response.writeHead(204).end(() => (count === 10 ? setTimeout(() => response.socket?.destroy(), 5) : undefined))
    }
    await world.put({ concurrency: 1, attempts: 1 })
    for (let n = 0; n < 20; n++) {
      await world.broker.publish('orders', { type: 'a' })
      await eventually(() => expect(world.received).toHaveLength(n + 1))
    }
    await eventually(async () => expect(await world.show()).toMatchObject({ lag: 0, deadLetters: 0 }))
    expect(ports.size).toBeLessThanOrEqual(3)
  })
  it('are closed if the answer is too slow or endless', async () => {
    world.subscriber.answer = (response, count) => {
      response.writeHead(count === 1 ? 500 : 200)
      const trickle = setInterval(() => response.write(count === 1 ? 'x' : 'x'.repeat(1000)), 5)
      response.on('close', () => clearInterval(trickle))
    }
    await world.put({ ...quickly, concurrency: 1, attempts: 1, timeout: '200ms' })
    await world.broker.publish('orders', [{ type: 'a' }, { type: 'a' }])
    await eventually(async () => expect([world.received.length, (await world.show())['lag']]).toEqual([2, 0]))
    expect((await world.deadLetters()).map(({ offset }) => offset)).toEqual([0])
  })
})

describe('changes', () => {
  it('are in force when they are answered: another URL, disabled, enabled, removed', async () => {
    await world.put()
    expect(await world.put({ url: `${world.url}/2` })).toMatchObject({ status: 200, body: { url: `${world.url}/2` } })
    await world.broker.publish('orders', { type: 'a', id: 'e-1' })
    await eventually(() => expect(world.received.map(({ path }) => path)).toEqual(['/hook/2']))
    expect((await world.ask('POST', '/api/subscriptions/billing/disable')).body).toMatchObject({ enabled: false })
    await world.broker.publish('orders', { type: 'a', id: 'e-2' })
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(world.received).toHaveLength(1)
    await world.ask('POST', '/api/subscriptions/billing/enable')
    await eventually(() => expect(world.received).toHaveLength(2))
    await eventually(async () => expect((await world.show())['lag']).toBe(0))
    expect((await world.ask('DELETE', '/api/subscriptions/billing?reason=moved')).status).toBe(204)
    expect(await world.ask('GET', '/api/subscriptions/billing')).toMatchObject({
      status: 404,
      body: { code: 'UNKNOWN_SUBSCRIPTION' },
    })
    await eventually(async () =>
      expect((await world.broker.describe()).consumers.map(({ name }) => name)).not.toContain('push.billing'),
    )
    await world.broker.publish('orders', { type: 'a', id: 'e-3' })
    await world.put()
    await world.broker.publish('orders', { type: 'a', id: 'e-4' })
    await eventually(() =>
      expect(world.received.map(({ body }) => (JSON.parse(body) as StoredEvent).id)).toEqual(['e-1', 'e-2', 'e-4']),
    )
  })
  it('are refused if an option is wrong', async () => {
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
    for (const [more, code] of wrong) expect([more, (await world.put(more)).body['code']]).toEqual([more, code])
    expect(
      (await world.ask('PUT', '/api/subscriptions/a%20b', { channels: ['orders'], url: world.url })).body['code'],
    ).toBe('INVALID_NAME')
    expect((await world.ask('GET', '/api/subscriptions')).body).toEqual({ subscriptions: [] })
    expect((await world.broker.describe()).consumers).toEqual([])
  })
})
