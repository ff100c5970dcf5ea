/** Clause 18, errors: the stored declaration of a channel also applies to processes without the channel's code. */
import assert from 'node:assert/strict'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { type Stream, stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import { type EventDefinition, event } from '../../../event/event.ts'
import { type Order, orderSchema, orderStream, placed, refused } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

const ORDER_JSON = {
  type: 'object',
  properties: { order: { type: 'string' }, n: { type: 'number', minimum: 0 } },
  required: ['order', 'n'],
}

/** An event whose schema provides its JSON Schema, as schema libraries do. */
const described = {
  '~standard': { ...orderSchema['~standard'], jsonSchema: { input: () => ORDER_JSON, output: () => ORDER_JSON } },
} as StandardSchemaV1<Order, Order>
const Described: EventDefinition<'order.described', Order, Order> = event('order.described', described)

function describedStream(name: string): Stream {
  return stream(name, { events: [Described], key: 'data.order' }) as unknown as Stream
}

const made = (data: unknown): { readonly type: string; readonly data: unknown } => ({ type: 'order.described', data })

export const declarations: readonly Scenario[] = clause(18, {
  'a-key-by-its-path-is-taken-by-a-broker-without-the-channels-code': [
    ['reopen'],
    async (world) => {
      const orders = describedStream(world.name('orders'))
      const app = await world.connect()
      await app.declare(orders)
      const broker = await world.reopen(app)
      await broker.publish(orders.name, made({ order: 'a', n: 1 }))
      await broker.publish(orders.name, [made({ order: 'a', n: 2 }), made({ order: 'b', n: 3 })])
      await refused(() => broker.publish(orders.name, made({ n: 4 })), 'INVALID_EVENT', orders.name, 'data.order')
      await broker.publish(orders, made({ order: 'b', n: 5 }) as never)
      const keys: (string | null)[] = []
      await broker.start(consumer(world.name('worker'), orders).onAny((_, { key }) => void keys.push(key)))
      await world.eventually(() => assert.deepEqual(keys.toSorted(), ['a', 'a', 'b', 'b']))
    },
  ],

  'data-that-the-kept-schema-refuses-is-refused-by-a-broker-without-the-channels-code': [
    ['reopen'],
    async (world) => {
      const orders = describedStream(world.name('orders'))
      const app = await world.connect()
      await app.declare(orders)
      const broker = await world.reopen(app)
      await refused(
        () => broker.publish(orders.name, made({ order: 'a', n: -1 })),
        'SCHEMA_MISMATCH',
        'order.described',
        'n',
      )
      await refused(
        () => broker.publish(orders.name, [made({ order: 'a', n: 1 }), made({ order: 'a', n: 'x' })]),
        'SCHEMA_MISMATCH',
        'n',
      )
      await broker.publish(orders.name, made({ order: 'a', n: 1 }))
      const stored: unknown[] = []
      for await (const { data } of broker.read(orders.name)) stored.push(data)
      assert.deepEqual(stored, [{ order: 'a', n: 1 }])
    },
  ],

  'an-event-without-a-key-is-refused-by-a-broker-without-the-channels-key-function': [
    ['reopen'],
    async (world) => {
      const orders = orderStream(world.name('orders'))
      const app = await world.connect()
      await app.declare(orders)
      const broker = await world.reopen(app)
      const { type, data } = placed('a', 1)
      await refused(() => broker.publish(orders.name, { type, data }), 'INVALID_EVENT', orders.name, 'partitionkey')
      await broker.publish(orders.name, { type, data, partitionkey: 'a' })
      await broker.publish(orders, placed('a', 2))
    },
  ],
})
