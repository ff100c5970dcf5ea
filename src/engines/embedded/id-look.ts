/**
 * Clause 8: what is known of an id in a channel. Its event is in the channel, or is delayed, or the id is new.
 *
 * A lookup answers at once, so its caller can append in the same turn of the event loop, and nothing happens in
 * between. If the answer is not in memory, the lookup returns `UNSURE`. Then `closer()` reads what is missing, and the
 * caller repeats all its lookups.
 */
import type { Clock } from '../../base/clock.ts'
import { isMillraceError } from '../../base/errors.ts'
import { fromJson } from '../../delivery/consumer-records.ts'
import type { EventBlock } from '../../delivery/delivery-log.ts'
import type { Block } from '../../event/block.ts'
import type { ChannelLog } from './channel-log.ts'
import type { Committer } from './committer.ts'
import { keys, type TimerRecord } from './records.ts'
import type { Store } from './store.ts'

/** Where the event of an id is: in the channel, or delayed. */
export type Known =
  | { readonly offset: number; readonly dueAtMs?: undefined }
  | { readonly offset: null; readonly dueAtMs: number }

export const UNSURE = 'unsure'

/** What was read of a stored event; `null` if it is removed or damaged. */
type Fact = { readonly id: string; readonly timeMs: number } | null

export interface LookParts {
  readonly store: Store<Block>
  readonly committer: Committer
  readonly clock: Clock
  alarm(error: unknown): void
}

/** The due time of the delayed event with this id, or null. */
export function waitingUntil(store: Store<Block>, log: ChannelLog, id: string): number | null {
  const coming = log.scheduling.get(id)
  if (coming !== undefined) return coming
  const timer = store.get(keys.scheduledId(log.id, id))
  const bytes = timer === undefined ? undefined : store.get(Buffer.from(timer).toString())
  if (bytes === undefined) return null
  const { event, dueAtMs } = fromJson<TimerRecord>(bytes)
  return event.id === id ? dueAtMs : null
}

export class IdLook {
  readonly #parts: LookParts
  readonly #facts = new Map<ChannelLog, Map<number, Fact>>()
  /**
   * What `closer()` has to read: the event at an offset; or, with null, the ids of all stored events that the channel's
   * deduplication window must contain.
   */
  #missing: (readonly [log: ChannelLog, offset: number | null])[] = []

  constructor(parts: LookParts) {
    this.#parts = parts
  }

  /** Whether every lookup since the last `closer` had an answer. */
  get sure(): boolean {
    return this.#missing.length === 0
  }

  /** Where the event of the id is; null if the id is new. */
  at(log: ChannelLog, id: string): Known | null | typeof UNSURE {
    const stored = this.stored(log, id)
    if (stored !== null || log.dedupe === null || !log.mayHaveScheduled) return stored
    const dueAtMs = waitingUntil(this.#parts.store, log, id)
    return dueAtMs === null ? null : { offset: null, dueAtMs }
  }

  /** Like `at`, for stored events only. */
  stored(log: ChannelLog, id: string): { readonly offset: number } | null | typeof UNSURE {
    if (log.dedupe === null) return null
    if (!log.recalled) return this.#unsure(log, null)
    const offset = log.dedupe.find(id)
    if (offset < 0) return null
    if (offset >= log.committed) return this.#uncommitted(log, id, offset)
    if (!log.dedupe.reaches(offset, this.#parts.clock.now())) return null
    const fact = this.#fact(log, offset)
    if (fact === undefined) return this.#unsure(log, offset)
    // The id of an event that retention has removed cannot be compared; then its 64-bit fingerprint decides.
    const same =
      fact === null || (fact.id === id && this.#parts.clock.now() - fact.timeMs <= (log.spec.dedupe?.ageMs ?? 0))
    return same ? { offset } : null
  }

  /** An event that can still be refused counts only after its commit. */
  #uncommitted(log: ChannelLog, id: string, offset: number): { readonly offset: number } | null | typeof UNSURE {
    const found = log.uncommitted(offset)
    if (found?.event.id !== id) return null
    return found.refusable ? this.#unsure(log, offset) : { offset }
  }

  #unsure(log: ChannelLog, offset: number | null): typeof UNSURE {
    this.#missing.push([log, offset])
    return UNSURE
  }

  #fact(log: ChannelLog, offset: number): Fact | undefined {
    const known = this.#facts.get(log)?.get(offset)
    if (known !== undefined) return known
    const block = log.blockInMemory(offset)
    return block === undefined ? undefined : factOf(block, offset)
  }

  /**
   * Read what is missing.
   * @throws STORE_FAILED
   */
  async closer(): Promise<void> {
    const missing = this.#missing.sort((a, b) => (a[1] ?? -1) - (b[1] ?? -1))
    this.#missing = []
    const { committer, clock, alarm } = this.#parts
    if (missing.some(([log, offset]) => offset !== null && offset >= log.committed)) await committer.flushed()
    for (const [log, offset] of missing) {
      if (offset === null) await log.recall(clock.now(), alarm)
      else if (offset < log.committed) this.#learn(log, offset, await this.#read(log, offset))
    }
  }

  #learn(log: ChannelLog, offset: number, fact: Fact): void {
    const facts = this.#facts.get(log) ?? new Map<number, Fact>()
    this.#facts.set(log, facts.set(offset, fact))
  }

  async #read(log: ChannelLog, offset: number): Promise<Fact> {
    try {
      const block = log.blockInMemory(offset) ?? (await log.cache(offset))
      return block === undefined ? null : factOf(block, offset)
    } catch (error) {
      if (!isMillraceError(error, 'DATA_DAMAGED')) throw error
      this.#parts.alarm(error)
      return null
    }
  }
}

function factOf(block: EventBlock, offset: number): Fact {
  const index = offset - block.firstOffset
  return index < 0 || block.holes(index) > 0 ? null : { id: block.at(index).id, timeMs: block.timeAt(index) }
}
