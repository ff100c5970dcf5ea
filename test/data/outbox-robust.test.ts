/** The outbox in Postgres when the database goes back, and with rows and settings that nobody should have. */
import { randomBytes } from 'node:crypto'
import Database from 'libsql'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { migrate, outbox, outboxOf, outboxRelay } from '../../src/data/index.ts'
import type { OutboxEvent, OutboxStore } from '../../src/data/relay/outbox-store.ts'
import { PostgresStore } from '../../src/data/relay/postgres-store.ts'
import { SqliteStore } from '../../src/data/relay/sqlite-store.ts'
import { type Broker, connect, event, stream } from '../../src/index.ts'
import { databaseOf } from '../../src/sql/handle-of.ts'
import { once } from '../../src/sql/inbox.ts'
import { postgres } from './postgres.ts'

const Added = event('item.added')
const carts = stream('carts', { events: [Added], key: 'data.cart' })
const server = await postgres()
const url = server?.url ?? ''

/** An event waits behind one of its key; while it is sent on, a person drops that one. */
async function keyGoesOn(store: OutboxStore, database: object): Promise<void> {
  const lease = await store.lease('a relay', 60_000)
  if (lease === null) throw new Error('no lease')
  const { n, cursors } = await store.progress()
  const held = (id: string): OutboxEvent => ({
    ...{ channel: 'carts', id, type: 'item.added', key: 'k', dueAtMs: null, text: '{}', putAtMs: 1 },
  })
  const failure = { code: 'UNKNOWN_CHANNEL', message: 'no' }
  const after = await store.advance(lease, n, cursors, [
    { ...held('r1'), state: 'dead', attempts: 1, delayMs: 0, failure },
  ])
  expect(await store.heldOf([{ channel: 'carts', key: 'k' }])).toHaveLength(1)
  expect(await outboxOf(database).deadLetters.drop({ id: 'r1' })).toBe(1)
  const waits = ['r5', 'r6'].map((id) => ({
    ...held(id),
    state: 'behind' as const,
    attempts: 0,
    delayMs: 0,
    failure: null,
  }))
  expect(await store.advance(lease, after ?? -1, cursors, waits)).not.toBeNull()
  const limits = { perLane: 10, rows: 10, bytes: 1e6 }
  expect((await store.due(limits)).map(({ id }) => id)).toEqual(['r5'])
  await store.settle(lease, await store.due(limits), [])
  expect((await store.due(limits)).map(({ id }) => id)).toEqual(['r6'])
  await store.settle(lease, await store.due(limits), [])
  await store.release(lease)
}

test('SQLite: a key goes on when a dead letter is dropped while its next event is under way', async () => {
  const db = new Database(':memory:')
  await migrate(db)
  const handle = databaseOf(db, 'a test')
  if (!handle.sync) throw new Error('not synchronous')
  await keyGoesOn(new SqliteStore(handle), db)
  db.close()
})

