/**
 * NATS JetStream as a log with a conditional write (`external-log/log-backend.ts`). Joins channels, appending, reading,
 * consumer logs and members.
 *
 * No acknowledgement is sent to NATS, and no durable consumer exists there. The push consumer of a channel (`feed.ts`)
 * has `ack_policy: none`. A completion is an entry of a consumer log (`consumer-log-subjects.ts`), in the stream
 * `PREFIX_~journals`; the text of a dead letter is an event of a channel `~dead.…` (`external-log/letters/`).
 */
import { MillraceError } from '../../base/errors.ts'
import type { Capabilities } from '../../broker/capabilities.ts'
import type {
  Appended,
  AppendItem,
  BackendListener,
  Bounds,
  ChannelEntry,
  ConsumerLogContent,
  LogBackend,
  ReadLimit,
  StoredRecord,
} from '../../external-log/log-backend.ts'
import { API, isApiError, millraceError } from './api-error.ts'
import { natsCapabilities } from './capabilities.ts'
import { type ChannelStream, ChannelStreams } from './channel-streams.ts'
import { ConsumerLogSubjects } from './consumer-log-subjects.ts'
import { BATCH_EVENTS_MAX, EventAppend } from './event-append.ts'
import { EventRead } from './event-read.ts'
import { Feed, type OnAppend } from './feed.ts'
import { Layout } from './layout.ts'
import { Members } from './members.ts'
import { NatsClient } from './nats-client.ts'
import type { NatsTarget } from './nats-url.ts'
import { checkDurable, checkServer, type Durable } from './server-check.ts'
import { SPECS, SpecLog } from './spec-log.ts'

/** Room for the headers of an event in a message. */
const HEADER_BYTES = 8192
export const UNPROVED = 'DURABILITY_UNPROVED'

export class NatsBackend implements LogBackend {
  readonly name = 'nats'
  readonly capabilities: Capabilities
  readonly limits: { readonly batchEvents: number; readonly entryBytes: number }
  readonly #client: NatsClient
  readonly #durable: Durable
  readonly #streams: ChannelStreams
  readonly #append: EventAppend
  readonly #read: EventRead
  readonly #consumerLogs: ConsumerLogSubjects
  readonly #specs: SpecLog
  readonly #members: Members
  readonly #layout: Layout
  readonly #feeds = new Map<string, { readonly feed: Promise<Feed>; users: number }>()
  /** The highest offset that was reported to a listener, by channel. */
  readonly #told = new Map<string, number>()
  #closed = false

  private constructor(client: NatsClient, durable: Durable, target: NatsTarget) {
    this.#client = client
    this.#durable = durable
    this.#layout = new Layout(target.prefix)
    this.capabilities = natsCapabilities(durable)
    this.limits = { batchEvents: BATCH_EVENTS_MAX, entryBytes: client.maxPayload - HEADER_BYTES }
    this.#streams = new ChannelStreams(client, this.#layout, target.replicas)
    this.#append = new EventAppend(client, this.#layout, target)
    this.#read = new EventRead(client, this.#layout, this.#streams, target.replicas)
    this.#consumerLogs = new ConsumerLogSubjects(client, this.#layout)
    this.#specs = new SpecLog(this.#consumerLogs, (entry) => this.#streams.update(entry))
    this.#members = new Members(client, this.#layout, target.replicas)
  }

  /** @throws UNAVAILABLE · UNAUTHENTICATED · CLAUSE_REFUSED · MISSING_DEPENDENCY */
  static async open(target: NatsTarget): Promise<NatsBackend> {
    const client = await NatsClient.connect(target)
    try {
      await checkServer(client)
      const durable = await checkDurable(client, target)
      const layout = new Layout(target.prefix)
      await Promise.all(
        [ConsumerLogSubjects.config(layout, target.replicas), Members.config(layout, target.replicas)].map((config) =>
          made(client, config),
        ),
      )
      return new NatsBackend(client, durable, target)
    } catch (error) {
      await client.close().catch(() => undefined)
      throw millraceError(error, 'connecting')
    }
  }

