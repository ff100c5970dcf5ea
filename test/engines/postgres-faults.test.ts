/**
 * Faults of a Postgres under a load of publishes, handlers and emissions of two engines: no acknowledged event is lost
 * or stored twice.
 */
import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { postgresKind } from '../../scripts/engines/engines.ts'
import { connect, stream } from '../../src/index.ts'
import { unkindProxy } from '../conformance/unkind-proxy.ts'
import { type FaultyServers, faulty, hanging, hung, killed, restarted, SLOW_AND_CUT } from './cases.ts'
import { underFaults } from './fault-load.ts'
import { processesKilled } from './fault-processes.ts'
import { withPlainPostgres } from './plain-postgres.ts'
import { kindOf, withServer } from './servers.ts'

const kind = kindOf('postgres', () => postgresKind())
const LIMIT_MS = 180_000

const query = (): string => `?partitions=4&schema=f${randomUUID().slice(0, 8)}`

describe.skipIf(kind === undefined)('Postgres under load', () => {
  const servers: FaultyServers = { kind: () => postgresKind(), query, limitMs: LIMIT_MS }

  faulty(servers, 'a server that is restarted, twice', (server) => restarted(server, 2))
  faulty(servers, 'a server that is killed, three times', (server) => killed(server, 3, 700))
  hanging(servers, async (server, load) => {
    await hung(server, 4000)
    await load.more(20)
    // The second time the connections are given up, and made again.
    await hung(server, 8000)
  })

  it(
    'a connection that is slow, and cut again and again',
    async () => {
      await withServer(postgresKind(), async (server) => {
        const proxy = await unkindProxy(server.port, SLOW_AND_CUT)
        const rest = query()
        const url = `${server.url.replace(`:${server.port}/`, `:${proxy.port}/`)}${rest}`
        await underFaults({ urls: [url, `${server.url}${rest}`], faults: (load) => load.more(300, 60_000) })
        expect(proxy.cuts).toBeGreaterThan(0)
        await proxy.close()
      })
    },
    LIMIT_MS,
  )

  it(
    'sessions that the server ends, and a transaction of somebody else that stays open and keeps Postgres from cleaning up',
    async () => {
      await withServer(postgresKind(), async (server) => {
        const url = `${server.url}${query()}`
        await withPlainPostgres(server.url, async (plain) => {
          await plain.query('BEGIN ISOLATION LEVEL REPEATABLE READ')
          await plain.query('SELECT 1 FROM pg_class LIMIT 1')
          await underFaults({
            urls: [url, url],
            faults: async (load) => {
              for (let round = 0; round < 3; round++) {
                await withPlainPostgres(server.url, (admin) =>
                  admin.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace'",
                  ),
                )
                await load.more(50)
              }
            },
          })
          await plain.query('COMMIT')
        })
      })
    },
    LIMIT_MS,
  )

  it(
    'a server that is away for longer than calls wait: publishing fails with UNAVAILABLE, and the alarm lasts until it is back',
    async () => {
      await withServer(postgresKind(), async (server) => {
        const alarms: string[] = []
        const broker = await connect(`${server.url}${query()}`, { onAlarm: ({ code }) => void alarms.push(code) })
        const notes = stream('notes')
        await broker.publish(notes, { type: 'note', data: 1 })
        await server.kill()
        const begun = performance.now()
        await expect(broker.publish(notes, { type: 'note', data: 2 })).rejects.toMatchObject({
          code: 'UNAVAILABLE',
          retryable: true,
        })
        expect(performance.now() - begun).toBeGreaterThan(5000)
        expect(alarms).toContain('UNAVAILABLE')
        await server.start()
        await expect
          .poll(
            () =>
              broker.publish(notes, { type: 'note', data: 3 }).then(
                () => true,
                () => false,
              ),
            { timeout: 45_000 },
          )
          .toBe(true)
        await expect.poll(async () => (await broker.describe()).alarms, { timeout: 10_000 }).toEqual([])
        await broker.close()
      })
    },
    LIMIT_MS,
  )
})

describe.skipIf(kind === undefined)('processes on Postgres', () => {
  it(
    'are killed one after the other while they work, and the last one finishes their work',
    () => withServer(postgresKind(), (server) => processesKilled(`${server.url}${query()}`, ['a', 'b', 'c'])),
    LIMIT_MS,
  )
})
