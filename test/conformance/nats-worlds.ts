/** Worlds on one NATS server, each with its own prefix. A crash cuts the engine's connection while the server lives. */
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterAll } from 'vitest'
import { natsKind } from '../../scripts/engines/engines.ts'
import { Server, type ServerKind } from '../../scripts/engines/server.ts'
import type { Broker } from '../../src/broker/broker.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { natsCapabilities } from '../../src/engines/nats/capabilities.ts'
import { NatsBackend } from '../../src/engines/nats/nats-backend.ts'
import { parseNatsUrl } from '../../src/engines/nats/nats-url.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import type { ConformanceHarness } from '../../src/testing/conformance/conformance.ts'
import type { ConformanceWorld } from '../../src/testing/conformance/world.ts'
import { kindOf } from '../engines/servers.ts'
import { connected } from './connected.ts'
import { NO_OWN_KEY_ON_SERVERS } from './own-key-lacks.ts'

/** The newest server, or undefined if there is none. */
export const newestKind: ServerKind | undefined = kindOf('nats (newest)', () => natsKind({ version: 'newest' }))

let worlds = 0

class NatsWorld implements ConformanceWorld {
  readonly #server: Server
  readonly #admin: NatsConnection
  readonly #prefix = `w${process.pid}-${worlds++}`
  readonly #query: string
  #backend: NatsBackend | null = null

  constructor(server: Server, admin: NatsConnection, query: string) {
    this.#server = server
    this.#admin = admin
    this.#query = query
  }

  async #engine(): Promise<{ readonly backend: NatsBackend; readonly engine: ExternalLogEngine }> {
    const target = parseNatsUrl(`${this.#server.url}?durable=declared&prefix=${this.#prefix}&${this.#query}`, {})
    const backend = await NatsBackend.open(target)
    return {
      backend,
      engine: await ExternalLogEngine.open({
        backend,
        ...(target.partitions !== null && { partitions: target.partitions }),
      }),
    }
  }

  async connect(): Promise<Broker> {
    const { backend, engine } = await this.#engine()
    this.#backend = backend
    return connected(engine)
  }

  readonly openEngine = async (): Promise<Engine> => (await this.#engine()).engine

  /** The connection ends without a goodbye. The members are then forgotten, as after a time longer than any lease. */
  async crash(): Promise<void> {
    await this.#backend?.close()
    await this.#admin.request(`$JS.API.STREAM.PURGE.${this.#prefix}_~members`, '', { timeout: 10_000 })
  }

  async dispose(): Promise<void> {
    const ask = async (name: string): Promise<{ readonly streams?: readonly string[] | null }> =>
      (
        await this.#admin.request(`$JS.API.${name}`, JSON.stringify({ subject: `${this.#prefix}.>` }), {
          timeout: 10_000,
        })
      ).json()
    for (const stream of (await ask('STREAM.NAMES')).streams ?? [])
      await this.#admin.request(`$JS.API.STREAM.DELETE.${stream}`, '', { timeout: 10_000 })
  }
}

/** Worlds whose channels have this many partitions, on one server for the whole file. */
export function natsWorlds(
  kind: ServerKind,
  query: string,
): Pick<ConformanceHarness, 'open' | 'lacks' | 'capabilities'> {
  let started: Promise<{ readonly server: Server; readonly admin: NatsConnection }> | null = null
  const start = async (): Promise<{ readonly server: Server; readonly admin: NatsConnection }> => {
    const server = await Server.start(kind)
    return { server, admin: await connect({ servers: `127.0.0.1:${server.port}` }) }
  }
  afterAll(async () => {
    const running = await started
    await running?.admin.close()
    await running?.server.stop()
  })
  return {
    open: async () => {
      started ??= start()
      const { server, admin } = await started
      return new NatsWorld(server, admin, query)
    },
    lacks: NO_OWN_KEY_ON_SERVERS,
    capabilities: natsCapabilities({ known: 'declared', how: 'the test starts the server' }),
  }
}
