/**
 * Redis as a log with a conditional write (`external-log/log-backend.ts`). Joins the parts: connections, the streams of
 * events, consumer logs, members, notifications, inboxes and retention.
 *
 * No acknowledgement is sent to Redis: its consumer groups (`XGROUP`, `XACK`) are not used. A completion is an entry of
 * a consumer log (`consumer-log-streams.ts`), in the stream `{PREFIX}:journal:ID`. The text of a dead letter is an
 * event of a channel `~dead.…` (`external-log/letters/`), and the consumer log has its offset.
 *
 * It uses up to three connections: one for commands, one for notifications of appends, and one that waits for entries
 * of plain clients.
 */
import { randomUUID } from 'node:crypto'
import { MillraceError } from '../../base/errors.ts'
import type { Capabilities } from '../../broker/capabilities.ts'
import { BackendAlarms } from '../../external-log/backend/alarms.ts'
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
import { AppendNotifier, type OnAppend } from './append-notifier.ts'
import { redisCapabilities } from './capabilities.ts'
import { ChannelRegistry } from './channel-registry.ts'
import { ConsumerLogStreams } from './consumer-log-streams.ts'
import { checkDurability, type Durability, durabilityAgain } from './durability.ts'
import { EventStreams } from './event-streams.ts'
import { Inbox } from './inbox.ts'
import { Keys } from './keys.ts'
import { type Connector, connectorOf } from './redis-client.ts'
import { RedisLink } from './redis-link.ts'
import { type RedisSettings, shownUrl } from './redis-url.ts'
import { SafeWrites } from './safe-writes.ts'
import { BEAT, MEMBERS } from './scripts.ts'

const RETAIN_MS = 500

export class RedisBackend implements LogBackend {
  readonly name = 'redis'
  readonly limits = { batchEvents: 10_000, entryBytes: 33_554_432, appendsInFlight: 2 }
  readonly capabilities: Capabilities
  readonly #settings: RedisSettings
  readonly #keys: Keys
  readonly #link: RedisLink
  readonly #writes: SafeWrites
  readonly #streams: EventStreams
  readonly #consumerLogs: ConsumerLogStreams
  readonly #registry: ChannelRegistry
  readonly #notifier: AppendNotifier
  readonly #inbox: Inbox
  readonly #retaining: NodeJS.Timeout
  #closed = false
  /** How many times the connection was opened again. */
  #connections = 0
  readonly #alarms = new BackendAlarms()

