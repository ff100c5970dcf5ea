/** When a schedule publishes: the form of applications, checked, and the form that is stored. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { timeMsOf } from '../base/time-text.ts'
import { durationMs, knownOptions } from '../base/units.ts'
import type { DstPolicy, MissedPolicy, When } from '../broker/schedules.ts'
import { cronOf } from './cron.ts'

/** As stored: milliseconds, and each policy said. */
export type Timing = (
  | { readonly cron: string; readonly timeZone: string; readonly dst: DstPolicy }
  | { readonly everyMs: number; readonly offsetMs: number }
  | { readonly atMs: number }
) & { readonly missed: MissedPolicy; readonly jitterMs: number; readonly untilMs: number | null }

const OPTIONS = ['cron', 'timeZone', 'dst', 'every', 'offset', 'at', 'missed', 'jitter', 'until'] as const
/** The options that belong to one of `cron`, `every` and `at`. */
const BELONGS: Readonly<Partial<Record<(typeof OPTIONS)[number], keyof When>>> = {
  timeZone: 'cron',
  dst: 'cron',
  offset: 'every',
}

/** The times of a schedule, checked. @throws INVALID_OPTION */
export function timingOf(when: When, name: string): Timing {
  const of = `schedule "${name}"`
  knownOptions(when, OPTIONS, of)
  const kinds = (['cron', 'every', 'at'] as const).filter((kind) => when[kind] !== undefined)
  const [kind] = kinds
  if (kind === undefined || kinds.length > 1)
    refuse('cron', `${of} takes one of cron, every and at; it has ${kinds.length === 0 ? 'none' : kinds.join(' and ')}`)
  for (const [option, belongs] of Object.entries(BELONGS) as [keyof When, keyof When][])
    if (when[option] !== undefined && belongs !== kind)
      refuse(option, `${option} of ${of} has no effect without ${belongs}: leave it out`)
  return { ...timesOf(when, kind, of), ...policiesOf(when, of) }
}

function timesOf(
  when: When,
  kind: 'cron' | 'every' | 'at',
  of: string,
):
  | { readonly cron: string; readonly timeZone: string; readonly dst: DstPolicy }
  | { readonly everyMs: number; readonly offsetMs: number }
  | { readonly atMs: number } {
  if (kind === 'at') return { atMs: momentOf(when.at, 'at', of) }
  if (kind === 'every') {
    const everyMs = whole(durationMs(when.every, 'every'), 'every', of)
    const offsetMs = whole(durationMs(when.offset ?? 0, 'offset'), 'offset', of)
    if (everyMs < LIMITS.scheduleMsMin || everyMs > LIMITS.delayMsMax)
      refuse('every', `every of ${of} must be from a second to ten years; it is ${shown(when.every)}`)
    if (offsetMs >= everyMs)
      refuse('offset', `offset of ${of} must be less than its interval; it is ${shown(when.offset)}`)
    return { everyMs, offsetMs }
  }
  const { cron, timeZone = 'UTC', dst = 'vixie' } = when
  if (dst !== 'vixie' && dst !== 'skip') refuse('dst', `dst of ${of} is 'vixie' or 'skip'; it is ${shown(dst)}`)
  if (typeof cron !== 'string' || cron.length > LIMITS.cronCharsMax)
    refuse('cron', `cron of ${of} must be text of at most ${LIMITS.cronCharsMax} characters; it is ${shown(cron)}`)
  if (typeof timeZone !== 'string' || !isTimeZone(timeZone))
    refuse('timeZone', `timeZone of ${of} must be an IANA time zone, such as Europe/Berlin; it is ${shown(timeZone)}`)
  const times = { cron: cron.trim().replace(/\s+/g, ' '), timeZone, dst } as const
  try {
    cronOf(times)
  } catch (error) {
    refuse('cron', `cron of ${of} is not a cron expression: ${(error as Error).message}`)
  }
  return times
}

function policiesOf(when: When, of: string): Pick<Timing, 'missed' | 'jitterMs' | 'untilMs'> {
  const { missed = 'one', until } = when
  if (missed !== 'one' && missed !== 'all' && missed !== 'skip')
    refuse('missed', `missed of ${of} is 'one', 'all' or 'skip'; it is ${shown(missed)}`)
  const jitterMs = whole(durationMs(when.jitter ?? 0, 'jitter'), 'jitter', of)
  if (jitterMs > LIMITS.scheduleJitterMsMax)
    refuse('jitter', `jitter of ${of} must be at most a day; it is ${shown(when.jitter)}`)
  return { missed, jitterMs, untilMs: until === undefined ? null : momentOf(until, 'until', of) }
}

function isTimeZone(timeZone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone })
    return true
  } catch {
    return false
  }
}

function whole(ms: number, option: string, of: string): number {
  return Number.isInteger(ms) ? ms : refuse(option, `${option} of ${of} must be whole milliseconds; it is ${ms}`)
}

function momentOf(value: unknown, option: string, of: string): number {
  const ms =
    typeof value === 'number'
      ? value
      : value instanceof Date
        ? value.getTime()
        : typeof value === 'string'
          ? timeMsOf(value)
          : undefined
  if (ms !== undefined && Number.isInteger(ms) && ms >= 0 && ms <= LIMITS.scheduleTimeMsMax) return ms
  return refuse(
    option,
    `${option} of ${of} must be a valid Date, RFC 3339 text or milliseconds since the epoch; it is ${shown(value)}`,
  )
}

function refuse(option: string, message: string): never {
  throw new MillraceError('INVALID_OPTION', message, { option })
}

/** The form of applications, for lists. Policies and options with their default value are left out. */
export function whenOf(timing: Timing): When {
  const { missed, jitterMs, untilMs } = timing
  return {
    ...('cron' in timing && { cron: timing.cron, timeZone: timing.timeZone }),
    ...('cron' in timing && timing.dst !== 'vixie' && { dst: timing.dst }),
    ...('everyMs' in timing && { every: timing.everyMs }),
    ...('everyMs' in timing && timing.offsetMs > 0 && { offset: timing.offsetMs }),
    ...('atMs' in timing && { at: timing.atMs }),
    ...(missed !== 'one' && { missed }),
    ...(jitterMs > 0 && { jitter: jitterMs }),
    ...(untilMs !== null && { until: untilMs }),
  }
}

/** Whether both have the same times, whatever else differs. */
export function sameTimes(one: Timing, other: Timing): boolean {
  const timesIn = ({ missed: _missed, jitterMs: _jitter, untilMs: _until, ...times }: Timing): string =>
    JSON.stringify(Object.entries(times).sort(([a], [b]) => (a < b ? -1 : 1)))
  return timesIn(one) === timesIn(other)
}
