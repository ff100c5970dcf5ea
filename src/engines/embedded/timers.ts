/**
 * Events that wait for their time (clause 7), and emissions of which it is not known at once whether their ids are new (clauses 8 and 12).
 *
 * Invariants:
 * - A timer's deletion and the event that it was for are in one commit.
 * - An event is looked for by its id when it is due, in the turn in which it is appended: it is stored once, whatever came meanwhile.
 * - A timer is deleted once: by the turn that moves its event, or by the turn that cancels it. Until that is durable it counts as leaving.
 * - An undecided emission is written down with the completion that it belongs to, as a timer that is due at once. Its id does not count as waiting.
 */

import type { DueQueue } from '../../base/due-queue.ts'
import { nextTurn } from '../../base/timers.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import { fromJson, toJson } from '../../delivery/consumer-records.ts'
import type { ChannelLog } from './channel-log.ts'
import { IdLook, type LookParts, UNSURE } from './id-look.ts'
import { keys, type TimerRecord, timerDueMs } from './records.ts'

/** Timers that come due together are moved in pages of so many. */
const TIMER_PAGE = 1000
/** Undecided emissions are due before everything else, in their order. */
const AT_ONCE = 0
/** Wait after a failed read before the due events are tried again. */
const AGAIN_MS = 1000

export interface TimersParts extends LookParts {
  readonly due: DueQueue
  logById(id: number): ChannelLog | undefined
}

interface Timer extends TimerRecord {
  readonly timerKey: string
  /** Undefined where the channel was removed. */
  readonly log: ChannelLog | undefined
}

export class Timers {
  readonly #parts: TimersParts
  #sequence: number
  /** When the next one fires. */
  #armedMs = Number.POSITIVE_INFINITY
  #firing = false
  #again = false
  /** Timers whose deletion is not durable yet. */
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

  /** Keep an event whose id is new until it is due. `written` comes after it. */
  hold(log: ChannelLog, event: EncodedEvent, dueAtMs: number): void {
    log.mayHaveScheduled = true
    log.scheduling.set(event.id, dueAtMs)
    const timer = this.#timer(dueAtMs)
    this.#record(timer, log, event, dueAtMs)
    this.#parts.committer.record(keys.scheduledId(log.id, event.id), Buffer.from(timer))
  }

  /** Keep an emission until it is known whether its id is new. `written` comes after it. */
  undecided(log: ChannelLog, event: EncodedEvent, dueAtMs: number): void {
    log.undecided++
    this.#record(this.#timer(AT_ONCE), log, event, dueAtMs, true)
  }

  /** A key that no timer has: after the clock went back, an earlier opening may have counted as far as this one. */
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

  /** Resolves when what was put in is durable; from then on it fires. */
  async written(log: ChannelLog, ids: readonly string[]): Promise<void> {
    await this.#parts.committer.flushed()
    for (const id of ids) log.scheduling.delete(id)
    this.#armNext()
  }

  /**
   * Take out the event with this id, if it waits. True when that is durable: from the turn that deletes its timer nothing moves it.
   * @throws DISK_FULL · TOO_MANY_FILES · STORE_FAILED
   */
  async cancel(log: ChannelLog, id: string): Promise<boolean> {
    const { store, committer } = this.#parts
    for (;;) {
      // What is kept on a full disk for the next try could not be answered.
      if (committer.full !== null) throw committer.full
      await committer.flushed()
      const found = (await this.#timersOf(log, id)).filter(({ timerKey }) => store.get(timerKey) !== undefined)
      if (found.length === 0) return false
      const waiting = found.filter(({ timerKey }) => !this.#leaving.has(timerKey))
      for (const timer of waiting) this.#delete(timer)
      await committer.flushed()
      for (const { timerKey } of waiting) this.#leaving.delete(timerKey)
      if (waiting.length > 0) return true
      // It was being moved, perhaps into its wait: that is seen now.
    }
  }

  /** The timers that hold back an event with this id. Without deduplication there may be several, of which one is known by its id. */
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
      // The timers are still there: for the next try, or, where the store has failed, for the next opening.
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

  /** Move timers in their order; the last ones stay where what was just moved must be durable first. */
  async #moveAll(timers: readonly Timer[]): Promise<void> {
    const look = new IdLook(this.#parts)
    for (;;) {
      for (const timer of timers) known(look, timer)
      if (look.sure) break
      await look.closer()
    }
    for (const timer of timers) if (!this.#move(look, timer)) return
  }

  /** Where the timer's event goes: into its channel, into its wait, or nowhere, as its id is known. */
  #move(look: IdLook, timer: Timer): boolean {
    const { log, event, dueAtMs, undecided } = timer
    const { committer, clock } = this.#parts
    // It was cancelled while its id was looked for.
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

/** Timers in the order of their keys, which is that of their times; the event loop goes on between pages. */
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
