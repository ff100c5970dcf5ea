/** When a failed attempt is tried again: clause 5. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { type Duration, durationMs, knownOptions, wholeNumber } from '../base/units.ts'
import type { RetryOptions } from './consumer-types.ts'

export interface RetryPolicy {
  readonly attempts: number
  /** Milliseconds before the attempt after the one that failed (1 for the first). */
  delayMs(attempt: number, error: unknown, random: () => number): number
}

/** @throws INVALID_OPTION */
export function retryPolicy(options: RetryOptions = {}): RetryPolicy {
  knownOptions(options, ['attempts', 'backoff', 'min', 'max'], 'retry')
  const attempts = wholeNumber(options.attempts ?? LIMITS.attemptsDefault, 'retry.attempts', 1, LIMITS.attemptsMax)
  const minMs = durationMs(options.min ?? LIMITS.backoffMinMsDefault, 'retry.min')
  const maxMs = durationMs(options.max ?? Math.max(minMs, LIMITS.backoffMaxMsDefault), 'retry.max')
  if (maxMs < minMs) throw new MillraceError('INVALID_OPTION', `retry.max (${maxMs} ms) is less than retry.min (${minMs} ms)`, { option: 'retry.max' })
  const { backoff = 'exponential' } = options
  // Full jitter: anywhere between nothing and the cap, so that what failed together is not tried together.
  const jittered = (attempt: number, random: () => number): number => Math.ceil(random() * Math.min(maxMs, minMs * 2 ** Math.min(attempt - 1, 40)))
  if (typeof backoff === 'function') return { attempts, delayMs: (attempt, error, random) => asked(backoff, attempt, error) ?? jittered(attempt, random) }
  if (backoff === 'fixed') return { attempts, delayMs: () => minMs }
  if (backoff === 'exponential') return { attempts, delayMs: (attempt, _error, random) => jittered(attempt, random) }
  throw new MillraceError('INVALID_OPTION', `retry.backoff is 'exponential', 'fixed' or a function; it is ${String(backoff)}`, { option: 'retry.backoff' })
}

/** What the application's function says; undefined when it fails, which must not lose the event. */
function asked(backoff: (attempt: number, error: unknown) => Duration, attempt: number, error: unknown): number | undefined {
  try {
    return durationMs(backoff(attempt, error), 'the result of retry.backoff')
  } catch {
    return undefined
  }
}
