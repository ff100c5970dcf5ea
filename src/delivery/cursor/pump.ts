/**
 * When a cursor hands out: one run at a time, soon if asked. A run that throws is told as an alarm, and the cursor goes on after a rest: an event that
 * throws each time neither stops it silently nor fills the process with alarms.
 */
import { afterThis } from '../../base/timers.ts'

export interface PumpSteps {
  /** Choose what is handed out. A call of `now` from inside does nothing. */
  give(): void
  /** Hand it over. */
  send(): void
  alarm(error: unknown): void
  /** Run a task when the rest is over. */
  rested(task: () => void): void
}

export class Pump {
  readonly #steps: PumpSteps
  #running = false
  #scheduled = false
  #resting = false

  constructor(steps: PumpSteps) {
    this.#steps = steps
  }

  now(): void {
    if (this.#running || this.#resting) return
    this.#running = true
    try {
      this.#steps.give()
    } catch (error) {
      this.#rest(error)
    }
    this.#running = false
    try {
      this.#steps.send()
    } catch (error) {
      this.#rest(error)
    }
  }

  soon(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    afterThis(() => {
      this.#scheduled = false
      this.now()
    })
  }

  #rest(error: unknown): void {
    this.#steps.alarm(error)
    if (this.#resting) return
    this.#resting = true
    this.#steps.rested(() => {
      this.#resting = false
      this.now()
    })
  }
}
