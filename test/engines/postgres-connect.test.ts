/** Connecting to Postgres: URLs, credentials, the settings with which an acknowledgement is durable, and the tables. */
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postgresKind } from '../../scripts/engines/engines.ts'
import { freePort, Server } from '../../scripts/engines/server.ts'
import { postgresSettings } from '../../src/engines/postgres/postgres-url.ts'
import { type Alarm, connect, consumer, stream } from '../../src/index.ts'
import { withPlainPostgres } from './plain-postgres.ts'
import { kindOf, withServer } from './servers.ts'

const kind = kindOf('postgres', () => postgresKind())

describe('Postgres URLs', () => {
  it.each([
    [
      'postgres://',
      {
        host: '127.0.0.1',
        port: 5432,
        database: 'postgres',
        user: null,
        password: null,
        tls: null,
        schema: 'millrace',
        partitions: 16,
      },
    ],
    [
      'postgresql://a:b%40c@db.example:7000/my%20shop?schema=shop&partitions=4&connections=2',
      {
        host: 'db.example',
        port: 7000,
        database: 'my shop',
        user: 'a',
        password: 'b@c',
        schema: 'shop',
        connections: 2,
      },
    ],
    ['postgres://[::1]:7000/x?sslmode=require', { host: '::1', port: 7000, tls: { rejectUnauthorized: false } }],
    ['postgres://h/x?sslmode=verify-full', { tls: { rejectUnauthorized: true } }],
  ])('%s', (url, settings) => {
    expect(postgresSettings(url)).toMatchObject(settings)
  })

  it.each([
    ['postgres://host:port', 'host:port'],
    ['postgres://a,b/x', 'several hosts'],
    ['postgres://host?schema=Shop', 'schema'],
    ['postgres://host?schema=a;b', 'schema'],
    ['postgres://host?schema=pg_own', 'schema'],
    ['postgres://host?durable=no', 'synced or unsynced'],
    ['postgres://host?partitions=0', 'partitions'],
    ['postgres://host?connections=1', 'connections'],
    ['postgres://host?speed=1', 'speed'],
    ['postgres://host?sslmode=prefer', 'sslmode'],
    ['postgres://host?sslrootcert=/a.pem', 'sslmode=verify-full'],
    ['postgres://host?sslmode=require&sslrootcert=/not/there.pem', '/not/there.pem'],
    ['postgres://%zz@host', 'percent-encoded'],
  ])('%s is refused', (url, why) => {
    expect(() => postgresSettings(url)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(why) }),
    )
  })

  it('nobody answers: UNAVAILABLE, at once', async () => {
    const port = await freePort()
    await expect(connect(`postgres://127.0.0.1:${port}`)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    })
  })
})

