/**
 * How a cursor gets on: when something was settled last, and how much is completed a second. Told once a turn, and not once an event. Both are spans: they
 * are measured by the clock's `elapsed`, which does not jump with the wall clock.
 */
import { Meter } from '../../base/meter.ts'

export class Progress {
  readonly meter: Meter = new Meter()
  /** When something was settled last, or began. */
  atMs: number
  #completed = 0

  constructor(elapsedMs: number) {
    this.atMs = elapsedMs
  }

  /** One more event is completed; `made` counts it. */
  completed(): void {
    this.#completed++
  }

  /** Something was settled in this turn. */
  made(elapsedMs: number): void {
    this.atMs = elapsedMs
    this.meter.mark(this.#completed, elapsedMs)
    this.#completed = 0
  }
}
