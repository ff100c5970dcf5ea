/**
 * What of a cursor survives a restart: which events its consumer has settled, the attempts of events that failed, and
 * which events are suspects (clause 5). The state is in memory and in records. Only the waits for a version are in
 * memory alone: they are found again by delivering.
 */
import { OffsetSet } from '../../base/offset-set.ts'
import type { Failure } from '../../broker/failure.ts'
import type { Position } from '../../broker/position.ts'
import {
  type ChainRecord,
  consumerKeys,
  fromFloat,
  fromJson,
  type InFlightRecord,
  lastNumber,
  type RetryRecord,
  toFloat,
  toJson,
  under,
} from '../consumer-records.ts'
import type { RecordSource } from '../cursor-host.ts'
import type { DeliveryLog } from '../delivery-log.ts'
import { VersionWaits } from '../dispatch/version-waits.ts'

export interface StateHost {
  get(key: string): Uint8Array | undefined
  range(from: string, to: string, limit?: number): [string, Uint8Array][]
  write(key: string, value: Uint8Array | null): void
  seek(log: DeliveryLog, position: Position): number
}

const DIED: Failure = {
  name: 'WorkerDied',
  message: 'the process died while this event was being handled',
  kind: 'crash',
}

export class CursorState implements RecordSource {
  readonly #group: string
  readonly #log: DeliveryLog
  readonly #host: StateHost
  #done: OffsetSet
  readonly #retries = new Map<number, RetryRecord>()
  readonly #suspects = new Set<number>()
  readonly versions: VersionWaits = new VersionWaits()
  #interrupted = false
  #onFloorMoved: (() => void) | null = null
  #savedFloor = -1
  /** Null where it is in the records only. */
  #began: number | null = null

