/**
 * Delayed events (clause 7), and emissions for which it is not known at once whether their ids are new (clauses 8 and
 * 12). Both are kept as timers.
 *
 * Invariants:
 * - The deletion of a timer and the event that it moves are in one commit.
 * - When a delayed event is due, its id is looked up in the turn in which the event is appended. So it is stored once,
 *   whatever was published meanwhile.
 * - A timer is deleted once: by the turn that moves its event, or by the turn that cancels it. Until the deletion is
 *   durable, the timer counts as leaving.
 * - An undecided emission is stored with its completion, as a timer that is due at once. Its id does not count as
 *   delayed.
 */

import type { DueQueue } from '../../base/due-queue.ts'
import { nextTurn } from '../../base/timers.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import { fromJson, toJson } from '../../delivery/consumer-records.ts'
import type { ChannelLog } from './channel-log.ts'
import { IdLook, type LookParts, UNSURE } from './id-look.ts'
import { keys, type TimerRecord, timerDueMs } from './records.ts'

/** How many due timers are moved at a time. */
const TIMER_PAGE = 1000
/** The due time of undecided emissions: they come before all other timers, in their order. */
const AT_ONCE = 0
/** The delay before due events are tried again after a failed read. */
const AGAIN_MS = 1000

export interface TimersParts extends LookParts {
  readonly due: DueQueue
  logById(id: number): ChannelLog | undefined
}

interface Timer extends TimerRecord {
  readonly timerKey: string
  /** Undefined if the channel was removed. */
  readonly log: ChannelLog | undefined
}

export class Timers {
  readonly #parts: TimersParts
  #sequence: number
  /** When the next timer fires. */
  #armedMs = Number.POSITIVE_INFINITY
  #firing = false
  #again = false
  /** The keys of timers whose deletion is not durable yet. */
  readonly #leaving = new Set<string>()

  constructor(parts: TimersParts) {
    this.#parts = parts
    this.#sequence = parts.clock.now() * 1000
    this.#armNext()
  }

  /** Whether due events are being moved. */
  get busy(): boolean {
    return this.#firing
  }

  /** Delay an event whose id is new. The caller calls `written` afterwards. */
  hold(log: ChannelLog, event: EncodedEvent, dueAtMs: number): void {
    log.mayHaveScheduled = true
    log.scheduling.set(event.id, dueAtMs)
    const timer = this.#timer(dueAtMs)
    this.#record(timer, log, event, dueAtMs)
    this.#parts.committer.record(keys.scheduledId(log.id, event.id), Buffer.from(timer))
  }

  /** Keep an emission until it is known whether its id is new. The caller calls `written` afterwards. */
  undecided(log: ChannelLog, event: EncodedEvent, dueAtMs: number): void {
    log.undecided++
    this.#record(this.#timer(AT_ONCE), log, event, dueAtMs, true)
  }

  /** An unused key. If the clock went back, an earlier process may have used the same sequence numbers. */
  #timer(dueAtMs: number): string {
    for (;;) {
      const timer = keys.timer(dueAtMs, this.#sequence++)
      if (this.#parts.store.get(timer) === undefined) return timer
    }
  }

  #record(
    timer: string,
    log: ChannelLog,
    { id, type, key, text }: EncodedEvent,
    dueAtMs: number,
    undecided?: true,
  ): void {
    const record: TimerRecord = {
      channelId: log.id,
      dueAtMs,
      event: { id, type, key, text },
      ...(undecided && { undecided }),
    }
    this.#parts.committer.record(timer, toJson(record))
  }

  /** Resolves when the timers are durable; then they can fire. */
  async written(log: ChannelLog, ids: readonly string[]): Promise<void> {
    await this.#parts.committer.flushed()
    for (const id of ids) log.scheduling.delete(id)
    this.#armNext()
  }

