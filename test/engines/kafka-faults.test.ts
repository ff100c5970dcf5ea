/** What a Kafka server does at its worst, under a load of publishes, handlers and emissions of two engines: nothing acknowledged is lost, nothing is doubled. */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { kafkaKind } from '../../scripts/engines/engines.ts'
import { freePort, type Server } from '../../scripts/engines/server.ts'
import { unkindProxy } from '../conformance/unkind-proxy.ts'
import { type LoadState, underFaults } from './fault-load.ts'
import { kindOf, withServer } from './servers.ts'

const kind = kindOf('kafka', () => kafkaKind())
const LIMIT_MS = 240_000

const query = (): string => `?partitions=4&prefix=f${randomUUID().slice(0, 8)}.`

/** What is over is no alarm any more. */
async function well({ brokers }: LoadState): Promise<void> {
  for (const broker of brokers) expect((await broker.describe().catch(() => ({ alarms: [] }))).alarms).toEqual([])
}

describe.skipIf(kind === undefined)('Kafka under load', () => {
  const faulty = (name: string, fault: (server: Server) => Promise<void>): void =>
    it(
      name,
      async () => {
        await withServer(kafkaKind(), async (server) => {
          const url = `${server.url}${query()}`
          const load = await underFaults({ urls: [url, url], faults: () => fault(server) })
          expect(load.alarms.map(({ code }) => code)).toContain('UNAVAILABLE')
          await well(load)
        })
      },
      LIMIT_MS,
    )

  faulty('a server that is restarted', async (server) => {
    await server.halt()
    await sleep(300)
    await server.start()
    await sleep(700)
  })

  faulty('a server that is killed, twice', async (server) => {
    for (let round = 0; round < 2; round++) {
      await server.kill()
      await server.start()
      await sleep(3000)
    }
  })

  it(
    'a server that hangs for longer than the lease',
    async () => {
      await withServer(kafkaKind(), async (server) => {
        const url = `${server.url}${query()}`
        const hang = async (): Promise<void> => {
          server.pause()
          await sleep(4000)
          server.resume()
        }
        await underFaults({ urls: [url, url], faults: hang })
      })
    },
    LIMIT_MS,
  )

  it(
    'a connection that is slow, and cut again and again',
    async () => {
      const port = await freePort()
      const proxy = await unkindProxy(port, { seed: 5, livesMs: 1200, graceMs: 400, pieceBytes: 2000, delayMs: 3, delayed: 0.05 })
      await withServer(kafkaKind({}, { port, advertised: proxy.port }), async (server) => {
        const rest = query()
        const load = { urls: [`kafka://127.0.0.1:${proxy.port}${rest}`, `${server.url}${rest}`], faults: (state: LoadState) => state.more(300, 60_000) }
        await underFaults(load)
        expect(proxy.cuts).toBeGreaterThan(0)
      })
      await proxy.close()
    },
    LIMIT_MS,
  )
})