  constructor(group: string, log: DeliveryLog, host: StateHost, from: Position) {
    this.#group = group
    this.#log = log
    this.#host = host
    const saved = host.get(consumerKeys.cursor(group, log.id))
    this.#done = new OffsetSet(saved === undefined ? host.seek(log, from) : fromFloat(saved))
    if (saved === undefined) {
      host.write(consumerKeys.cursor(group, log.id), toFloat(this.#done.floor))
      this.#writeBegin(this.#done.floor)
    } else this.#restore()
  }

  #writeBegin(offset: number): void {
    this.#began = offset
    this.#host.write(consumerKeys.begin(this.#group, this.#log.id), toFloat(offset))
  }

  /** Where the consumer began, or was moved to last; null where an older version began it. */
  get began(): number | null {
    if (this.#began !== null) return this.#began
    const saved = this.#host.get(consumerKeys.begin(this.#group, this.#log.id))
    return saved === undefined ? null : fromFloat(saved)
  }

  /** The settled offsets. */
  get done(): OffsetSet {
    return this.#done
  }

  /** The attempts of events that failed and are not settled. */
  get retries(): ReadonlyMap<number, RetryRecord> {
    return this.#retries
  }

  /** The process before ended while instances were attached. */
  get interrupted(): boolean {
    return this.#interrupted
  }

  /** Call `listener` in each commit in which the floor has moved. */
  onFloorMoved(listener: () => void): void {
    this.#onFloorMoved = listener
  }

  #table(table: 'b' | 'r'): readonly [from: string, to: string] {
    return under(consumerKeys.table(table, this.#group, this.#log.id))
  }

  #restore(): void {
    for (const [key, bytes] of this.#host.range(...this.#table('b'))) this.#done.load(lastNumber(key), bytes)
    for (const [key, bytes] of this.#host.range(...this.#table('r')))
      this.#retries.set(lastNumber(key), fromJson<RetryRecord>(bytes))
    const first = Math.min(this.#log.first, this.#log.committed)
    for (const offset of [...this.#retries.keys()]) if (offset < first && !this.#done.has(offset)) this.clear(offset)
    this.#done.raise(first)
    const inFlight = this.#host.get(consumerKeys.inFlight(this.#group, this.#log.id))
    if (inFlight !== undefined) this.#restoreSuspects(fromJson<InFlightRecord>(inFlight))
  }

  /**
   * Clause 5: an event in flight when the worker died has used an attempt. Only one that ran alone is taken as the
   * cause.
   *
   * No attempt is counted twice: the record says that it is counted, for an owner that dies before anything runs
   * again, and it no longer names events that are settled, for a dead letter that comes back later.
   */
  #restoreSuspects(record: InFlightRecord): void {
    const key = consumerKeys.inFlight(this.#group, this.#log.id)
    const offsets = record.offsets.filter((offset) => !this.#done.has(offset) || this.#isKeptAlive(offset))
    const counted = record.heldBy === undefined && offsets.length > 0
    if (offsets.length < record.offsets.length || (counted && record.counted !== true))
      this.#host.write(key, toJson({ ...record, offsets, ...(counted && { counted }) }))
    if (record.heldBy !== undefined) return
    this.#interrupted = record.credit > 0
    for (const offset of offsets) {
      this.suspect(offset)
      if (record.counted !== true)
        this.fail(offset, {
          attempts: this.attempts(offset) + 1,
          dueAtMs: 0,
          failure: DIED,
          proven: offset === record.solo,
        })
    }
    let unrecorded = record.credit
    for (let offset = this.#done.floor; offset < this.#log.committed && unrecorded > 0; offset++) {
      if (this.#done.has(offset)) continue
      this.suspect(offset)
      unrecorded--
    }
  }

  /** Whether the event is kept among the dead letters and is to be delivered. */
  #isKeptAlive(offset: number): boolean {
    const record = this.#host.get(consumerKeys.chain(this.#group, this.#log.id, offset))
    return record !== undefined && fromJson<ChainRecord>(record).state === 'live'
  }

  /**
   * The instance that holds the event lives: its attempt is not used up. Returns false where that attempt is not the
   * one that is known here.
   */
  claim(offset: number, attempt: number): boolean {
    const retry = this.#retries.get(offset)
    const used = retry?.attempts ?? 0
    if (attempt !== used && attempt !== used + 1) return false
    this.clearSuspect(offset)
    if (attempt === 1) this.clear(offset)
    else if (retry !== undefined) this.fail(offset, { ...retry, attempts: attempt - 1, dueAtMs: 0, proven: false })
    return true
  }

  suspect(offset: number): void {
    this.#suspects.add(offset)
  }

  clearSuspect(offset: number): void {
    this.#suspects.delete(offset)
  }

  clearSuspects(): void {
    this.#suspects.clear()
  }

  isSuspect(offset: number): boolean {
    return this.#suspects.size > 0 && this.#suspects.has(offset)
  }

  /** Whether the event has failed before or is a suspect. */
  isMarked(offset: number): boolean {
    return (this.#retries.size > 0 && this.#retries.has(offset)) || this.isSuspect(offset)
  }

  /** How many attempts an event has used. */
  attempts(offset: number): number {
    return this.#retries.size === 0 ? 0 : (this.#retries.get(offset)?.attempts ?? 0)
  }

  fail(offset: number, retry: RetryRecord): void {
    this.#retries.set(offset, retry)
    this.#host.write(consumerKeys.retry(this.#group, this.#log.id, offset), toJson(retry))
  }

  /** Forget the attempts of an event and that it was a suspect. */
  clear(offset: number): void {
    this.versions.clear(offset)
    if (this.#suspects.size > 0) this.#suspects.delete(offset)
    if (this.#retries.size > 0 && this.#retries.delete(offset))
      this.#host.write(consumerKeys.retry(this.#group, this.#log.id, offset), null)
  }

  /** The same for all offsets from `from` up to, but not including, `end`. */
  clearRange(from: number, end: number): void {
    if (this.versions.size > 0) this.versions.clearRange(from, end)
    if (this.#retries.size > 0)
      for (const offset of [...this.#retries.keys()]) if (offset >= from && offset < end) this.clear(offset)
    if (this.#suspects.size > 0)
      for (const offset of [...this.#suspects]) if (offset >= from && offset < end) this.#suspects.delete(offset)
  }

  /** Begin again at an offset: nothing at or after it is settled, and no attempt is counted. */
  restart(offset: number): void {
    // Also the chunks of a commit that is under way, which cannot be read yet.
    for (const chunk of this.#done.saved) this.#host.write(consumerKeys.chunk(this.#group, this.#log.id, chunk), null)
    for (const failed of [...this.#retries.keys()]) this.clear(failed)
    this.#suspects.clear()
    this.versions.clearAll()
    this.#done = new OffsetSet(offset)
    this.#writeBegin(offset)
  }

  collect(into: (readonly [string, Uint8Array | null])[]): void {
    if (this.#done.floor !== this.#savedFloor) {
      this.#savedFloor = this.#done.floor
      this.#onFloorMoved?.()
      into.push([consumerKeys.cursor(this.#group, this.#log.id), toFloat(this.#done.floor)])
    }
    for (const [chunk, bytes] of this.#done.takeChanges())
      into.push([consumerKeys.chunk(this.#group, this.#log.id, chunk), bytes])
  }
}