  private constructor(settings: RedisSettings, link: RedisLink, durability: Durability, connector: Connector) {
    const sender = randomUUID()
    this.#settings = settings
    this.#keys = new Keys(settings.prefix)
    this.#link = link
    this.capabilities = redisCapabilities(durability.capability, settings.partitions)
    this.#writes = new SafeWrites(link, durability)
    this.#registry = new ChannelRegistry(this.#keys, sender, link, this.#writes, (message) =>
      this.#alarms.raise('DATA_DAMAGED', message),
    )
    this.#streams = new EventStreams(this.#keys, sender, {
      reading: link,
      write: (script, keys, args, doing, again) => this.#writes.run(script, keys, args, doing, again),
      partitions: (channel) => this.#registry.partitions(channel),
      // In a cluster, each node counts its own subscribers.
      hears: (channel) => (settings.topology === 'cluster' ? null : this.#notifier.hears(channel)),
    })
    this.#consumerLogs = new ConsumerLogStreams(this.#keys, link, this.#writes)
    this.#notifier = new AppendNotifier(connector, this.#keys, sender, (error) => this.#alarm(error))
    this.#inbox = new Inbox(() => RedisLink.open(connector, shownUrl(settings)), {
      keys: this.#keys,
      channel: (name) => this.#registry.known(name),
      store: async (channel, items) => void (await this.#streams.append(channel, items)),
      alarm: (error) => this.#alarm(error as MillraceError),
    })
    if (durability.doubt !== null) this.#alarm(durability.doubt)
    this.#retaining = setInterval(() => this.#retain(), RETAIN_MS)
    this.#retaining.unref()
  }

  /** @throws MISSING_DEPENDENCY · UNAVAILABLE · UNAUTHENTICATED · FORBIDDEN · CLAUSE_REFUSED */
  static async open(settings: RedisSettings): Promise<RedisBackend> {
    const connector = await connectorOf(settings)
    const told: { by(lost: MillraceError | null): void } = { by: () => undefined }
    const link = await RedisLink.open(connector, shownUrl(settings), (lost) => told.by(lost))
    try {
      const backend = new RedisBackend(settings, link, await checkDurability(link, settings), connector)
      told.by = (lost) => backend.#connection(lost)
      return backend
    } catch (error) {
      link.close()
      throw error
    }
  }

  listen(listener: BackendListener): void {
    this.#alarms.listen(listener)
  }

  #alarm({ code, message }: MillraceError): void {
    if (!this.#closed) this.#alarms.raise(code, message)
  }

  /**
   * Called when the connection is lost (`lost` is the error), and when it is open again, perhaps to another server with
   * other settings.
   */
  #connection(lost: MillraceError | null): void {
    if (lost !== null) {
      this.#alarm(lost)
      return
    }
    this.#alarms.clear('UNAVAILABLE')
    const connection = ++this.#connections
    void durabilityAgain(this.#link, this.#settings, () => this.#closed || this.#connections !== connection).then(
      (found) => {
        if (found === null) return
        const before = this.#writes.durability
        if (before instanceof MillraceError) this.#alarms.clear(before.code)
        this.#writes.durability = found
        // While a server's settings are weaker than promised, or unknown, no write is acknowledged.
        if (found instanceof MillraceError) this.#alarm(found)
        else if (found.doubt !== null) this.#alarm(found.doubt)
        else this.#alarms.clear('CLAUSE_REFUSED')
      },
    )
  }

  #retain(): void {
    if (this.#link.client.status !== 'ready') return
    void this.#registry.retain(this.#alarms.retention)
  }

  channels(): Promise<readonly ChannelEntry[]> {
    return this.#registry.all()
  }

  channel(name: string): Promise<ChannelEntry | null> {
    return this.#registry.look(name)
  }

  createChannel(entry: ChannelEntry): Promise<void> {
    return this.#registry.create(entry)
  }

  updateChannel(entry: ChannelEntry, before: ChannelEntry): Promise<boolean> {
    return this.#registry.update(entry, before)
  }

  removeChannel(name: string): Promise<void> {
    return this.#registry.remove(name)
  }

  append(channel: string, items: readonly AppendItem[]): Promise<Appended[]> {
    return this.#streams.append(channel, items)
  }

  known(channel: string, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
    return this.#streams.known(channel, ids)
  }

  read(channel: string, partition: number | null, from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    return this.#streams.read(channel, partition, from, limit)
  }

  async bounds(channel: string, partition: number | null): Promise<Bounds> {
    const bounds = await this.#streams.bounds(channel, partition)
    if (bounds.inside === 0) return bounds
    await this.#inbox.drain(this.#link, channel)
    return this.#streams.bounds(channel, partition)
  }

  seek(channel: string, partition: number | null, timeMs: number): Promise<number> {
    return this.#streams.seek(channel, partition, timeMs)
  }

  pendingFrom(channel: string, partition: number, offset: number): Promise<number> {
    return this.#streams.pendingFrom(channel, partition, offset)
  }

  trim(channel: string, partition: number, before: number): Promise<void> {
    return this.#streams.trim(channel, partition, before)
  }

  bytes(channel: string): Promise<number> {
    return this.#streams.bytes(channel)
  }

  async watch(channel: string, onAppend: OnAppend): Promise<() => void> {
    const stopInbox = this.#inbox.watch(channel)
    const stopBell = await this.#notifier.watch(channel, onAppend)
    return () => {
      stopInbox()
      stopBell()
    }
  }

  readConsumerLog(id: string): Promise<ConsumerLogContent> {
    return this.#consumerLogs.read(id)
  }

  appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number> {
    return this.#consumerLogs.append(id, expected, entry)
  }

  trimConsumerLog(id: string, before: number): Promise<void> {
    return this.#consumerLogs.trim(id, before)
  }

  consumerLogs(): Promise<readonly string[]> {
    return this.#consumerLogs.ids()
  }

  removeConsumerLog(id: string): Promise<void> {
    return this.#consumerLogs.remove(id)
  }

  async beat(group: string, member: string, text: string, ttlMs: number): Promise<void> {
    await this.#link.run(BEAT, [this.#keys.members(group)], [member, text, ttlMs], 'sending a heartbeat')
  }

  async leave(group: string, member: string): Promise<void> {
    await this.#link.call(['HDEL', this.#keys.members(group), member], 'leaving a group')
  }

  async members(group: string): Promise<ReadonlyMap<string, string>> {
    const found = (await this.#link.run(
      MEMBERS,
      [this.#keys.members(group)],
      [],
      'reading the heartbeats of members',
    )) as readonly string[]
    const members = new Map<string, string>()
    for (let at = 0; at + 1 < found.length; at += 2) members.set(found[at] as string, found[at + 1] as string)
    return members
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#retaining)
    this.#inbox.close()
    this.#notifier.close()
    this.#link.close()
  }
}
