/** Publishing in the application's own transaction, when the broker is in its database. */
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postgresKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { outbox } from '../../src/data/index.ts'
import { type Broker, connect, event, stream } from '../../src/index.ts'
import { collecting } from './cases.ts'
import { withPlainPostgres } from './plain-postgres.ts'
import { kindOf } from './servers.ts'

const kind = kindOf('postgres', () => postgresKind())

const Placed = event('order.placed')
const orders = stream('orders', { events: [Placed], key: 'data.order' })

describe.skipIf(kind === undefined)('outbox() of a broker on Postgres', () => {
  let server: Server
  let broker: Broker
  let client: pg.Client

  beforeAll(async () => {
    if (kind === undefined) return
    server = await Server.start(kind)
    broker = await connect(server.url)
    client = new pg.Client(server.url)
    await client.connect()
    await client.query('CREATE TABLE orders (id int PRIMARY KEY)')
  })

  afterAll(async () => {
    await client?.end()
    await broker?.close()
    await server?.stop()
  })

  async function inTransaction(work: () => Promise<unknown>, end: 'commit' | 'rollback'): Promise<void> {
    await client.query('begin')
    await work()
    await client.query(end)
  }

  it('stores events with the commit, without tables of the outbox and without a relay; a rollback stores nothing', async () => {
    await broker.declare(orders)
    const given = await collecting(broker, 'orders')
    const place = async (order: number): Promise<unknown> => {
      await client.query('insert into orders values ($1)', [order])
      return outbox(client, { broker, source: '/shop' }).publish(orders, Placed({ order }))
    }
    await inTransaction(() => place(1), 'rollback')
    await inTransaction(async () => expect(await place(2)).toMatchObject({ channel: 'orders', offset: null }), 'commit')
    await inTransaction(
      () =>
        outbox(client, { broker }).publish(
          orders,
          [3, 4].map((order) => Placed({ order })),
        ),
      'commit',
    )
    await expect.poll(() => given.map(({ data }) => data).length, { timeout: 10_000 }).toBe(3)
    const read: unknown[] = []
    for await (const { data, source } of broker.read(orders)) read.push([data, source])
    expect(read).toEqual([
      [{ order: 2 }, '/shop'],
      [{ order: 3 }, '/millrace'],
      [{ order: 4 }, '/millrace'],
    ])
    expect((await client.query('select id from orders')).rows).toEqual([{ id: 2 }])
  })

  it('events of one key are in the order of the commits', async () => {
    const other = new pg.Client(server.url)
    await other.connect()
    const lines = stream('lines')
    await client.query('begin')
    await other.query('begin')
    await outbox(client, { broker }).publish(lines, { type: 'line', data: 'second' })
    await outbox(other, { broker }).publish(lines, { type: 'line', data: 'first' })
    await other.query('commit')
    await client.query('commit')
    const read: unknown[] = []
    for await (const { data } of broker.read(lines)) read.push(data)
    expect(read).toEqual(['first', 'second'])
    await other.end()
  })

  it('is refused for a broker elsewhere, for another database, and for delayed events', async () => {
    const memory = await connect('memory:')
    const invalid = (message: string) => ({ code: 'INVALID_OPTION', message: expect.stringContaining(message) })
    expect(() => outbox(client, { broker: memory })).toThrow(expect.objectContaining(invalid('outboxRelay()')))
    await memory.close()
    await client.query('begin')
    const delayed = outbox(client, { broker }).publish(orders, Placed({ order: 5 }), { delay: '1m' })
    await expect(delayed).rejects.toMatchObject(invalid('delay'))
    await client.query('rollback')
    await withPlainPostgres(server.url, (admin) => admin.query('CREATE DATABASE elsewhere'))
    const other = new pg.Client(server.url.replace(/postgres$/, 'elsewhere'))
    await other.connect()
    await other.query('begin')
    const published = outbox(other, { broker }).publish(orders, Placed({ order: 6 }))
    await expect(published).rejects.toMatchObject(invalid('not in the database of this transaction'))
    await other.end()
  })
})
