/**
 * The times of a schedule, as pure functions of moments. The same moments give the same times in every process.
 */
import { hash } from 'node:crypto'
import { LIMITS } from '../base/limits.ts'
import { cronAfter } from './cron.ts'
import type { Timing } from './timing.ts'

/** The first time after a moment; null if there is none. */
export function timeAfter(timing: Timing, afterMs: number): number | null {
  const next = unboundedAfter(timing, afterMs)
  if (next === null || (timing.untilMs !== null && next > timing.untilMs)) return null
  return next <= LIMITS.scheduleTimeMsMax ? next : null
}

function unboundedAfter(timing: Timing, afterMs: number): number | null {
  if ('atMs' in timing) return timing.atMs > afterMs ? timing.atMs : null
  if ('cron' in timing) return cronAfter(timing, afterMs)
  const { everyMs, offsetMs } = timing
  return (Math.floor((afterMs - offsetMs) / everyMs) + 1) * everyMs + offsetMs
}

/** The last time from `fromMs` up to and including `toMs`. `fromMs` is a time, so there is one. */
export function lastTimeUpTo(timing: Timing, fromMs: number, toMs: number): number {
  if ('everyMs' in timing) {
    const last = Math.floor((toMs - timing.offsetMs) / timing.everyMs) * timing.everyMs + timing.offsetMs
    return timing.untilMs === null || last <= timing.untilMs ? last : lastBySearch(timing, fromMs, toMs)
  }
  return lastBySearch(timing, fromMs, toMs)
}

/** "Is there a time after this moment, up to the end?" is true up to the last time, and false from it on. */
function lastBySearch(timing: Timing, fromMs: number, toMs: number): number {
  let last = fromMs
  for (let [yes, no] = [fromMs, toMs]; yes < no; ) {
    const middle = Math.floor((yes + no) / 2)
    const next = timeAfter(timing, middle)
    if (next !== null && next <= toMs) {
      last = next
      yes = next
    } else no = middle
  }
  return last
}

/** When the event for a time is due: with the time's share of the jitter. */
export function dueOf(name: string, { jitterMs }: Timing, timeMs: number): number {
  if (jitterMs === 0) return timeMs
  const share = Number.parseInt(hash('sha256', `${name}/${timeMs}`).slice(0, 13), 16) % (jitterMs + 1)
  return timeMs + share
}

/** What a schedule does at a moment: the times for which it publishes now, and the next one. */
export interface Turn {
  readonly times: readonly number[]
  readonly nextMs: number | null
}

/** Times for which one turn publishes at most; the next turn goes on at once. */
const TIMES_MAX = 100

/**
 * What is to be done at `nowMs`, when the earliest time that has not been handled is `timeMs`.
 *
 * A time is missed when it passed by more than a minute. Times that passed by less are published one by one, whatever
 * the policy is: a restart or a takeover does not lose them.
 */
export function turnAt(name: string, timing: Timing, timeMs: number, nowMs: number): Turn {
  const times: number[] = []
  let nextMs: number | null = timeMs
  const missedMs = nowMs - timing.jitterMs - LIMITS.scheduleLateMs
  if (timing.missed !== 'all' && timeMs < missedMs) {
    if (timing.missed === 'one') times.push(lastTimeUpTo(timing, timeMs, missedMs))
    nextMs = timeAfter(timing, missedMs)
  }
  while (nextMs !== null && times.length < TIMES_MAX && dueOf(name, timing, nextMs) <= nowMs) {
    times.push(nextMs)
    nextMs = timeAfter(timing, nextMs)
  }
  return { times, nextMs }
}
