/**
 * A channel's new events as the server pushes them. All parts of the process that work on the channel learn at once
 * which partition has more, and mostly read the events from here and not from the server.
 *
 * Owns one ephemeral push consumer without acknowledgements, kept in the server's memory, and a window of the newest
 * events. Invariants:
 * - The window has no gaps. After a gap in the deliveries, a lost connection or missed heartbeats, the consumer is
 *   created again after the last event that came.
 * - The window answers a read only when it has all events up to the highest offset that was reported to a listener.
 *   Otherwise the server is asked.
 */
import type { Msg, Subscription } from '@nats-io/transport-node'
import { LIMITS } from '../../base/limits.ts'
import { OneAtATime } from '../../base/one-at-a-time.ts'
import { PartitionEnds } from '../../external-log/backend/partition-ends.ts'
import { TailWindow } from '../../external-log/backend/tail-window.ts'
import type { ReadLimit, StoredRecord } from '../../external-log/log-backend.ts'
import type { ChannelStream } from './channel-streams.ts'
import type { Layout } from './layout.ts'
import { decodeMessage } from './message-codec.ts'
import type { NatsClient } from './nats-client.ts'

const HEARTBEAT_MS = 5000
/** After this time without a message or heartbeat, the consumer is created again. */
const SILENT_MS = 3 * HEARTBEAT_MS
const INACTIVE_MS = 60_000
const RETRY_MS = 200
const WINDOW_BYTES_MAX = 4 * LIMITS.readAheadBytes
/** How long a read waits for events that are known to be on their way. */
const CATCH_UP_MS = 50

export type OnAppend = (partition: number | null, next?: number) => void

export class Feed {
  readonly watchers: Set<OnAppend> = new Set()
  readonly #client: NatsClient
  readonly #channel: ChannelStream
  readonly #base: string
  readonly #inbox: string
  readonly #window: TailWindow<Msg>
  readonly #ends: PartitionEnds
  readonly #making = new OneAtATime(() => this.#make())
  #subscription: Subscription | null = null
  #consumer = ''
  #deliveries = 0
  #heardMs = 0
  /** Partitions with new events of which the watchers are not told yet, and where they end. */
  #untold = new Map<number, number>()
  #telling = false
  #watchdog: NodeJS.Timeout | null = null
  #stopped = false
  readonly #offReconnect: () => void
  /** Reads that wait for events on their way. */
  readonly #waiting = new Set<() => void>()

  private constructor(client: NatsClient, layout: Layout, channel: ChannelStream, after: number) {
    this.#client = client
    this.#channel = channel
    this.#base = layout.base(channel.name)
    this.#inbox = client.library.createInbox()
    this.#window = new TailWindow(after + 1, WINDOW_BYTES_MAX, (message) =>
      decodeMessage(message.headers, message.data),
    )
    this.#ends = new PartitionEnds(after + 1)
    this.#offReconnect = client.onReconnect(() => void this.#remake())
  }

  /** Begins after a sequence. Resolves when the server pushes. */
  static async open(client: NatsClient, layout: Layout, channel: ChannelStream, after: number): Promise<Feed> {
    const feed = new Feed(client, layout, channel, after)
    await feed.#remake()
    feed.#watchdog = setInterval(() => {
      if (performance.now() - feed.#heardMs > SILENT_MS) void feed.#remake()
    }, HEARTBEAT_MS)
    feed.#watchdog.unref()
    return feed
  }

  /** Create the consumer, again or for the first time, after the last event that came. */
  #remake(): Promise<void> {
    return this.#making.ask()
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
      opt_start_seq: this.#window.end,
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
      // The next attempt may succeed. Until then the watchers look for themselves every second.
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

  /** Flow control is answered. A heartbeat says how many events were pushed. */
  #control(message: Msg): void {
    if (message.reply !== undefined && message.reply !== '') message.respond()
    const stalled = message.headers?.get('Nats-Consumer-Stalled')
    if (stalled !== undefined && stalled !== '') this.#client.connection.publish(stalled)
    const last = Number(message.headers?.get('Nats-Last-Consumer') || this.#deliveries)
    if (last > this.#deliveries) void this.#remake()
  }

  #keep(message: Msg, seq: number, timeMs: number): void {
    const partition = Number.parseInt(message.subject.slice(this.#base.length), 10)
    this.#window.add({ offset: seq, partition, timeMs, bytes: message.data.length + 200, raw: message, record: null })
    this.#ends.extend(partition, seq)
    this.#untold.set(partition, seq + 1)
    if (this.#telling) return
    this.#telling = true
    queueMicrotask(() => this.#tell())
  }

  #tell(): void {
    this.#telling = false
    const untold = this.#untold
    this.#untold = new Map()
    for (const watcher of [...this.watchers]) for (const [partition, next] of untold) watcher(partition, next)
    for (const wake of [...this.#waiting]) wake()
  }

  /** An offset above every event of a partition, when all events up to `known` have come here; otherwise null. */
  endOf(partition: number, known: number): number | null {
    return this.#window.end <= known || this.#stopped ? null : this.#ends.of(partition)
  }

  /** Events from an offset on, when all events up to `known` are here; otherwise null. */
  async read(partition: number | null, from: number, limit: ReadLimit, known: number): Promise<StoredRecord[] | null> {
    if (!this.#window.covers(from) || this.#stopped) return null
    if (this.#window.end <= known && !(await this.#catchUp(known))) return null
    return this.#window.read(partition, from, limit)
  }

  #catchUp(known: number): Promise<boolean> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(look)
        resolve(this.#window.end > known)
      }
      const look = (): void => {
        if (this.#window.end > known) done()
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
    this.#window.clear()
  }
}

/**
 * `$JS.ACK.STREAM.CONSUMER.TRIES.SEQUENCE.DELIVERY.NANOSECONDS.PENDING`, or with the domain and the account before the
 * stream. It is read for its numbers, and no acknowledgement is sent.
 */
function deliveryOf(reply: string): { readonly seq: number; readonly delivery: number; readonly timeMs: number } {
  const tokens = reply.split('.')
  const at = tokens.length > 9 ? 4 : 2
  const time = tokens[at + 5] ?? '0'
  return { seq: Number(tokens[at + 3]), delivery: Number(tokens[at + 4]), timeMs: Number(time.slice(0, -6)) }
}
