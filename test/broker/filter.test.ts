/** Clause 15 on the embedded engine: what no handler wants stays text, however many handlers have patterns. */
import { afterEach, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { connect, consumer, event, stream } from '../../src/index.ts'
import { eventually } from '../rules/support.ts'

const Added = event('added', z.object({ sku: z.string(), n: z.string().transform(Number) }))
const Other = event('other')
const carts = stream('carts', { events: [Added, Other] })

afterEach(() => vi.restoreAllMocks())

it('an event that no handler wants never becomes a JavaScript object', async () => {
  const broker = await connect('memory:')
  const seen: string[] = []
  const shop = consumer('shop', carts)
  for (let each = 0; each < 50; each++)
    shop.on(Added.where({ sku: [`s-${each}`] }), ({ data }) => void seen.push(`${data.sku} ${data.n}`))
  await broker.start(shop)
  const parse = vi.spyOn(JSON, 'parse')
  for (let each = 0; each < 40; each++) await broker.publish(carts, Added({ sku: `none-${each}`, n: '1' }))
  await broker.publish(carts, Other({ sku: 's-1' }))
  await broker.publish(carts, Added({ sku: 's-7', n: '2' }))
  await eventually(() => expect(seen).toEqual(['s-7 2']))
  await eventually(async () => expect((await broker.describe()).consumers[0]?.channels[0]?.lag).toBe(0))
  const events = parse.mock.calls.map(([text]) => String(text)).filter((text) => text.includes('"sku"'))
  expect(events).toHaveLength(1)
  expect(events[0]).toContain('"s-7"')
  await broker.close()
})

it('patterns are asked of what was published, not of what a schema makes of it, and each handler gets its own in order', async () => {
  const broker = await connect('memory:')
  const seen: string[] = []
  await broker.start(
    consumer('shop', carts)
      .on(Added.where({ n: ['5'] }), () => void seen.push('five'))
      .on(Added, ({ data }) => void seen.push(`all ${data.n}`))
      .on(Added.where({ n: [{ prefix: '5' }] }), () => void seen.push('begins with five'))
      .onAny(({ type }) => void seen.push(type)),
  )
  await broker.publish(carts, [Added({ sku: 'a', n: '5' }), Added({ sku: 'a', n: '6' }), Other({})])
  await eventually(() => expect(seen.toSorted()).toEqual(['all 5', 'all 6', 'begins with five', 'five', 'other']))
  expect(seen.filter((each) => each !== 'other' && each !== 'all 6')).toEqual(['five', 'all 5', 'begins with five'])
  await broker.close()
})
