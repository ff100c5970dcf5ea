/** The alarms of an engine. Each is reported once when it begins, and listed until it ends. */
import { type ErrorCode, MillraceError } from '../base/errors.ts'
import { LastingFailures } from '../base/lasting-failures.ts'
import type { Alarm } from './description.ts'
import type { LastingAlarms } from './engine.ts'

export class AlarmList implements LastingAlarms {
  readonly #nowMs: () => number
  readonly #onAlarm: ((alarm: Alarm) => void) | undefined
  readonly #alarms = new Map<string, Alarm>()

  constructor(nowMs: () => number, onAlarm: ((alarm: Alarm) => void) | undefined) {
    this.#nowMs = nowMs
    this.#onAlarm = onAlarm
  }

  /** All alarms that have not ended, in the order in which they began. */
  get all(): readonly Alarm[] {
    return [...this.#alarms.values()]
  }

  async ask(): Promise<readonly Alarm[]> {
    return this.all
  }

  /** Begins an alarm. If one with the same key has not ended, nothing happens. */
  raise(code: string, message: string, key: string = code): void {
    if (this.#alarms.has(key)) return
    const alarm = { code, message, sinceMs: this.#nowMs() }
    this.#alarms.set(key, alarm)
    this.#onAlarm?.(alarm)
  }

  /** The same for an error that is not reported elsewhere. */
  raiseFor(error: unknown): void {
    const code = error instanceof MillraceError ? error.code : 'STORE_FAILED'
    this.raise(code, error instanceof Error ? error.message : String(error))
  }

  /**
   * For work that is tried again by itself: an alarm after `timesMin` failures in succession, until the work succeeds.
   */
  lasting(code: ErrorCode, timesMin: number): LastingFailures {
    return new LastingFailures(timesMin, { raise: (message) => this.raise(code, message), end: () => this.end(code) })
  }

  end(...keys: readonly string[]): void {
    for (const key of keys) this.#alarms.delete(key)
  }
}
