/**
 * A partition that this engine owns for a consumer: the consumer log in which everything that the partition's cursor
 * settles becomes durable.
 *
 * Invariants:
 * - After a claim, only entries of the owner are in the consumer log. An append that meets an entry of another member
 *   is refused, and the partition is lost. What was settled and not appended then has no effect: the next owner
 *   delivers it again (clauses 3, 11).
 * - A completion and its emissions are in one entry (clause 12). Emissions are then sent on in order, with their ids,
 *   until the backend has them. The next owner sends those again that are not marked as sent.
 * - One append is in flight at a time. What is settled meanwhile goes into the next one (group commit).
 */

import type { Clock } from '../../base/clock.ts'
import { Condition } from '../../base/condition.ts'
import { MillraceError } from '../../base/errors.ts'
import { nextTick } from '../../base/timers.ts'
import type { Emission } from '../../broker/engine.ts'
import type { RecordChange, RecordSource } from '../../delivery/cursor-host.ts'
import {
  type ConsumerLogEntry,
  type ConsumerLogState,
  fold,
  recordText,
  recordTexts,
} from '../consumer-log/consumer-log-entry.ts'
import type { ConsumerLogRecords, TextOffsets } from '../consumer-log/consumer-log-records.ts'
import { ConsumerLogWriter, type ConsumerLogWriterHost } from '../consumer-log/consumer-log-writer.ts'
import { Fenced } from '../log-backend.ts'
import type { OffsetTable } from '../read/offset-table.ts'

export interface OwnershipHost extends ConsumerLogWriterHost {
  readonly lazily: (commit: () => void) => void
  /** Send emissions on. Resolves when the backend has them, and does not give up. */
  send(emissions: readonly Emission[]): Promise<void>
  /** Another member owns the partition now. */
  lost(ownership: Ownership): void
}

/** How long a completion waits for others, of all partitions of the engine, to be written with it. */
const LAZY_MS = 5

/** Runs all commits that wait together, soon. Then the servers can sync what many partitions write with one sync. */
export function lazyCommits(clock: Clock): OwnershipHost['lazily'] {
  let waiting: (() => void)[] = []
  const run = (): void => {
    const commits = waiting
    waiting = []
    for (const commit of commits) commit()
  }
  return (commit) => {
    waiting.push(commit)
    if (waiting.length === 1) clock.after(LAZY_MS, run, 'work')
  }
}

/** Stores what is too large for the consumer log. */
export interface Aside {
  /** Something is to be stored with the next entry. */
  readonly waiting: boolean
  /**
   * Takes what is there, before its first await, and stores it. Answers the records for the entry that is written then.
   */
  store(): Promise<readonly RecordChange[]>
}

