/** Rates such as `10/s`, and the limiter that spreads turns in time by a rate. A rate applies to one process. */
import type { Clock } from '../base/clock.ts'

export interface Rate {
  readonly count: number
  readonly perMs: number
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 }

/** The form of a rate, for error messages. */
export const RATE_FORM = 'a whole number and a unit, such as "10/s", "100/m" or "5/h"'

/** The rate that a text such as `10/s` states, or `null` if it states none. */
export function parseRate(value: unknown): Rate | null {
  const match = typeof value === 'string' ? /^(\d{1,9}) ?\/ ?([smh])$/.exec(value) : null
  const count = Number(match?.[1])
  if (match === null || count < 1) return null
  return { count, perMs: UNITS[match[2] as string] as number }
}

/** The generic cell rate algorithm: up to one second's turns at once, further turns evenly spread. */
export class RateLimit {
  readonly rate: Rate
  readonly #clock: Clock
  /** When the next turn would be due if all turns were evenly spread. */
  #nextMs = 0

  constructor(rate: Rate, clock: Clock) {
    this.rate = rate
    this.#clock = clock
  }

  get #stepMs(): number {
    return this.rate.perMs / this.rate.count
  }

  /** The wait for a turn that is asked for now. */
  waitMs(): number {
    const burstMs = Math.max(0, Math.min(this.rate.perMs, 1000) - this.#stepMs)
    return Math.max(0, this.#nextMs - burstMs - this.#clock.elapsed())
  }

  /** Resolves when this caller's turn is due; callers get their turns in order. Rejects with the signal's reason. */
  async turn(signal: AbortSignal): Promise<void> {
    const dueMs = this.#clock.elapsed() + this.waitMs()
    this.#nextMs = Math.max(this.#nextMs, this.#clock.elapsed()) + this.#stepMs
    for (let waitMs = dueMs - this.#clock.elapsed(); waitMs > 0; waitMs = dueMs - this.#clock.elapsed())
      await this.#wait(waitMs, signal)
  }

  #wait(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      const stop = (): void => {
        cancel()
        reject(signal.reason as Error)
      }
      const cancel = this.#clock.after(Math.ceil(ms), () => {
        signal.removeEventListener('abort', stop)
        resolve()
      })
      signal.addEventListener('abort', stop, { once: true })
    })
  }
}
