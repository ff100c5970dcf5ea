/**
 * Which consumers are paused in all processes: one small consumer log on the servers for all consumers. Each entry is
 * the whole list.
 *
 * The list is read when an instance starts, when a group is ordered to look again, and when the broker is described.
 * The conditional append decides between two processes that change the list at once.
 */
import { isJsonObject, isNumberFrom, jsonObject } from '../base/json-object.ts'
import type { ConsumerPause } from '../broker/description.ts'
import { Fenced, type LogBackend } from './log-backend.ts'

/** No consumer and no channel can have these names. */
const CONSUMER_LOG = '~pauses/~/0'

export class Pauses {
  readonly #backend: LogBackend
  #paused: ReadonlyMap<string, ConsumerPause> = new Map()
  #version = 0

  constructor(backend: LogBackend) {
    this.#backend = backend
  }

  of(consumer: string): ConsumerPause | null {
    return this.#paused.get(consumer) ?? null
  }

  get names(): readonly string[] {
    return [...this.#paused.keys()]
  }

  async look(): Promise<void> {
    const { entries, version } = await this.#backend.readConsumerLog(CONSUMER_LOG)
    // Entries of another client are ignored.
    this.#paused = entries.map(pausesIn).findLast((pauses) => pauses !== null) ?? new Map()
    this.#version = version
  }

  /** Resolves when the change is durable. */
  async set(consumer: string, pause: ConsumerPause | null): Promise<void> {
    for (;;) {
      await this.look()
      if (pause === null && !this.#paused.has(consumer)) return
      const paused = new Map(this.#paused)
      if (pause === null) paused.delete(consumer)
      else paused.set(consumer, pause)
      try {
        const version = await this.#backend.appendConsumerLog(
          CONSUMER_LOG,
          this.#version,
          Buffer.from(JSON.stringify({ paused: Object.fromEntries(paused) })),
        )
        this.#paused = paused
        this.#version = version
        await this.#backend.trimConsumerLog(CONSUMER_LOG, version)
        return
      } catch (error) {
        if (!(error instanceof Fenced)) throw error
      }
    }
  }
}

function pausesIn(bytes: Uint8Array): ReadonlyMap<string, ConsumerPause> | null {
  const paused = jsonObject(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())?.['paused']
  if (!isJsonObject(paused) || !Object.values(paused).every(isPause)) return null
  // Earlier versions stored no name.
  return new Map(
    Object.entries(paused).map(([name, pause]) => [name, { by: null, ...(pause as Omit<ConsumerPause, 'by'>) }]),
  )
}

function isPause(value: unknown): boolean {
  return (
    isJsonObject(value) &&
    isNumberFrom(value['sinceMs'], 0) &&
    [value['reason'], value['by'] ?? null].every((text) => text === null || typeof text === 'string')
  )
}
