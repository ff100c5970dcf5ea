/** The tables of Millrace in a Postgres have the documented form, and events of plain SQL arrive in handlers. */
import { randomUUID } from 'node:crypto'
import { CloudEvent } from 'cloudevents'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postgresKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { partitionHash } from '../../src/external-log/publish/partition-hash.ts'
import { type Broker, connect, consumer, queue, stream } from '../../src/index.ts'
import { collecting, ItemAdded } from './cases.ts'
import { withPlainPostgres } from './plain-postgres.ts'
import { kindOf } from './servers.ts'

const kind = kindOf('postgres', () => postgresKind())
const PARTITIONS = 4

describe.skipIf(kind === undefined)('Postgres', () => {
  let server: Server
  let broker: Broker
  let schema: string
  const brokers: Broker[] = []

  async function open(): Promise<void> {
    schema = `i${randomUUID().slice(0, 8)}`
    broker = await connect(`${server.url}?partitions=${PARTITIONS}&schema=${schema}`)
    brokers.push(broker)
  }

  async function sql(text: string, values: readonly unknown[] = []): Promise<readonly Record<string, unknown>[]> {
    return withPlainPostgres(server.url, async (plain) => (await plain.query(text, values)).rows)
  }

  const structured = (id: string, key: string, sku: unknown): string =>
    JSON.stringify({
      specversion: '1.0',
      ...{ id, source: '/sql', type: 'cart.item.added', partitionkey: key, data: { sku } },
    })

  beforeAll(async () => {
    if (kind !== undefined) server = await Server.start(kind)
  })

  afterAll(async () => {
    for (const each of brokers) await each.close()
    await server?.stop()
  })

  it('events are rows that plain SQL reads: position, partition, time, key, and the CloudEvent as JSON', async () => {
    await open()
    const carts = stream('shop.carts', { events: [ItemAdded], key: ({ data }) => data.sku })
    const before = Date.now()
    const receipt = await broker.publish(carts, ItemAdded({ sku: 'tea ☕' }))
    const rows = await sql(`SELECT * FROM ${schema}.events('shop.carts')`)
    expect(rows).toMatchObject([
      { position: String(receipt.offset), partition: partitionHash('tea ☕') % PARTITIONS, key: 'tea ☕' },
    ])
    const { stored, event } = rows[0] as { readonly stored: Date; readonly event: object }
    expect(Math.abs(stored.getTime() - before)).toBeLessThan(5000)
    expect(new CloudEvent(event)).toMatchObject({ id: receipt.id, type: 'cart.item.added', data: { sku: 'tea ☕' } })
  })

  it('events that go out together keep their id, key and text, whatever characters these have', async () => {
    await open()
    const carts = stream('mixed', { events: [ItemAdded], key: ({ data }) => (data.sku === '' ? undefined : data.sku) })
    const skus = ['tea', '', 'é', '☕', 'tea "quoted" \\ \u0001', '𝄞', '', 'tea']
    const ids = [undefined, 'plain', 'naïve', 'with "quotes"', undefined, '☕☕', 'plain', undefined]
    const events = skus.map((sku, at) => ({ ...ItemAdded({ sku }), ...(ids[at] !== undefined && { id: ids[at] }) }))
    const receipts = await Promise.all(events.map((each) => broker.publish(carts, each)))
    expect(receipts.map(({ duplicate }) => duplicate)).toEqual(skus.map((_, at) => at === 6))
    expect(receipts[6]?.offset).toBe(receipts[1]?.offset)
    const read: [string, string][] = []
    for await (const { id, data } of broker.read(carts)) read.push([id, data.sku])
    const stored = skus.flatMap((sku, at): [string, string][] => (at === 6 ? [] : [[receipts[at]?.id as string, sku]]))
    expect(read.sort()).toEqual(stored.sort())
    const keys = (await sql(`SELECT key FROM ${schema}.events('mixed') WHERE key IS NOT NULL`)).map(({ key }) => key)
    expect(keys.sort()).toEqual(skus.filter((sku) => sku !== '').sort())
  })

  it('a key has the same partition in SQL as in Millrace', async () => {
    await open()
    const keys = ['', 'a', 'ab', 'abc', 'abcd', 'tea ☕', '𝄞', 'x'.repeat(99)]
    const rows = await sql(`SELECT ${schema}.partition_of(key, 16) AS at FROM unnest($1::text[]) key`, [keys])
    expect(rows.map(({ at }) => at)).toEqual(keys.map((key) => partitionHash(key) % 16))
  })

  it('an event that is published by SQL, in a transaction with other work, arrives when it is committed, once by its id', async () => {
    await open()
    const carts = stream('carts', { events: [ItemAdded] })
    await broker.declare(carts)
    const given = await collecting(broker, 'carts')
    await withPlainPostgres(server.url, async (plain) => {
      await plain.query(`CREATE TABLE ${schema}.orders (sku text)`)
      for (const end of ['ROLLBACK', 'COMMIT']) {
        await plain.query('BEGIN')
        await plain.query(`INSERT INTO ${schema}.orders VALUES ('tea')`)
        await plain.query(`SELECT ${schema}.publish('carts', $1)`, [structured(`of ${end}`, 'k', 'tea')])
        await plain.query(end)
      }
      await plain.query(`SELECT ${schema}.publish('carts', $1)`, [structured('of COMMIT', 'k', 'no')])
    })
    await expect.poll(() => given.map(({ id }) => id), { timeout: 10_000 }).toEqual(['of COMMIT'])
    expect(await sql(`SELECT position FROM ${schema}.events('carts')`)).toEqual([{ position: '0' }])
    expect(given[0]).toMatchObject({ source: '/sql', partitionkey: 'k', data: { sku: 'tea' }, offset: 0 })
  })

  it('a transaction that has published and stays open holds up nobody; its events are behind those that were committed before', async () => {
    await open()
    const carts = stream('carts', { events: [ItemAdded] })
    await broker.declare(carts)
    await withPlainPostgres(server.url, async (plain) => {
      await plain.query('BEGIN')
      await plain.query(`SELECT ${schema}.publish('carts', $1)`, [structured('a', 'k', 'tea')])
      await plain.query(`SELECT ${schema}.publish('carts', $1)`, [structured('b', 'k', 'tea')])
      expect(await broker.publish(carts, { ...ItemAdded({ sku: 'tea' }), id: 'first' })).toMatchObject({ offset: 0 })
      await plain.query('COMMIT')
    })
    const rows = await sql(`SELECT event ->> 'id' AS id FROM ${schema}.events('carts')`)
    expect(rows.map(({ id }) => id)).toEqual(['first', 'a', 'b'])
  })

  it('somebody who locks the channel for longer than an append waits leaves nothing behind: it is stored once, when the lock is free', async () => {
    await open()
    const carts = stream('carts', { events: [ItemAdded], dedupe: false })
    await broker.declare(carts)
    await withPlainPostgres(server.url, async (plain) => {
      await plain.query('BEGIN')
      await plain.query(`SELECT FROM ${schema}.channels WHERE name = 'carts' FOR UPDATE`)
      const published = broker.publish(carts, ItemAdded({ sku: 'tea' }))
      const waits = async (): Promise<number> =>
        Number((await sql('SELECT count(*) AS n FROM pg_locks WHERE NOT granted'))[0]?.['n'])
      await expect.poll(waits, { timeout: 10_000 }).toBe(1)
      // The server lets an append wait for 4 s, and then it is sent again.
      await new Promise((resolve) => setTimeout(resolve, 4600))
      expect(await waits()).toBe(1)
      await plain.query('COMMIT')
      expect(await published).toMatchObject({ offset: 0, duplicate: false })
    })
    expect(await sql(`SELECT position FROM ${schema}.events('carts')`)).toHaveLength(1)
  })

  it('a transaction that is not in read committed cannot publish: its positions would not be in the order of commits', async () => {
    await open()
    await broker.declare(stream('carts', { events: [ItemAdded] }))
    await withPlainPostgres(server.url, async (plain) => {
      await plain.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
      const published = plain.query(`SELECT ${schema}.publish('carts', $1)`, [structured('a', 'k', 'tea')])
      await expect(published).rejects.toThrow('read committed')
      await plain.query('ROLLBACK')
    })
  })

  it('a role that may only use the schema may publish, and do nothing else there', async () => {
    await open()
    await broker.declare(stream('carts', { events: [ItemAdded] }))
    await sql(`CREATE ROLE ${schema} LOGIN`)
    await sql(`GRANT USAGE ON SCHEMA ${schema} TO ${schema}`)
    await withPlainPostgres(server.url.replace('millrace@', `${schema}@`), async (plain) => {
      await plain.query(`SELECT ${schema}.publish('carts', $1)`, [structured('a', 'k', 'tea')])
      await expect(plain.query(`SELECT * FROM ${schema}.events('carts')`)).rejects.toThrow('permission denied')
      await expect(plain.query(`SELECT ${schema}.remove_channel('carts')`)).rejects.toThrow('permission denied')
    })
    expect(await sql(`SELECT position FROM ${schema}.events('carts')`)).toHaveLength(1)
  })

  it('what is no CloudEvent is refused by the function; a row whose data the schema refuses becomes a dead letter', async () => {
    await open()
    await broker.declare(stream('carts', { events: [ItemAdded] }))
    const publish = (text: string): Promise<unknown> => sql(`SELECT ${schema}.publish('carts', $1)`, [text])
    await expect(publish('{"hello":"world"}')).rejects.toThrow('no CloudEvent')
    await expect(publish('[]')).rejects.toThrow('no CloudEvent')
    await expect(publish('{"specversion":"1.0","id":')).rejects.toThrow('json')
    await expect(sql(`SELECT ${schema}.publish('other', '{}')`)).rejects.toThrow('no channel other')
    for (const own of ['~schedule', '$rules', '~dead.carts'])
      await expect(sql(`SELECT ${schema}.publish($1, '{}')`, [own])).rejects.toThrow('of Millrace itself')
    await expect(publish(structured('a', 'k'.repeat(1025), 'tea'))).rejects.toThrow('larger than')
    await expect(publish(structured('a', 'k', 'x'.repeat(1_048_576)))).rejects.toThrow('larger than')
    const [{ may } = {}] = await sql(`SELECT has_function_privilege('public', '${schema}.take_in()', 'execute') AS may`)
    expect(may).toBe(false)
    await publish(structured('wrong', 'k', 7))
    const given = await collecting(broker, 'carts')
    await broker.publish('carts', { type: 'cart.item.added', data: { sku: 'tea' } })
    await expect.poll(async () => (await broker.deadLetters('worker').list()).length, { timeout: 10_000 }).toBe(1)
    await expect.poll(() => given.length).toBe(1)
  })

  it('a notification that another client sends does no harm', async () => {
    await open()
    const carts = stream('carts', { events: [ItemAdded] })
    await broker.declare(carts)
    const given = await collecting(broker, 'carts')
    for (const payload of ['', 'x', 'x [', 'x ["carts"]', 'x [["carts",0,-5]]', 'x [["carts","0",{}]]', 'x {}'])
      await sql('SELECT pg_notify($1, $2)', [schema, payload])
    await broker.publish(carts, ItemAdded({ sku: 'tea' }))
    await expect.poll(() => given.length, { timeout: 10_000 }).toBe(1)
  })

  it('a queue leaves no table behind that has only settled events: when its table is full, another one takes over', async () => {
    await open()
    const jobs = queue('jobs', { dedupe: { age: '1s', count: 10 } })
    await broker.declare(jobs)
    const done: unknown[] = []
    await broker.start(consumer('worker', jobs, { concurrency: 50 }).onAny(({ data }) => void done.push(data)))
    const [row] = await sql(`SELECT id FROM ${schema}.channels WHERE name = 'jobs'`)
    const tables = async (): Promise<unknown> =>
      (
        await sql(`SELECT relname FROM pg_class WHERE relname LIKE 'events_${row?.['id']}_%' AND relkind = 'r' AND
        relnamespace = '${schema}'::regnamespace ORDER BY 1`)
      ).map(({ relname }) => relname)
    await broker.publish(jobs, { type: 'job', data: 0 })
    // As if the table had taken nearly a million events.
    await sql(`UPDATE ${schema}.events_${row?.['id']} SET position = 999998`)
    for (let n = 1; n <= 6; n++) await broker.publish(jobs, { type: 'job', data: n })
    await expect.poll(() => done.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(7)
    expect(await tables()).toEqual([`events_${row?.['id']}_0`, `events_${row?.['id']}_1`])
    await expect
      .poll(
        async () => {
          await sql(`SELECT ${schema}.retain('jobs')`)
          return tables()
        },
        { timeout: 20_000 },
      )
      .toEqual([`events_${row?.['id']}_1`])
    const { offset } = await broker.publish(jobs, { type: 'job', data: 7 })
    expect(offset).toBe(1_000_005)
  })
})
