/**
 * The consumer logs of one group in one topic. Each consumer log has one writer at a time.
 *
 * Kafka has no conditional write. A log that everybody reads in the same order serves as one: an entry says which
 * version it makes, and is valid if that is the version after the consumer log's current one. Of two entries that make
 * the same version, the first in the log is valid and the other has no effect. A writer knows the result as soon as it
 * has read what stands before its entry. Mostly nothing does, and the answer to the write tells.
 *
 *     key     the consumer log's id
 *     header  KIND VERSION NONCE KEPT
 *             a  one entry                         → VERSION is the version that it makes
 *             c  all entries that are kept, again  → valid if VERSION is the current version
 *             x  the consumer log is removed       → as an entry, without content
 *             NONCE  of the write; KEPT  the oldest version that is needed
 *
 * Everything before the oldest entry that any consumer log needs is deleted. A consumer log that gets no entries would
 * prevent that, so its entries are written again. Entries of former owners have no effect: they never make the next
 * version, for any reader.
 */
import { randomUUID } from 'node:crypto'
import { isMillraceError } from '../../base/errors.ts'
import type { LastingFailures } from '../../base/lasting-failures.ts'
import { type ConsumerLogContent, Fenced } from '../../external-log/log-backend.ts'
import type { KafkaClient } from './client.ts'
import { deleteRecords } from './requests.ts'
import { type LogFold, type LogRecord, TopicLog } from './topic-log.ts'

/** The number of records that nobody needs in the topic, before the needed ones are written again. */
const SLACK_RECORDS = 4000
const DELETE_RECORDS = 1000
const DELETE_MS = 10_000

interface Entry {
  readonly version: number
  /** The offset of the entry in the topic. */
  readonly offset: number
  readonly bytes: Uint8Array
}

interface ConsumerLog {
  version: number
  removed: boolean
  /** The oldest version that is needed. */
  kept: number
  entries: Entry[]
  /** The offset of its last record. */
  last: number
}

interface Mark {
  readonly kind: 'a' | 'c' | 'x'
  readonly version: number
  readonly nonce: string
  readonly kept: number
}

export class ConsumerLogTopic implements LogFold {
  readonly #client: KafkaClient
  readonly #log: TopicLog
  readonly #failures: LastingFailures
  readonly #writer = randomUUID().slice(0, 8)
  readonly #consumerLogs = new Map<string, ConsumerLog>()
  /** Own writes whose result is not known yet. */
  readonly #verdicts = new Map<string, boolean>()
  #writes = 0
  /** Everything before this offset is deleted, as far as is known. */
  #deleted = -1
  #cleaning = false

  /** `failures` is told when records that nobody needs cannot be deleted. */
  constructor(client: KafkaClient, topic: string, failures: LastingFailures) {
    this.#client = client
    this.#failures = failures
    this.#log = new TopicLog(client, topic, 'consumerLog', this)
  }

