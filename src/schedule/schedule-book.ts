/**
 * The schedules of a broker, read from `$schedules`. This is the same from every process and on every engine.
 *
 * Invariant: after `refresh` the table holds everything that was in `$schedules` when `refresh` was called.
 */
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { OneAtATime } from '../base/one-at-a-time.ts'
import type { Broker } from '../broker/broker.ts'
import { type RanRecord, recordIn, type ScheduleRecord, schedulesChannel } from './schedule-events.ts'

export class ScheduleBook {
  readonly #broker: Broker
  readonly #records = new Map<string, ScheduleRecord>()
  readonly #ran = new Map<string, RanRecord>()
  #next = 0
  readonly #reading = new OneAtATime(() => this.#read())

  constructor(broker: Broker) {
    this.#broker = broker
  }

  /** Read what is in `$schedules` now. Nothing if no schedule was ever made. */
  async refresh(): Promise<void> {
    await this.#reading.ask()
  }

  async #read(): Promise<void> {
    try {
      for await (const each of this.#broker.read(schedulesChannel.name, { from: { offset: this.#next } })) {
        this.#next = each.offset + 1
        const found = recordIn(each)
        if (found === null) continue
        if ('ran' in found) this.#ran.set(found.ran.name, found.ran)
        else this.#records.set(found.changed.name, found.changed)
      }
    } catch (error) {
      if (isMillraceError(error, 'UNKNOWN_CHANNEL') && this.#next === 0) return
      const isGone = isMillraceError(error, 'UNKNOWN_CHANNEL') || isMillraceError(error, 'OFFSET_OUT_OF_RANGE')
      if (!isGone || this.#next === 0) throw error
      // The channel was removed, and perhaps made again: with it, all earlier schedules are gone.
      this.#next = 0
      this.#records.clear()
      this.#ran.clear()
      await this.#read()
    }
  }

  /** The schedule, if there is one. */
  find(name: string): ScheduleRecord | undefined {
    const found = this.#records.get(name)
    return found?.removed === true ? undefined : found
  }

  /** @throws UNKNOWN_SCHEDULE when there is none */
  get(name: string): ScheduleRecord {
    const found = this.find(name)
    if (found !== undefined) return found
    throw new MillraceError(
      'UNKNOWN_SCHEDULE',
      `there is no schedule "${name}": list the schedules, and correct the name`,
      { schedule: name },
    )
  }

  /** All schedules, by name. */
  all(): ScheduleRecord[] {
    return [...this.#records.values()].filter(({ removed }) => !removed).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  ran(name: string): RanRecord | null {
    return this.#ran.get(name) ?? null
  }

  /**
   * Times up to and including this moment are handled, or do not count.
   *
   * A time of another chain counts only up to a minute after the beginning of this chain: so much may the clocks of two
   * processes differ. Beyond that, the clock was wrong when the time was handled.
   */
  handledMs({ name, fromMs, chain }: ScheduleRecord): number {
    const ran = this.#ran.get(name)
    if (ran === undefined) return fromMs
    const counts = ran.chain === chain || ran.timeMs <= fromMs + LIMITS.scheduleLateMs
    return counts ? Math.max(fromMs, ran.timeMs) : fromMs
  }
}
