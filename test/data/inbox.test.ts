/** `ctx.tx`: a handler's own rows, and that the event was handled, in one transaction of the application's database. */
import { createRequire } from 'node:module'
import { sql as drizzleSql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import knexOf from 'knex'
import { Kysely, sql as kyselySql, PostgresDialect } from 'kysely'
import pg from 'pg'
import postgresJs from 'postgres'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { fromSqlite, migrate, outbox, outboxRelay, type SqliteLike } from '../../src/data/index.ts'
import {
  type Broker,
  connect,
  consumer,
  event,
  type HandlerContext,
  queue,
  stream,
  type TxOutcome,
} from '../../src/index.ts'
import { postgres } from './postgres.ts'

const Sold = event('sold')
const Restock = event('restock')
const sales = stream('sales', { events: [Sold], key: 'data.sku' })
const restock = queue('restock', { events: [Restock], key: 'data.sku' })
const server = await postgres()
const require = createRequire(import.meta.url)

/** A database with a table `stock`, and work of a handler in it. */
interface World {
  readonly database: object
  sell(ctx: HandlerContext, sku: string, then?: (tx: object) => unknown): Promise<TxOutcome<unknown>>
  /** Statements that commit by themselves. */
  run(text: string): Promise<readonly Record<string, unknown>[]>
  close(): Promise<unknown>
}

const SELL = "insert into stock (sku, n) values ('tea', 1) on conflict (sku) do update set n = stock.n + 1"

function ofPool(pool: pg.Pool): Pick<World, 'run' | 'close'> {
  return { run: async (text) => (await pool.query(text)).rows, close: () => pool.end() }
}

const WORLDS: Readonly<Record<string, (url: string) => World>> = {
  pg: (url) => {
    const pool = new pg.Pool({ connectionString: url })
    return {
      ...ofPool(pool),
      database: pool,
      sell: (ctx, _sku, then) =>
        ctx.tx(pool, async (tx) => {
          await tx.query(SELL)
          return then?.(tx)
        }),
    }
  },
  'postgres.js': (url) => {
    const sql = postgresJs(url, { onnotice: () => undefined })
    return {
      database: sql,
      sell: (ctx, _sku, then) =>
        ctx.tx(sql, async (tx) => {
          await tx.unsafe(SELL)
          return then?.(tx)
        }),
      run: async (text) => sql.unsafe(text),
      close: () => sql.end(),
    }
  },
  drizzle: (url) => {
    const pool = new pg.Pool({ connectionString: url })
    const db = drizzle(pool)
    return {
      ...ofPool(pool),
      database: db,
      sell: (ctx, _sku, then) =>
        ctx.tx(db, async (tx) => {
          await tx.execute(drizzleSql.raw(SELL))
          return then?.(tx)
        }),
    }
  },
  kysely: (url) => {
    const pool = new pg.Pool({ connectionString: url })
    const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) })
    return {
      ...ofPool(pool),
      database: db,
      sell: (ctx, _sku, then) =>
        ctx.tx(db, async (tx) => {
          await kyselySql.raw(SELL).execute(tx)
          return then?.(tx)
        }),
      close: () => db.destroy(),
    }
  },
  knex: (url) => {
    const knex = knexOf({ client: 'pg', connection: url })
    return {
      database: knex,
      sell: (ctx, _sku, then) =>
        ctx.tx(knex, async (tx) => {
          await tx.raw(SELL)
          return then?.(tx)
        }),
      run: async (text) => (await knex.raw(text)).rows,
      close: () => knex.destroy(),
    }
  },
  libsql: () => {
    const db = new (require('libsql') as new (path: string) => SqliteLike & { close(): void })(':memory:')
    return {
      database: db,
      sell: (ctx, _sku, then) =>
        ctx.tx(db, (tx) => {
          tx.exec(SELL)
          return then?.(tx)
        }),
      run: async (text) => fromSqlite(db).run(text, []),
      close: async () => db.close(),
    }
  },
}

