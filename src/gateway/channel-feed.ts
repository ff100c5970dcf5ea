/**
 * The live end of a channel, read once for all event streams that follow it with the same filter, and encoded once.
 *
 * A feed holds nothing: a batch is handed to every member at once, and a member that has no room leaves and reads by itself until it has caught up.
 * Reading and joining happen in one thread, so that between `head` and the next batch there is neither a gap nor an event twice.
 */
import { boundsIn } from '../broker/bounds.ts'
import type { BrokerHost } from '../broker/broker.ts'
import type { StoredText } from '../broker/engine.ts'
import { oneLine, readTexts, type TextFilter } from './channel-texts.ts'

/** Events that came in together, those that pass the filter. */
export interface FeedBatch {
  readonly events: readonly StoredText[]
  /** The offset behind the batch, whatever passed. */
  readonly next: number
  /** The events as frames of an event stream of this channel alone, made when the first member asks. */
  readonly frames: () => Uint8Array
}

export interface FeedMember {
  /** Must not throw. */
  live(batch: FeedBatch): void
  /** The feed has ended: the channel is gone, the broker has closed, or reading failed. */
  ended(error: unknown): void
}

const encoder = new TextEncoder()

export class ChannelFeed {
  /** Every event before it was handed to whoever was a member then. Known once `ready` has resolved. */
  head = 0
  readonly ready: Promise<void>
  readonly filter: TextFilter | null
  readonly #host: BrokerHost
  readonly #channel: string
  readonly #members = new Set<FeedMember>()
  readonly #reading = new AbortController()
  readonly #emptied: () => void
  /** Streams that hold it, members or not. */
  #holders = 0
  #ending: { readonly error: unknown } | null = null

  constructor(host: BrokerHost, channel: string, filter: TextFilter | null, emptied: () => void) {
    this.#host = host
    this.#channel = channel
    this.filter = filter
    this.#emptied = emptied
    this.ready = this.#open()
    this.ready.catch(() => undefined)
  }

  hold(): void {
    this.#holders++
  }

  /** The last one that lets go ends it. */
  letGo(): void {
    if (--this.#holders > 0) return
    this.#reading.abort()
    this.#emptied()
  }

  join(member: FeedMember): void {
    if (this.#ending === null) this.#members.add(member)
    else member.ended(this.#ending.error)
  }

  leave(member: FeedMember): void {
    this.#members.delete(member)
  }

  async #open(): Promise<void> {
    const next = (await boundsIn(this.#host.engine, this.#channel))?.next ?? 0
    this.head = next
    const batches = await readTexts(this.#host, this.#channel, {
      from: { offset: next },
      follow: true,
      signal: this.#reading.signal,
    })
    void this.#run(batches)
  }

  async #run(batches: AsyncIterable<readonly StoredText[]>): Promise<void> {
    let failure: unknown = null
    try {
      for await (const batch of batches) this.#hand(batch)
    } catch (error) {
      failure = error
    }
    this.#ending = { error: failure }
    // A channel of its name that comes later has a feed of its own.
    this.#emptied()
    for (const member of [...this.#members]) member.ended(failure)
  }

  #hand(batch: readonly StoredText[]): void {
    const { filter } = this
    const events = filter === null ? batch : batch.filter(({ text }) => filter(text))
    const next = (batch.at(-1)?.offset ?? this.head - 1) + 1
    this.head = next
    let made: Uint8Array | undefined
    const frames = (): Uint8Array => {
      made ??= encoder.encode(events.map(({ offset, text }) => `id: ${offset}\ndata: ${oneLine(text)}\n\n`).join(''))
      return made
    }
    for (const member of [...this.#members]) member.live({ events, next, frames })
  }
}
