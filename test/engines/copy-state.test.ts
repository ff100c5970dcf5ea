/** A copy takes the states of consumers with it, and the consumer goes on with them. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { z } from 'zod'
import { copyBroker } from '../../src/copy/copy.ts'
import { type Broker, connect, consumer, event, stream } from '../../src/index.ts'

const directory = mkdtempSync(join(tmpdir(), 'millrace-copy-state-'))
afterEach(() => rmSync(directory, { recursive: true }))

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