describe.each(Object.keys(WORLDS))('ctx.tx with %s', (name) => {
  const isSqlite = name === 'libsql'
  const skipped = server === undefined && !isSqlite
  const world = skipped ? null : (WORLDS[name] as (url: string) => World)(server?.url ?? '')
  let broker: Broker

  beforeEach(async ({ skip }) => {
    if (world === null) return skip()
    await migrate(world.database)
    await world.run('create table if not exists stock (sku text primary key, n integer not null)')
    await world.run('delete from stock')
    await world.run(`delete from ${isSqlite ? 'millrace_inbox' : 'millrace.inbox'}`)
    broker = await connect('memory:')
    await broker.declare(sales, restock)
  })
  afterEach(() => broker?.close())
  afterAll(() => world?.close())

  const sold = async (): Promise<unknown> => (await (world as World).run('select n from stock'))[0]?.['n']
  const handled = async (): Promise<void> => {
    await expect
      .poll(async () => (await broker.consumer('shop').describe()).channels.map(({ lag }) => lag))
      .toEqual([0])
  }

  test('a redelivery after the commit does not do the work again', async () => {
    const outcomes: unknown[] = []
    const shop = consumer('shop', sales, { retry: { backoff: 'fixed', min: '1ms' } }).on(Sold, async (_event, ctx) => {
      outcomes.push(await (world as World).sell(ctx, 'tea', () => 'sold'))
      if (ctx.attempt < 3) throw new Error('died after the commit')
    })
    await broker.start(shop)
    await broker.publish(sales, Sold({ sku: 'tea' }))
    await expect.poll(() => outcomes).toEqual([{ done: 'now', value: 'sold' }, { done: 'before' }, { done: 'before' }])
    await handled()
    expect(await sold()).toBe(1)
  })

  test('what fails is rolled back with its mark, and the next attempt does the work', async () => {
    const shop = consumer('shop', sales, { retry: { backoff: 'fixed', min: '1ms' } }).on(Sold, async (_event, ctx) => {
      await (world as World).sell(ctx, 'tea', () => {
        if (ctx.attempt === 1) throw new Error('no')
      })
    })
    await broker.start(shop)
    await broker.publish(sales, Sold({ sku: 'tea' }))
    await expect.poll(sold).toBe(1)
  })

  test('events of its outbox belong to it, and say what caused them', async () => {
    await broker.start(outboxRelay((world as World).database))
    const shop = consumer('shop', sales, { retry: { backoff: 'fixed', min: '1ms' } }).on(Sold, async (_event, ctx) => {
      await (world as World).sell(ctx, 'tea', (tx) => {
        const box = outbox(tx)
        if (isSqlite) box.enqueue(restock, Restock({ sku: 'tea', attempt: ctx.attempt }))
        const put = isSqlite ? undefined : box.publish(restock, Restock({ sku: 'tea', attempt: ctx.attempt }))
        if (ctx.attempt > 1) return put
        if (put === undefined) throw new Error('no')
        return put.then(() => Promise.reject(new Error('no')))
      })
      if (ctx.attempt === 2) throw new Error('died after the commit')
    })
    await broker.start(shop)
    await broker.publish(sales, Sold({ sku: 'tea' }, { id: 's-1' }))
    await handled()
    const found: unknown[] = []
    await expect
      .poll(async () => {
        found.length = 0
        for await (const { data, causationid } of broker.read(restock)) found.push({ data, causationid })
        return found
      })
      .toEqual([{ data: { sku: 'tea', attempt: 2 }, causationid: 's-1' }])
    expect(await sold()).toBe(1)
  })

  test('a second work of one event needs a name; another consumer does its own', async () => {
    const errors: unknown[] = []
    const twice = async (ctx: HandlerContext): Promise<void> => {
      await (world as World).sell(ctx, 'tea')
      await (world as World).sell(ctx, 'tea').catch((error) => errors.push(error.code))
    }
    await broker.start(consumer('shop', sales).on(Sold, (_event, ctx) => twice(ctx)))
    await broker.start(consumer('other', sales).on(Sold, (_event, ctx) => twice(ctx)))
    await broker.publish(sales, Sold({ sku: 'tea' }))
    await expect.poll(() => errors).toEqual(['INVALID_OPTION', 'INVALID_OPTION'])
    expect(await sold()).toBe(2)
  })
})

describe.skipIf(server === undefined)('ctx.tx in Postgres', () => {
  const pool = new pg.Pool({ connectionString: server?.url ?? '' })
  afterAll(() => pool.end())

  test('a statement that failed and was caught does not pass as a commit', async () => {
    await migrate(pool)
    const broker = await connect('memory:')
    const errors: string[] = []
    const shop = consumer('shop', sales, { retry: { attempts: 1 } }).on(Sold, async (_event, ctx) => {
      await ctx
        .tx(pool, async (tx) => {
          await tx.query('select 1 / 0').catch(() => undefined)
        })
        .catch((error) => {
          errors.push(String(error.message))
          throw error
        })
    })
    await broker.start(shop)
    await broker.publish(sales, Sold({ sku: 'tea' }))
    await expect.poll(() => errors).toEqual([expect.stringContaining('rolled back')])
    await expect.poll(async () => (await broker.deadLetters('shop').list()).length).toBe(1)
    await broker.close()
  })

  test('a connection that is lost within the work fails the attempt, and not the process', async () => {
    await migrate(pool)
    pool.on('error', () => undefined)
    const broker = await connect('memory:')
    const outcomes: string[] = []
    const shop = consumer('lossy', sales, { retry: { backoff: 'fixed', min: '1ms' } }).on(Sold, async (_event, ctx) => {
      const { done } = await ctx.tx(pool, async (tx) => {
        const { rows } = await tx.query('select pg_backend_pid() as pid')
        if (ctx.attempt === 1) {
          await pool.query('select pg_terminate_backend($1)', [rows[0].pid])
          await new Promise((resolve) => setTimeout(resolve, 50))
        }
        await tx.query('select 1')
      })
      outcomes.push(`${ctx.attempt} ${done}`)
    })
    await broker.start(shop)
    await broker.publish(sales, Sold({ sku: 'tea' }))
    await expect.poll(() => outcomes).toEqual(['2 now'])
    await broker.close()
  })

  test('one event in two handlers at the same time is done once', async () => {
    await pool.query('create table if not exists stock (sku text primary key, n integer not null)')
    await pool.query('delete from stock')
    const [one, two] = [await connect('memory:'), await connect('memory:')]
    const outcomes: string[] = []
    let inside = 0
    for (const broker of [one, two]) {
      const shop = consumer('shop', sales).on(Sold, async (_event, ctx) => {
        inside++
        await expect.poll(() => inside).toBe(2)
        const { done } = await ctx.tx(pool, (tx) => tx.query(SELL))
        outcomes.push(done)
      })
      await broker.start(shop)
      await broker.publish(sales, Sold({ sku: 'tea' }, { id: 'both' }))
    }
    await expect.poll(() => outcomes.toSorted()).toEqual(['before', 'now'])
    expect((await pool.query('select n from stock')).rows).toEqual([{ n: 1 }])
    await one.close()
    await two.close()
  })
})
