/**
 * Reads the end of a channel once for all event streams that follow it with the same filter, and encodes each event
 * once.
 *
 * A feed buffers nothing. It gives each batch to every member at once. A member without room leaves the feed, reads by
 * itself until it has caught up, and joins again.
 *
 * Reading and joining happen in one thread, so no event between `head` and the next batch is missed or given twice.
 */
import { boundsIn } from '../broker/bounds.ts'
import type { BrokerHost } from '../broker/broker.ts'
import type { StoredText } from '../broker/engine.ts'
import type { MaySee } from '../broker/seen-events.ts'
import { oneLine, readTexts, type TextFilter } from './channel-texts.ts'

/** Events that arrived together and passed the filter. */
export interface FeedBatch {
  readonly events: readonly StoredText[]
  /** The offset after the whole batch, including the events that the filter dropped. */
  readonly next: number
  /** The events as frames of a stream with this channel only. They are encoded when the first member asks for them. */
  readonly frames: () => Uint8Array
}

export interface FeedMember {
  /** Must not throw. */
  live(batch: FeedBatch): void
  /** The feed has ended: the channel was removed, the broker is closed, or reading failed. */
  ended(error: unknown): void
}

const encoder = new TextEncoder()

export class ChannelFeed {
  /**
   * Every event before this offset was given to all streams that were members then. Valid after `ready` has resolved.
   */
  head = 0
  readonly ready: Promise<void>
  readonly filter: TextFilter | null
  readonly #host: BrokerHost
  readonly #channel: string
  readonly #members = new Set<FeedMember>()
  readonly #reading = new AbortController()
  readonly #emptied: () => void
  readonly #maySee: MaySee
  /** The number of streams that use the feed, whether they are members now or not. */
  #holders = 0
  #ending: { readonly error: unknown } | null = null

  constructor(
    host: BrokerHost,
    channel: string,
    { filter, maySee }: { readonly filter: TextFilter | null; readonly maySee: MaySee },
    emptied: () => void,
  ) {
    this.#host = host
    this.#channel = channel
    this.filter = filter
    this.#maySee = maySee
    this.#emptied = emptied
    this.ready = this.#open()
    this.ready.catch(() => undefined)
  }

  hold(): void {
    this.#holders++
  }

  /** Release the feed. It ends when the last stream releases it. */
  release(): void {
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
      maySee: this.#maySee,
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
    // A later channel of the same name gets a new feed.
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
