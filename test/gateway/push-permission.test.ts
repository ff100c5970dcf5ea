/**
 * Where a gateway pushes to: public addresses, and subscribers that grant the handshake; and what each token may
 * subscribe.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, it, test } from 'vitest'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { type Received, SECRET } from '../outbound/receiver.ts'
import { eventually, published } from '../rules/support.ts'
import { pushWorld, quickly, type Subscription } from './push-world.ts'

const world = pushWorld()

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
  it.each(inside)('%s is refused in a subscription', async (target) => {
    await world.reopen({ push: {} })
    expect(await world.put({ url: target })).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } })
  })
  it('are refused when a host name resolves to one, and nothing is sent', async () => {
    await world.reopen({ push: {} })
    expect(
      (await world.put({ url: world.url.replace('127.0.0.1', 'localhost'), ...quickly, attempts: 1 })).status,
    ).toBe(201)
    await world.broker.publish('orders', { type: 'a' })
    await eventually(async () => expect((await world.deadLetters())[0]?.failure.code).toBe('FORBIDDEN'))
    expect(world.received).toEqual([])
  })
})

describe('the handshake', () => {
  const origin = 'millrace.example'
  beforeEach(async () => {
    await world.reopen({ push: { allow: ['127.0.0.0/8'], origin } })
  })
  it('precedes the events, has the headers of the subscription, and its rate limits the requests', async () => {
    world.subscriber.answer = (response, _, { method }) =>
      (method === 'OPTIONS'
        ? response.writeHead(200, { 'webhook-allowed-origin': origin, 'webhook-allowed-rate': '120' })
        : response.writeHead(204)
      ).end()
    expect(await world.put({ handshake: true, headers: { authorization: 'Bearer t' } })).toMatchObject({
      status: 201,
      body: { grantedPerMinute: 120 },
    })
    expect(world.received).toMatchObject([
      { method: 'OPTIONS', headers: { 'webhook-request-origin': origin, authorization: 'Bearer t' } },
    ])
    await world.broker.publish(
      'orders',
      Array.from({ length: 4 }, () => ({ type: 'a' })),
    )
    await eventually(() => expect(world.received).toHaveLength(5))
    // Two per second: those of the first second at once, then evenly.
    expect((world.received[4] as Received).atMs - (world.received[1] as Received).atMs).toBeGreaterThanOrEqual(900)
  })
  it('leaves no subscription if the subscriber grants nothing', async () => {
    world.subscriber.answer = (response) => response.writeHead(200).end()
    expect(await world.put({ handshake: true })).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } })
    expect((await world.ask('GET', '/api/subscriptions')).body).toEqual({ subscriptions: [] })
    world.subscriber.answer = (response) => response.destroy()
    expect(await world.put({ handshake: true })).toMatchObject({ status: 503, body: { code: 'UNAVAILABLE' } })
  })
  it('can be required of every subscriber', async () => {
    await world.reopen({ push: { allow: ['127.0.0.0/8'], origin, handshake: true } })
    world.subscriber.answer = (response) => response.writeHead(200).end()
    expect((await world.put()).status).toBe(403)
    expect((await world.put({ handshake: false })).status).toBe(403)
    world.subscriber.answer = (response) => response.writeHead(200, { 'webhook-allowed-origin': '*' }).end()
    expect(await world.put()).toMatchObject({ status: 201, body: { handshake: true, grantedPerMinute: null } })
  })
})

test('a subscription needs `consume` for its channels and `publish` for replies, and each change is audited', async () => {
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
  await world.reopen({ access: { tokens }, hosts: 'any' })
  try {
    expect((await world.put({}, 'mine', orders)).status).toBe(201)
    expect((await world.put({ channels: ['orders.eu'] }, 'theirs', orders)).status).toBe(403)
    expect((await world.put({ channels: ['>'] }, 'theirs', orders)).status).toBe(403)
    expect((await world.put({ reply: { channel: 'replies' } }, 'mine', orders)).status).toBe(403)
    expect((await world.put({ channels: ['orders.eu'] }, 'theirs', all)).status).toBe(201)
    for (const [method, path] of [
      ['GET', ''],
      ['PUT', ''],
      ['DELETE', ''],
      ['POST', '/enable'],
      ['POST', '/disable'],
    ] as const) {
      const body = method === 'PUT' ? { channels: ['orders'], url: world.url } : undefined
      expect([method, (await world.ask(method, `/api/subscriptions/theirs${path}`, body, orders)).status]).toEqual([
        method,
        403,
      ])
    }
    // Only a caller that may consume all channels learns whether a name exists.
    expect((await world.ask('GET', '/api/subscriptions/none', undefined, orders)).status).toBe(403)
    expect((await world.ask('GET', '/api/subscriptions/none', undefined, all)).status).toBe(404)
    const namesFor = async (token: string): Promise<unknown[]> =>
      ((await world.ask('GET', '/api/subscriptions', undefined, token)).body['subscriptions'] as Subscription[]).map(
        ({ name }) => name,
      )
    expect([await namesFor(orders), await namesFor(all)]).toEqual([['mine'], ['mine', 'theirs']])
    // The channel of subscriptions contains secrets, so a wildcard does not include it.
    expect((await world.ask('GET', '/channels/$push/events', undefined, all)).status).toBe(403)
    const trail = await published(world.broker, '$audit', 8)
    expect(trail.map(({ data }) => data)).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          action: 'putSubscription',
          target: { subscription: 'mine', to: new URL(world.url).origin, channels: 'orders' },
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
