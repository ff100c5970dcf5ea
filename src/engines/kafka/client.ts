/**
 * Connections to a Kafka cluster, and requests to the broker that leads a topic.
 *
 * Every topic has one partition here, so a topic has one leader. Kafka answers the requests of a connection one after
 * the other. So requests that may take long (a long poll, a write that waits for the disk) have a connection of their
 * own for their purpose.
 *
 * A request that fails because the cluster changes or a connection is lost is repeated for a bounded time. Then it
 * fails with UNAVAILABLE.
 */
import { MillraceError } from '../../base/errors.ts'
import { TIMER_MS_MAX } from '../../base/timers.ts'
import { patiently } from '../../external-log/backend/patience.ts'
import { KafkaError, kafkaError, millraceError } from './kafka-error.ts'
import type { ConnectionLike, KafkaLibrary, MetadataAnswer } from './library.ts'

export type Purpose = 'ask' | 'publish' | 'consumerLog' | 'notes' | 'watch'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface ClientOptions {
  readonly seeds: readonly Address[]
  readonly clientId: string
  /** TLS and SASL, as the library's connections take them. */
  readonly security: object
  /** How long a call may wait for a cluster that does not answer. */
  patienceMs(): number
  /** Called with null when the cluster answers again, and with the reason when it does not. */
  reachable(problem: string | null): void
}

const CONNECT_MS = 5000
const REQUEST_MS = 10_000

export class KafkaClient {
  readonly library: KafkaLibrary
  readonly #options: ClientOptions
  readonly #connections = new Map<string, Promise<ConnectionLike>>()
  readonly #open = new Set<ConnectionLike>()
  readonly #nodes = new Map<number, Address>()
  readonly #leaders = new Map<string, number>()
  readonly #closed = new AbortController()
  #seed = 0
  #down = false

  constructor(library: KafkaLibrary, options: ClientOptions) {
    this.library = library
    this.#options = options
  }

