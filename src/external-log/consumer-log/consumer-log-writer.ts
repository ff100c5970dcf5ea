/**
 * Writes the entries of an owner into its consumer log, and decides when a snapshot is due.
 *
 * Invariant: an entry is stored only after the last entry that this owner wrote or read. An append that meets an entry
 * of another member is refused with `Fenced`.
 */
import { type Clock, pause } from '../../base/clock.ts'
import type { MillraceError } from '../../base/errors.ts'
import type { Emission } from '../../broker/engine.ts'
import { Fenced, type LogBackend } from '../log-backend.ts'
import { type ConsumerLogEntry, encodeEntry, fold, recordText } from './consumer-log-entry.ts'

/** A snapshot is due when more entries, or more bytes, than these came after the last one. */
const SNAPSHOT_ENTRIES = 500
const SNAPSHOT_BYTES = 1024 * 1024
/** Assumed bytes of an entry. After a large snapshot, the next one is due after about as many bytes of entries. */
const ENTRY_BYTES = 2048
const RETRY_MS = 200

export interface ConsumerLogWriterHost {
  readonly backend: LogBackend
  readonly clock: Clock
  /** The name of the owner. */
  readonly member: string
  alarm(error: unknown): void
}

/** A snapshot in parts that each fit into an entry. */
interface Part {
  readonly records: Record<string, string | { readonly bytes: string } | null>
  readonly emissions: Emission[]
}

export class ConsumerLogWriter {
  readonly #consumerLog: string
  readonly #host: ConsumerLogWriterHost
  #version: number
  /** The number of the last entry of this owner. */
  #number = 0
  /** Entries, and bytes of entries, since the last snapshot. */
  #entries: number
  #bytes = 0
  #snapshotBytes = 0

  /** `version` and `entries`: what the consumer log had when it was read. */
  constructor(consumerLog: string, host: ConsumerLogWriterHost, version: number, entries: number) {
    this.#consumerLog = consumerLog
    this.#host = host
    this.#version = version
    this.#entries = entries
  }

  /**
   * Append an entry. After a failure that leaves open whether it is stored, the consumer log is read to find out.
   * @throws Fenced when another member has written
   */
  async append(content: Omit<ConsumerLogEntry, 'number' | 'owner'>): Promise<void> {
    const { backend, clock, member } = this.#host
    const number = this.#number + 1
    const bytes = encodeEntry({ number, owner: member, ...content })
    for (;;) {
      try {
        this.#version = await backend.appendConsumerLog(this.#consumerLog, this.#version, bytes)
        break
      } catch (error) {
        if (error instanceof Fenced || (error as MillraceError).retryable === false) throw error
        await pause(clock, RETRY_MS)
        const there = await backend.readConsumerLog(this.#consumerLog)
        const last = fold(there.entries)
        if (last.owner === member && last.number === number) {
          this.#version = there.version
          break
        }
        if (there.version !== this.#version) throw new Fenced(this.#consumerLog)
      }
    }
    this.#number = number
    this.#entries++
    this.#bytes += bytes.length
  }

  get snapshotDue(): boolean {
    return (
      this.#entries > Math.max(SNAPSHOT_ENTRIES, this.#snapshotBytes / ENTRY_BYTES) ||
      this.#bytes > Math.max(SNAPSHOT_BYTES, this.#snapshotBytes)
    )
  }

  /**
   * Write all committed records and all unsent emissions again, in as many entries as needed. Then delete the older
   * entries; if that fails, raise an alarm. `emitted`: the number of emissions before the unsent ones.
   */
  async snapshot(
    records: Iterable<readonly [key: string, value: Uint8Array]>,
    unsent: readonly Emission[],
    emitted: number,
  ): Promise<void> {
    const parts = partsOf(records, unsent, this.#host.backend.limits.entryBytes / 2)
    const before = this.#version
    this.#bytes = 0
    for (const [at, part] of parts.entries()) {
      const first = at === 0 ? { reset: true, emitted } : {}
      await this.append({ kind: 'commit', ...part, ...first, snapshot: at === parts.length - 1 ? 'whole' : 'part' })
      if (at === 0) this.#entries = 0
    }
    this.#entries = 0
    this.#snapshotBytes = this.#bytes
    this.#bytes = 0
    await this.#host.backend
      .trimConsumerLog(this.#consumerLog, before + 1)
      .catch((error: unknown) => this.#host.alarm(error))
  }
}

function partsOf(
  records: Iterable<readonly [key: string, value: Uint8Array]>,
  emissions: readonly Emission[],
  max: number,
): readonly Part[] {
  const parts: Part[] = [{ records: {}, emissions: [] }]
  let bytes = 0
  const room = (size: number): Part => {
    if (bytes + size > max) parts.push({ records: {}, emissions: [] })
    bytes = bytes + size > max ? size : bytes + size
    return parts.at(-1) as Part
  }
  for (const [key, value] of records) room(key.length + value.length * 1.4).records[key] = recordText(value)
  for (const emission of emissions) room(emission.event.text.length * 1.2).emissions.push(emission)
  return parts
}
