/** Cron expressions: croner computes their times, and nothing else. */
import { Cron } from 'croner'
import type { DstPolicy } from '../broker/schedules.ts'

export interface CronTimes {
  readonly cron: string
  readonly timeZone: string
  readonly dst: DstPolicy
}

/** Expressions that were parsed lately. */
const parsed = new Map<string, Cron>()
const PARSED_MAX = 1000

/** @throws TypeError or RangeError that says what is wrong */
export function cronOf({ cron, timeZone }: Pick<CronTimes, 'cron' | 'timeZone'>): Cron {
  const text = `${timeZone} ${cron}`
  let found = parsed.get(text)
  if (found === undefined) {
    found = new Cron(cron, { timezone: timeZone, paused: true, fixedTimeRule: 'no-wildcard' })
    if (parsed.size >= PARSED_MAX) parsed.clear()
    parsed.set(text, found)
  }
  return found
}

/** The first time after a moment; null if there is none. */
export function cronAfter(times: CronTimes, afterMs: number): number | null {
  const cron = cronOf(times)
  for (let from = new Date(afterMs); ; ) {
    const next = cron.nextRun(from)
    if (next === null) return null
    // A time that the day does not have runs at the first moment after the jump, and does not match the expression.
    if (times.dst === 'vixie' || cron.match(next)) return next.getTime()
    from = next
  }
}
