/**
 * The pace of a consumer that sends: its rate, and the pauses for which its receiver asks.
 *
 * Before a turn that is due soon, the event waits in flight. Before a later turn the event is released, other processes
 * may take it, and the consumer is paused until the turn is due.
 */
import type { Clock } from '../base/clock.ts'
import { Released } from '../consumer/failure.ts'
import { type Rate, RateLimit } from './rate.ts'

/** The longest time that an event waits in flight for its turn. */
const WAIT_IN_FLIGHT_MS = 500

export class Pace {
  readonly #clock: Clock
  readonly #setPaused: (paused: boolean) => void
  #limit: RateLimit | null = null
  #cancelResume: () => void = () => undefined

  /** `setPaused` pauses and resumes the consumer. */
  constructor(clock: Clock, setPaused: (paused: boolean) => void) {
    this.#clock = clock
    this.#setPaused = setPaused
  }

  /** Applies the current rate. If it changed, a pause that the old rate caused ends. */
  setRate(rate: Rate | null): void {
    if (this.#limit === null || sameRate(this.#limit.rate, rate)) return
    this.#limit = null
    this.#cancelResume()
    this.#setPaused(false)
  }

  /**
   * Waits for the next turn.
   * @throws Released when the wait is too long for an event in flight
   */
  async turn(rate: Rate | null, signal: AbortSignal): Promise<void> {
    if (rate === null) return
    if (this.#limit === null || !sameRate(this.#limit.rate, rate)) this.#limit = new RateLimit(rate, this.#clock)
    const waitMs = this.#limit.waitMs()
    if (waitMs > WAIT_IN_FLIGHT_MS) {
      this.pause(waitMs)
      throw new Released('its rate is used up')
    }
    await this.#limit.turn(signal)
  }

  /** Pauses the consumer for `ms` from now. */
  pause(ms: number): void {
    this.#setPaused(true)
    this.#cancelResume()
    this.#cancelResume = this.#clock.after(ms, () => this.#setPaused(false))
  }

  stop(): void {
    this.#cancelResume()
  }
}

function sameRate(one: Rate, other: Rate | null): boolean {
  return one.count === other?.count && one.perMs === other.perMs
}