  async ids(): Promise<string[]> {
    await this.#log.catchUp()
    return [...this.#consumerLogs].filter(([, { removed }]) => !removed).map(([id]) => id)
  }

  async read(id: string): Promise<ConsumerLogContent> {
    await this.#log.catchUp()
    const consumerLog = this.#consumerLogs.get(id)
    return { entries: consumerLog?.entries.map(({ bytes }) => bytes) ?? [], version: consumerLog?.version ?? 0 }
  }

  /** @throws Fenced */
  async append(id: string, expected: number, entry: Uint8Array): Promise<number> {
    const consumerLog = this.#consumerLogs.get(id)
    if (consumerLog !== undefined && consumerLog.version > expected) throw new Fenced(id)
    if (!(await this.#write(id, 'a', expected + 1, Buffer.from(entry), consumerLog?.kept ?? 0))) throw new Fenced(id)
    return expected + 1
  }

  trim(id: string, before: number): void {
    const consumerLog = this.#consumerLogs.get(id)
    if (consumerLog === undefined) return
    keep(consumerLog, before)
    if (!this.#cleaning && this.#log.position - this.#deleted >= SLACK_RECORDS) void this.#tidy()
  }

  /** A failure is repeated with the next trim. Never rejects. */
  async #tidy(): Promise<void> {
    const of = `consumer log topic "${this.#log.topic}"`
    this.#cleaning = true
    try {
      await this.#clean()
      this.#failures.succeeded(of)
    } catch (error) {
      if (!isMillraceError(error, 'CLOSED')) this.#failures.failed(of, error)
    } finally {
      this.#cleaning = false
    }
  }

  async remove(id: string): Promise<void> {
    for (;;) {
      await this.#log.catchUp()
      const consumerLog = this.#consumerLogs.get(id)
      if (consumerLog === undefined || consumerLog.removed) return
      if (await this.#write(id, 'x', consumerLog.version + 1, null, consumerLog.version + 1)) return
    }
  }

  /** Whether the entry was valid. */
  async #write(id: string, kind: Mark['kind'], version: number, value: Buffer | null, kept: number): Promise<boolean> {
    const nonce = `${this.#writer}.${this.#writes++}`
    this.#verdicts.set(nonce, false)
    try {
      await this.#log.write(id, value, `${kind} ${version} ${nonce} ${kept}`)
      return this.#verdicts.get(nonce) ?? false
    } finally {
      this.#verdicts.delete(nonce)
    }
  }

  reset(): void {
    this.#consumerLogs.clear()
  }

  apply(record: LogRecord): void {
    if (this.#deleted < 0) this.#deleted = record.offset
    const mark = markOf(record.mark)
    const retold = mark?.kind === 'c' ? told(record.value, record.offset) : []
    // Another client wrote it.
    if (mark === null || retold === null) return
    const known = this.#consumerLogs.get(record.key)
    const current = known?.version ?? -1
    // A version far ahead is not of a former owner, whose version is at most the next one. So this process began to
    // read amid the log, after an entry without effect.
    if (mark.kind === 'c' ? mark.version < current : mark.version <= current) return
    // An own write that was sent twice has its result from the first one.
    if (this.#verdicts.has(mark.nonce)) this.#verdicts.set(mark.nonce, true)
    const goesOn = known !== undefined && mark.kind === 'a' && mark.version === current + 1
    const consumerLog: ConsumerLog = goesOn ? known : { version: 0, removed: false, kept: 0, entries: [], last: 0 }
    Object.assign(consumerLog, { version: mark.version, removed: mark.kind === 'x', last: record.offset })
    if (mark.kind === 'c') consumerLog.entries = retold
    else if (mark.kind === 'a')
      consumerLog.entries.push({ version: mark.version, offset: record.offset, bytes: Buffer.from(record.value ?? '') })
    if (mark.kind === 'c' && consumerLog.entries.length === 0) consumerLog.removed = true
    keep(consumerLog, mark.kept)
    this.#consumerLogs.set(record.key, consumerLog)
  }

  /** Delete records that nobody needs, when there are many. */
  async #clean(): Promise<void> {
    const end = this.#log.position
    for (const [id, consumerLog] of this.#consumerLogs) {
      if (end - firstOf(consumerLog) > SLACK_RECORDS / 2)
        await this.#write(id, 'c', consumerLog.version, tell(consumerLog.entries), consumerLog.kept)
    }
    const oldest = Math.min(end, ...[...this.#consumerLogs.values()].map(firstOf))
    if (oldest - this.#deleted < DELETE_RECORDS) return
    const { library } = this.#client
    const { topic } = this.#log
    await this.#client.leader(`deleting from ${topic}`, topic, 'ask', (connection) =>
      deleteRecords(library, connection, topic, oldest, DELETE_MS),
    )
    this.#deleted = oldest
  }
}

/** The offset of the oldest record that the consumer log needs. */
function firstOf({ entries, last }: ConsumerLog): number {
  return entries[0]?.offset ?? last
}

/** Drop entries before a version. */
function keep(consumerLog: ConsumerLog, version: number): void {
  consumerLog.kept = Math.max(consumerLog.kept, version)
  if ((consumerLog.entries[0]?.version ?? consumerLog.kept) < consumerLog.kept)
    consumerLog.entries = consumerLog.entries.filter((entry) => entry.version >= consumerLog.kept)
}

function markOf(text: string): Mark | null {
  const parts = /^([acx]) (\d+) (\S+) (\d+)$/.exec(text)
  if (parts === null) return null
  const [version, kept] = [Number(parts[2]), Number(parts[4])]
  // A number that is not a safe integer is not of Millrace, and no version could follow it.
  if (!Number.isSafeInteger(version + 1) || !Number.isSafeInteger(kept)) return null
  return { kind: parts[1] as Mark['kind'], version, nonce: parts[3] as string, kept }
}

/** Entries in one value: each with its version and length before its bytes. */
function tell(entries: readonly Entry[]): Buffer {
  return Buffer.concat(
    entries.flatMap(({ version, bytes }) => {
      const head = Buffer.alloc(12)
      head.writeDoubleBE(version, 0)
      head.writeUInt32BE(bytes.length, 8)
      return [head, bytes]
    }),
  )
}

/** Null if `tell` did not make the value. */
function told(value: Buffer | null, offset: number): Entry[] | null {
  const entries: Entry[] = []
  for (let at = 0; value !== null && at < value.length; ) {
    if (at + 12 > value.length) return null
    const length = value.readUInt32BE(at + 8)
    if (at + 12 + length > value.length) return null
    entries.push({
      version: value.readDoubleBE(at),
      offset,
      bytes: Buffer.from(value.subarray(at + 12, at + 12 + length)),
    })
    at += 12 + length
  }
  return entries
}