/** A call that waits until everything that was put in before it is durable. */
interface Flush {
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class Ownership {
  readonly consumerLog: string
  aside: Aside | null = null
  /** Called when the ownership ends, for whatever reason. */
  onOver: (() => void) | null = null
  readonly #host: OwnershipHost
  readonly #state: ConsumerLogState
  readonly #writer: ConsumerLogWriter
  #pending: Record<string, string | { readonly bytes: string } | null> = {}
  /** The former values of records that wait for the next entry. A snapshot has these. */
  readonly #before = new Map<string, Uint8Array | undefined>()
  #dirty = false
  readonly #sources = new Set<RecordSource>()
  #emissions: Emission[] = []
  /** The number of emissions in the entry that is being written. */
  #underWay = 0
  #flushes: Flush[] = []
  /** No emission is left to send on. */
  readonly #allSent = new Condition(() => this.#over || this.#state.outbox.length === 0)
  #committing: Promise<void> | null = null
  #scheduled = false
  #lazy = false
  #sending = false
  #sent: number
  #markSent = false
  #ending: Promise<void> | null = null
  #closing = false
  #over = false

  private constructor(consumerLog: string, host: OwnershipHost, state: ConsumerLogState, writer: ConsumerLogWriter) {
    this.consumerLog = consumerLog
    this.#host = host
    this.#state = state
    this.#writer = writer
    this.#sent = state.emitted - state.outbox.length
  }

  /**
   * Become the owner. `also` is written with the claim. @throws Fenced when another member becomes the owner meanwhile
   */
  static async claim(
    consumerLog: string,
    host: OwnershipHost,
    mayClaim: (state: ConsumerLogState) => boolean,
    also: (state: ConsumerLogState) => readonly RecordChange[] = () => [],
  ): Promise<Ownership | null> {
    const { entries, version } = await host.backend.readConsumerLog(consumerLog)
    const state = fold(entries)
    if (!mayClaim(state)) return null
    if (state.foreign > 0) host.alarm(foreignEntries(consumerLog, state.foreign))
    const writer = new ConsumerLogWriter(consumerLog, host, version, entries.length)
    const ownership = new Ownership(consumerLog, host, state, writer)
    const changes = also(state)
    await writer.append({ kind: 'claim', ...(changes.length > 0 && { records: recordTexts(changes) }) })
    for (const [key, value] of changes) state.records.put(key, value)
    ownership.#send()
    return ownership
  }

  get over(): boolean {
    return this.#over
  }

  /** The number of emissions that may not be stored in their channels yet. */
  get unsent(): number {
    return this.#emissions.length + this.#underWay + this.#state.outbox.length
  }

  /** The records of the partition, including those that wait for the next entry. */
  get records(): Pick<ConsumerLogRecords, 'get' | 'range'> {
    return this.#state.records
  }

  get(key: string): Uint8Array | undefined {
    return this.#state.records.get(key)
  }

  range(from: string, to: string, limit?: number): [string, Uint8Array][] {
    return this.#state.records.range(from, to, limit)
  }

  /** The table of dead letters that a key belongs to. */
  letters(key: string): OffsetTable<Uint8Array | TextOffsets> {
    return this.#state.records.letters(key)
  }

  /** `aside` has stored a record. It goes into the entry that is being written. */
  noteStored(key: string, value: Uint8Array): void {
    this.#state.records.set(key, value)
  }

  /** The same, for a record that is deleted or changed already. That change waits for the next entry. */
  noteStoredEarlier(key: string, value: Uint8Array): void {
    this.#before.set(key, value)
  }

  /** `aside` has something to store. */
  storeAside(): void {
    this.#soon()
  }

  write(key: string, value: Uint8Array | null): void {
    if (!this.#before.has(key)) this.#before.set(key, this.#state.records.get(key))
    this.#put(key, value)
    this.#soon()
  }

  #put(key: string, value: Uint8Array | null): void {
    this.#state.records.put(key, value)
    this.#pending[key] = recordText(value)
    this.#dirty = true
  }

  touch(source: RecordSource): void {
    this.#sources.add(source)
    this.#lazily()
  }

  #lazily(): void {
    if (this.#lazy || this.#scheduled || this.#committing !== null || this.#closing || this.#over) return
    this.#lazy = true
    this.#host.lazily(() => {
      if (this.#lazy) this.#commitNow()
    })
  }

  /** The emissions take effect with what is settled in this turn. */
  emit(emissions: readonly Emission[]): void {
    this.#emissions.push(...emissions)
    this.#soon()
  }

  /** Resolves when everything that was put in so far is durable. @throws Fenced */
  flushed(): Promise<void> {
    if (this.#over) return Promise.reject(new Fenced(this.consumerLog))
    // The release has waited until everything was written.
    if (this.#closing) return this.#ending ?? Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#flushes.push({ resolve, reject })
      this.#soon()
    })
  }

  /** Find out whether this member still owns the partition. @throws Fenced */
  async verify(): Promise<void> {
    this.#dirty = true
    await this.flushed()
  }

  /** Resolves when all emissions of what was settled are stored in their channels. */
  async sent(): Promise<void> {
    await this.flushed()
    await this.#allSent.reached()
  }

  /** Give the partition back, so that the next owner need not wait for the lease. */
  release(): Promise<void> {
    this.#ending ??= this.#release()
    return this.#ending
  }

  async #release(): Promise<void> {
    try {
      do await this.sent()
      while (this.#unwritten && !this.#over)
      // A write beside the last entry would be refused.
      this.#closing = true
      if (!this.#over) await this.#writer.append({ kind: 'release', ...(this.#markSent && { sent: this.#sent }) })
    } finally {
      this.abandon()
    }
  }

  get #unwritten(): boolean {
    return this.#wanted || this.#committing !== null || this.#sources.size > 0
  }

