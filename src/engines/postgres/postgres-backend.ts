/**
 * Postgres as a log with a conditional write (`external-log/log-backend.ts`). Joins the parts: connections, tables of
 * events, consumer logs, members, notifications and retention.
 *
 * No row says that an event is taken or done. A completion is an entry of a consumer log (`consumer-log-tables.ts`).
 * The text of a dead letter is an event of a channel `~dead.…` (`external-log/letters/`), and the consumer log has its
 * offset.
 */
import { randomUUID } from 'node:crypto'
import { isMillraceError, type MillraceError } from '../../base/errors.ts'
import type { Capabilities, Capability } from '../../broker/capabilities.ts'
import type { InTransaction } from '../../broker/engine.ts'
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
import { postgresCapabilities } from './capabilities.ts'
import { ChannelRegistry } from './channel-registry.ts'
import { ConsumerLogTables } from './consumer-log-tables.ts'
import { EventTables } from './event-tables.ts'
import { readyTables } from './migrations.ts'
import { type Connector, connectorOf } from './postgres-client.ts'
import { PostgresLink } from './postgres-link.ts'
import { type PostgresSettings, shownUrl } from './postgres-url.ts'
import { checkServer } from './server-check.ts'

const RETAIN_MS = 500
/** Channels without limits are looked at once in so many times. */
const RETAIN_OTHERS_EVERY = 40

/** Told of what needs no person. */
type Notice = (message: string, fields: Readonly<Record<string, string>>) => void

export class PostgresBackend implements LogBackend {
  readonly name = 'postgres'
  readonly limits = { batchEvents: 10_000, entryBytes: 33_554_432 }
  readonly capabilities: Capabilities
  readonly inTransaction: InTransaction
  readonly #settings: PostgresSettings
  readonly #link: PostgresLink
  readonly #registry: ChannelRegistry
  readonly #events: EventTables
  readonly #consumerLogs: ConsumerLogTables
  readonly #notifier: AppendNotifier
  readonly #retaining: NodeJS.Timeout
  /** Channels to which events were added, or whose floors were raised, since channels without limits were looked at. */
  readonly #touched = new Set<string>()
  readonly #alarms = new BackendAlarms()
  /** Why nothing is written now: the settings of the server became weaker. */
  #refusal: MillraceError | null = null
  #retentions = 0
  #isRetaining = false

