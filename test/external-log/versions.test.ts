/** A deployment over a server's engine: events reach the process whose code knows their version. */
import { afterEach, expect, test } from 'vitest'
import { z } from 'zod'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { VersionsMet } from '../../src/external-log/ownership/versions-met.ts'
import { consumer, event, stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

const opened: ConnectedBroker[] = []
afterEach(async () => {
  for (const broker of opened.splice(0)) await broker.close()
})

async function open(server: MemoryServer): Promise<ConnectedBroker> {
  const engine = await ExternalLogEngine.open({ backend: new MemoryBackend(server), partitions: 4 })
  const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
  opened.push(broker)
  return broker
}

const First = event('paid', z.object({ order: z.string(), euros: z.number() }))
const Second = First.nextVersion(2, z.object({ order: z.string(), cents: z.number() }), ({ order, euros }) => ({
  order,
  cents: euros * 100,
}))
const before = stream('payments', { events: [First], key: 'data.order' })
const after = stream('payments', { events: [Second], key: 'data.order' })

test('a process with old code leaves its partitions to one with new code, and takes them when that one stops', async () => {
  const server = new MemoryServer()
  const [old, young] = [await open(server), await open(server)]
  const [euros, cents]: [string[], string[]] = [[], []]
  await old.start(consumer('ledger', before, { lease: '2s' }).on(First, ({ data }) => void euros.push(data.order)))
  const orders = Array.from({ length: 12 }, (_, at) => `o-${at}`)
  await young.publish(
    after,
    orders.map((order) => Second({ order, cents: 1 })),
  )
  await expect
    .poll(async () => (await old.alarms()).map(({ code }) => code), { timeout: 15_000 })
    .toContain('UNKNOWN_VERSION')
  const running = await young.start(
    consumer('ledger', after, { lease: '2s' }).on(Second, ({ data }) => void cents.push(data.order)),
  )
  await expect.poll(() => [...new Set(cents)].sort(), { timeout: 20_000 }).toEqual([...orders].sort())
  expect(euros).toEqual([])
  await running.stop()
  await old.publish(before, First({ order: 'last', euros: 1 }))
  await expect.poll(() => euros, { timeout: 20_000 }).toEqual(['last'])
  expect(await old.deadLetters('ledger').list()).toEqual([])
}, 60_000)

test('a member steps back only for one that works and knows the version', () => {
  const met = new VersionsMet()
  const mine = [{ spec: { versions: { paid: 1 } } }]
  const knowing = { idle: false, versions: { paid: 2 } }
  expect(met.isBehind(mine, [knowing])).toBe(false)
  met.add([{ type: 'paid', version: 2 }])
  expect(met.isBehind(mine, [knowing])).toBe(true)
  expect(met.isBehind(mine, [{ ...knowing, idle: true }])).toBe(false)
  expect(met.isBehind(mine, [{ idle: false }, { idle: false, versions: { other: 2 } }])).toBe(false)
  expect(met.isBehind([...mine, { spec: { versions: { paid: 2 } } }], [knowing])).toBe(false)
})
