/** How a cursor gets on: when something was settled last, and how much is completed a second. Told once a turn, and not once an event. */
import { Meter } from './meter.ts'

export class Progress {
  readonly meter: Meter = new Meter()
  /** When something was settled last, or began. */
  atMs: number
  #completed = 0

  constructor(nowMs: number) {
    this.atMs = nowMs
  }

  /** One more event is completed; `made` counts it. */
  completed(): void {
    this.#completed++
  }

  /** Something was settled in this turn. */
  made(nowMs: number): void {
    this.atMs = nowMs
    this.meter.mark(this.#completed, nowMs)
    this.#completed = 0
  }
}
