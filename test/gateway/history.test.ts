/** The metrics history over HTTP: what it answers, to whom, and what it refuses. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway, type GatewayOptions } from '../../src/gateway/index.ts'
import { consumer, stream } from '../../src/index.ts'
import { type TestBroker, testBroker } from '../../src/testing/index.ts'
import { ask } from './ask.ts'

interface History {
  readonly stepMs: number
  readonly figures: Readonly<Record<string, readonly (number | null)[]>>
}

let broker: TestBroker
const gateways: Gateway[] = []

async function open(options: GatewayOptions = {}): Promise<Gateway> {
  const gateway = createGateway(broker, { drain: 0, ...options })
  gateways.push(gateway)
  await gateway.started
  return gateway
}

beforeEach(async () => {
  broker = testBroker()
  await broker.declare(stream('orders'), stream('secrets'))
  const both = await broker.start(consumer('both', ['orders', 'secrets']).onAny(() => undefined))
  await both.stop()
})
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.close()
  await broker.close()
})

describe('the metrics history', () => {
  test('answers the figures of a channel and of a consumer, with gaps before it began', async () => {
    const gateway = await open()
    await broker.advance('10s')
    await broker.publish('orders', [{ type: 'a' }, { type: 'a' }])
    await broker.advance('10s')
    const channel = (await ask(gateway, 'GET', '/api/channels/orders/history?from=1m')).body as unknown as History
    expect(channel).toMatchObject({ stepMs: 10_000 })
    expect(channel.figures['published']?.filter((rate) => rate !== null)).toContain(0.2)
    expect(channel.figures['published']?.[0]).toBe(null)
    const found = (await ask(gateway, 'GET', '/api/consumers/both/history?from=1m')).body as unknown as History
    expect(found.figures['lag']).toContain(2)
    const few = (await ask(gateway, 'GET', '/api/consumers/both/history?from=30d&points=10')).body as unknown as History
    expect(few.figures['lag']?.length).toBeLessThanOrEqual(10)
  })

  test('refuses what it cannot answer', async () => {
    const gateway = await open()
    for (const [path, status] of [
      ['channels/orders/history?from=beginning', 400],
      ['channels/orders/history?from=5', 400],
      ['channels/orders/history?from=90d', 400],
      ['channels/orders/history?from=1h&to=2h', 400],
      ['channels/orders/history?points=0', 400],
      ['channels/orders/history?points=1000000', 400],
      ['channels/orders/history?other=1', 400],
      ['channels/nowhere/history', 404],
      ['consumers/nobody/history', 404],
    ] as const)
      expect([path, (await ask(gateway, 'GET', `/api/${path}`)).status]).toEqual([path, status])
  })

  test('shows a caller the channels that it sees, and the consumers of these only', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-history-'))
    const tokens = join(folder, 'tokens.json')
    const orders = addToken(tokens, { name: 'orders', permissions: { read: ['orders'] } }).token
    const all = addToken(tokens, { name: 'all', permissions: { read: ['>'] } }).token
    const gateway = await open({ access: { tokens } })
    await broker.advance('20s')
    const status = async (of: string, token: string | undefined): Promise<number> =>
      (await ask(gateway, 'GET', `/api/${of}/history`, undefined, token)).status
    expect(await status('channels/orders', orders)).toBe(200)
    expect(await status('channels/secrets', orders)).toBe(403)
    expect(await status('consumers/both', orders)).toBe(403)
    expect(await status('consumers/nobody', orders)).toBe(403)
    expect(await status('consumers/both', all)).toBe(200)
    expect(await status('channels/$audit', all)).toBe(403)
    expect(await status('channels/orders', undefined)).toBe(401)
    rmSync(folder, { recursive: true })
  })

  test('is not recorded where it is switched off, and its options are checked', async () => {
    const gateway = await open({ history: false })
    await broker.advance('20s')
    expect((await ask(gateway, 'GET', '/api/channels/orders/history')).body['figures']).toEqual({})
    for (const history of [{ objects: 0 }, { objects: 1.5 }, { other: 1 }] as never[])
      expect(() => createGateway(broker, { history })).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
  })
})
