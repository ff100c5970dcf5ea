/**
 * Clause 5: after a crash each suspect runs alone. The queue lets one suspect of all consumers in the process run at
 * a time.
 */
import type { Clock } from '../../base/clock.ts'

/** A cursor, as the queue sees it. */
export interface Suspected {
  readonly state: { isSuspect(offset: number): boolean }
  /** Record that the event runs alone now. */
  beginAlone(offset: number): void
  /** The record is durable: deliver the event. */
  runAlone(offset: number): void
}

/** A cursor whose deliveries can be restricted to claimed events (`dispatch/claims.ts`). */
export interface Restrictable {
  restrictToClaims(): void
  endRestriction(): void
}

/** After this time, a suspect that is still running counts as innocent, and the next one may begin. */
const ALONE_MS = 10_000

/** The steps in which `hold` waits. */
const HOLD_TICKS = 10

export class SuspectQueue {
  readonly #flushed: (cursor: Suspected) => Promise<void>
  readonly #after: Clock['after']
  #waiting: (readonly [Suspected, number])[] = []
  #running: readonly [Suspected, number] | null = null
  #held = false
  readonly #restricted: Restrictable[] = []
  #cancel: () => void = () => undefined

  /**
   * `flushed` resolves when it is durable that the cursor's suspect runs alone. It rejects when another process owns
   * the cursor's state.
   */
  constructor(flushed: (cursor: Suspected) => Promise<void>, clock: Pick<Clock, 'after'>) {
    this.#flushed = flushed
    this.#after = (delayMs, task) => clock.after(delayMs, task)
  }

  /**
   * Hold all suspects for `waitMs`, so that instances that hold them can claim them. Only time in which this process
   * runs counts: after a pause of the process, messages of those instances are still to be read.
   */
  hold(waitMs: number, after: (delayMs: number, task: () => void) => void): void {
    this.#held = true
    const tick = (left: number): void => {
      if (left > 0) after(waitMs / HOLD_TICKS, () => tick(left - 1))
      else this.#endHold()
    }
    tick(HOLD_TICKS)
  }

  #endHold(): void {
    this.#held = false
    for (const cursor of this.#restricted.splice(0)) cursor.endRestriction()
    this.#next()
  }

  /**
   * The deliveries of this cursor were cut short by the end of the process before. The last of them are not in its
   * record, so while suspects are held, the cursor delivers claimed events only.
   */
  restrict(cursor: Restrictable): void {
    if (!this.#held) return
    cursor.restrictToClaims()
    this.#restricted.push(cursor)
  }

  add(cursor: Suspected, offset: number): void {
    this.#waiting.push([cursor, offset])
    this.#next()
  }

  /** The suspect is settled, or does not run any more. */
  done(cursor: Suspected, offset: number): void {
    const running = this.#running
    if (running === null || running[0] !== cursor || running[1] !== offset) return
    this.#running = null
    this.#cancel()
    this.#next()
  }

  /** The cursor has ended: forget its suspects. */
  forget(cursor: Suspected): void {
    this.#waiting = this.#waiting.filter(([each]) => each !== cursor)
    if (this.#running !== null && this.#running[0] === cursor) this.done(cursor, this.#running[1])
  }

  /** Whether no suspect runs. */
  get idle(): boolean {
    return this.#running === null
  }

  #next(): void {
    if (this.#held || this.#running !== null) return
    let next = this.#waiting.shift()
    while (next !== undefined && !next[0].state.isSuspect(next[1])) next = this.#waiting.shift()
    if (next === undefined) return
    this.#running = next
    const [cursor, offset] = next
    cursor.beginAlone(offset)
    this.#flushed(cursor).then(
      () => cursor.runAlone(offset),
      () => this.forget(cursor),
    )
    this.#cancel = this.#after(ALONE_MS, () => this.done(cursor, offset))
  }
}
