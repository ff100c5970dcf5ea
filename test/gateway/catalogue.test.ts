/** The catalogue over HTTP: what it is made of, and what a caller sees of it. */
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { consumer, event, stream } from '../../src/index.ts'
import { rulesOf } from '../../src/rules/index.ts'
import { accessWorld, call, eventually } from './access-world.ts'

interface Listed {
  readonly events: readonly {
    readonly type: string
    readonly schemas: readonly { readonly path: string | null }[]
    readonly producers: readonly { readonly kind: string; readonly name: string }[]
    readonly examples: readonly { readonly event: { readonly data: unknown } }[]
  }[]
  readonly channels: readonly { readonly name: string }[]
}

const world = accessWorld()
const Paid = event('order.paid', z.object({ order: z.string(), card: z.string().meta({ 'x-sensitive': true }) }))

async function shop(): Promise<void> {
  const { broker } = world
  const eu = stream('orders.eu', { events: [Paid, event('order.filed')] })
  await broker.declare(eu, stream('orders.us', { events: [event('order.paid', z.object({ other: z.number() }))] }))
  const Told = event('secret.told', z.object({ secret: z.string() })).nextVersion(
    2,
    z.object({ newer: z.string() }),
    ({ secret }) => ({ newer: secret }),
  )
  await broker.declare(stream('secrets', { events: [Told] }))
  await rulesOf(broker).put({
    name: 'mirror',
    on: 'orders.*',
    then: { emit: { channel: 'secrets', type: 'secret.told' } },
  })
  await broker.start(
    consumer('filing', eu).on(Paid, ({ data }, ctx) =>
      ctx.emit('orders.eu', { type: 'order.filed', data: data.order }),
    ),
  )
  await broker.publish(eu, Paid({ order: 'o-1', card: '4111-1111' }, { source: '/shop' }))
  await broker.publish('secrets', { type: 'secret.told', source: '/vault', data: { secret: 'x' } })
}

describe('the catalogue', () => {
  test('lists events with schemas, publishers seen, and a masked example; the schema is where it says', async () => {
    await shop()
    const gateway = world.open({ hosts: 'any' })
    const listed = async (): Promise<Listed> => (await call(gateway, '/catalogue', null)).body as Listed
    const producers = async (): Promise<unknown> =>
      (await listed()).events.find(({ type }) => type === 'order.filed')?.producers
    await eventually(producers).toMatchObject([{ kind: 'consumer', name: 'filing' }])
    const { events, channels } = await listed()
    expect(channels.map(({ name }) => name)).toEqual(['orders.eu', 'orders.us', 'secrets'])
    const paid = events.find(({ type }) => type === 'order.paid')
    expect(paid?.examples).toMatchObject([{ event: { data: { order: 'o-1', card: '[masked]' } } }])
    for (const { path } of paid?.schemas ?? []) {
      const got = await call(gateway, path ?? '', null)
      expect([got.status, got.headers.get('content-type'), got.body.type]).toEqual([
        200,
        'application/schema+json',
        'object',
      ])
    }
  })

  test('can be of one type', async () => {
    await shop()
    const gateway = world.open({ hosts: 'any' })
    const { body } = await call(gateway, '/catalogue?type=order.filed', null)
    expect(body).toMatchObject({
      events: [{ type: 'order.filed' }],
      channels: [{ name: 'orders.eu' }],
      consumers: [{ name: 'filing' }],
      rules: [{ name: 'mirror' }],
    })
    expect((await call(gateway, '/catalogue?type=nothing', null)).body).toMatchObject({ events: [], channels: [] })
  })

  test('gives the schema of a type by its name if there is one, and by its channel if there are several', async () => {
    await shop()
    const gateway = world.open({ hosts: 'any' })
    expect(await call(gateway, '/schemas/secret.told', null)).toMatchObject({
      status: 200,
      body: { required: ['newer'] },
    })
    expect((await call(gateway, '/schemas/order.paid', null)).status).toBe(409)
    expect((await call(gateway, '/schemas/order.paid?channel=orders.us', null)).body).toMatchObject({
      required: ['other'],
    })
    expect((await call(gateway, '/schemas/order.filed', null)).status).toBe(404)
    expect((await call(gateway, '/schemas/secret.told?version=2', null)).body).toMatchObject({ required: ['newer'] })
    expect((await call(gateway, '/schemas/secret.told?version=1', null)).body).toMatchObject({ required: ['secret'] })
    expect((await call(gateway, '/schemas/constructor', null)).status).toBe(404)
  })

  test('shows a caller nothing of channels that it may not see, and no data of those that it may not read', async () => {
    await shop()
    const reader = world.make({ read: ['orders.eu'] })
    const publisher = world.make({ publish: ['orders.eu'] })
    const scraper = world.make({ metrics: ['>'] })
    const gateway = world.open({ access: { tokens: world.tokens } })
    for (const path of ['/catalogue', '/asyncapi.json']) {
      const text = JSON.stringify((await call(gateway, path, reader)).body)
      for (const hidden of ['secret', 'orders.us', '/vault', '4111']) expect(text).not.toContain(hidden)
      expect(text).toContain('o-1')
      const blind = JSON.stringify((await call(gateway, path, publisher)).body)
      expect(blind).toContain('order.paid')
      expect(blind).not.toContain('o-1')
      expect(JSON.stringify((await call(gateway, path, scraper)).body)).not.toContain('order.paid')
      expect((await call(gateway, path, null)).status).toBe(401)
    }
    for (const type of ['secret.told', 'nothing'])
      expect(await call(gateway, `/schemas/${type}`, reader)).toMatchObject({ status: 403, code: 'FORBIDDEN' })
    expect((await call(gateway, '/schemas/order.paid', reader)).body).toMatchObject({ required: ['order', 'card'] })
  })

  test('is AsyncAPI 3.0, and 3.1 on request', async () => {
    await shop()
    const gateway = world.open({ hosts: 'any' })
    expect((await call(gateway, '/asyncapi.json', null)).body.asyncapi).toBe('3.0.0')
    expect((await call(gateway, '/asyncapi.json?version=3.1', null)).body.asyncapi).toBe('3.1.0')
    for (const query of ['version=2', 'consumer=a&source=b'])
      expect((await call(gateway, `/asyncapi.json?${query}`, null)).status).toBe(400)
    const { body } = await call(gateway, '/asyncapi.json?consumer=filing', null)
    expect([body.info.title, Object.keys(body.channels)]).toEqual(['filing', ['orders.eu']])
  })
})
