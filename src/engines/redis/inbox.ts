/**
 * Events of plain clients: one blocking connection waits for entries in the inboxes of the channels that are watched.
 * Each entry is stored as an event of its channel, once by its id, and then deleted from the inbox. Engines that take
 * the same entry store it once. An entry that is not a CloudEvent is stored with its bytes, and becomes a dead letter
 * of the consumers that read it.
 */
import { isMillraceError } from '../../base/errors.ts'
import type { AppendItem } from '../../external-log/log-backend.ts'
import { partitionOf } from '../../external-log/publish/appending.ts'
import { type Entry, takenIn } from './entries.ts'
import type { Keys } from './keys.ts'
import type { RedisLink } from './redis-link.ts'

const TOGETHER = 200
const BLOCK_MS = 1000
const PAUSE_MS = 200

export interface InboxHost {
  readonly keys: Keys
  /** Partitions of a channel, and whether it deduplicates by itself; undefined if it is gone. */
  channel(name: string): { readonly partitions: number; readonly dedupes: boolean } | undefined
  store(channel: string, items: readonly AppendItem[]): Promise<void>
  alarm(error: unknown): void
}

export class Inbox {
  readonly #host: InboxHost
  readonly #open: () => Promise<RedisLink>
  readonly #channels = new Map<string, number>()
  #link: RedisLink | null = null
  #running = false
  #closed = false

  constructor(open: () => Promise<RedisLink>, host: InboxHost) {
    this.#open = open
    this.#host = host
  }

  /** Take in the entries for a channel, until the returned function is called. */
  watch(channel: string): () => void {
    this.#channels.set(channel, (this.#channels.get(channel) ?? 0) + 1)
    if (!this.#running) {
      this.#running = true
      void this.#run()
    }
    return () => {
      const left = (this.#channels.get(channel) ?? 1) - 1
      if (left > 0) this.#channels.set(channel, left)
      else this.#channels.delete(channel)
    }
  }

  async #run(): Promise<void> {
    while (!this.#closed && this.#channels.size > 0) {
      try {
        this.#link ??= await this.#open()
        await this.#wait(this.#link)
      } catch (error) {
        if (this.#closed) break
        // The connection for commands raises the alarm of a lost connection.
        if (!isMillraceError(error, 'UNAVAILABLE')) this.#host.alarm(error)
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
      }
    }
    this.#running = false
  }

  /** Entries are deleted when they are taken in, so every read begins at the beginning. */
  async #wait(link: RedisLink): Promise<void> {
    const channels = [...this.#channels.keys()]
    const streams = channels.map((name) => this.#host.keys.inbox(name))
    const command = [
      'XREAD',
      'COUNT',
      TOGETHER,
      'BLOCK',
      BLOCK_MS,
      'STREAMS',
      ...streams,
      ...streams.map(() => '0-0'),
    ] as const
    const found = (await link.call(command, 'waiting for events of plain clients', { buffers: true })) as
      | [Buffer, [Buffer, Buffer[]][]][]
      | null
    for (const [stream, entries] of found ?? []) {
      const channel = channels[streams.indexOf(String(stream))] as string
      await this.#takeIn(link, channel, entries)
    }
  }

  /** Take in the entries that are there now. */
  async drain(link: RedisLink, channel: string): Promise<void> {
    const entries = await link.call(
      ['XRANGE', this.#host.keys.inbox(channel), '-', '+', 'COUNT', TOGETHER],
      'looking into an inbox',
      { buffers: true },
    )
    await this.#takeIn(link, channel, entries as [Buffer, Buffer[]][])
  }

  async #takeIn(
    link: RedisLink,
    channel: string,
    entries: readonly (readonly [Buffer, readonly Buffer[]])[],
  ): Promise<void> {
    const target = this.#host.channel(channel)
    if (target === undefined || entries.length === 0) return
    const ids = entries.map(([id]) => String(id))
    const items = entries.map(([, fields], at) => itemOf([ids[at] as string, fields], target))
    await this.#host.store(channel, items)
    await link.call(['XDEL', this.#host.keys.inbox(channel), ...ids], 'emptying an inbox')
  }

  close(): void {
    this.#closed = true
    this.#link?.close()
  }
}

function itemOf(
  entry: Entry<Buffer>,
  { partitions, dedupes }: { readonly partitions: number; readonly dedupes: boolean },
): AppendItem {
  const taken = takenIn(entry)
  const ownId = `in/${entry[0]}`
  const event = taken.poison ? { id: ownId, type: '', key: null, text: taken.text } : taken.event
  return { partition: partitionOf(event, partitions), dedupeId: dedupes && !taken.poison ? event.id : ownId, event }
}
