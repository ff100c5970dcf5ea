/** `GET /channels/{channel}/events/{offset}/causes` and `…/effects`: a causal tree as lines of JSON. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'

let broker: Broker
let gateway: Gateway
let folder: string

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-causality-'))
  broker = await connect('memory:')
  await broker.declare(stream('orders'), stream('bills'), stream('secrets'))
  gateway = createGateway(broker, { drain: 0 })
  await broker.publish('orders', { type: 'order', id: 'o-1' })
  await broker.publish('bills', { type: 'bill', id: 'b-1', causationid: 'o-1', correlationid: 'o-1', data: 'line\n2' })
  await broker.publish('secrets', { type: 'secret', id: 's-1', causationid: 'b-1', correlationid: 'o-1' })
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
  rmSync(folder, { recursive: true })
})

async function lines(path: string, of = gateway, headers = {}): Promise<Record<string, unknown>[]> {
  const answer = await of.fetch(new Request(`http://localhost${path}`, { headers }))
  const text = await answer.text()
  expect([answer.status, answer.headers.get('content-type')], text).toEqual([200, 'application/x-ndjson'])
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

test('each event is a line, and the last line says whether everything was seen', async () => {
  const effects = await lines('/channels/orders/events/0/effects')
  expect(effects.flatMap(({ found }) => found ?? [])).toEqual([
    {
      ...{ channel: 'bills', offset: 0, storedAt: expect.stringMatching(/Z$/), relation: 'effect', distance: 1 },
      event: expect.objectContaining({ id: 'b-1', data: 'line\n2' }),
    },
    expect.objectContaining({ channel: 'secrets', distance: 2 }),
  ])
  expect(effects.at(-1)).toEqual({ end: { looked: 3, channels: 3, complete: true, ended: null } })
  const causes = await lines('/channels/secrets/events/0/causes')
  expect(causes.flatMap(({ found }) => (found as { channel: string } | undefined)?.channel ?? [])).toEqual([
    'bills',
    'orders',
  ])
})

test('a caller sets the budget of a walk, within bounds', async () => {
  expect((await lines('/channels/orders/events/0/effects?scan=1')).at(-1)).toMatchObject({ end: { ended: 'budget' } })
  expect((await lines('/channels/orders/events/0/effects?limit=1')).at(-1)).toMatchObject({ end: { ended: 'limit' } })
  for (const query of ['scan=0', 'scan=x', 'limit=10001']) {
    const answer = await gateway.fetch(new Request(`http://localhost/channels/orders/events/0/effects?${query}`))
    expect(answer.status, query).toBe(400)
  }
  const answer = await gateway.fetch(new Request('http://localhost/channels/orders/events/one/effects'))
  expect(answer.status).toBe(400)
})

test('a walk skips channels that the caller may not read', async () => {
  const tokens = join(folder, 'tokens.json')
  const { token } = addToken(tokens, { name: 'clerk', permissions: { read: ['orders', 'bills'] } })
  const guarded = createGateway(broker, { access: { tokens }, drain: 0 })
  const headers = { authorization: `Bearer ${token}` }
  const found = await lines('/channels/orders/events/0/effects', guarded, headers)
  expect(found.filter((line) => 'found' in line)).toHaveLength(1)
  expect(found.at(-1)).toMatchObject({ end: { channels: 2, complete: true } })
  const refused = await guarded.fetch(new Request('http://localhost/channels/secrets/events/0/causes', { headers }))
  expect(refused.status).toBe(403)
  await guarded.close()
})

test('a client that leaves frees its slot', async () => {
  for (let n = 0; n < 40; n++) {
    const answer = await gateway.fetch(new Request('http://localhost/channels/orders/events/0/effects'))
    expect(answer.status).toBe(200)
    await answer.body?.cancel()
  }
})
