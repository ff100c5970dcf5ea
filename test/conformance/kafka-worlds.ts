/** Worlds on one Kafka server: each has its own topics, under a prefix. */
import { Connection, deleteRecordsV2 } from '@platformatic/kafka'
import type { Broker } from '../../src/broker/broker.ts'
import type { Engine } from '../../src/broker/engine.ts'
import type { KafkaBackend } from '../../src/engines/kafka/backend.ts'
import { openKafkaBackend } from '../../src/engines/kafka/open.ts'
import { parseKafkaUrl } from '../../src/engines/kafka/url.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import type { ConformanceHarness } from '../../src/testing/conformance/conformance.ts'
import type { ConformanceWorld } from '../../src/testing/conformance/world.ts'
import { connected } from './connected.ts'

let worlds = 0

async function forgetMembers(url: string, topic: string): Promise<void> {
  const [{ host, port } = { host: '', port: 0 }] = parseKafkaUrl(url, undefined).seeds
  const connection = new Connection('test')
  await connection.connect(host, port)
  await deleteRecordsV2.api.async(
    connection,
    [{ name: topic, partitions: [{ partitionIndex: 0, offset: -1n }] }],
    10_000,
  )
  await connection.close()
}

class KafkaWorld implements ConformanceWorld {
  readonly #url: string
  readonly #prefix: string
  #backends: KafkaBackend[] = []
  readonly #dead: Broker[] = []
  #broker: Broker | null = null

  constructor(url: string, partitions: number) {
    this.#prefix = `w${worlds++}.`
    this.#url = `${url}?prefix=${this.#prefix}&partitions=${partitions}`
  }

  async #open(): Promise<ExternalLogEngine> {
    const backend = await openKafkaBackend(this.#url)
    this.#backends.push(backend)
    return ExternalLogEngine.open({ backend, partitions: parseKafkaUrl(this.#url, undefined).partitions })
  }

  async connect(): Promise<Broker> {
    this.#broker = connected(await this.#open())
    return this.#broker
  }

  readonly openEngine = (): Promise<Engine> => this.#open()

  /** The connections end without a goodbye. The members are then forgotten, as after a time longer than any lease. */
  async crash(): Promise<void> {
    for (const backend of this.#backends.splice(0)) backend.sever()
    await forgetMembers(this.#url, `${this.#prefix}__millrace.members`)
    if (this.#broker !== null) this.#dead.push(this.#broker)
    this.#broker = null
  }

  async dispose(): Promise<void> {
    for (const broker of this.#dead) await broker.close().catch(() => undefined)
    for (const backend of this.#backends) backend.sever()
  }
}

export function kafkaWorlds(url: () => string, partitions: number): Pick<ConformanceHarness, 'open'> {
  return { open: () => new KafkaWorld(url(), partitions) }
}
