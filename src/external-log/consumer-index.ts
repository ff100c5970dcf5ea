/**
 * The channels in which each consumer takes part: the streams that it consumes and the queues on which it works. With
 * it, a look at one consumer costs no requests for other consumers and channels.
 *
 * The index is divided into buckets by the names of the consumers. Each bucket is a small consumer log, and its last
 * entry is the whole bucket. docs/formats.md describes the format, and what versions without the index do.
 *
 * Invariant: a channel in which a consumer has begun is in the index. A channel in the index in which it has not begun
 * does no harm, and is dropped at the next look at the consumer. Four rules keep the invariant:
 * - A process sends its heartbeat, then writes the index, and then claims the first partition.
 * - `add` changes the version of the bucket also where the channel is in the index already.
 * - Whoever drops a channel reads the bucket first, then the heartbeats, and then what the consumer has settled. It
 *   drops the channel only if the bucket still has the version that it read (`consumer-homes.ts`).
 * - The first look in data of a version without the index looks at all consumers, and writes what it finds. Buckets
 *   count only after that is done, which a consumer log of its own says.
 */
import { isJsonObject, jsonObject } from '../base/json-object.ts'
import { OneAtATime } from '../base/one-at-a-time.ts'
import { Fenced, type LogBackend } from './log-backend.ts'
import { partitionHash } from './publish/partition-hash.ts'

const BUCKETS = 64
/** No consumer and no channel can have these names. */
const PREFIX = '~consumers/~/'
/** This consumer log is not empty if the index has every consumer. */
const COMPLETE = `${PREFIX}complete`

/** The names of channels, by the name of the consumer. */
type Bucket = Map<string, Set<string>>

/** A consumer that takes part in a channel. */
export type TakesPart = readonly [consumer: string, channel: string]

/** The id of the consumer log of the index in which a consumer is. */
export function indexLogOf(consumer: string): string {
  return `${PREFIX}${partitionHash(consumer) % BUCKETS}`
}

export class ConsumerIndex {
  readonly #backend: LogBackend
  #complete = false
  #added: TakesPart[] = []
  readonly #writing = new OneAtATime(() => this.#write())

  constructor(backend: LogBackend) {
    this.#backend = backend
  }

  /**
   * The channels of a consumer, and the version of the bucket that has them. `all` finds the channels of all consumers.
   * It is called once for the data of a version without the index.
   */
  async of(
    consumer: string,
    all: () => Promise<readonly TakesPart[]>,
  ): Promise<{ readonly channels: readonly string[]; readonly version: number }> {
    if (!this.#complete) await this.#makeComplete(all)
    const { bucket, version } = await this.#read(indexLogOf(consumer))
    return { channels: [...(bucket.get(consumer) ?? [])], version }
  }

  async #makeComplete(all: () => Promise<readonly TakesPart[]>): Promise<void> {
    if ((await this.#backend.readConsumerLog(COMPLETE)).entries.length === 0) {
      await this.add(await all())
      await this.#append(COMPLETE, 0, {})
    }
    this.#complete = true
  }

  /** Resolves when the channels are durably in the index. Calls of the same moment are written together. */
  async add(added: readonly TakesPart[]): Promise<void> {
    if (added.length === 0) return
    this.#added.push(...added)
    await this.#writing.ask()
  }

  async #write(): Promise<void> {
    const byLog = new Map<string, TakesPart[]>()
    for (const each of this.#added.splice(0)) {
      const log = indexLogOf(each[0])
      byLog.set(log, [...(byLog.get(log) ?? []), each])
    }
    await Promise.all([...byLog].map(([log, added]) => this.#addTo(log, added)))
  }

  async #addTo(log: string, added: readonly TakesPart[]): Promise<void> {
    for (let changedByOthers = false; ; changedByOthers = true) {
      const { bucket, version } = await this.#read(log)
      const isThere = added.every(([consumer, channel]) => bucket.get(consumer)?.has(channel) === true)
      if (isThere && changedByOthers) return
      for (const [consumer, channel] of added)
        bucket.set(consumer, new Set([...(bucket.get(consumer) ?? []), channel].sort()))
      if (await this.#appendBucket(log, version, bucket)) return
    }
  }

  /** Drop channels of a consumer, unless its bucket has changed since it had this version. */
  async drop(consumer: string, channels: readonly string[], version: number): Promise<void> {
    const log = indexLogOf(consumer)
    const now = await this.#read(log)
    const own = now.bucket.get(consumer)
    if (now.version !== version || own === undefined) return
    for (const channel of channels) own.delete(channel)
    if (own.size === 0) now.bucket.delete(consumer)
    await this.#appendBucket(log, version, now.bucket)
  }

  async #read(log: string): Promise<{ readonly bucket: Bucket; readonly version: number }> {
    const { entries, version } = await this.#backend.readConsumerLog(log)
    // Entries of another client are ignored.
    return { bucket: entries.map(bucketIn).findLast((bucket) => bucket !== null) ?? new Map(), version }
  }

  #appendBucket(log: string, version: number, bucket: Bucket): Promise<boolean> {
    const consumers = Object.fromEntries([...bucket].map(([consumer, channels]) => [consumer, [...channels]]))
    return this.#append(log, version, { consumers })
  }

  /** Whether the log still had this version, so that the content is stored. */
  async #append(log: string, version: number, content: object): Promise<boolean> {
    try {
      const stored = await this.#backend.appendConsumerLog(log, version, Buffer.from(JSON.stringify(content)))
      await this.#backend.trimConsumerLog(log, stored)
      return true
    } catch (error) {
      if (error instanceof Fenced) return false
      throw error
    }
  }
}

function bucketIn(bytes: Uint8Array): Bucket | null {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  const consumers = jsonObject(text)?.['consumers']
  if (!isJsonObject(consumers)) return null
  const bucket: Bucket = new Map()
  for (const [consumer, channels] of Object.entries(consumers)) {
    if (!Array.isArray(channels) || !channels.every((channel) => typeof channel === 'string')) return null
    bucket.set(consumer, new Set(channels))
  }
  return bucket
}
