import { beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Gateway } from '../../src/gateway/index.ts'
import { consumer, event, stream } from '../../src/index.ts'
import { accessWorld, call, eventually, event as sent } from './access-world.ts'

const Sold = event('item.sold', z.object({ sku: z.string(), quantity: z.int() }))
const sales = stream('sales', { events: [Sold], key: 'data.sku' })
const world = accessWorld()

beforeEach(async () => {
  const { broker } = world
  const totals = consumer('totals', sales, {
    state: { schema: z.object({ sold: z.int() }), initial: { sold: 0 } },
  }).on(Sold, ({ data }, ctx) => ctx.setState({ sold: ctx.state.sold + data.quantity }))
  await broker.start(totals)
  for (const sku of ['tea/green', 'tea/black', 'cup']) await broker.publish(sales, Sold({ sku, quantity: 2 }))
  await eventually(async () => (await broker.table(totals).get('cup'))?.value).toEqual({ sold: 2 })
})

/** Tokens are made before. */
const opened = (): Gateway => world.open({ access: { tokens: world.tokens } })

describe('tables over HTTP', () => {
  test('are read by key and in pages', async () => {
    const reader = world.make({ read: ['$state.totals'] }, { name: 'reader' })
    const gateway = opened()
    expect(await call(gateway, '/api/tables/totals/tea%2Fgreen', reader)).toMatchObject({
      status: 200,
      body: { key: 'tea/green', value: { sold: 2 } },
    })
    expect(await call(gateway, '/api/tables/totals/none', reader)).toMatchObject({ status: 404 })
    const first = (await call(gateway, '/api/tables/totals?limit=2', reader)).body as {
      entries: object[]
      next: string
    }
    expect(first).toMatchObject({ entries: [{ key: 'cup' }, { key: 'tea/black' }], next: 'tea/black' })
    const second = (await call(gateway, `/api/tables/totals?after=${encodeURIComponent(first.next)}`, reader)).body
    expect(second).toMatchObject({ entries: [{ key: 'tea/green' }], next: null })
    expect(await call(gateway, '/api/tables/totals?prefix=tea', reader)).toMatchObject({
      body: { entries: [{ key: 'tea/black' }, { key: 'tea/green' }] },
    })
  })

  test('need read on the channel that holds them, by its name', async () => {
    const other = world.make({ read: ['>'], publish: ['>'], manage: ['>'] }, { name: 'other' })
    const gateway = opened()
    expect(await call(gateway, '/api/tables/totals', other)).toMatchObject({ status: 403 })
    expect(await call(gateway, '/api/tables/totals/cup', other)).toMatchObject({ status: 403 })
    expect(await call(gateway, '/api/tables/sales', other)).toMatchObject({
      status: 400,
      body: { code: 'INVALID_OPTION' },
    })
  })

  test('are not written over HTTP', async () => {
    const owner = world.make(
      { publish: ['>', '$state.>'], manage: ['>', '$state.>'], read: ['$state.totals'] },
      { name: 'owner' },
    )
    const gateway = opened()
    const published = await call(gateway, '/channels/$state.totals/events', owner, 'POST', {
      ...sent,
      type: '$state.totals',
    })
    expect(published.status).toBe(403)
    expect((await call(gateway, '/api/channels/$state.totals', owner, 'DELETE')).status).toBe(403)
  })

  test('a rewind over HTTP says what happens with the state', async () => {
    const manager = world.make({ manage: ['>'] }, { name: 'manager' })
    const gateway = opened()
    const rewind = '/api/consumers/totals/rewind?to=beginning&reason=mended'
    expect((await call(gateway, rewind, manager, 'POST')).status).toBe(400)
    expect((await call(gateway, `${rewind}&state=forget`, manager, 'POST')).status).toBe(400)
    expect((await call(gateway, `${rewind}&state=keep`, manager, 'POST')).status).toBe(204)
    await eventually(async () => (await world.broker.table('totals').get('cup'))?.value).toEqual({ sold: 4 })
  })
})