  private constructor(
    settings: PostgresSettings,
    link: PostgresLink,
    durable: Capability,
    connector: Connector,
    notice: Notice,
  ) {
    const { schema } = settings
    this.#settings = settings
    this.#link = link
    const publish = `SELECT ${schema}.publish($1, e ->> 'event', coalesce(e ->> 'key', ''))`
    this.inTransaction = { dialect: 'postgres', statement: `${publish} FROM json_array_elements($2::text::json) e` }
    this.capabilities = postgresCapabilities(durable, settings.partitions)
    this.#registry = new ChannelRegistry(schema, link, (message) => this.#alarms.raise('DATA_DAMAGED', message))
    const events = new EventTables(schema, link)
    this.#events = events
    this.#consumerLogs = new ConsumerLogTables(schema, link)
    this.#notifier = new AppendNotifier({
      ...{ connector, link, schema, sender: randomUUID() },
      marks: (channels) => events.marks(channels),
      deaf: () =>
        notice(
          'postgres: notifications do not arrive, as behind a pooler: events of other processes are looked for',
          {},
        ),
    })
    this.#retaining = setInterval(() => void this.#retain(), RETAIN_MS)
    this.#retaining.unref()
  }

  /** @throws MISSING_DEPENDENCY · UNAVAILABLE · UNAUTHENTICATED · FORBIDDEN · CLAUSE_REFUSED · DATA_FOREIGN */
  static async open(settings: PostgresSettings, notice: Notice = () => undefined): Promise<PostgresBackend> {
    const connector = await connectorOf(settings)
    const told: { by(lost: MillraceError | null): void } = { by: () => undefined }
    const link = await PostgresLink.open(connector, shownUrl(settings), (lost) => told.by(lost))
    try {
      const durable = await checkServer(link, settings)
      await readyTables(link, settings)
      const backend = new PostgresBackend(settings, link, durable, connector, notice)
      told.by = (lost) => backend.#connection(lost)
      return backend
    } catch (error) {
      await link.close()
      throw error
    }
  }

  listen(listener: BackendListener): void {
    this.#alarms.listen(listener)
  }

  /**
   * Called when the server is lost (`lost` is the error), and when it answers again: it may be another server, with
   * other settings.
   */
  #connection(lost: MillraceError | null): void {
    if (lost !== null) {
      if (!this.#link.isClosed) this.#alarms.raise(lost.code, lost.message)
      return
    }
    this.#alarms.clear('UNAVAILABLE')
    checkServer(this.#link, this.#settings).then(
      () => {
        this.#refusal = null
        this.#alarms.clear('CLAUSE_REFUSED')
      },
      (error: unknown) => {
        // While a server's settings are weaker than promised, no write is acknowledged.
        if (!isMillraceError(error) || error.retryable) return
        this.#refusal = error
        this.#alarms.raise(error.code, error.message)
      },
    )
  }

  #mayWrite(): void {
    if (this.#refusal !== null) throw this.#refusal
  }

  async #retain(): Promise<void> {
    if (!this.#link.isUp || this.#isRetaining) return
    this.#isRetaining = true
    const all = ++this.#retentions % RETAIN_OTHERS_EVERY === 0
    const others = all ? [...this.#touched] : []
    if (all) this.#touched.clear()
    await this.#registry.retain(others, (names) => this.#events.marks(names), this.#alarms.retention)
    if (all) await this.#registry.sweep(this.#alarms.retention)
    this.#isRetaining = false
  }

  channels(): Promise<readonly ChannelEntry[]> {
    return this.#registry.all()
  }

  channel(name: string): Promise<ChannelEntry | null> {
    return this.#registry.look(name)
  }

  async createChannel(entry: ChannelEntry): Promise<void> {
    this.#mayWrite()
    await this.#registry.create(entry)
  }

  async updateChannel(entry: ChannelEntry, before: ChannelEntry): Promise<boolean> {
    this.#mayWrite()
    return this.#registry.update(entry, before)
  }

  removeChannel(name: string): Promise<void> {
    return this.#registry.remove(name)
  }

  async append(channel: string, items: readonly AppendItem[]): Promise<Appended[]> {
    this.#mayWrite()
    const appended = await this.#events.append(channel, items)
    const ends = new Map<number, number>()
    for (const [at, { offset, duplicate }] of appended.entries())
      if (!duplicate) ends.set((items[at] as AppendItem).partition, offset + 1)
    if (ends.size > 0) {
      this.#touched.add(channel)
      this.#notifier.appended(channel, ends)
    }
    return appended
  }

  known(channel: string, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
    return this.#events.known(channel, ids)
  }

  read(channel: string, partition: number | null, from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    return this.#events.read(channel, partition, from, limit)
  }

  bounds(channel: string, partition: number | null): Promise<Bounds> {
    return this.#events.bounds(channel, partition)
  }

  seek(channel: string, partition: number | null, timeMs: number): Promise<number> {
    return this.#events.seek(channel, partition, timeMs)
  }

  pendingFrom(channel: string, partition: number, offset: number): Promise<number> {
    return this.#events.pendingFrom(channel, partition, offset)
  }

  async trim(channel: string, partition: number, before: number): Promise<void> {
    this.#touched.add(channel)
    await this.#events.trim(channel, partition, before)
  }

  bytes(channel: string): Promise<number> {
    return this.#events.bytes(channel)
  }

  watch(channel: string, onAppend: OnAppend): Promise<() => void> {
    return this.#notifier.watch(channel, onAppend)
  }

  readConsumerLog(id: string): Promise<ConsumerLogContent> {
    return this.#consumerLogs.read(id)
  }

  async appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number> {
    this.#mayWrite()
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
    const values = [group, member, text, Math.ceil(ttlMs)]
    await this.#link.query(`SELECT ${this.#settings.schema}.beat($1, $2, $3, $4)`, values, 'sending a heartbeat')
  }

  async leave(group: string, member: string): Promise<void> {
    const text = `DELETE FROM ${this.#settings.schema}.members WHERE member_group = $1 AND member = $2`
    await this.#link.query(text, [group, member], 'leaving a group')
  }

  async members(group: string): Promise<ReadonlyMap<string, string>> {
    const { schema } = this.#settings
    const text = `SELECT member, said FROM ${schema}.members WHERE member_group = $1 AND until_ms >= ${schema}.now_ms()`
    const rows = await this.#link.query(text, [group], 'reading the heartbeats of members')
    return new Map(rows.map(([member, said]) => [member as string, said as string]))
  }

  async close(): Promise<void> {
    clearInterval(this.#retaining)
    this.#notifier.close()
    await this.#link.close()
  }
}
