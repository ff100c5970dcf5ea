/** The outbox in a real Postgres, through each library that is supported. */
import { sql as drizzleSql } from 'drizzle-orm'
import { drizzle as drizzleOverPg } from 'drizzle-orm/node-postgres'
import { drizzle as drizzleOverPostgresJs } from 'drizzle-orm/postgres-js'
import knexOf from 'knex'
import { Kysely, sql as kyselySql, PostgresDialect } from 'kysely'
import pg from 'pg'
import postgresJs from 'postgres'
import { afterAll, describe, expect, test } from 'vitest'
import { fromFunction, migrate, outbox, outboxOf, outboxRelay } from '../../src/data/index.ts'
import { connect, event, stream } from '../../src/index.ts'
import { postgres } from './postgres.ts'

const Added = event('item.added')
const carts = stream('carts', { events: [Added], key: 'data.cart' })
const server = await postgres()

interface World {
  readonly database: object
  /** A transaction of the library, with the object that its user has; and a statement in it. */
  transaction(work: (tx: object, run: (text: string) => PromiseLike<unknown>) => Promise<void>): Promise<unknown>
  close(): Promise<unknown>
}

const WORLDS: Readonly<Record<string, (url: string) => World>> = {
  pg: (url) => {
    const pool = new pg.Pool({ connectionString: url })
    return {
      database: pool,
      transaction: async (work) => {
        const client = await pool.connect()
        try {
          await client.query('begin')
          await work(client, (text) => client.query(text))
          await client.query('commit')
        } catch (error) {
          await client.query('rollback')
          throw error
        } finally {
          client.release()
        }
      },
      close: () => pool.end(),
    }
  },
  'postgres.js': (url) => {
    const sql = postgresJs(url, { onnotice: () => undefined })
    return {
      database: sql,
      transaction: (work) => sql.begin((tx) => work(tx, (text) => tx.unsafe(text))),
      close: () => sql.end(),
    }
  },
  'drizzle over pg': (url) => {
    const pool = new pg.Pool({ connectionString: url })
    const db = drizzleOverPg(pool)
    return {
      database: db,
      transaction: (work) => db.transaction((tx) => work(tx, (text) => tx.execute(drizzleSql.raw(text)))),
      close: () => pool.end(),
    }
  },
  'drizzle over postgres.js': (url) => {
    const sql = postgresJs(url, { onnotice: () => undefined })
    const db = drizzleOverPostgresJs(sql)
    return {
      database: db,
      transaction: (work) => db.transaction((tx) => work(tx, (text) => tx.execute(drizzleSql.raw(text)))),
      close: () => sql.end(),
    }
  },
  kysely: (url) => {
    const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: new pg.Pool({ connectionString: url }) }) })
    return {
      database: db,
      transaction: (work) => db.transaction().execute((tx) => work(tx, (text) => kyselySql.raw(text).execute(tx))),
      close: () => db.destroy(),
    }
  },
  knex: (url) => {
    const knex = knexOf({ client: 'pg', connection: url })
    return {
      database: knex,
      transaction: (work) => knex.transaction((tx) => work(tx, (text) => tx.raw(text))),
      close: () => knex.destroy(),
    }
  },
  'a function of the application': (url) => {
    const pool = new pg.Pool({ connectionString: url })
    const run = (on: pg.Pool | pg.PoolClient) => async (text: string, values: unknown[]) =>
      (await on.query(text, values)).rows as unknown[]
    return {
      database: fromFunction(run(pool), { role: 'database' }),
      transaction: async (work) => {
        const client = await pool.connect()
        try {
          await client.query('begin')
          await work(fromFunction(run(client)), (text) => client.query(text))
          await client.query('commit')
        } catch (error) {
          await client.query('rollback')
          throw error
        } finally {
          client.release()
        }
      },
      close: () => pool.end(),
    }
  },
}

describe.skipIf(server === undefined).each(Object.keys(WORLDS))('the outbox through %s', (name) => {
  const world = (WORLDS[name] as (url: string) => World)(server?.url ?? '')
  afterAll(() => world.close())

  test('makes the tables, publishes what is committed, and refuses a pool and an ended transaction', async () => {
    await migrate(world.database)
    const broker = await connect('memory:')
    const relay = await broker.start(outboxRelay(world.database, { channels: [carts] }))
    let ended: object | undefined
    await world.transaction(async (tx, run) => {
      ended = tx
      await run('create temporary table mine (n int)')
      await outbox(tx).publish(carts, Added({ cart: 'a', text: `'"\\ ? $1 :x ü 😀` }, { id: `${name}-1` }))
      await outbox(tx).publish(carts, [Added({ cart: 'a', n: 2 }), Added({ cart: 'b', n: 3 })])
    })
    await expect(
      world.transaction(async (tx) => {
        await outbox(tx).publish(carts, Added({ cart: 'a', n: 4 }))
        throw new Error('rolled back')
      }),
    ).rejects.toThrow('rolled back')
    const data = async (): Promise<unknown[]> => {
      const found: unknown[] = []
      for await (const one of broker.read(carts)) found.push(one.data)
      return found
    }
    await expect.poll(async () => (await data()).length).toBe(3)
    expect(await data()).toEqual(
      expect.arrayContaining([
        { cart: 'a', text: `'"\\ ? $1 :x ü 😀` },
        { cart: 'a', n: 2 },
        { cart: 'b', n: 3 },
      ]),
    )
    if (name !== 'a function of the application')
      expect(() => outbox(world.database)).toThrowError(expect.objectContaining({ code: 'NO_TRANSACTION' }))
    await expect((async () => outbox(ended as object).publish(carts, Added({ cart: 'a', n: 5 })))()).rejects.toThrow()
    await expect.poll(() => outboxOf(world.database).describe()).toMatchObject({ waiting: 0, deadLetters: 0 })
    expect((await relay.stop()).published).toBe(3)
    await broker.close()
  })
})