  /**
   * Cancel the delayed event with this id. Returns true when that is durable. Nothing moves the event after the turn
   * that deletes its timer.
   * @throws DISK_FULL · TOO_MANY_FILES · STORE_FAILED
   */
  async cancel(log: ChannelLog, id: string): Promise<boolean> {
    const { store, committer } = this.#parts
    for (;;) {
      // A deletion that is kept for the next try on a full disk could not be answered.
      if (committer.full !== null) throw committer.full
      await committer.flushed()
      const found = (await this.#timersOf(log, id)).filter(({ timerKey }) => store.get(timerKey) !== undefined)
      if (found.length === 0) return false
      const waiting = found.filter(({ timerKey }) => !this.#leaving.has(timerKey))
      for (const timer of waiting) this.#delete(timer)
      await committer.flushed()
      for (const { timerKey } of waiting) this.#leaving.delete(timerKey)
      if (waiting.length > 0) return true
      // The timer was being moved, perhaps to a delayed event: the next round sees the result.
    }
  }

  /**
   * The timers that hold an event with this id. Without deduplication there may be several, and the id record names
   * only one of them.
   */
  async #timersOf(log: ChannelLog, id: string): Promise<readonly Timer[]> {
    const { store, clock } = this.#parts
    const found: Timer[] = []
    const known = log.dedupe === null ? undefined : store.get(keys.scheduledId(log.id, id))
    const bytes = known === undefined ? undefined : store.get(Buffer.from(known).toString())
    if (known !== undefined && bytes !== undefined)
      found.push({ ...fromJson<TimerRecord>(bytes), timerKey: Buffer.from(known).toString(), log })
    const upTo = log.dedupe === null ? (['t/', 't0'] as const) : keys.timersUpTo(AT_ONCE)
    for await (const timer of timersIn(store, ...upTo)) {
      if (timer.channelId === log.id && (timer.undecided !== true || timer.dueAtMs > clock.now()))
        found.push({ ...timer, log })
    }
    return found.filter(({ event }) => event.id === id)
  }

  /** Delete a timer with the commit of this turn. */
  #delete({ timerKey, channelId, event, undecided, log }: Timer): void {
    const { committer } = this.#parts
    this.#leaving.add(timerKey)
    committer.record(timerKey, null)
    if (undecided !== true) committer.record(keys.scheduledId(channelId, event.id), null)
    else if (log !== undefined) log.undecided--
  }

  #armNext(): void {
    const [next] = this.#parts.store.range('t/', 't0', 1)
    if (next !== undefined) this.#arm(timerDueMs(next[0]))
  }

  #arm(dueMs: number): void {
    if (dueMs >= this.#armedMs) return
    this.#armedMs = dueMs
    this.#parts.due.add(dueMs, () => {
      if (this.#armedMs === dueMs) this.#armedMs = Number.POSITIVE_INFINITY
      void this.#fire()
    })
  }

  async #fire(): Promise<void> {
    this.#again = true
    if (this.#firing) return
    this.#firing = true
    try {
      while (this.#again) {
        this.#again = false
        await this.#moveDue()
      }
      this.#armNext()
    } catch (error) {
      // The timers are still stored: they are tried again, or, if the store has failed, after the next opening.
      if (this.#parts.committer.full === null) {
        this.#parts.alarm(error)
        this.#parts.due.after(AGAIN_MS, () => void this.#fire())
      }
    } finally {
      this.#firing = false
    }
  }

  async #moveDue(): Promise<void> {
    const { store, committer, clock, logById } = this.#parts
    for (;;) {
      const timers = store.range(...keys.timersUpTo(clock.now()), TIMER_PAGE).map(([timerKey, bytes]): Timer => {
        const record = fromJson<TimerRecord>(bytes)
        return { ...record, timerKey, log: logById(record.channelId) }
      })
      if (timers.length === 0) return
      await this.#moveAll(timers)
      await committer.flushed()
      for (const { log, event, undecided, timerKey } of timers) {
        this.#leaving.delete(timerKey)
        if (undecided === true) log?.scheduling.delete(event.id)
      }
    }
  }

  /**
   * Move timers in order. It stops at a timer whose id depends on an event that was just moved and is not durable yet.
   */
  async #moveAll(timers: readonly Timer[]): Promise<void> {
    const look = new IdLook(this.#parts)
    for (;;) {
      for (const timer of timers) known(look, timer)
      if (look.sure) break
      await look.closer()
    }
    for (const timer of timers) if (!this.#move(look, timer)) return
  }

  /**
   * Append the event of a timer to its channel, delay it, or drop it, depending on what is known of its id. Returns
   * false if the timer stays.
   */
  #move(look: IdLook, timer: Timer): boolean {
    const { log, event, dueAtMs, undecided } = timer
    const { committer, clock } = this.#parts
    // The timer was cancelled while its id was looked up.
    if (this.#leaving.has(timer.timerKey)) return true
    const found = known(look, timer)
    if (found === UNSURE) return false
    this.#delete(timer)
    if (log === undefined || found !== null) return true
    if (undecided === true && dueAtMs > clock.now()) this.hold(log, event, dueAtMs)
    else committer.append(log, event)
    return true
  }
}

/** Timers in the order of their keys, which is the order of their times. The event loop runs between pages. */
export async function* timersIn(
  store: LookParts['store'],
  from: string,
  to: string,
): AsyncGenerator<TimerRecord & { readonly timerKey: string }> {
  for (let next = from; ; ) {
    const page = store.range(next, to, TIMER_PAGE)
    for (const [timerKey, bytes] of page) yield { ...fromJson<TimerRecord>(bytes), timerKey }
    const last = page.at(-1)
    if (last === undefined || page.length < TIMER_PAGE) return
    next = `${last[0]}!`
    await new Promise((resolve) => nextTurn(resolve))
  }
}

function known(look: IdLook, { log, event, undecided }: Timer): ReturnType<IdLook['at']> {
  if (log === undefined) return null
  return undecided === true ? look.at(log, event.id) : look.stored(log, event.id)
}
