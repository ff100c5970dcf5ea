/** When a delayed event is due: `delay` and `at` have one meaning for publishing and emitting. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { timeMsOf } from '../base/time-text.ts'
import { durationMs, knownOptions } from '../base/units.ts'
import type { PublishOptions } from './broker.ts'

/** Milliseconds since the epoch; `null` is "now". `call` names the call in errors. @throws INVALID_OPTION */
export function dueAt(options: PublishOptions, nowMs: number, call: string): number | null {
  knownOptions(options, ['delay', 'at'], call)
  const { delay, at } = options
  if (delay === undefined && at === undefined) return null
  if (delay !== undefined && at !== undefined)
    throw new MillraceError('INVALID_OPTION', `${call} takes delay or at, not both`, { option: 'delay' })
  const dueAtMs = delay === undefined ? momentMs(at) : nowMs + durationMs(delay, 'delay')
  if (typeof dueAtMs === 'number' && Number.isFinite(dueAtMs) && dueAtMs >= 0 && dueAtMs - nowMs <= LIMITS.delayMsMax)
    return dueAtMs
  if (delay !== undefined)
    throw new MillraceError('INVALID_OPTION', `delay must be at most ten years; it is ${shown(delay)}`, {
      option: 'delay',
    })
  const forms = 'a valid Date, RFC 3339 text or milliseconds since the epoch, at most ten years ahead'
  throw new MillraceError('INVALID_OPTION', `at must be ${forms}; it is ${shown(at)}`, {
    option: 'at',
    value: shown(at),
  })
}

function momentMs(at: unknown): number | undefined {
  if (typeof at === 'number') return at
  if (at instanceof Date) return at.getTime()
  return typeof at === 'string' ? timeMsOf(at) : undefined
}
