/**
 * Reads several channels as one: channels given by name, and channels that a wildcard matches.
 *
 * Bounded: at most one event of each channel waits. Without `follow`, events come in the order of their times; with it,
 * as they arrive, also from channels that are created meanwhile, from their beginning. When a channel is removed, its
 * reading ends and the others continue.
 */
import { isMillraceError } from '../base/errors.ts'
import { compileWildcard, isWildcard } from '../base/names.ts'
import type { Channel } from '../channel/channel.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { ReadOptions, TailedEvent } from './reading.ts'

/** New channels are found after at most this time. */
const LOOK_MS = 1000

export interface TailHost {
  read(channel: Channel | string, options: ReadOptions): AsyncIterable<StoredEvent>
  /** Names of all channels. */
  channels(): Promise<readonly string[]>
}

interface Head {
  readonly channel: string
  readonly events: AsyncIterator<StoredEvent>
  event: StoredEvent
}

export class Tail {
  readonly #host: TailHost
  /** By name, as they were given. */
  readonly #named: ReadonlyMap<string, Channel | string>
  readonly #wildcards: readonly ((name: string) => boolean)[]

  /** @throws INVALID_NAME when a wildcard is malformed */
  constructor(host: TailHost, channels: readonly (Channel | string)[]) {
    this.#host = host
    const wildcards = channels.filter((channel) => typeof channel === 'string').filter(isWildcard)
    this.#wildcards = wildcards.map(compileWildcard)
    const named = channels.filter((channel) => typeof channel !== 'string' || !isWildcard(channel))
    this.#named = new Map(named.map((channel) => [typeof channel === 'string' ? channel : channel.name, channel]))
  }

  /** The channels that are given by name, then the existing ones that a wildcard matches. */
  async #channels(): Promise<string[]> {
    return [...new Set([...this.#named.keys(), ...(await this.#matched())])]
  }

  async #matched(): Promise<string[]> {
    if (this.#wildcards.length === 0) return []
    return (await this.#host.channels()).filter((name) => this.#wildcards.some((matches) => matches(name)))
  }

  #read(channel: string, reading: ReadOptions): AsyncIterable<StoredEvent> {
    return this.#host.read(this.#named.get(channel) ?? channel, reading)
  }

  /** The existing events, in the order of their times; within a channel in offset order. */
  async *merged(reading: ReadOptions): AsyncGenerator<TailedEvent> {
    const heads: Head[] = []
    try {
      for (const channel of await this.#channels()) {
        const events = this.#read(channel, reading)[Symbol.asyncIterator]()
        const first = await events.next()
        if (first.done !== true) heads.push({ channel, events, event: first.value })
      }
      while (heads.length > 0) {
        const head = heads.reduce((least, each) => (timeOf(each) < timeOf(least) ? each : least))
        yield { channel: head.channel, event: head.event }
        const next = await head.events.next()
        if (next.done === true) heads.splice(heads.indexOf(head), 1)
        else head.event = next.value
      }
    } finally {
      for (const { events } of heads) await events.return?.()
    }
  }

  /** The events as they arrive. Ends when the signal aborts or the broker closes. */
  async *followed(own: ReadOptions, signal: AbortSignal): AsyncGenerator<TailedEvent> {
    const waiting: { readonly tailed: TailedEvent; readonly taken: () => void }[] = []
    const followed = new Set<string>()
    let reads = 0
    let ended: { readonly error: unknown } | null = null
    let wake: () => void = () => undefined
    const end = (error: unknown): void => {
      ended ??= { error: isMillraceError(error, 'CLOSED') ? null : error }
      wake()
    }
    const follow = async (channel: string, from: ReadOptions): Promise<void> => {
      for await (const event of this.#read(channel, from)) {
        await new Promise<void>((taken) => {
          waiting.push({ tailed: { channel, event }, taken })
          wake()
        })
      }
    }
    /**
     * A reading ended: it reached its `to`, its channel was removed, or the broker closes. A wildcard may match other
     * channels.
     */
    const over = (channel: string): void => {
      if (own.to === undefined) followed.delete(channel)
      if (--reads === 0 && this.#wildcards.length === 0) end(null)
    }
    const begin = (channel: string, from: ReadOptions): void => {
      if (followed.has(channel)) return
      followed.add(channel)
      reads++
      follow(channel, from).then(
        () => over(channel),
        (error: unknown) => (from !== own && isMillraceError(error, 'UNKNOWN_CHANNEL') ? over(channel) : end(error)),
      )
    }
    const look = async (): Promise<void> => {
      for (const channel of await this.#matched()) begin(channel, { ...own, from: 'beginning' })
    }
    const stop = (): void => end(null)
    signal.addEventListener('abort', stop, { once: true })
    for (const channel of await this.#channels()) begin(channel, own)
    const timer = setInterval(() => void look().catch(end), LOOK_MS)
    try {
      while (ended === null) {
        const next = waiting.shift()
        if (next === undefined) {
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        } else {
          yield next.tailed
          next.taken()
        }
      }
      const { error } = ended as { readonly error: unknown }
      if (error !== null) throw error
    } finally {
      clearInterval(timer)
      signal.removeEventListener('abort', stop)
      for (const { taken } of waiting) taken()
    }
  }
}

function timeOf({ event }: Head): number {
  return Date.parse(event.time ?? '')
}
