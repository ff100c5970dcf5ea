/** Clause 8 after a takeover of a shared directory: the next owner knows the ids before anything is published to it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Broker, connect, consumer, stream } from '../../src/index.ts'

const open: Broker[] = []
let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-takeover-'))
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((broker) => broker.close()))
  rmSync(directory, { recursive: true, force: true })
})

async function connected(): Promise<Broker> {
  const broker = await connect(`file:${directory}`)
  open.push(broker)
  return broker
}

const orders = stream('orders')
const bills = stream('bills')

async function ids(broker: Broker, channel = orders): Promise<string[]> {
  const found: string[] = []
  for await (const { id } of broker.read(channel)) found.push(id)
  return found
}

const order = (id: string): { readonly type: string; readonly id: string } => ({ type: 'order', id })

it('a broker that declared its channel to the owner before knows acknowledged ids at the next owner', async () => {
  const owner = await connected()
  await owner.declare(orders)
  const other = await connected()
  const first = [
    await other.publish(orders, order('one')),
    await other.publish(orders, order('two')),
    await other.publish(orders, order('three')),
  ]
  const waits = await other.publish(orders, order('waits'), { delay: '1h' })
  await owner.close()
  const known = [...first, waits].map((receipt) => ({ ...receipt, duplicate: true }))
  const [fresh, single, batch, delayed, waiting] = await Promise.all([
    other.publish(orders, order('new')),
    other.publish(orders, order('one')),
    other.publish(orders, [order('two'), order('new'), order('waits')]),
    other.publish(orders, order('three'), { delay: '1h' }),
    other.publish(orders, order('waits'), { delay: '2h' }),
  ])
  expect([single, batch[0], delayed, waiting]).toEqual(known)
  // Either of the two may be first.
  expect([fresh.duplicate, batch[1]?.duplicate].sort()).toEqual([false, true])
  expect({ ...batch[1], duplicate: false }).toEqual({ ...fresh, duplicate: false })
  expect(batch[2]).toEqual(known[3])
  expect(await ids(other)).toEqual(['one', 'two', 'three', 'new'])
})

it('emissions of a consumer that goes on at the next owner are known too, in their order', async () => {
  const owner = await connected()
  const other = await connected()
  const handled: string[] = []
  await other.start(
    consumer('billing', orders, { concurrency: 1 }).onAny(async ({ id }, ctx) => {
      await ctx.emit(bills, order(`bill-${(handled.push(id) - 1) % 10}`))
    }),
  )
  const publish = (from: number): Promise<unknown> =>
    other.publish(
      orders,
      Array.from({ length: 10 }, (_, at) => order(`order-${from + at}`)),
    )
  await publish(0)
  await expect.poll(async () => (await ids(other, bills)).length, { timeout: 10_000 }).toBe(10)
  await owner.close()
  await publish(10)
  await expect.poll(() => handled.length, { timeout: 10_000 }).toBe(20)
  await other.publish(bills, order('last'))
  expect(await ids(other, bills)).toEqual([...Array.from({ length: 10 }, (_, at) => `bill-${at}`), 'last'])
})
