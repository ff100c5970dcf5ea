/** When a failed attempt is tried again: clause 5. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { durationMs, knownOptions, wholeNumber } from '../base/units.ts'
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
  if (typeof backoff === 'function') return { attempts, delayMs: (attempt, error) => durationMs(backoff(attempt, error), 'the result of retry.backoff') }
  if (backoff === 'fixed') return { attempts, delayMs: () => minMs }
  if (backoff !== 'exponential') {
    throw new MillraceError('INVALID_OPTION', `retry.backoff is 'exponential', 'fixed' or a function; it is ${String(backoff)}`, { option: 'retry.backoff' })
  }
  // Full jitter: anywhere between nothing and the cap, so that what failed together is not tried together.
  return { attempts, delayMs: (attempt, _error, random) => Math.ceil(random() * Math.min(maxMs, minMs * 2 ** Math.min(attempt - 1, 40))) }
}
