/**
 * When the cursor last settled an event, and its completions a second over the last ten seconds. `completed()` only
 * counts; `settled()` records the time and the rate once per turn of the event loop. Times come from `Clock.elapsed()`,
 * which does not jump.
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

  /** The cursor starts or is rewound: the time without progress counts from now. */
  restart(elapsedMs: number): void {
    this.#settledAtMs = elapsedMs
  }
}