  listen(listener: BackendListener): void {
    this.#client.alarms.listen(listener)
    if (this.#durable.known !== 'unknown') return
    listener.alarm(
      UNPROVED,
      `nats: clause 1 (durable) holds only if the servers run with "sync_interval: always", and ${this.#durable.how}: write durable=declared in the URL, or monitor=http://host:8222 to have it checked`,
    )
  }

  #open(): void {
    if (this.#closed) throw new MillraceError('CLOSED', 'the broker is closed: connect again')
  }

  async channels(): Promise<readonly ChannelEntry[]> {
    this.#open()
    return this.#streams.list()
  }

  async channel(name: string): Promise<ChannelEntry | null> {
    this.#open()
    return this.#streams.look(name)
  }

  async createChannel(entry: ChannelEntry): Promise<void> {
    this.#open()
    await this.#streams.create(entry)
  }

  updateChannel(entry: ChannelEntry, before: ChannelEntry): Promise<boolean> {
    this.#open()
    return this.#specs.change(entry, before)
  }

  async removeChannel(name: string): Promise<void> {
    this.#open()
    const feed = this.#feeds.get(name)
    this.#feeds.delete(name)
    const entry = await this.#streams.get(name)
    await this.#streams.remove(name)
    await this.#specs.forget(entry)
    this.#append.forget(this.#layout.stream(name))
    this.#told.delete(name)
    void feed?.feed.then((open) => open.stop()).catch(() => undefined)
  }

  async known(name: string, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
    this.#open()
    const channel = await this.#streams.get(name)
    return this.#append.known(channel, ids).catch((error: unknown) => {
      throw millraceError(error, 'looking for ids', name)
    })
  }

  async append(name: string, items: readonly AppendItem[], atomic: boolean): Promise<readonly Appended[]> {
    this.#open()
    const channel = await this.#streams.get(name)
    try {
      const appended = await this.#append.append(channel, items, atomic)
      for (const { offset } of appended) this.#tell(name, offset)
      return appended
    } catch (error) {
      const mapped = millraceError(error, 'publishing', name)
      if (!(mapped instanceof MillraceError) || mapped.code !== 'UNAVAILABLE') throw mapped
      // The stream may be gone: then the channel is looked up again.
      this.#streams.forget(name)
      await this.#streams.get(name)
      throw mapped
    }
  }

  #tell(name: string, offset: number): void {
    if (offset > (this.#told.get(name) ?? 0)) this.#told.set(name, offset)
  }

  async read(name: string, partition: number | null, from: number, limit: ReadLimit): Promise<readonly StoredRecord[]> {
    this.#open()
    const channel = await this.#streams.get(name)
    const feed = feedAnswers(channel, partition) ? await this.#feeds.get(name)?.feed : undefined
    return (
      (await feed?.read(partition, from, limit, this.#told.get(name) ?? 0)) ??
      this.#read.read(channel, partition, from, limit)
    )
  }

  async bounds(name: string, partition: number | null): Promise<Bounds> {
    this.#open()
    const { first, next } = await this.#read.bounds(await this.#streams.get(name))
    // The channel's end would be correct for every partition, but each cursor would then record all other partitions'
    // events as holes.
    const own = partition === null ? null : ((await this.#feeds.get(name)?.feed)?.endOf(partition, next - 1) ?? null)
    const end = own ?? next
    this.#tell(name, end - 1)
    return { first: Math.min(first, end), next: end }
  }

  async seek(name: string, partition: number | null, timeMs: number): Promise<number> {
    this.#open()
    const channel = await this.#streams.get(name)
    const { next } = await this.#read.bounds(channel)
    return this.#read.seek(channel, partition, timeMs, next)
  }

  async pendingFrom(name: string, partition: number, offset: number): Promise<number> {
    this.#open()
    return this.#read.pendingFrom(await this.#streams.get(name), partition, offset)
  }

  async trim(name: string, partition: number, before: number): Promise<void> {
    this.#open()
    const { stream, byKey } = await this.#streams.get(name)
    await this.#client.patiently('trimming', () =>
      this.#client.api(`STREAM.PURGE.${stream}`, { filter: this.#layout.filter(name, partition, byKey), seq: before }),
    )
  }

  async bytes(name: string): Promise<number> {
    this.#open()
    return (await this.#read.state(await this.#streams.get(name))).bytes
  }

  async watch(name: string, onAppend: OnAppend): Promise<() => void> {
    this.#open()
    let held = this.#feeds.get(name)
    if (held === undefined) {
      held = { feed: this.#openFeed(name), users: 0 }
      held.feed.catch(() => this.#feeds.delete(name))
      this.#feeds.set(name, held)
    }
    const own = held
    own.users++
    const feed = await own.feed
    feed.watchers.add(onAppend)
    return () => {
      if (!feed.watchers.delete(onAppend) || --own.users > 0) return
      feed.stop()
      if (this.#feeds.get(name) === own) this.#feeds.delete(name)
    }
  }

  async #openFeed(name: string): Promise<Feed> {
    const channel = await this.#streams.get(name)
    return Feed.open(this.#client, this.#layout, channel, (await this.#streams.state(channel)).last_seq)
  }

  async readConsumerLog(id: string): Promise<ConsumerLogContent> {
    this.#open()
    return this.#consumerLogs.read(id)
  }

  async appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number> {
    this.#open()
    return this.#consumerLogs.append(id, expected, entry)
  }

  async trimConsumerLog(id: string, before: number): Promise<void> {
    this.#open()
    await this.#consumerLogs.trim(id, before)
  }

  async consumerLogs(): Promise<readonly string[]> {
    this.#open()
    return (await this.#consumerLogs.ids()).filter((id) => !id.startsWith(SPECS))
  }

  async removeConsumerLog(id: string): Promise<void> {
    this.#open()
    await this.#consumerLogs.remove(id)
  }

  async beat(group: string, member: string, text: string, ttlMs: number): Promise<void> {
    this.#open()
    await this.#members.beat(group, member, text, ttlMs)
  }

  async leave(group: string, member: string): Promise<void> {
    this.#open()
    await this.#members.leave(group, member)
  }

  async members(group: string): Promise<ReadonlyMap<string, string>> {
    this.#open()
    return this.#members.all(group)
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const { feed } of this.#feeds.values()) await feed.then((open) => open.stop()).catch(() => undefined)
    this.#feeds.clear()
    await this.#client.close()
  }
}

/**
 * Whether the feed keeps the same events as the channel. It does not where the server deletes events because of other
 * events.
 */
function feedAnswers({ spec, hiddenAfterMs }: ChannelStream, partition: number | null): boolean {
  const { latestByKey, count, bytes } = spec.retain
  return (
    !latestByKey &&
    count === null &&
    bytes === null &&
    hiddenAfterMs === null &&
    (spec.kind === 'stream' || partition !== null)
  )
}

/** Create a stream, unless it exists. */
async function made(
  client: NatsClient,
  config: Readonly<Record<string, unknown>> & { readonly name: string },
): Promise<void> {
  try {
    await client.patiently('preparing', () => client.api(`STREAM.CREATE.${config.name}`, config))
  } catch (error) {
    if (!isApiError(error, API.streamExists)) throw error
  }
}