describe.skipIf(kind === undefined)('Postgres', () => {
  let server: Server
  const schemaOf = (): string => `c${randomUUID().slice(0, 8)}`

  beforeAll(async () => {
    if (kind !== undefined) server = await Server.start(kind)
  })
  afterAll(() => server?.stop())

  it('a wrong database, a role that may not log in, and a server that speaks no TLS get errors that say so', async () => {
    await expect(connect(server.url.replace(/postgres$/, 'nowhere'))).rejects.toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining('nowhere'),
    })
    await expect(connect(server.url.replace('millrace@', 'nobody@'))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    await expect(connect(`${server.url}?sslmode=require`)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('sslmode'),
    })
  })

  it('a role that may not create the schema is FORBIDDEN; it needs only its own schema', async () => {
    const schema = schemaOf()
    const url = `${server.url.replace('millrace@', 'app@')}?schema=${schema}`
    await withPlainPostgres(server.url, async (plain) => {
      await plain.query('CREATE ROLE app LOGIN')
      await expect(connect(url)).rejects.toMatchObject({ code: 'FORBIDDEN' })
      await plain.query(`CREATE SCHEMA ${schema} AUTHORIZATION app`)
    })
    const broker = await connect(url)
    const notes = stream('notes', { retain: { count: 10 } })
    await broker.publish(notes, { type: 'note', data: 1 })
    await broker.start(consumer('reader', notes).onAny(() => undefined))
    expect((await broker.describe()).channels.map(({ next }) => next)).toEqual([1])
    await broker.close()
  })

  it('tables are made once by processes that connect at the same time; tables=expect makes none', async () => {
    const url = `${server.url}?schema=${schemaOf()}`
    await expect(connect(`${url}&tables=expect`)).rejects.toMatchObject({ code: 'MIGRATION_NEEDED' })
    const brokers = await Promise.all(Array.from({ length: 4 }, () => connect(url)))
    await Promise.all(brokers.map((broker) => broker.close()))
    const again = await connect(`${url}&tables=expect`)
    await again.close()
  })

  it('tables of another version are refused, and nothing is changed', async () => {
    const schema = schemaOf()
    const broker = await connect(`${server.url}?schema=${schema}`)
    await broker.close()
    await withPlainPostgres(server.url, async (plain) => {
      await plain.query(`UPDATE ${schema}.meta SET version = 99`)
      await expect(connect(`${server.url}?schema=${schema}`)).rejects.toMatchObject({
        code: 'DATA_FOREIGN',
        details: { format: 99 },
      })
      expect((await plain.query(`SELECT version FROM ${schema}.meta`)).rows).toEqual([{ version: 99 }])
    })
  })

  it('synchronous_commit = off is no danger: each transaction that must be durable asks for a synchronous commit', async () => {
    const schema = schemaOf()
    await withPlainPostgres(server.url, async (plain) => {
      await plain.query('CREATE ROLE hasty LOGIN SUPERUSER')
      await plain.query('ALTER ROLE hasty SET synchronous_commit = off')
    })
    const url = `${server.url.replace('millrace@', 'hasty@')}?schema=${schema}`
    const broker = await connect(url)
    expect((await broker.describe()).capabilities[1]).toMatchObject({
      support: 'native',
      reason: expect.stringContaining('synchronous_commit is off'),
    })
    await broker.publish(stream('notes'), { type: 'note', data: 1 })
    await withPlainPostgres(url.split('?', 1)[0] as string, async (plain) => {
      await plain.query('BEGIN')
      expect((await plain.query('SHOW synchronous_commit')).rows).toEqual([{ synchronous_commit: 'off' }])
      await plain.query(`SELECT ${schema}.sync()`)
      expect((await plain.query('SHOW synchronous_commit')).rows).toEqual([{ synchronous_commit: 'on' }])
      await plain.query('COMMIT')
    })
    await broker.close()
  })

  it('a role whose transactions are serializable by default is refused, and told what to set', async () => {
    await withPlainPostgres(server.url, async (plain) => {
      await plain.query('CREATE ROLE strict LOGIN SUPERUSER')
      await plain.query("ALTER ROLE strict SET default_transaction_isolation = 'serializable'")
    })
    await expect(connect(server.url.replace('millrace@', 'strict@'))).rejects.toMatchObject({
      code: 'CLAUSE_REFUSED',
      details: { setting: 'default_transaction_isolation' },
    })
  })
})

describe.skipIf(kind === undefined)('a Postgres with weaker settings', () => {
  it('without fsync is refused, unless the URL accepts it; the capabilities say so', async () => {
    await withServer(postgresKind({ fsync: 'off' }), async ({ url }) => {
      await expect(connect(url)).rejects.toMatchObject({
        code: 'CLAUSE_REFUSED',
        details: { engine: 'postgres', clause: 1, setting: 'fsync' },
        message: expect.stringContaining('?durable=unsynced'),
      })
      const broker = await connect(`${url}?durable=unsynced`)
      expect((await broker.describe()).capabilities[1]).toMatchObject({
        support: 'refused',
        reason: expect.stringContaining('durable=unsynced'),
      })
      await broker.publish(stream('notes'), { type: 'note', data: 1 })
      await broker.close()
    })
  })

  it('one whose settings become weaker while the connection is away gets no more writes', async () => {
    await withServer(postgresKind(), async (server) => {
      const alarms: Alarm[] = []
      const broker = await connect(server.url, { onAlarm: (alarm) => void alarms.push(alarm) })
      const notes = stream('notes')
      await broker.publish(notes, { type: 'note', data: 1 })
      await withPlainPostgres(server.url, async (plain) => {
        await plain.query('ALTER ROLE millrace SET default_transaction_isolation = serializable')
        await plain.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace'")
      })
      await expect.poll(() => alarms.map(({ code }) => code), { timeout: 10_000 }).toContain('CLAUSE_REFUSED')
      await expect(broker.publish(notes, { type: 'note', data: 2 })).rejects.toMatchObject({ code: 'CLAUSE_REFUSED' })
      await broker.close()
    })
  })
})
