/**
 * Faults of NATS servers under a load of publishes, handlers and emissions of two engines: no acknowledged event is
 * lost or stored twice.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectNats } from '@nats-io/transport-node'
import { describe, expect, it } from 'vitest'
import { natsKind } from '../../scripts/engines/engines.ts'
import { freePort, Server } from '../../scripts/engines/server.ts'
import { unkindProxy } from '../conformance/unkind-proxy.ts'
import { type FaultyServers, faulty, hanging, hung, killed, restarted, SLOW_AND_CUT } from './cases.ts'
import { underFaults } from './fault-load.ts'
import { processesKilled } from './fault-processes.ts'
import { kindOf, withServer } from './servers.ts'

const kind = kindOf('nats (newest)', () => natsKind({ version: 'newest' }))
const LIMIT_MS = 180_000

const query = (): string => `?durable=declared&partitions=4&prefix=f${randomUUID().slice(0, 8)}`

describe.skipIf(kind === undefined)('NATS under load', () => {
  const servers: FaultyServers = { kind: () => natsKind({ version: 'newest' }), query, limitMs: LIMIT_MS }

  faulty(servers, 'a server that is restarted, twice', (server) => restarted(server, 2))
  faulty(servers, 'a server that is killed, three times', (server) => killed(server, 3, 700))
  hanging(servers, (server) => hung(server, 4000))

  it(
    'a connection that is slow, and cut again and again',
    async () => {
      await withServer(natsKind({ version: 'newest' }), async (server) => {
        const proxy = await unkindProxy(server.port, SLOW_AND_CUT)
        const rest = query()
        const url = `nats://127.0.0.1:${proxy.port}${rest}`
        await underFaults({ urls: [url, `${server.url}${rest}`], faults: (load) => load.more(300, 60_000) })
        expect(proxy.cuts).toBeGreaterThan(0)
        await proxy.close()
      })
    },
    LIMIT_MS,
  )
})

describe.skipIf(kind === undefined)('processes on NATS', () => {
  it(
    'are killed one after the other while they work, and the last one finishes their work',
    async () => {
      await withServer(natsKind({ version: 'newest' }), async (server) => {
        await processesKilled(`${server.url}${query()}`, ['a', 'b', 'c', 'd'])
      })
    },
    LIMIT_MS,
  )
})

/** Three servers that know each other. */
async function cluster(): Promise<{ readonly servers: Server[]; readonly names: string[] }> {
  const ports = [await freePort(), await freePort(), await freePort()]
  const names = ports.map((_, at) => `node-${at}`)
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(', ')
  const servers = await Promise.all(
    names.map((name, at) =>
      Server.start(
        natsKind({
          version: 'newest',
          more: `server_name: ${name}\ncluster { name: test, listen: "127.0.0.1:${ports[at]}", routes: [ ${routes} ] }`,
        }),
      ),
    ),
  )
  return { servers, names }
}

describe.skipIf(kind === undefined)('a cluster of three NATS servers under load', () => {
  it(
    'its leaders are killed one after the other, and are started again',
    async () => {
      const { servers, names } = await cluster()
      try {
        const rest = query()
        const prefix = /prefix=(\w+)/.exec(rest)?.[1]
        const url = `nats://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}${rest}&replicas=3`
        // No server answers while they choose a leader.
        const leaderOf = async (stream: string): Promise<Server> => {
          const plain = await connectNats({ servers: servers.map(({ port }) => `127.0.0.1:${port}`) })
          try {
            for (;;) {
              const answer = await plain
                .request(`$JS.API.STREAM.INFO.${stream}`, '', { timeout: 2000 })
                .catch(() => null)
              const leader =
                servers[names.indexOf(answer?.json<{ cluster?: { leader?: string } }>().cluster?.leader ?? '')]
              if (leader !== undefined) return leader
              await sleep(100)
            }
          } finally {
            await plain.close()
          }
        }
        const faults = async (): Promise<void> => {
          for (const stream of [`${prefix}_orders`, `${prefix}_~journals`]) {
            const leader = await leaderOf(stream)
            await leader.kill()
            await sleep(3000)
            await leader.start()
            await sleep(3000)
          }
        }
        await underFaults({ urls: [url, url], faults, drainMs: 90_000 })
      } finally {
        await Promise.all(servers.map((server) => server.stop()))
      }
    },
    LIMIT_MS,
  )
})
