/** The outbox in a real Postgres, with `pg`. */
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { migrate, migrationScript, outbox, outboxOf, outboxRelay } from '../../src/data/index.ts'
import { type Broker, connect, event, isMillraceError, queue, stream } from '../../src/index.ts'
import { postgres } from './postgres.ts'

const Added = event('item.added', z.object({ cart: z.string(), n: z.int() }))
const carts = stream('carts', { events: [Added], key: 'data.cart' })

const server = await postgres()

describe.skipIf(server === undefined)('the outbox in Postgres', () => {
  let pool: pg.Pool
  let broker: Broker
  const url = server?.url ?? ''

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: url, max: 20 })
    pool.on('error', () => undefined)
    await migrate(pool)
    await pool.query('create table stock (cart text primary key, n integer not null default 0)')
  })
  afterAll(() => pool?.end())
  beforeEach(async () => {
    await pool.query('truncate stock')
    broker = await connect('memory:')
    await broker.declare(carts)
  })
  afterEach(() => broker.close())

  async function transaction<T>(work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
    const client = await pool.connect()
    try {
      await client.query('begin')
      const result = await work(client)
      await client.query('commit')
      return result
    } catch (error) {
      await client.query('rollback')
      throw error
    } finally {
      client.release()
    }
  }

  async function published(): Promise<{ cart: string; n: number }[]> {
    const found: { cart: string; n: number }[] = []
    for await (const one of broker.read(carts)) found.push(one.data)
    return found
  }

  /** The relay has published all that is committed. */
  async function drained(): Promise<void> {
    await expect
      .poll(async () => {
        const { rows } = await pool.query(
          `select count(*)::int as open from millrace.outbox_commits c left join millrace.outbox_cursors() k using (lane)
          where k.pos is null or c.pos > k.pos`,
        )
        return rows[0].open
      })
      .toBe(0)
  }

  test('an event is published after the commit, and not before', async () => {
    const relay = await broker.start(outboxRelay(pool))
    await transaction(async (client) => {
      const receipt = await outbox(client).publish(carts, Added({ cart: 'a', n: 1 }, { id: 'e-1' }))
      expect(receipt).toEqual({ channel: 'carts', id: 'e-1', offset: null })
      await drained()
      expect(await published()).toEqual([])
    })
    await expect.poll(published).toEqual([{ cart: 'a', n: 1 }])
    expect((await relay.stop()).published).toBe(1)
  })

  test('what is rolled back is never published', async () => {
    await expect(
      transaction(async (client) => {
        await outbox(client).publish(carts, Added({ cart: 'a', n: 1 }))
        throw new Error('no')
      }),
    ).rejects.toThrow('no')
    await transaction(async (client) => {
      await client.query('savepoint s')
      await outbox(client).publish(carts, Added({ cart: 'a', n: 2 }))
      await client.query('rollback to savepoint s')
      await outbox(client).publish(carts, Added({ cart: 'a', n: 3 }))
    })
    await broker.start(outboxRelay(pool))
    await drained()
    expect(await published()).toEqual([{ cart: 'a', n: 3 }])
  })

  test('events are in the order of the commits, and not of the statements', async () => {
    const [first, second] = [await pool.connect(), await pool.connect()]
    await first.query('begin')
    await second.query('begin')
    await outbox(first).publish(carts, Added({ cart: 'a', n: 1 }))
    await outbox(second).publish(carts, Added({ cart: 'a', n: 2 }))
    await outbox(first).publish(carts, Added({ cart: 'a', n: 3 }))
    await second.query('commit')
    await first.query('commit')
    first.release()
    second.release()
    await broker.start(outboxRelay(pool))
    await drained()
    expect((await published()).map(({ n }) => n)).toEqual([2, 1, 3])
  })

  test('a long-running transaction of somebody else stops nothing', async () => {
    const foreign = await pool.connect()
    await foreign.query('begin')
    await foreign.query("insert into stock values ('foreign')")
    await foreign.query('select count(*) from millrace.outbox')
    const late = await pool.connect()
    await late.query('begin')
    await outbox(late).publish(carts, Added({ cart: 'a', n: 0 }))
    await broker.start(outboxRelay(pool))
    for (let n = 1; n <= 3; n++) await transaction((client) => outbox(client).publish(carts, Added({ cart: 'a', n })))
    await expect.poll(async () => (await published()).map(({ n }) => n)).toEqual([1, 2, 3])
    await late.query('commit')
    await expect.poll(async () => (await published()).map(({ n }) => n)).toEqual([1, 2, 3, 0])
    await foreign.query('rollback')
    foreign.release()
    late.release()
  })

  test('many writers at once: the order of each key is that of the rows that they change', async () => {
    await broker.start(outboxRelay(pool, { batch: 7 }))
    const keys = ['a', 'b', 'c', 'd', 'e']
    await pool.query('insert into stock select unnest($1::text[])', [keys])
    const writer = async (seed: number): Promise<void> => {
      for (let i = 0; i < 20; i++) {
        const cart = keys[(seed + i * 7) % keys.length] as string
        await transaction(async (client) => {
          const { rows } = await client.query('update stock set n = n + 1 where cart = $1 returning n', [cart])
          await outbox(client).publish(carts, Added({ cart, n: rows[0].n }))
        })
      }
    }
    await Promise.all(Array.from({ length: 10 }, (_, seed) => writer(seed)))
    await drained()
    const found = await published()
    expect(found).toHaveLength(200)
    for (const key of keys) {
      const numbers = found.filter(({ cart }) => cart === key).map(({ n }) => n)
      expect(numbers).toEqual(numbers.map((_, index) => index + 1))
    }
  })

  test('several events of one transaction: all or none, in order', async () => {
    await broker.start(outboxRelay(pool))
    const events = Array.from({ length: 2500 }, (_, n) => Added({ cart: 'a', n }))
    await transaction(async (client) => {
      const receipts = await outbox(client).publish(carts, events)
      expect(receipts.map(({ id }) => id)).toEqual(events.map(({ id }) => id))
    })
    await expect.poll(async () => (await published()).length).toBe(2500)
    expect((await published()).map(({ n }) => n)).toEqual(events.map((_, n) => n))
  })

  test('a pool, a transaction that has not begun and one that has ended are refused', async () => {
    expect(() => outbox(pool)).toThrowError(expect.objectContaining({ code: 'NO_TRANSACTION' }))
    const client = await pool.connect()
    const put = (): Promise<unknown> => outbox(client).publish(carts, Added({ cart: 'a', n: 1 }))
    await expect(put()).rejects.toMatchObject({ code: 'NO_TRANSACTION', details: { what: 'a client of pg' } })
    await client.query('begin')
    await put()
    await client.query('rollback')
    await expect(put()).rejects.toMatchObject({ code: 'NO_TRANSACTION' })
    client.release()
    expect(
      (
        await pool.query(
          'select count(*)::int as n from millrace.outbox_commits where pos > (select coalesce(max(pos), 0) from millrace.outbox_cursors())',
        )
      ).rows[0].n,
    ).toBe(0)
  })

  test('events are validated when they are put in', async () => {
    await transaction(async (client) => {
      const bad = Added({ cart: 'a', n: 1.5 })
      await expect(outbox(client).publish(carts, bad)).rejects.toMatchObject({ code: 'SCHEMA_MISMATCH' })
      const name = 'carts' as unknown as typeof carts
      await expect(outbox(client).publish(name, bad)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
      expect(() => outbox(client).enqueue(carts, Added({ cart: 'a', n: 1 }))).toThrow(/publish\(\)/)
    })
  })

  test('a user that may only insert can publish', async () => {
    await pool.query(`create role app login;
      grant usage on schema millrace to app;
      grant insert on millrace.outbox to app;
      grant usage on sequence millrace.outbox_seq to app`)
    const client = new pg.Client({ connectionString: url.replace('millrace@', 'app@') })
    await client.connect()
    await client.query('begin')
    await outbox(client).publish(carts, Added({ cart: 'a', n: 1 }))
    await client.query('commit')
    await client.end()
    await broker.start(outboxRelay(pool))
    await drained()
    expect(await published()).toEqual([{ cart: 'a', n: 1 }])
  })

  test('other programs insert rows by plain SQL; one that is not an event is held', async () => {
    const row = `insert into millrace.outbox (channel, id, type, key, event) values ('carts', $1, 'item.added', 'a', $2)`
    const text = (id: string): string =>
      JSON.stringify({ specversion: '1.0', id, source: '/py', type: 'item.added', data: { cart: 'a', n: 1 } })
    await pool.query(row, ['x-1', text('x-1')])
    await pool.query(row, ['x-2', text('other')])
    const relay = await broker.start(outboxRelay(pool, { retry: { attempts: 1 } }))
    await drained()
    expect(await published()).toEqual([{ cart: 'a', n: 1 }])
    expect(await relay.stop()).toEqual({ published: 1, deadLettered: 1 })
    const { deadLetters } = outboxOf(pool)
    expect(await deadLetters.list()).toMatchObject([
      { id: 'x-2', key: 'a', attempts: 1, code: 'INVALID_EVENT', message: expect.stringContaining('"id" differs') },
    ])
    await expect(deadLetters.drop({ id: undefined as never })).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    expect(await deadLetters.drop({ id: 'x-1' })).toBe(0)
    expect(await deadLetters.drop({ key: 'a' })).toBe(1)
  })

  test('a dead letter parks its key; redriven or dropped, the key goes on in order', async () => {
    const late = queue('late', { events: [Added], key: 'data.cart' })
    const view = outboxOf(pool)
    const put = (...events: [cart: string, n: number][]): Promise<unknown> =>
      transaction((client) =>
        outbox(client).publish(
          late,
          events.map(([cart, n]) => Added({ cart, n })),
        ),
      )
    const arrived = async (): Promise<number[]> => {
      const found: number[] = []
      for await (const one of broker.read(late)) found.push(one.data.n)
      return found
    }
    const relay = await broker.start(outboxRelay(pool, { retry: { attempts: 2, backoff: 'fixed', min: '1ms' } }))
    await put(['a', 1], ['a', 2], ['b', 3])
    await expect
      .poll(() => view.describe())
      .toMatchObject({ waiting: 0, waitingMs: null, retrying: 0, behind: 1, deadLetters: 2, relayed: true })
    await put(['a', 4])
    await expect.poll(() => view.describe()).toMatchObject({ waiting: 0, behind: 2, deadLetters: 2 })
    await broker.declare(late)
    expect(await view.deadLetters.redrive({ channel: 'late', key: 'a' })).toBe(1)
    await expect.poll(arrived).toEqual([1, 2, 4])
    await put(['b', 5])
    await expect.poll(() => view.describe()).toMatchObject({ waiting: 0, behind: 1, deadLetters: 1 })
    expect(await view.deadLetters.drop()).toBe(1)
    await expect.poll(arrived).toEqual([1, 2, 4, 5])
    await relay.stop()
    expect(await view.describe()).toMatchObject({ behind: 0, deadLetters: 0, relayed: false })
    await put(['b', 6])
    expect(await view.describe()).toMatchObject({ waiting: 1, waitingMs: expect.any(Number) })
  })

  test('the tables of published events are truncated, while others go on', async () => {
    await broker.start(outboxRelay(pool))
    const publish = (n: number): Promise<unknown> =>
      transaction((client) => outbox(client).publish(carts, Added({ cart: `c-${n % 9}`, n })))
    for (let n = 0; n < 50; n++) {
      await publish(n)
      if (n % 10 === 9) {
        await drained()
        await pool.query('select millrace.outbox_rotate(1)')
      }
    }
    await drained()
    await pool.query('select millrace.outbox_rotate(1), millrace.outbox_rotate(1)')
    const { rows } = await pool.query('select count(*)::int as n from millrace.outbox')
    expect(rows[0].n).toBe(0)
    expect((await published()).length).toBe(50)
    await publish(50)
    await drained()
    expect((await published()).length).toBe(51)
  })

  test('the schema is made once, by any number of processes', async () => {
    await Promise.all([migrate(pool), migrate(pool)])
    await pool.query(migrationScript('postgres'))
  })

  test('without the tables, publish and the relay say what to do', async () => {
    await pool.query('create database empty')
    const other = new pg.Pool({ connectionString: url.replace(/postgres$/, 'empty') })
    try {
      await expect(broker.start(outboxRelay(other))).rejects.toSatisfy((error) =>
        isMillraceError(error, 'MIGRATION_NEEDED'),
      )
      const client = await other.connect()
      await client.query('begin')
      await expect(outbox(client).publish(carts, Added({ cart: 'a', n: 1 }))).rejects.toMatchObject({
        code: 'MIGRATION_NEEDED',
      })
      client.release()
    } finally {
      await other.end()
    }
  })
})
