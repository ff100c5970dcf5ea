/**
 * Runs a cursor's deliveries: one run at a time. A run that throws raises an alarm, and the next run waits for a
 * rest. So an event that throws each time neither stops the cursor in silence nor raises alarms without end.
 */
import { afterThis } from '../../base/timers.ts'

export interface PumpSteps {
  /** Choose what is delivered. A call of `now` from inside does nothing. */
  choose(): void
  /** Hand the chosen deliveries to their instances. */
  send(): void
  alarm(error: unknown): void
  /** Call `task` after the rest. */
  rest(task: () => void): void
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
      this.#steps.choose()
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

  /** Run at the end of the current task. */
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
    this.#steps.rest(() => {
      this.#resting = false
      this.now()
    })
  }
}
