/** The outbox in SQLite, with each synchronous library that this Node can load. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { migrate, outbox, outboxOf, outboxRelay, type SqliteLike } from '../../src/data/index.ts'
import { type Broker, connect, event, queue, stream } from '../../src/index.ts'

const Added = event('item.added', z.object({ cart: z.string(), n: z.int() }))
const carts = stream('carts', { events: [Added], key: 'data.cart' })

type Open = (path: string) => SqliteLike & { close(): void }
const require = createRequire(import.meta.url)

/** Null if this Node does not have it. */
function nodeSqlite(): Open | null {
  try {
    const { DatabaseSync } = require('node:sqlite') as { DatabaseSync: new (path: string) => ReturnType<Open> }
    return (path) => new DatabaseSync(path)
  } catch {
    console.warn('\n!!! node:sqlite: ITS TESTS DO NOT RUN: this Node does not have it (22.5 and later do)\n')
    return null
  }
}

function libsql(): Open {
  const Database = require('libsql') as new (path: string) => ReturnType<Open>
  return (path) => new Database(path)
}

describe.each([
  ['libsql', libsql()],
  ['node:sqlite', nodeSqlite()],
])('the outbox in SQLite by %s', (_name, open) => {
  let folder: string
  let db: ReturnType<Open>
  let broker: Broker
  const again = (): ReturnType<Open> => (open as Open)(join(folder, 'shop.db'))

  beforeEach(async ({ skip }) => {
    if (open === null) return skip()
    folder = mkdtempSync(join(tmpdir(), 'millrace-sqlite-'))
    db = again()
    db.exec('pragma journal_mode = wal')
    await migrate(db)
    broker = await connect('memory:')
    await broker.declare(carts)
  })
  afterEach(async () => {
    if (open === null) return
    await broker.close()
    db.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const published = async (): Promise<number[]> => {
    const found: number[] = []
    for await (const one of broker.read(carts)) found.push(one.data.n)
    return found
  }

  test('enqueue: published after the commit, never after a rollback', async () => {
    const reader = again()
    await broker.start(outboxRelay(reader))
    db.exec('begin')
    expect(outbox(db).enqueue(carts, Added({ cart: 'a', n: 1 }, { id: 'e-1' }))).toEqual({
      channel: 'carts',
      id: 'e-1',
      offset: null,
    })
    db.exec('rollback')
    db.exec('begin')
    outbox(db).enqueue(carts, [Added({ cart: 'a', n: 2 }), Added({ cart: 'b', n: 3 })])
    db.exec('commit')
    await expect.poll(published).toEqual([2, 3])
    await broker.close()
    reader.close()
  })

  test('the relay on the connection of the application does not enter its transaction', async () => {
    await broker.start(outboxRelay(db))
    db.exec('begin')
    outbox(db).enqueue(carts, Added({ cart: 'a', n: 1 }))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(await published()).toEqual([])
    db.exec('rollback')
    db.exec('begin')
    await outbox(db).publish(carts, Added({ cart: 'a', n: 2 }))
    db.exec('commit')
    await expect.poll(published).toEqual([2])
  })

  test('without a transaction nothing is put in: also after one that an async function left early', async () => {
    expect(() => outbox(db)).toThrowError(expect.objectContaining({ code: 'NO_TRANSACTION' }))
    db.exec('begin')
    const box = outbox(db)
    db.exec('commit')
    expect(() => box.enqueue(carts, Added({ cart: 'a', n: 1 }))).toThrow('no transaction is open')
    await expect(box.publish(carts, Added({ cart: 'a', n: 1 }))).rejects.toMatchObject({ code: 'NO_TRANSACTION' })
  })

  test('a channel that refuses an event: its key waits, others go on, and a later attempt brings all in order', async () => {
    const late = queue('late', { events: [Added], key: 'data.cart' })
    await broker.start(outboxRelay(db, { retry: { attempts: 50, backoff: 'fixed', min: '20ms' } }))
    db.exec('begin')
    outbox(db).enqueue(late, [Added({ cart: 'a', n: 1 }), Added({ cart: 'a', n: 2 })])
    outbox(db).enqueue(carts, Added({ cart: 'a', n: 3 }))
    db.exec('commit')
    await expect.poll(published).toEqual([3])
    db.exec('begin')
    outbox(db).enqueue(late, Added({ cart: 'a', n: 4 }))
    db.exec('commit')
    await broker.declare(late)
    const arrived = async (): Promise<number[]> => {
      const found: number[] = []
      for await (const one of broker.read(late)) found.push(one.data.n)
      return found
    }
    await expect.poll(arrived).toEqual([1, 2, 4])
  })

  test('a dead letter parks its key; redriven or dropped, the key goes on in order', async () => {
    const late = queue('late', { events: [Added], key: 'data.cart' })
    const view = outboxOf(db)
    const put = (...events: [cart: string, n: number][]): void => {
      db.exec('begin')
      for (const [cart, n] of events) outbox(db).enqueue(late, Added({ cart, n }))
      db.exec('commit')
    }
    const arrived = async (): Promise<number[]> => {
      const found: number[] = []
      for await (const one of broker.read(late)) found.push(one.data.n)
      return found
    }
    await broker.start(outboxRelay(db, { retry: { attempts: 1 } }))
    put(['a', 1], ['a', 2], ['b', 3])
    await expect.poll(() => view.describe()).toMatchObject({ waiting: 0, behind: 1, deadLetters: 2, relayed: true })
    put(['a', 4], ['b', 5])
    await expect.poll(() => view.describe()).toMatchObject({ waiting: 0, behind: 3, deadLetters: 2 })
    expect(await view.deadLetters.list({ key: 'b' })).toMatchObject([{ channel: 'late', code: 'UNKNOWN_CHANNEL' }])
    await broker.declare(late)
    expect(await view.deadLetters.redrive({ key: 'a' })).toBe(1)
    await expect.poll(arrived).toEqual([1, 2, 4])
    expect(await view.deadLetters.drop({ channel: 'late' })).toBe(1)
    await expect.poll(arrived).toEqual([1, 2, 4, 5])
  })

  test('a relay takes over from one that stopped, and publishes nothing twice', async () => {
    const [one, two] = [again(), again()]
    const first = await broker.start(outboxRelay(one, { lease: '1s' }))
    const second = await broker.start(outboxRelay(two, { lease: '1s' }))
    for (let n = 0; n < 20; n++) {
      db.exec('begin')
      outbox(db).enqueue(carts, Added({ cart: 'a', n }))
      db.exec('commit')
      if (n === 10) await first.stop()
    }
    await expect.poll(async () => (await published()).length).toBe(20)
    expect(await published()).toEqual(Array.from({ length: 20 }, (_, n) => n))
    expect(first.active).toBe(false)
    await second.stop()
    one.close()
    two.close()
  })
})
