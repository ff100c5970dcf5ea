/** The flow over HTTP: what it is made of, who sees what, and that it is sent only what has changed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { coreOf } from '../../src/broker/engine-of.ts'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, type Running, stream } from '../../src/index.ts'
import { startRules } from '../../src/rules/index.ts'

interface Flow {
  readonly parts: readonly { readonly id: string }[]
  readonly lines: readonly { readonly id: string; readonly certain: boolean }[]
  readonly numbers: { readonly parts: Readonly<Record<string, Readonly<Record<string, unknown>>>> }
}

let broker: Broker
let running: Running[]
beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('orders'), stream('payments'), stream('secrets'))
  running = [
    await broker.start(
      consumer('billing', 'orders').onAny((_, ctx) => ctx.emit('payments', { type: 'payment.taken' })),
    ),
    await broker.start(consumer('spies', 'secrets').onAny(() => undefined)),
  ]
  await broker.publish('orders', { type: 'order.placed', source: '/shop' })
  await broker.publish('secrets', { type: 'secret', source: '/vault' })
})
afterEach(async () => {
  await Promise.all(running.map((one) => one.stop()))
  await broker.close()
})

async function withGateway(gateway: Gateway, use: (gateway: Gateway) => Promise<void>): Promise<void> {
  await use(gateway).finally(() => gateway.close())
}
const flowOf = async (gateway: Gateway, headers = {}): Promise<Flow> =>
  (await (await gateway.fetch(new Request('http://localhost/api/flow', { headers }))).json()) as Flow
const idsOf = ({ parts }: Flow): string[] => parts.map(({ id }) => id).sort()

describe('the flow', () => {
  test('has sources, channels and consumers, and a line from a consumer to the channel of its emissions', async () => {
    await withGateway(createGateway(broker, { drain: 0 }), async (gateway) => {
      const lines = async (): Promise<string[]> => (await flowOf(gateway)).lines.map(({ id }) => id).sort()
      await expect
        .poll(lines)
        .toEqual([
          'channel:orders>consumer:billing',
          'channel:secrets>consumer:spies',
          'consumer:billing>channel:payments',
          'source:/shop>channel:orders',
          'source:/vault>channel:secrets',
        ])
      expect((await flowOf(gateway)).lines.every(({ certain }) => certain)).toBe(true)
    })
  })

  test('marks a line as uncertain if several consumers read the cause', async () => {
    running.push(await broker.start(consumer('audit', 'orders').onAny(() => undefined)))
    await withGateway(createGateway(broker, { drain: 0 }), async (gateway) => {
      const unsure = async (): Promise<string[]> =>
        (await flowOf(gateway)).lines.flatMap(({ id, certain }) => (certain ? [] : [id])).sort()
      await expect.poll(unsure).toEqual(['consumer:audit>channel:payments', 'consumer:billing>channel:payments'])
    })
  })

  test('has a line from a rule to the channel of its emissions, also if a wildcard names what it reads', async () => {
    await broker.declare(stream('orders.eu'), stream('copies'))
    const rules = await startRules(broker)
    await rules.put({ name: 'copied', on: 'orders.*', then: { emit: { channel: 'copies', type: 'order.copied' } } })
    running.push(await broker.start(consumer('audit', 'orders.eu').onAny(() => undefined)))
    await broker.publish('orders.eu', { type: 'order.placed', source: '/shop' })
    await withGateway(createGateway(broker, { drain: 0 }), async (gateway) => {
      const known = async (): Promise<unknown> => {
        const { parts, lines, numbers } = await flowOf(gateway)
        const origins = lines.flatMap(({ id }) => (id.endsWith('>channel:copies') ? [id] : []))
        return { origins, rate: parts.length > 0 && 'rate' in (numbers.parts['rule:copied'] ?? {}) }
      }
      // Only a rule that is the origin of sampled events has a rate.
      await expect.poll(known, { timeout: 15_000 }).toEqual({ origins: ['rule:copied>channel:copies'], rate: true })
    }).finally(() => rules.stop())
  })

  test('shows a rule with a wildcard to who may see one of its channels, without its sums', async () => {
    await broker.declare(stream('orders.eu'), stream('orders.secret'), stream('copies'))
    const rules = await startRules(broker)
    await rules.put({ name: 'copied', on: 'orders.*', then: { emit: { channel: 'copies', type: 'order.copied' } } })
    const folder = mkdtempSync(join(tmpdir(), 'millrace-flow-'))
    const tokens = join(folder, 'tokens.json')
    const { token } = addToken(tokens, { name: 'reader', permissions: { read: ['orders.eu'] } })
    await withGateway(createGateway(broker, { access: { tokens }, drain: 0 }), async (gateway) => {
      const flow = await flowOf(gateway, { authorization: `Bearer ${token}` })
      expect(idsOf(flow)).toEqual(['channel:orders.eu', 'rule:copied'])
      expect(flow.numbers.parts['rule:copied']).toEqual({ enabled: true })
      expect(JSON.stringify(flow)).not.toMatch(/secret|copies/)
    }).finally(() => rules.stop())
    rmSync(folder, { recursive: true })
  })

  test('has channels whose names begin like those of consumers that run rules', async () => {
    await broker.declare(stream('rules.changed'), stream('rule.log'))
    await broker.publish('rule.log', { type: 'line', source: '/logger' })
    await withGateway(createGateway(broker, { drain: 0 }), async (gateway) => {
      const ids = async (): Promise<string[]> => idsOf(await flowOf(gateway))
      await expect
        .poll(ids)
        .toEqual(expect.arrayContaining(['channel:rule.log', 'channel:rules.changed', 'source:/logger']))
      expect((await ids()).filter((id) => id.includes('$'))).toEqual([])
    })
  })

  test('shows removed parts for some time, and says since when they are gone', async () => {
    await withGateway(createGateway(broker, { drain: 0 }), async (gateway) => {
      await flowOf(gateway)
      await broker.removeChannel('secrets')
      const flow = await flowOf(gateway)
      expect(idsOf(flow)).toContain('channel:secrets')
      expect(flow.numbers.parts['channel:secrets']).toEqual({ goneMs: expect.any(Number) })
    })
  })

  test('shows a caller only the parts of its own channels', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-flow-'))
    const tokens = join(folder, 'tokens.json')
    const { token } = addToken(tokens, { name: 'reader', permissions: { read: ['orders'] } })
    await withGateway(createGateway(broker, { access: { tokens }, drain: 0 }), async (gateway) => {
      const authorization = `Bearer ${token}`
      expect(idsOf(await flowOf(gateway, { authorization }))).toEqual([
        'channel:orders',
        'consumer:billing',
        'source:/shop',
      ])
      expect((await gateway.fetch(new Request('http://localhost/api/flow'))).status).toBe(401)
      for (const path of ['pause', 'redrives', 'rewind?to=beginning', 'dead-letters/drop?all=true']) {
        const request = new Request(`http://localhost/api/consumers/billing/${path}`, {
          method: 'POST',
          headers: { authorization },
        })
        expect([path, (await gateway.fetch(request)).status]).toEqual([path, 403])
      }
    })
    rmSync(folder, { recursive: true })
  })

  test('can be followed: everything first, then changes and new parts', async () => {
    await withGateway(createGateway(broker, { drain: 0 }), async (gateway) => {
      const leaving = new AbortController()
      const response = await gateway.fetch(new Request('http://localhost/api/flow/stream', { signal: leaving.signal }))
      let text = ''
      let published = 0
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        text += new TextDecoder().decode(chunk)
        const seen = text.includes('source:/partner') ? 2 : 1
        if (published < seen) {
          published++
          await broker.publish('orders', { type: 'order.placed', source: '/partner' })
        }
        if (text.includes('event: numbers') && seen === 2) break
      }
      leaving.abort()
      expect(text.startsWith('event: flow\n')).toBe(true)
    })
  })

  test('survives a restart: rare sources, and what is gone since', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-flow-'))
    const open = async (): Promise<Broker> => connect(`file:${join(folder, 'data')}`, { logger: false })
    const first = await open()
    await first.declare(stream('orders'), stream('old'))
    await first.publish('orders', { type: 'order.placed', source: '/rare' })
    await withGateway(createGateway(first, { drain: 0 }), async (gateway) => {
      await expect.poll(async () => idsOf(await flowOf(gateway))).toContain('source:/rare')
    })
    // More than a process reads of one channel, so the rare source is not found again in the newest events.
    const many = Array.from({ length: 300 }, () => ({ type: 'order.placed', source: '/shop' }))
    await first.publish('orders', many)
    await first.removeChannel('old')
    await first.close()
    const second = await open()
    await withGateway(createGateway(second, { drain: 0 }), async (gateway) => {
      await expect
        .poll(async () => idsOf(await flowOf(gateway)))
        .toEqual(['channel:old', 'channel:orders', 'source:/rare', 'source:/shop'])
      expect((await flowOf(gateway)).numbers.parts['channel:old']).toEqual({ goneMs: expect.any(Number) })
    })
    const { encoder, engine } = coreOf(second)
    // What another version has saved is not read, and not in the way.
    await encoder.prepare('$flow')
    await engine.publish(
      '$flow',
      await encoder.encode('$flow', { type: 'millrace.flow', data: { seen: 'AAAA' } }),
      null,
    )
    await withGateway(createGateway(second, { drain: 0 }), async (gateway) => {
      await expect.poll(async () => idsOf(await flowOf(gateway))).toEqual(['channel:orders', 'source:/shop'])
    })
    await second.close()
    rmSync(folder, { recursive: true })
  })
})
