/** Clause 5: after a crash each suspect runs alone. This queue lets one suspect of the process run at a time. */
import type { Clock } from '../../base/clock.ts'

/** A cursor as the queue of suspects sees it. */
export interface Suspected {
  readonly state: { isSuspect(offset: number): boolean }
  /** Record that the event runs alone now. */
  beginAlone(offset: number): void
  /** The record is durable: hand it out. */
  runAlone(offset: number): void
}

/** What hands out a cursor's events. */
export interface HeldBack {
  hold(): void
  letGo(): void
}

/** A suspect that has run for so long has not killed its worker at once: the next one may begin. */
const ALONE_MS = 10_000

const HOLD_TICKS = 10

/** Suspects of all consumers of the process, one at a time. */
export class SuspectQueue {
  readonly #flushed: (cursor: Suspected) => Promise<void>
  #waiting: (readonly [Suspected, number])[] = []
  #running: readonly [Suspected, number] | null = null
  #held = false
  readonly #heldBack: HeldBack[] = []
  readonly #after: Clock['after']
  #cancel: () => void = () => undefined

  /** `flushed`: resolves when it is durable that the cursor's suspect runs alone; rejects when the cursor has lost its place to another process. */
  constructor(flushed: (cursor: Suspected) => Promise<void>, clock: Pick<Clock, 'after'>) {
    this.#flushed = flushed
    this.#after = (delayMs, task) => clock.after(delayMs, task)
  }

  /**
   * None runs for a while: they may be claimed by who has them in hand (`claims.ts`). Counted is time in which this process runs: where it is held up,
   * what others have said meanwhile is still to be read.
   */
  hold(waitMs: number, after: (delayMs: number, task: () => void) => void): void {
    this.#held = true
    const tick = (left: number): void => {
      if (left > 0) after(waitMs / HOLD_TICKS, () => tick(left - 1))
      else this.#letGo()
    }
    tick(HOLD_TICKS)
  }

  #letGo(): void {
    this.#held = false
    for (const cursor of this.#heldBack.splice(0)) cursor.letGo()
    this.#next()
  }

  /**
   * A cursor whose deliveries were cut short by the end of the process before. As what was handed out last is not recorded yet, it gives nothing but
   * what is claimed while suspects are held.
   */
  holdBack(cursor: HeldBack): void {
    if (!this.#held) return
    cursor.hold()
    this.#heldBack.push(cursor)
  }

  add(cursor: Suspected, offset: number): void {
    this.#waiting.push([cursor, offset])
    this.#next()
  }

  done(cursor: Suspected, offset: number): void {
    const running = this.#running
    if (running === null || running[0] !== cursor || running[1] !== offset) return
    this.#running = null
    this.#cancel()
    this.#next()
  }

  /** The cursor is at its end: none waits for what it had. */
  forget(cursor: Suspected): void {
    this.#waiting = this.#waiting.filter(([each]) => each !== cursor)
    if (this.#running !== null && this.#running[0] === cursor) this.done(cursor, this.#running[1])
  }

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
