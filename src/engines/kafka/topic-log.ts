/**
 * A topic of one partition as a log that this process folds into a state: the registry, the notes of members, the
 * consumer logs of a group.
 *
 * Invariants: each record is applied once, in the order of offsets, and own records too. One batch is written at a
 * time. Records that come meanwhile go into the next one (group commit).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { OneAtATime } from '../../base/one-at-a-time.ts'
import type { KafkaClient, Purpose } from './client.ts'
import { CODES, KafkaError } from './kafka-error.ts'
import { decodeBatches, encodeBatch, type FetchedRecord, type NewRecord, NO_PRODUCER } from './record-batch.ts'
import { EARLIEST, fetch, offsetAt, produce } from './requests.ts'

const FETCH_BYTES = 8 * 1024 * 1024
const BATCH_BYTES = 4 * 1024 * 1024
const GATHER_MS_MAX = 20
const MARK = 'millrace'

/** A record of Millrace's own topics: a key, a value, and the text of one header, which says what the record is. */
export interface LogRecord {
  readonly offset: number
  readonly key: string
  readonly value: Buffer | null
  readonly mark: string
}

export interface LogFold {
  apply(record: LogRecord): void
  /**
   * Records that were deleted meanwhile may have been missed. The state is forgotten, and all records that are kept
   * come again.
   */
  reset(): void
}

interface QueuedRecord {
  readonly record: NewRecord
  readonly bytes: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class TopicLog {
  readonly topic: string
  readonly #client: KafkaClient
  readonly #purpose: Purpose
  readonly #fold: LogFold
  /** The offset at which to begin; null for the beginning of the topic. */
  readonly #from: (() => Promise<number>) | null
  #at: number | null = null
  readonly #reading = new OneAtATime(() => this.#readOn())
  #queue: QueuedRecord[] = []
  #writing = false

  constructor(
    client: KafkaClient,
    topic: string,
    purpose: Purpose,
    fold: LogFold,
    from: (() => Promise<number>) | null = null,
  ) {
    this.topic = topic
    this.#client = client
    this.#purpose = purpose
    this.#fold = fold
    this.#from = from
  }

  /** The offset up to which all records are applied. */
  get position(): number {
    return this.#at ?? 0
  }

  /** Resolves when everything is applied that the topic held when this was called. */
  catchUp(): Promise<void> {
    return this.#reading.ask()
  }

  async #readOn(): Promise<void> {
    const { library } = this.#client
    this.#at ??= await (this.#from?.() ?? this.#earliest())
    for (;;) {
      const at = this.#at
      const [answer] = await this.#client.leader(`reading ${this.topic}`, this.topic, 'ask', async (connection) => {
        const answers = await fetch(library, connection, [{ topic: this.topic, offset: at }], 0, FETCH_BYTES)
        const code = answers[0]?.code ?? CODES.UNKNOWN_TOPIC_OR_PARTITION
        if (code !== 0 && code !== CODES.OFFSET_OUT_OF_RANGE) throw new KafkaError(code, `Kafka's error ${code}`)
        return answers
      })
      if (answer === undefined) return
      if (answer.code === CODES.OFFSET_OUT_OF_RANGE) {
        this.#fold.reset()
        this.#at = await this.#earliest()
        continue
      }
      const decompress = (algorithm: number, bytes: Buffer): Buffer => this.#decompress(algorithm, bytes)
      const { records, end } = decodeBatches(answer.bytes, this.#at, { decompress })
      for (const record of records) this.#apply(logRecord(record))
      this.#at = Math.max(this.#at, end)
      if (this.#at >= answer.next || end <= at) return
    }
  }

  #decompress(algorithm: number, bytes: Buffer): Buffer {
    const known = this.#client.library.compressionsAlgorithmsByBitmask[algorithm]
    if (known === undefined)
      throw new KafkaError(CODES.CORRUPT_MESSAGE, `a batch of ${this.topic} is compressed in an unknown way`)
    return known.decompressSync(bytes)
  }

  #earliest(): Promise<number> {
    return this.#client.leader(`reading ${this.topic}`, this.topic, 'ask', (connection) =>
      offsetAt(this.#client.library, connection, this.topic, EARLIEST),
    )
  }

  #apply(record: LogRecord): void {
    if (record.offset < (this.#at ?? 0)) return
    this.#fold.apply(record)
    this.#at = record.offset + 1
  }

  /** Write a record. Resolves when it is stored and applied. */
  write(key: string, value: Buffer | null, mark: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const record = { key, value, headers: [[MARK, mark]] } as const
      this.#queue.push({ record, bytes: key.length + mark.length + (value?.length ?? 0), resolve, reject })
      if (this.#writing) return
      this.#writing = true
      queueMicrotask(() => void this.#write())
    })
  }

  async #write(): Promise<void> {
    while (this.#queue.length > 0) {
      const together = this.#together()
      const startMs = performance.now()
      try {
        await this.#writeBatch(together.map(({ record }) => record))
        for (const { resolve } of together) resolve()
      } catch (error) {
        for (const { reject } of together) reject(error as Error)
      }
      // Under load, published events should have the disk. So the next batch is gathered for as long as the last write
      // took.
      if (this.#purpose === 'consumerLog') await sleep(Math.min(performance.now() - startMs, GATHER_MS_MAX))
    }
    this.#writing = false
  }

  #together(): QueuedRecord[] {
    let count = 0
    for (
      let bytes = 0;
      count < this.#queue.length && (count === 0 || bytes + (this.#queue[count]?.bytes ?? 0) <= BATCH_BYTES);
      count++
    ) {
      bytes += this.#queue[count]?.bytes ?? 0
    }
    return this.#queue.splice(0, count)
  }

  async #writeBatch(records: readonly NewRecord[]): Promise<void> {
    const { library } = this.#client
    const batch = encodeBatch(records, Date.now(), NO_PRODUCER, library)
    const { base } = await this.#client.leader(`writing to ${this.topic}`, this.topic, this.#purpose, (connection) =>
      produce(library, connection, this.topic, batch),
    )
    // If nothing came in between, the written records are the next ones.
    if (base === this.#at) for (const [at, record] of records.entries()) this.#apply(ownRecord(base + at, record))
    else await this.catchUp()
  }
}

function logRecord({ offset, key, value, headers }: FetchedRecord): LogRecord {
  return {
    offset,
    key: key?.toString() ?? '',
    value,
    mark: headers.find(([name]) => name === MARK)?.[1]?.toString() ?? '',
  }
}

function ownRecord(offset: number, { key, value, headers }: NewRecord): LogRecord {
  return { offset, key: key ?? '', value: value as Buffer | null, mark: headers[0]?.[1] ?? '' }
}
