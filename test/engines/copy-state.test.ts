/** A copy takes the states of consumers with it, and the consumer goes on with them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { z } from 'zod'
import { engineOf } from '../../src/broker/engine-of.ts'
import { copyBroker } from '../../src/copy/copy.ts'
import { planCopy } from '../../src/copy/copy-plan.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import { type Broker, connect, consumer, event, stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from '../external-log/memory-backend.ts'

const directory = mkdtempSync(join(tmpdir(), 'millrace-copy-state-'))
afterAll(() => rmSync(directory, { recursive: true }))

const Sold = event('sold', z.object({ sku: z.string() }))
const sales = stream('sales', { events: [Sold], key: 'data.sku' })
const totals = () =>
  consumer('totals', sales, { state: { schema: z.object({ sold: z.int() }), initial: { sold: 0 } } }).on(
    Sold,
    (_, ctx) => ctx.setState({ sold: ctx.state.sold + 1 }),
  )

async function sell(broker: Broker, count: number): Promise<void> {
  for (let at = 0; at < count; at++) await broker.publish(sales, Sold({ sku: `s-${at % 3}` }))
}

test('a copied consumer goes on with its state', async () => {
  const source = await connect(`file:${join(directory, 'a')}`)
  const running = await source.start(totals())
  await sell(source, 30)
  await expect.poll(async () => (await source.table(totals()).get('s-2'))?.value).toEqual({ sold: 10 })
  await running.stop()
  const target = await connect(`file:${join(directory, 'b')}`)
  await copyBroker(source, target, { name: 'a' })
  expect((await target.table(totals()).get('s-2'))?.value).toEqual({ sold: 10 })
  await target.start(totals())
  await sell(target, 30)
  await expect.poll(async () => (await target.table(totals()).get('s-2'))?.value).toEqual({ sold: 20 })
  await source.close()
  await target.close()
})

test('a copy that leaves the state of a consumer behind is refused, and changes nothing', async () => {
  const source = await connect('memory:')
  const running = await source.start(totals())
  await sell(source, 3)
  await expect.poll(async () => (await source.table(totals()).get('s-2'))?.value).toEqual({ sold: 1 })
  await running.stop()
  const target = await connect('memory:')
  await expect(copyBroker(source, target, { name: 'a', channels: ['sales'] })).rejects.toThrow(
    'consumer "totals" keeps state in "$state.totals": copy that channel too',
  )
  expect((await target.describe()).channels).toEqual([])
  await source.close()
  await target.close()
})

test('a copy of state to an engine that refuses clause 19 is refused', async () => {
  const source = await connect('memory:')
  const running = await source.start(totals())
  await sell(source, 3)
  await expect.poll(async () => (await source.table(totals()).get('s-2'))?.value).toEqual({ sold: 1 })
  await running.stop()
  const target = await ExternalLogEngine.open({ backend: new MemoryBackend(new MemoryServer()), partitions: 4 })
  const plan = await planCopy(engineOf(source), target, {})
  expect(plan.refusals).toEqual([expect.stringContaining('refuses clause 19')])
  await source.close()
  await target.close()
})
