/**
 * The progress of a cursor: when it settled something last, and how many events it completes in a second. It is
 * updated once in a turn of the event loop, not once for each event. Times are of a clock's `elapsed`, which does not
 * jump with the wall clock.
 */
import { Meter } from '../../base/meter.ts'

export class Progress {
  readonly meter: Meter = new Meter()
  #settledAtMs: number
  #completed = 0

  constructor(elapsedMs: number) {
    this.#settledAtMs = elapsedMs
  }

  /** When something was settled last, or the cursor began. */
  get settledAtMs(): number {
    return this.#settledAtMs
  }

  /** One more event is completed. `settled` adds it to the meter. */
  completed(): void {
    this.#completed++
  }

  /** Something was settled in this turn. */
  settled(elapsedMs: number): void {
    this.#settledAtMs = elapsedMs
    this.meter.mark(this.#completed, elapsedMs)
    this.#completed = 0
  }

  /** The cursor begins, or begins again: the time without progress counts from now. */
  restart(elapsedMs: number): void {
    this.#settledAtMs = elapsedMs
  }
}