  get #wanted(): boolean {
    return this.#dirty || this.#emissions.length > 0 || this.#flushes.length > 0 || this.aside?.waiting === true
  }

  /** Stop without another entry: another member owns the partition, or the backend is gone. */
  abandon(): void {
    this.#over = true
    for (const { reject } of this.#flushes.splice(0)) reject(new Fenced(this.consumerLog))
    this.#allSent.check()
    this.onOver?.()
  }

  #soon(): void {
    if (this.#scheduled || this.#committing !== null || this.#closing || this.#over) return
    this.#scheduled = true
    nextTick(() => {
      this.#scheduled = false
      this.#commitNow()
    })
  }

  #commitNow(): void {
    if (this.#committing !== null || this.#closing || this.#over) return
    this.#lazy = false
    this.#committing = this.#commit().then(
      () => {
        this.#committing = null
        if (this.#wanted) this.#commitNow()
        else for (const source of this.#sources) this.touch(source)
      },
      (error: unknown) => {
        this.#committing = null
        this.#lose(error)
      },
    )
  }

  #lose(error: unknown): void {
    if (this.#over) return
    this.abandon()
    if (!(error instanceof Fenced)) this.#host.alarm(error)
    this.#host.lost(this)
  }

  async #commit(): Promise<void> {
    const changes: (readonly [string, Uint8Array | null])[] = []
    for (const source of this.#sources) source.collect(changes)
    this.#sources.clear()
    for (const [key, value] of changes) this.#put(key, value)
    const flushes = this.#flushes
    this.#flushes = []
    const records = this.#pending
    const aside = this.aside?.waiting === true ? this.aside.store() : null
    const emissions = this.#emissions
    this.#pending = {}
    this.#before.clear()
    this.#emissions = []
    const changed = this.#dirty || emissions.length > 0
    this.#dirty = false
    try {
      if (aside !== null) for (const [key, value] of await aside) records[key] = recordText(value)
      if (changed || aside !== null) await this.#write(records, emissions)
    } catch (error) {
      for (const { reject } of flushes) reject(error as Error)
      throw error
    }
    for (const { resolve } of flushes) resolve()
  }

  async #write(records: ConsumerLogEntry['records'], emissions: readonly Emission[]): Promise<void> {
    const sent = this.#markSent ? { sent: this.#sent } : {}
    this.#markSent = false
    this.#underWay = emissions.length
    await this.#writer.append({
      kind: 'commit',
      ...(records !== undefined && { records }),
      ...(emissions.length > 0 && { emissions }),
      ...sent,
    })
    this.#underWay = 0
    if (emissions.length > 0) {
      this.#state.outbox.push(...emissions)
      this.#state.emitted += emissions.length
      this.#send()
    }
    if (this.#writer.snapshotDue)
      await this.#writer.snapshot(
        this.#committed(),
        this.#state.outbox,
        this.#state.emitted - this.#state.outbox.length,
      )
  }

  /**
   * The records as the last entry left them. With a completion that waits for the next entry, a snapshot would lack its
   * emissions.
   */
  *#committed(): Generator<readonly [key: string, value: Uint8Array]> {
    for (const record of this.#state.records) if (!this.#before.has(record[0])) yield record
    for (const [key, value] of this.#before) if (value !== undefined) yield [key, value]
  }

  /** Send on what is in the outbox, in order. The next entry says that it is sent. */
  #send(): void {
    if (this.#sending || this.#state.outbox.length === 0 || this.#over) return
    this.#sending = true
    const emissions = [...this.#state.outbox]
    this.#host.send(emissions).then(
      () => {
        this.#sending = false
        this.#state.outbox = this.#state.outbox.slice(emissions.length)
        this.#sent += emissions.length
        this.#markSent = true
        this.#dirty = true
        if (this.#state.outbox.length > 0) return this.#send()
        this.#allSent.check()
        this.#lazily()
      },
      (error: unknown) => {
        this.#sending = false
        this.#lose(error)
      },
    )
  }
}

function foreignEntries(consumerLog: string, count: number): MillraceError {
  const message = `${count} entries of consumer log ${consumerLog} are not Millrace's, and are skipped: another client wrote them`
  return new MillraceError('DATA_DAMAGED', message, { consumerLog })
}
