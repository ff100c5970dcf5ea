/**
 * Worlds of the remote engine for the conformance suite: a gateway over a memory or file broker, and connections to its
 * WebSocket, optionally through a proxy.
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Broker } from '../../src/broker/broker.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { openRemoteEngine } from '../../src/engines/remote/open.ts'
import { type ServingGateway, serveGateway } from '../../src/gateway/serve-gateway.ts'
import { connect } from '../../src/index.ts'
import type { ConformanceHarness } from '../../src/testing/conformance/conformance.ts'
import type { ConformanceWorld } from '../../src/testing/conformance/world.ts'
import { NO_OWN_KEY_REMOTE } from './own-key-lacks.ts'

type Remote = Pick<ConformanceHarness, 'open' | 'lacks'>

/** A proxy between client and server: returns the port to connect to instead. */
export type Between = (port: number) => Promise<{ readonly port: number; close(): Promise<void> }>

const DIRECT: Between = async (port) => ({ port, close: async () => undefined })

interface Serving {
  readonly broker: Broker
  readonly gateway: ServingGateway
  readonly between: Awaited<ReturnType<Between>>
}

class RemoteWorld implements ConformanceWorld {
  readonly #root: string | null
  readonly #between: Between
  readonly #opened: Serving[] = []
  #generation = 0
  #serving: Promise<Serving> | null = null

  constructor(root: string | null, between: Between) {
    this.#root = root
    this.#between = between
  }

  get #directory(): string {
    return join(this.#root as string, `data-${this.#generation}`)
  }

  async #serve(): Promise<Serving> {
    const broker = await connect(this.#root === null ? 'memory:' : `file:${this.#directory}`)
    const gateway = await serveGateway(broker, { port: 0 })
    const serving = { broker, gateway, between: await this.#between(gateway.port) }
    this.#opened.push(serving)
    return serving
  }

  async #url(): Promise<string> {
    this.#serving ??= this.#serve()
    return `ws://127.0.0.1:${(await this.#serving).between.port}`
  }

  async connect(): Promise<Broker> {
    return connect(await this.#url())
  }

  readonly openEngine = async (): Promise<Engine> => openRemoteEngine(await this.#url())

  /**
   * The server ends as `kill -9` would end it, and a new one starts on its disk. The clients of the old one are
   * forgotten.
   */
  async crash(): Promise<void> {
    const from = this.#directory
    this.#generation++
    const last = (name: string): number => (name.startsWith('journal') ? 1 : 0)
    for (const name of readdirSync(from).sort((a, b) => last(a) - last(b))) {
      if (!name.endsWith('.sock')) cpSync(join(from, name), join(this.#directory, name), { recursive: true })
    }
    this.#serving = null
  }

  async dispose(): Promise<void> {
    for (const { broker, gateway, between } of this.#opened) {
      await between.close()
      await gateway.close()
      await broker.close().catch(() => undefined)
    }
    if (this.#root !== null && existsSync(this.#root)) rmSync(this.#root, { recursive: true, force: true })
  }
}

const MEMORY_DIES = 'memory: is forgotten when its server dies'

export function remoteMemoryWorlds(between: Between = DIRECT): Remote {
  return {
    open: () => new RemoteWorld(null, between),
    lacks: {
      ...NO_OWN_KEY_REMOTE,
      crash: MEMORY_DIES,
      disk: 'the server is in this process, and keeps its events in memory',
    },
  }
}

export function remoteFileWorlds(between: Between = DIRECT): Remote {
  return {
    open: () => new RemoteWorld(mkdtempSync(join(tmpdir(), 'millrace-conformance-')), between),
    lacks: NO_OWN_KEY_REMOTE,
  }
}
