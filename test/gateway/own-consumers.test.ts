/**
 * Nobody can consume with the names of Millrace's own consumers. The refusal for what belongs to others is the same as
 * for what does not exist.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Permissions } from '../../src/gateway/access/permissions.ts'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway, type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, queue, stream } from '../../src/index.ts'
import { rulesOf, startRules } from '../../src/rules/index.ts'
import { published } from '../rules/support.ts'

let broker: Broker
let folder: string
const gateways: (Gateway | ServingGateway)[] = []
const clients: Broker[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-own-'))
  broker = await connect('memory:')
  await broker.declare(stream('orders'), stream('secret.merger'), queue('work'))
})
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close()
  for (const gateway of gateways.splice(0)) await gateway.close()
  await broker.close()
  rmSync(folder, { recursive: true })
})

interface Answer {
  readonly status: number
  readonly text: string
}
type Ask = (method: string, path: string, body?: object) => Promise<Answer>
/** Callers of one gateway, each with its own permissions. */
function open<const Callers extends readonly Permissions[]>(
  ...callers: Callers
): { readonly [Index in keyof Callers]: Ask } {
  const file = join(folder, 'tokens.json')
  const tokens = callers.map((permissions) => addToken(file, { name: 'caller', permissions }))
  const gateway = createGateway(broker, { drain: 0, access: { tokens: file } })
  gateways.push(gateway)
  const asks = tokens.map(
    ({ token, entry }): Ask =>
      async (method, path, body) => {
        const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` }
        const answer = await gateway.fetch(
          new Request(`http://x.example${path}`, {
            method,
            headers,
            ...(body !== undefined && { body: JSON.stringify(body) }),
          }),
        )
        return { status: answer.status, text: (await answer.text()).replaceAll(entry.id, 'caller') }
      },
  )
  return asks as unknown as { readonly [Index in keyof Callers]: Ask }
}
async function remote(anonymous: Permissions): Promise<Broker> {
  const gateway = await serveGateway(broker, { port: 0, drain: 0, access: { anonymous } })
  gateways.push(gateway)
  const client = await connect(`${gateway.url.replace('http', 'ws')}/ws`)
  clients.push(client)
  return client
}
const refusal = (act: Promise<unknown>): Promise<string> =>
  act.then(
    () => 'done',
    (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
  )

const everything: Permissions = { publish: ['>'], consume: ['>'], read: ['>'], manage: ['>'] }
/** A consumer by its name only, as a client in another language could request it. */
const raw = (name: string) => ({
  name,
  channels: ['orders'],
  wants: [{ type: null, pattern: null }],
  from: { at: 'beginning' },
  onDead: null,
  credit: 10,
  perKey: 1,
  leaseMs: 30_000,
  attemptsMax: 1,
  stallMs: 0,
})
async function subscribed(client: Broker, name: string): Promise<string> {
  const start = async (host: {
    engine: { subscribe: (spec: never, sink: never) => Promise<{ close: () => Promise<void> }> }
  }) => {
    const subscription = await host.engine.subscribe(
      raw(name) as never,
      { deliver: () => undefined, revoked: () => undefined } as never,
    )
    return { stop: () => subscription.close(), done: Promise.resolve() }
  }
  return refusal(client.start({ start } as never))
}

describe.each(['rules.orders', 'rule.tell.http', 'push.there'])('%s', (name) => {
  test('cannot be pulled, whatever the caller may do', async () => {
    const [ask] = open({ ...everything, rules: ['>'] })
    for (const [method, path] of [
      ['PUT', ''],
      ['POST', '/pull'],
    ] as const) {
      expect(await ask(method, `/consumers/${name}${path}`, { channels: ['orders'] })).toMatchObject({
        status: 400,
        text: expect.stringContaining('INVALID_NAME') as string,
      })
    }
    expect((await ask('DELETE', `/api/consumers/${name}`)).text).toContain('INVALID_NAME')
  })
  test('cannot be consumed, rewound or removed over the wire by a caller that may consume and manage its channel', async () => {
    const client = await remote({ consume: ['>'], manage: ['orders'], read: ['orders'] })
    expect(await subscribed(client, name)).toMatch(/^INVALID_NAME/)
    expect(await subscribed(client, 'mine')).toBe('done')
    expect(await refusal(client.consumer(name).rewind('beginning', { channel: 'orders' }))).toMatch(/^FORBIDDEN/)
    expect(await refusal(client.consumer(name).remove())).toMatch(/^FORBIDDEN/)
  })
  test('cannot be the name of an application’s consumer', () =>
    expect(() => consumer(name, stream('orders'))).toThrow('reserved'))
})

test('rules continue to act on every event while a caller tries to take over their router', async () => {
  const rules = await startRules(broker)
  await rules.put({
    name: 'tell',
    on: 'orders',
    then: [{ emit: { channel: 'alerts', create: 'stream', type: 'told' } }],
  })
  const [ask] = open({ consume: ['orders'], manage: ['orders'], read: ['orders'] })
  await broker.publish('orders', { type: 't', id: '1', source: '/s' } as never)
  expect((await ask('POST', '/consumers/rules.orders/pull', { channels: ['orders'], wait: '1s' })).status).toBe(400)
  expect((await ask('POST', '/api/consumers/rules.orders/rewind?to=end')).status).toBe(403)
  await published(broker, 'alerts', 1)
  await rules.stop()
})

test('rules can run over a connection of a caller that may change all rules', { timeout: 30_000 }, async () => {
  const client = await remote({ ...everything, rules: ['>'] })
  const rules = await startRules(client)
  await rules.put({
    name: 'tell',
    on: 'orders',
    then: [{ emit: { channel: 'alerts', create: 'stream', type: 'told' } }],
  })
  await client.publish('orders', { type: 't', id: '1', source: '/s' } as never)
  await published(broker, 'alerts', 1)
  await rules.remove('tell')
  await rules.stop()
})

describe('names', () => {
  beforeEach(async () => {
    await rulesOf(broker).put({ name: 'first', on: 'secret.merger', then: 'drop' })
    const inside = createGateway(broker, { drain: 0 })
    gateways.push(inside)
    const put = {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ channels: ['secret.merger'], url: 'https://example.com/' }),
    }
    expect((await inside.fetch(new Request('http://localhost/api/subscriptions/first', put))).status).toBe(201)
    const running = await broker.start(consumer('first', stream('secret.merger')).onAny(() => undefined))
    await running.stop()
  })
  const limited: Permissions = {
    publish: ['orders'],
    consume: ['orders'],
    read: ['orders'],
    manage: ['orders'],
    rules: ['orders'],
  }

  test('HTTP reveals neither which consumers exist nor their channels', async () => {
    const [ask, holder] = open(limited, everything)
    expect((await holder('PUT', '/consumers/first', { channels: ['secret.merger'] })).status).toBe(201)
    for (const [method, path, body] of [
      ['GET', '/api/subscriptions/NAME'],
      ['DELETE', '/api/subscriptions/NAME'],
      ['POST', '/api/subscriptions/NAME/disable'],
      ['GET', '/api/rules/NAME'],
      ['DELETE', '/api/rules/NAME'],
      ['POST', '/api/rules/NAME/disable'],
      ['POST', '/api/rule-tests', { rule: 'NAME' }],
      ['GET', '/api/consumers/NAME/dead-letters'],
      ['GET', '/api/consumers/NAME/dead-letters?channel=orders'],
      ['GET', '/api/consumers/push.NAME/dead-letters'],
      ['POST', '/api/consumers/NAME/dead-letters/redrive?all=true'],
      ['POST', '/api/consumers/NAME/rewind?to=end'],
      ['POST', '/api/consumers/NAME/rewind?to=end&channel=orders'],
      ['DELETE', '/api/consumers/NAME'],
      ['POST', '/consumers/NAME/pull', {}],
      ['POST', '/consumers/NAME/leave'],
    ] as const) {
      const [there, absent] = await Promise.all(
        ['first', 'other'].map(async (name) => {
          const named =
            body === undefined ? undefined : (JSON.parse(JSON.stringify(body).replace('NAME', name)) as object)
          const { status, text } = await ask(method, path.replace('NAME', name), named)
          return { status, text: text.replaceAll(name, 'NAME') }
        }),
      )
      expect([method, path, there]).toEqual([method, path, absent])
      expect([path, there?.status]).toEqual([path, 403])
      expect(there?.text).not.toContain('merger')
    }
    for (const [path, body] of [
      ['/api/subscriptions/first', { channels: ['orders'], url: 'https://example.com/' }],
      ['/api/rules/first', { on: 'orders', then: 'drop' }],
      ['/consumers/first', { channels: ['orders'] }],
    ] as const) {
      const { status, text } = await ask('PUT', path, body)
      expect([path, status, text.includes('merger')]).toEqual([path, 403, false])
    }
  })

  test('the wire does not reveal them either, and a refused read says so', async () => {
    const client = await remote(limited)
    const of = async (name: string): Promise<string[]> => {
      const said = [
        await refusal(client.deadLetters(name).list()),
        await refusal(client.deadLetters(name).list({ channel: 'orders' })),
        await refusal(client.deadLetters(name).redrive()),
        await refusal(client.deadLetters(name).drop({ id: 'x' })),
        await refusal(client.consumer(name).rewind('end')),
        await refusal(client.consumer(name).remove()),
      ]
      return said.map((text) => text.replaceAll(name, 'NAME'))
    }
    const said = await of('first')
    expect(said).toEqual(await of('other'))
    expect(said.join()).not.toContain('merger')
    expect(said.every((text) => text.startsWith('FORBIDDEN'))).toBe(true)
    const read = await refusal(client.read('secret.merger').next())
    expect(read).toMatch(/^FORBIDDEN/)
    expect(read).not.toContain('publish')
  })
})

test('a rewind takes its position from the query or from its body, and not from both', async () => {
  const seen: number[] = []
  const running = await broker.start(consumer('mine', stream('orders')).onAny(({ offset }) => void seen.push(offset)))
  await broker.publish('orders', { type: 't', id: '1', source: '/s' } as never)
  await expect.poll(() => seen).toEqual([0])
  const [ask] = open(everything)
  const path = '/api/consumers/mine/rewind'
  expect((await ask('POST', path, { to: 0, channel: 'orders', reason: 'mended' })).status).toBe(204)
  await expect.poll(() => seen).toEqual([0, 0])
  for (const [query, body] of [
    ['', { to: 0 }],
    ['?to=0', { to: 0 }],
    ['', { to: true }],
    ['', { too: 0 }],
    ['', { to: 0, channel: 1 }],
    ['', {}],
  ] as const) {
    expect([query, body, (await ask('POST', `${path}${query}`, body)).status]).toEqual([query, body, 400])
  }
  await running.stop()
})
