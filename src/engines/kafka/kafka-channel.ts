/** A channel on Kafka: its topic, appending to it, and the part of it that is still there for readers. */
import type { LastingFailures } from '../../base/lasting-failures.ts'
import type {
  Appended,
  AppendItem,
  Bounds,
  ChannelEntry,
  ReadLimit,
  StoredRecord,
} from '../../external-log/log-backend.ts'
import type { ChannelTopic } from './channel-topic.ts'
import { ChannelWriter } from './channel-writer.ts'
import type { KeptEvent } from './chunk-cache.ts'
import { deleteRecords } from './requests.ts'
import { KeyIndex, SizeIndex } from './retention.ts'

/** Up to this many events are counted one by one. Beyond it, the share of a partition is estimated. */
const COUNTED_MAX = 20_000
const PRUNE_MS = 2000
const PRUNE_EVENTS = 1000
const DELETE_MS = 10_000

export class KafkaChannel {
  readonly log: ChannelTopic
  readonly #writer: ChannelWriter
  readonly #keys: KeyIndex | null
  readonly #sizes: SizeIndex | null
  /** By partition: the events below these offsets are settled. */
  readonly #floors: () => readonly number[]
  readonly #failures: LastingFailures
  #indexed: Promise<void> | null = null
  #pruning: NodeJS.Timeout | null = null
  #closed = false

  constructor(log: ChannelTopic, floors: () => readonly number[], failures: LastingFailures) {
    this.log = log
    this.#floors = floors
    this.#failures = failures
    this.#writer = new ChannelWriter(log)
    const { latestByKey, bytes } = log.entry.spec.retain
    this.#keys = latestByKey ? new KeyIndex() : null
    this.#sizes = bytes === null ? null : new SizeIndex(() => this.entry.spec.retain.bytes ?? Number.POSITIVE_INFINITY)
  }

  get entry(): ChannelEntry {
    return this.log.entry
  }

  known(ids: readonly string[]): Promise<Map<string, number>> {
    return this.#writer.known(ids)
  }

  async append(items: readonly AppendItem[]): Promise<Appended[]> {
    const appended = await this.#writer.append(items)
    const { ageMs, count, bytes } = this.entry.spec.retain
    if (ageMs !== null || count !== null || bytes !== null) this.#pruneSoon()
    return appended
  }

  /** See everything that retention needs, and where the log ends. */
  async #look(): Promise<void> {
    const folds = [this.#keys, this.#sizes].filter((fold) => fold !== null)
    if (folds.length === 0) {
      await this.log.look()
      return
    }
    this.#indexed ??= (async () => {
      await this.log.follow()
      for (const fold of folds) await this.log.fold(fold, this.log.first)
    })()
    this.#indexed.catch(() => {
      this.#indexed = null
    })
    await this.#indexed
    await this.log.catchUp()
  }

  get #indexes(): boolean {
    return this.#keys !== null || this.#sizes !== null
  }

  /** The oldest offset that readers are shown, apart from age. */
  #floor(partition: number | null): number {
    const { count } = this.entry.spec.retain
    const floors = this.#floors()
    const settled =
      partition === null ? (floors.length < this.entry.partitions ? 0 : Math.min(...floors)) : (floors[partition] ?? 0)
    return Math.max(this.log.first, settled, count === null ? 0 : this.log.next - count, this.#sizes?.floor ?? 0)
  }

  #shows(partition: number | null): (event: KeptEvent) => boolean {
    const { ageMs } = this.entry.spec.retain
    const floors = this.#floors()
    const floor = this.#floor(partition)
    const oldestMs = ageMs === null ? Number.NEGATIVE_INFINITY : this.#writer.nowMs - ageMs
    return (event) =>
      event.offset >= floor &&
      event.timeMs >= oldestMs &&
      (floors.length === 0 || event.offset >= (floors[event.partition] ?? 0)) &&
      (this.#keys === null || this.#keys.shows(event))
  }

  async read(partition: number | null, from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    if (this.#indexes || this.entry.spec.retain.count !== null) await this.#look()
    return this.log.read(partition, Math.max(from, this.#floor(partition)), limit, this.#shows(partition))
  }

  async bounds(partition: number | null): Promise<Bounds> {
    const { ageMs } = this.entry.spec.retain
    const [, young] = await Promise.all([this.#look(), ageMs === null ? 0 : this.log.seek(this.#writer.nowMs - ageMs)])
    const { next } = this.log
    return { first: Math.min(next, Math.max(this.#floor(partition), young)), next }
  }

  async seek(partition: number | null, timeMs: number): Promise<number> {
    const offset = await this.log.seek(timeMs)
    return Math.max(offset, this.#floor(partition))
  }

  async pendingFrom(partition: number, offset: number): Promise<number> {
    await this.#look()
    const { next } = this.log
    const from = Math.max(offset, this.#floor(partition))
    if (next - from > COUNTED_MAX) return Math.ceil((next - from) / this.entry.partitions)
    const shows = this.#shows(partition)
    let count = 0
    for (let at = from; at < next; ) {
      const chunk = await this.log.load(at)
      if (chunk === null) break
      for (const event of chunk.of(partition)) if (event.offset >= at && event.offset < next && shows(event)) count++
      at = chunk.end
    }
    return count
  }

  #pruneSoon(): void {
    if (this.#pruning !== null || this.#closed) return
    this.#pruning = setTimeout(() => {
      this.#pruning = null
      const of = `channel "${this.entry.spec.name}"`
      void this.#prune().then(
        () => this.#failures.succeeded(of),
        (error: unknown) => {
          if (this.#closed) return
          this.#failures.failed(of, error)
          this.#pruneSoon()
        },
      )
    }, PRUNE_MS)
    this.#pruning.unref()
  }

  /** Settled events of a queue are deleted when their ids have left the window. */
  settled(): void {
    this.#pruneSoon()
  }

  /** Delete events that no reader is shown and whose ids nobody looks for. */
  async #prune(): Promise<void> {
    const { first } = await this.bounds(null)
    const { dedupe } = this.entry.spec
    const wanted =
      dedupe === null
        ? first
        : Math.max(this.log.next - dedupe.count, await this.log.seek(this.#writer.nowMs - dedupe.ageMs))
    const before = Math.min(first, wanted)
    if (before - this.log.first < PRUNE_EVENTS || this.#keys !== null) return
    const { library } = this.log.client
    await this.log.ask('deleting from', (connection) =>
      deleteRecords(library, connection, this.log.topic, before, DELETE_MS),
    )
  }

  close(): void {
    this.#closed = true
    if (this.#pruning !== null) clearTimeout(this.#pruning)
  }
}
