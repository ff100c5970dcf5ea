/**
 * A channel's new events as the server pushes them: whoever works on the channel learns at once of which partition there is more, and mostly reads
 * it from here and not from the server.
 *
 * Owns one ephemeral push consumer without acknowledgements, kept in the server's memory, and the newest events as they came. Invariants:
 * - What is kept has no gaps: every event of the stream from `from` up to `to` that was not deleted meanwhile. After a gap in the deliveries, a
 *   lost connection or missed heartbeats, the consumer is made anew after the last event that came.
 * - It answers a read only when it has all up to the highest offset that anybody was told of; else the server is asked.
 * - What is kept is bounded in bytes; the oldest go first.
 */
import type { Msg, Subscription } from '@nats-io/transport-node'
import { LIMITS } from '../../base/limits.ts'
import type { ReadLimit, StoredRecord } from '../../external-log/log-backend.ts'
import type { Channel } from './channel-streams.ts'
import type { Layout } from './layout.ts'
import { decodeMessage } from './message-codec.ts'
import type { NatsClient } from './nats-client.ts'

const HEARTBEAT_MS = 5000
/** Without a sign of life for so long, the consumer is made anew. */
const SILENT_MS = 3 * HEARTBEAT_MS
const INACTIVE_MS = 60_000
const RETRY_MS = 200
const KEPT_BYTES_MAX = 4 * LIMITS.readAheadBytes
/** A read waits so long for events that are known to be on their way. */
const CATCH_UP_MS = 50

export type OnAppend = (partition: number | null, next?: number) => void

interface Kept {
  readonly seq: number
  readonly partition: number
  readonly timeMs: number
  message: Msg | null
  record: StoredRecord | null
  readonly bytes: number
}

export class Feed {
  readonly watchers: Set<OnAppend> = new Set()
  readonly #client: NatsClient
  readonly #channel: Channel
  readonly #base: string
  readonly #inbox: string
  #kept: Kept[] = []
  #bytes = 0
  /** Everything at and after it, up to `#to`, is kept. */
  #from: number
  #to: number
  /** What every event that was there before stands below. */
  readonly #began: number
  readonly #lastOf = new Map<number, number>()
  #subscription: Subscription | null = null
  #consumer = ''
  #deliveries = 0
  #heardMs = 0
  #fresh = new Map<number, number>()
  #telling = false
  #watchdog: NodeJS.Timeout | null = null
  #making: Promise<void> | null = null
  #again = false
  #stopped = false
  readonly #offReconnect: () => void
  readonly #waiting = new Set<() => void>()

  private constructor(client: NatsClient, layout: Layout, channel: Channel, after: number) {
    this.#client = client
    this.#channel = channel
    this.#base = layout.base(channel.name)
    this.#inbox = client.library.createInbox()
    this.#began = after + 1
    this.#from = after + 1
    this.#to = after
    this.#offReconnect = client.onReconnect(() => void this.#remake())
  }