describe.skipIf(server === undefined)('the outbox in Postgres', () => {
  let pool: pg.Pool
  let broker: Broker

  beforeAll(async () => {
    pool = new pg.Pool({ connectionString: url })
    pool.on('error', () => undefined)
    await migrate(pool)
  })
  afterAll(() => pool?.end())
  beforeEach(async () => {
    broker = await connect('memory:')
    await broker.declare(carts)
  })
  afterEach(() => broker.close())

  /** One transaction. */
  async function put(n: number, ...statements: string[]): Promise<void> {
    const client = await pool.connect()
    await client.query('begin')
    for (const statement of statements) await client.query(statement)
    await outbox(client).publish(carts, Added({ cart: 'a', n }))
    await client.query('commit')
    client.release()
  }

  const row = (channel: string, id: string, key: string, more = ''): Promise<unknown> =>
    pool.query('insert into millrace.outbox (channel, id, type, key, event) values ($1, $2, $3, $4, $5)', [
      ...[channel, id, 'item.added', key],
      `{"specversion":"1.0","id":"${id}","source":"/py","type":"item.added","data":{"n":"${id}"}${more}}`,
    ])

  async function published(): Promise<unknown[]> {
    const found: unknown[] = []
    for await (const { data } of broker.read(carts)) found.push((data as { readonly n: unknown }).n)
    return found
  }

  test('a key goes on when a dead letter is dropped while its next event is under way', async () => {
    await keyGoesOn(new PostgresStore(databaseOf(pool, 'a test')), pool)
  })

  test('the relay reads its progress again when the database has lost its last commits', async () => {
    await broker.start(outboxRelay(pool, { lease: '1s' }))
    await put(1)
    await expect.poll(published).toEqual([1])
    const progress = 'select (select max(n) from millrace.outbox_progress) as n'
    const { rows } = await pool.query(`${progress}, (select last_value from millrace.outbox_position) as pos`)
    const { n, pos } = rows[0]
    await put(2)
    await put(3)
    await expect.poll(published).toEqual([1, 2, 3])
    await expect.poll(async () => (await outboxOf(pool).describe()).waiting).toBe(0)
    // As after a crash with synchronous_commit = off: two commits and the steps of the sequence are gone.
    await pool.query(`begin;
      delete from millrace.outbox_progress where n > ${n};
      delete from millrace.outbox where tx in (select tx from millrace.outbox_commits where pos > ${pos});
      delete from millrace.outbox_commits where pos > ${pos};
      select setval('millrace.outbox_position', ${pos});
      commit`)
    await put(4)
    await expect.poll(published, { timeout: 5000 }).toEqual([1, 2, 3, 4])
    await expect.poll(async () => (await outboxOf(pool).describe()).waiting).toBe(0)
  })

  test('a row with a NUL in a name stops nothing, and those beside it are stored once', async () => {
    await row('carts', 'x-1', 'b')
    await row('carts', 'x-2', 'c', ',"a\\u0000":1,"\\ud800":1')
    await row('~schedule', 'x-3', 'd')
    await row('$rules', 'x-4', 'e')
    const relay = await broker.start(outboxRelay(pool, { retry: { attempts: 1 } }))
    await row('carts', 'x-5', 'b')
    await expect.poll(published).toEqual(['x-1', 'x-5'])
    const { deadLetters } = outboxOf(pool)
    await expect
      .poll(() => deadLetters.list())
      .toMatchObject([
        { id: 'x-2', code: 'INVALID_EVENT' },
        { id: 'x-3', code: 'INVALID_NAME' },
        { id: 'x-4', code: 'INVALID_NAME' },
      ])
    expect(await relay.stop()).toEqual({ published: 2, deadLettered: 3 })
    await deadLetters.drop()
  })

  test('a row that no relay can work with is refused when it is put in', async () => {
    await expect(row('carts', 'y-1', 'k'.repeat(1025))).rejects.toThrow('outbox_key_check')
    await expect(row('c'.repeat(201), 'y-1', 'k')).rejects.toThrow('outbox_channel_check')
    const values = "values ('carts', 'y-1', 't', '{}', 'infinity')"
    await expect(
      pool.query(`insert into millrace.outbox (channel, id, type, event, put_at) ${values}`),
    ).rejects.toThrow('outbox_put_at_check')
  })

  test('a session in repeatable read cannot relay: it is refused, and frees nothing', async () => {
    const other = new pg.Pool({
      connectionString: url,
      options: '-c default_transaction_isolation=repeatable\\ read',
    })
    await expect(broker.start(outboxRelay(other))).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      details: { option: 'database', value: 'repeatable read' },
    })
    await expect(other.query('select millrace.outbox_rotate(1)')).rejects.toThrow('read committed')
    await other.end()
  })

  test('rows of another cluster with the same transaction id are not published again', async () => {
    await broker.start(outboxRelay(pool))
    await put(1)
    await expect.poll(published).toEqual([1])
    const client = await pool.connect()
    await client.query('begin')
    const { rows } = await client.query('select pg_current_xact_id()::text as tx')
    await pool.query(`update millrace.outbox set tx = ${rows[0].tx}`)
    await pool.query(`update millrace.outbox_commits set tx = ${rows[0].tx}`)
    await outbox(client).publish(carts, Added({ cart: 'a', n: 2 }))
    await outbox(client).publish(carts, Added({ cart: 'b', n: 3 }))
    await client.query('commit')
    client.release()
    await put(4)
    await expect.poll(async () => (await published()).sort()).toEqual([1, 2, 3, 4])
    await expect.poll(async () => (await outboxOf(pool).describe()).waiting).toBe(0)
  })

  test('what is put in is durable, and so is work of ctx.tx: also where the server does not sync by default', async () => {
    const lazy = new pg.Pool({ connectionString: url, options: '-c synchronous_commit=off' })
    const shown = async (client: pg.PoolClient): Promise<unknown> =>
      (await client.query('show synchronous_commit')).rows[0].synchronous_commit
    const client = await lazy.connect()
    await client.query('begin')
    await outbox(client).publish(carts, Added({ cart: 'z', n: 1 }))
    expect(await shown(client)).toBe('off')
    await client.query('set constraints all immediate')
    expect(await shown(client)).toBe('on')
    await client.query('rollback')
    client.release()
    const entry = { consumer: 'c', channel: 'carts', id: randomBytes(3072).toString('base64'), name: '' }
    const work = (tx: object): Promise<unknown> => shown(tx as pg.PoolClient)
    expect(await once(lazy, entry, work)).toMatchObject({ value: 'on' })
    expect(await once(lazy, entry, work)).not.toMatchObject({ value: 'on' })
    await lazy.end()
  })

  test('nobody else may attach the trigger or free tables', async () => {
    await pool.query('create role stranger; grant usage on schema millrace to stranger')
    for (const name of ['outbox_commit()', 'outbox_rotate(bigint)']) {
      const asked = `select has_function_privilege('stranger', 'millrace.${name}', 'execute') as may`
      expect((await pool.query(asked)).rows[0].may).toBe(false)
    }
  })
})
