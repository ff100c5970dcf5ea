/** The alarms of an engine: each is told once when it begins, and listed until it ends. */
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

  /** All that last, in the order in which they began. */
  get all(): readonly Alarm[] {
    return [...this.#alarms.values()]
  }

  async ask(): Promise<readonly Alarm[]> {
    return this.all
  }

  /** An alarm begins. One of the same key that lasts is not told again. */
  raise(code: string, message: string, key: string = code): void {
    if (this.#alarms.has(key)) return
    const alarm = { code, message, sinceMs: this.#nowMs() }
    this.#alarms.set(key, alarm)
    this.#onAlarm?.(alarm)
  }

  /** The same for an error that nobody else is told of. */
  raiseFor(error: unknown): void {
    const code = error instanceof MillraceError ? error.code : 'STORE_FAILED'
    this.raise(code, error instanceof Error ? error.message : String(error))
  }

  /** For work that is tried again by itself: an alarm when it has failed so many times one after the other, until it succeeds. */
  lasting(code: ErrorCode, timesMin: number): LastingFailures {
    return new LastingFailures(timesMin, { raise: (message) => this.raise(code, message), end: () => this.end(code) })
  }

  end(...keys: readonly string[]): void {
    for (const key of keys) this.#alarms.delete(key)
  }
}