  /** Send a request to any broker. */
  any<T>(what: string, send: (connection: ConnectionLike) => Promise<T>): Promise<T> {
    return this.#again(
      what,
      async () => this.#tried(await this.#connection('seed', this.#seedAddress(), 'ask'), send),
      null,
    )
  }

  /** Send a request to the broker that leads a topic. */
  leader<T>(
    what: string,
    topic: string,
    purpose: Purpose,
    send: (connection: ConnectionLike) => Promise<T>,
  ): Promise<T> {
    return this.#again(what, async () => this.#tried(await this.#leaderOf(topic, purpose), send), topic)
  }

  /** Send a request to the leader, with one attempt. */
  async once<T>(topic: string, purpose: Purpose, send: (connection: ConnectionLike) => Promise<T>): Promise<T> {
    try {
      return await this.#tried(await this.#leaderOf(topic, purpose), send)
    } catch (error) {
      throw this.#failed(kafkaError(error), topic)
    }
  }

  /** The broker that leads a topic, as far as it is known. */
  async leaderId(topic: string): Promise<number> {
    let id = this.#leaders.get(topic)
    if (id === undefined) {
      await this.metadata([topic])
      id = this.#leaders.get(topic)
    }
    if (id === undefined) throw new KafkaError(3, `topic ${topic} does not exist`)
    return id
  }

  async metadata(topics: readonly string[] | null): Promise<MetadataAnswer> {
    const connection = await this.#connection('seed', this.#seedAddress(), 'ask')
    const answer = await this.#tried(connection, (to) =>
      this.library.metadataV12.api.async(to, topics, false, false).catch(metadataIn),
    )
    for (const { nodeId, host, port } of answer.brokers) this.#nodes.set(nodeId, { host, port })
    for (const { name, errorCode, partitions } of answer.topics) {
      const [partition] = partitions
      if (name !== null && errorCode === 0 && partition !== undefined && partition.leaderId >= 0)
        this.#leaders.set(name, partition.leaderId)
    }
    return answer
  }

  /** The topic was created or removed: its leader is asked for again. */
  forget(topic: string): void {
    this.#leaders.delete(topic)
  }

  #seedAddress(): Address {
    return this.#options.seeds[this.#seed % this.#options.seeds.length] as Address
  }

  async #leaderOf(topic: string, purpose: Purpose): Promise<ConnectionLike> {
    const id = await this.leaderId(topic)
    return this.#connection(String(id), this.#nodes.get(id) as Address, purpose)
  }

  #connection(node: string, { host, port }: Address, purpose: Purpose): Promise<ConnectionLike> {
    const name = `${node}/${purpose}`
    let connection = this.#connections.get(name)
    if (connection === undefined) {
      connection = this.#connect(host, port, () => {
        if (this.#connections.get(name) === connection) this.#connections.delete(name)
      })
      this.#connections.set(name, connection)
      connection.catch(() => {
        this.#connections.delete(name)
        if (node === 'seed') this.#seed++
      })
    }
    return connection
  }

  async #connect(host: string, port: number, gone: () => void): Promise<ConnectionLike> {
    if (this.#closed.signal.aborted) throw closed()
    const connection = new this.library.Connection(this.#options.clientId, {
      connectTimeout: CONNECT_MS,
      requestTimeout: REQUEST_MS,
      maxInflights: 1000,
      ...this.#options.security,
    })
    this.#open.add(connection)
    connection.on('error', gone)
    connection.on('close', () => {
      this.#open.delete(connection)
      gone()
    })
    try {
      await connection.connect(host, port)
    } catch (error) {
      this.#open.delete(connection)
      throw error
    }
    if (this.#closed.signal.aborted) {
      connection.socket?.destroy()
      throw closed()
    }
    return connection
  }

  /** After a request without an answer, a connection answers nothing any more. It is closed. */
  async #tried<T>(connection: ConnectionLike, send: (connection: ConnectionLike) => Promise<T>): Promise<T> {
    try {
      return await send(connection)
    } catch (error) {
      const failure = kafkaError(error)
      if (failure instanceof KafkaError && failure.broken) connection.socket?.destroy()
      throw failure
    }
  }

  #failed(error: KafkaError | MillraceError, topic: string | null): KafkaError | MillraceError {
    if (error instanceof KafkaError && error.retryable && topic !== null) this.#leaders.delete(topic)
    return error
  }

  #again<T>(what: string, attempt: () => Promise<T>, topic: string | null): Promise<T> {
    const patienceMs = this.#options.patienceMs()
    return patiently(({ deadlineMs }) => this.#attempted(attempt, deadlineMs, topic), {
      patienceMs,
      isPassing: (error) => error instanceof KafkaError && error.retryable,
      givenUp: (error) => millraceError(`${what} was tried for ${Math.round(patienceMs / 1000)} s`, error),
    })
  }

  async #attempted<T>(attempt: () => Promise<T>, deadlineMs: number, topic: string | null): Promise<T> {
    if (this.#closed.signal.aborted) throw closed()
    try {
      const answer = await this.#patient(attempt(), deadlineMs)
      this.#isUp()
      return answer
    } catch (error) {
      const failure = this.#failed(kafkaError(error), topic)
      if (this.#closed.signal.aborted) throw closed()
      if (failure instanceof KafkaError && failure.retryable && failure.broken) this.#isDown(failure)
      throw failure
    }
  }

  /** Wait for work until the deadline, but no longer. */
  async #patient<T>(work: Promise<T>, end: number): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new KafkaError(0, 'no answer', { broken: true })),
        Math.max(0, Math.min(end - performance.now(), TIMER_MS_MAX)),
      )
    })
    try {
      return await Promise.race([work, late])
    } finally {
      clearTimeout(timer)
    }
  }

  #isUp(): void {
    if (!this.#down) return
    this.#down = false
    this.#options.reachable(null)
  }

  #isDown(failure: KafkaError): void {
    if (this.#down) return
    this.#down = true
    this.#options.reachable(failure.message)
  }

  /** Close all connections, without any goodbye. */
  close(): void {
    this.#closed.abort()
    for (const connection of this.#open) connection.socket?.destroy()
  }
}

/** The library rejects if one of the topics does not exist. The answer is in the error. */
function metadataIn(error: unknown): MetadataAnswer {
  const { response } = error as { readonly response?: MetadataAnswer }
  if (response === undefined || !Array.isArray(response.topics)) throw error
  return response
}

function closed(): MillraceError {
  return new MillraceError('CLOSED', 'the connection to Kafka is closed: connect again')
}
