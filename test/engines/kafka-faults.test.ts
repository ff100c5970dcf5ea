/**
 * Faults of a Kafka server under a load of publishes, handlers and emissions of two engines: no acknowledged event is
 * lost or stored twice.
 */
import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { kafkaKind } from '../../scripts/engines/engines.ts'
import { freePort } from '../../scripts/engines/server.ts'
import { unkindProxy } from '../conformance/unkind-proxy.ts'
import { type FaultyServers, faulty, hanging, hung, killed, restarted, SLOW_AND_CUT } from './cases.ts'
import { type LoadState, underFaults } from './fault-load.ts'
import { kindOf, withServer } from './servers.ts'

const kind = kindOf('kafka', () => kafkaKind())
const LIMIT_MS = 240_000

const query = (): string => `?partitions=4&prefix=f${randomUUID().slice(0, 8)}.`

describe.skipIf(kind === undefined)('Kafka under load', () => {
  const servers: FaultyServers = { kind: () => kafkaKind(), query, limitMs: LIMIT_MS }

  faulty(servers, 'a server that is restarted', (server) => restarted(server, 1))
  faulty(servers, 'a server that is killed, twice', (server) => killed(server, 2, 3000))
  hanging(servers, (server) => hung(server, 4000))

  it(
    'a connection that is slow, and cut again and again',
    async () => {
      const port = await freePort()
      const proxy = await unkindProxy(port, SLOW_AND_CUT)
      await withServer(kafkaKind({}, { port, advertised: proxy.port }), async (server) => {
        const rest = query()
        const load = {
          urls: [`kafka://127.0.0.1:${proxy.port}${rest}`, `${server.url}${rest}`],
          faults: (state: LoadState) => state.more(300, 60_000),
        }
        await underFaults(load)
        expect(proxy.cuts).toBeGreaterThan(0)
      })
      await proxy.close()
    },
    LIMIT_MS,
  )
})