  /** Begins after a sequence. Resolves when the server pushes. */
  static async open(client: NatsClient, layout: Layout, channel: Channel, after: number): Promise<Feed> {
    const feed = new Feed(client, layout, channel, after)
    await feed.#remake()
    feed.#watchdog = setInterval(() => {
      if (performance.now() - feed.#heardMs > SILENT_MS) void feed.#remake()
    }, HEARTBEAT_MS)
    feed.#watchdog.unref()
    return feed
  }

  /** Make the consumer (again), after the last event that came. One at a time. */
  #remake(): Promise<void> {
    if (this.#making !== null) {
      this.#again = true
      return this.#making
    }
    this.#making = this.#make().finally(() => {
      this.#making = null
      if (!this.#again || this.#stopped) return
      this.#again = false
      void this.#remake()
    })
    return this.#making
  }

  async #make(): Promise<void> {
    if (this.#stopped) return
    this.#heardMs = performance.now()
    this.#drop()
    const { stream } = this.#channel
    const name = `feed-${this.#client.library.nuid.next()}`
    const subject = `${this.#inbox}.${name}`
    this.#consumer = name
    this.#deliveries = 0
    const subscription = this.#client.connection.subscribe(subject, {
      callback: (error, message) => (error === null ? this.#came(name, message) : undefined),
    })
    this.#subscription = subscription
    const config = {
      name,
      deliver_subject: subject,
      deliver_policy: 'by_start_sequence',
      opt_start_seq: this.#to + 1,
      ack_policy: 'none',
      max_deliver: 1,
      flow_control: true,
      idle_heartbeat: HEARTBEAT_MS * 1e6,
      inactive_threshold: INACTIVE_MS * 1e6,
      mem_storage: true,
      num_replicas: 1,
    }
    try {
      await this.#client.api(`CONSUMER.CREATE.${stream}.${name}`, { stream_name: stream, config, action: 'create' })
      this.#heardMs = performance.now()
    } catch {
      // The watchers look for themselves every second; the next try may go well.
      setTimeout(() => void this.#remake(), RETRY_MS).unref()
    }
  }

  #drop(): void {
    this.#subscription?.unsubscribe()
    this.#subscription = null
    if (this.#consumer !== '')
      void this.#client.api(`CONSUMER.DELETE.${this.#channel.stream}.${this.#consumer}`).catch(() => undefined)
    this.#consumer = ''
  }

  #came(consumer: string, message: Msg): void {
    if (this.#stopped || consumer !== this.#consumer) return
    this.#heardMs = performance.now()
    const { reply } = message
    if (!(reply ?? '').startsWith('$JS.ACK.')) {
      this.#control(message)
      return
    }
    const { seq, delivery, timeMs } = deliveryOf(reply as string)
    if (delivery !== this.#deliveries + 1) {
      void this.#remake()
      return
    }
    this.#deliveries = delivery
    this.#keep(message, seq, timeMs)
  }

  /** Flow control is answered; a heartbeat says how much there was. */
  #control(message: Msg): void {
    if (message.reply !== undefined && message.reply !== '') message.respond()
    const stalled = message.headers?.get('Nats-Consumer-Stalled')
    if (stalled !== undefined && stalled !== '') this.#client.connection.publish(stalled)
    const last = Number(message.headers?.get('Nats-Last-Consumer') || this.#deliveries)
    if (last > this.#deliveries) void this.#remake()
  }

  #keep(message: Msg, seq: number, timeMs: number): void {
    const partition = Number.parseInt(message.subject.slice(this.#base.length), 10)
    const bytes = message.data.length + 200
    this.#to = seq
    this.#lastOf.set(partition, seq)
    this.#kept.push({ seq, partition, timeMs, message, record: null, bytes })
    this.#bytes += bytes
    if (this.#bytes > KEPT_BYTES_MAX) this.#evict()
    this.#fresh.set(partition, seq + 1)
    if (this.#telling) return
    this.#telling = true
    queueMicrotask(() => this.#tell())
  }

  #evict(): void {
    let gone = 0
    while (gone < this.#kept.length && this.#bytes > KEPT_BYTES_MAX / 2)
      this.#bytes -= (this.#kept[gone++] as Kept).bytes
    this.#from = (this.#kept[gone - 1] as Kept).seq + 1
    this.#kept = this.#kept.slice(gone)
  }

  #tell(): void {
    this.#telling = false
    const fresh = this.#fresh
    this.#fresh = new Map()
    for (const watcher of [...this.watchers]) for (const [partition, next] of fresh) watcher(partition, next)
    for (const wake of [...this.#waiting]) wake()
  }

  /** An offset above every event of a partition, when all up to `known` have come here; else null. */
  endOf(partition: number, known: number): number | null {
    return this.#to < known || this.#stopped ? null : (this.#lastOf.get(partition) ?? this.#began - 1) + 1
  }

  /** Events from an offset on, when all up to `known` are here; else null. */
  async read(partition: number | null, from: number, limit: ReadLimit, known: number): Promise<StoredRecord[] | null> {
    if (from < this.#from || this.#stopped) return null
    if (this.#to < known && !(await this.#catchUp(known))) return null
    if (from < this.#from) return null
    const records: StoredRecord[] = []
    let bytes = 0
    for (
      let at = this.#place(from);
      at < this.#kept.length && records.length < limit.count && bytes < limit.bytes;
      at++
    ) {
      const kept = this.#kept[at] as Kept
      if (partition !== null && kept.partition !== partition) continue
      const record = recordOf(kept)
      records.push(record)
      bytes += record.event.text.length
    }
    return records
  }

  /** Index of the first that is kept at or after an offset. */
  #place(offset: number): number {
    let low = 0
    let high = this.#kept.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#kept[middle] as Kept).seq < offset) low = middle + 1
      else high = middle
    }
    return low
  }

  #catchUp(known: number): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(look)
        resolve(this.#to >= known)
      }
      const look = (): void => {
        if (this.#to >= known) done()
      }
      const timer = setTimeout(done, CATCH_UP_MS)
      this.#waiting.add(look)
    })
  }

  stop(): void {
    if (this.#stopped) return
    this.#stopped = true
    this.#offReconnect()
    if (this.#watchdog !== null) clearInterval(this.#watchdog)
    for (const wake of [...this.#waiting]) wake()
    this.#drop()
    this.#kept = []
  }
}

function recordOf(kept: Kept): StoredRecord {
  if (kept.record === null) {
    const message = kept.message as Msg
    kept.record = { offset: kept.seq, timeMs: kept.timeMs, event: decodeMessage(message.headers, message.data) }
    kept.message = null
  }
  return kept.record
}

/** `$JS.ACK.STREAM.CONSUMER.TRIES.SEQUENCE.DELIVERY.NANOSECONDS.PENDING`, or with the domain and the account before the stream. */
function deliveryOf(reply: string): { readonly seq: number; readonly delivery: number; readonly timeMs: number } {
  const tokens = reply.split('.')
  const at = tokens.length > 9 ? 4 : 2
  const time = tokens[at + 5] ?? '0'
  return { seq: Number(tokens[at + 3]), delivery: Number(tokens[at + 4]), timeMs: Number(time.slice(0, -6)) }
}
