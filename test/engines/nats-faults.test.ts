/** What NATS servers do at their worst, under a load of publishes, handlers and emissions of two engines: nothing acknowledged is lost, nothing is doubled. */
import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connect as connectNats } from '@nats-io/transport-node'
import { describe, expect, it } from 'vitest'
import { natsKind } from '../../scripts/engines/engines.ts'
import { freePort, Server } from '../../scripts/engines/server.ts'
import { connect, consumer } from '../../src/index.ts'
import type { Operation } from '../../src/testing/history/operation.ts'
import { HistoryRecorder, readHistory } from '../../src/testing/history/recorder.ts'
import { unkindProxy } from '../conformance/unkind-proxy.ts'
import { drain, expectSound, underFaults } from './fault-load.ts'
import { kindOf, withServer } from './servers.ts'

const kind = kindOf('nats (newest)', () => natsKind({ version: 'newest' }))
const LIMIT_MS = 180_000

const query = (): string => `?durable=declared&partitions=4&prefix=f${randomUUID().slice(0, 8)}`

describe.skipIf(kind === undefined)('NATS under load', () => {
  const faulty = (name: string, fault: (server: Server) => Promise<void>): void =>
    it(
      name,
      async () => {
        await withServer(natsKind({ version: 'newest' }), async (server) => {
          const url = `${server.url}${query()}`
          const { alarms, brokers } = await underFaults({ urls: [url, url], faults: () => fault(server) })
          expect(alarms.map(({ code }) => code)).toContain('UNAVAILABLE')
          // What is over is no alarm any more.
          for (const broker of brokers)
            await expect(
              broker.describe().then(
                (found) => found.alarms,
                () => [],
              ),
            ).resolves.toEqual([])
        })
      },
      LIMIT_MS,
    )

  faulty('a server that is restarted, twice', async (server) => {
    for (let round = 0; round < 2; round++) {
      await server.halt()
      await sleep(300)
      await server.start()
      await sleep(700)
    }
  })

  faulty('a server that is killed, three times', async (server) => {
    for (let round = 0; round < 3; round++) {
      await server.kill()
      await server.start()
      await sleep(700)
    }
  })

  it(
    'a server that hangs for longer than the lease',
    async () => {
      await withServer(natsKind({ version: 'newest' }), async (server) => {
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
      await withServer(natsKind({ version: 'newest' }), async (server) => {
        const proxy = await unkindProxy(server.port, { seed: 5, livesMs: 1200, graceMs: 400, pieceBytes: 2000, delayMs: 3, delayed: 0.05 })
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
    'are killed while they work, one after the other, and the last one finishes what they began',
    async () => {
      await withServer(natsKind({ version: 'newest' }), async (server) => {
        const folder = mkdtempSync(join(tmpdir(), 'millrace-ledger-'))
        const ledger = join(folder, 'ledger')
        const url = `${server.url}${query()}`
        const child = (name: string): ChildProcess =>
          fork(fileURLToPath(new URL('./fault-child.ts', import.meta.url)), [url, ledger, name], { execArgv: ['--import', 'tsx'], stdio: 'inherit' })
        const history = (): Operation[] => readHistory(existsSync(ledger) ? readFileSync(ledger, 'utf8') : '')
        const handledBy = (name: string): number => history().filter((each) => each.action === 'done' && each.outcome === 'ok' && each.process === name).length
        const children = new Map<string, ChildProcess>()
        try {
          for (const name of ['a', 'b', 'c', 'd']) {
            children.set(name, child(name))
            await expect.poll(() => handledBy(name), { timeout: 40_000, interval: 100 }).toBeGreaterThan(100)
            const [oldest = ''] = children.size > 1 ? children.keys() : []
            if (oldest !== '') await killed(children, oldest, ledger)
          }
          for (const name of [...children.keys()]) await killed(children, name, ledger)
          const recorder = new HistoryRecorder({ clock: () => performance.timeOrigin + performance.now() })
          const broker = await connect(url)
          await broker.start(
            consumer('worker', 'orders', { lease: 1500 }).onAny(async ({ data }, ctx) => {
              const { value } = data as { readonly value: string }
              const { channel, key, offset, attempt } = ctx
              const emitted = `${value}>last/${attempt}`
              await recorder.handle({ process: 'last', consumer: 'worker', channel, key, offset, value, attempt }, async () => {
                recorder.note({
                  action: 'emit',
                  process: 'last',
                  consumer: 'worker',
                  cause: value,
                  attempt,
                  channel: 'out',
                  key: null,
                  value: emitted,
                  slot: 'only',
                })
                await ctx.emit('out', { type: 'step', data: { value: emitted } })
              })
            }),
          )
          await drain(broker, recorder, 60_000)
          await broker.close()
          expectSound([...history(), ...recorder.operations])
        } finally {
          for (const each of children.values()) each.kill('SIGKILL')
          rmSync(folder, { recursive: true })
        }
      })
    },
    LIMIT_MS,
  )
})

/** SIGKILL, and a line in the ledger that says that it is over. */
async function killed(children: Map<string, ChildProcess>, name: string, ledger: string): Promise<void> {
  const child = children.get(name)
  children.delete(name)
  const ended = new Promise((resolve) => child?.once('exit', resolve))
  child?.kill('SIGKILL')
  await ended
  // Behind a line that it may not have finished.
  appendFileSync(ledger, `\n${JSON.stringify({ action: 'end', process: name, time: performance.timeOrigin + performance.now() })}\n`)
}

/** Three servers that know each other. */
async function cluster(): Promise<{ readonly servers: Server[]; readonly names: string[] }> {
  const ports = [await freePort(), await freePort(), await freePort()]
  const names = ports.map((_, at) => `node-${at}`)
  const routes = ports.map((port) => `nats://127.0.0.1:${port}`).join(', ')
  const servers = await Promise.all(
    names.map((name, at) =>
      Server.start(
        natsKind({ version: 'newest', more: `server_name: ${name}\ncluster { name: test, listen: "127.0.0.1:${ports[at]}", routes: [ ${routes} ] }` }),
      ),
    ),
  )
  return { servers, names }
}

describe.skipIf(kind === undefined)('a cluster of three NATS servers under load', () => {
  it(
    'its leaders are killed, one after the other, and come back',
    async () => {
      const { servers, names } = await cluster()
      try {
        const rest = query()
        const prefix = /prefix=(\w+)/.exec(rest)?.[1]
        const url = `nats://${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}${rest}&replicas=3`
        const leaderOf = async (stream: string): Promise<Server> => {
          const plain = await connectNats({ servers: servers.map(({ port }) => `127.0.0.1:${port}`) })
          const info = (await plain.request(`$JS.API.STREAM.INFO.${stream}`, '', { timeout: 10_000 })).json<{ cluster: { leader: string } }>()
          await plain.close()
          return servers[names.indexOf(info.cluster.leader)] as Server
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
