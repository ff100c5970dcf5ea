/** Clause 5: how long a consumer waits after a failed attempt, from its `retry` option. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { watchAnswer } from '../base/thrown.ts'
import { type Duration, durationMs, knownOptions, wholeNumber } from '../base/units.ts'
import { type AttemptPolicy, backoffMs } from '../broker/failed-attempt.ts'
import type { RetryOptions } from './consumer-types.ts'

/** The retry policy of a consumer's options. @throws INVALID_OPTION when an option is wrong */
export function retryPolicy(options: RetryOptions = {}): AttemptPolicy {
  knownOptions(options, ['attempts', 'backoff', 'min', 'max'], 'retry')
  const attempts = wholeNumber(options.attempts ?? LIMITS.attemptsDefault, 'retry.attempts', 1, LIMITS.attemptsMax)
  const minMs = durationMs(options.min ?? LIMITS.backoffMinMsDefault, 'retry.min')
  const maxMs = durationMs(options.max ?? Math.max(minMs, LIMITS.backoffMaxMsDefault), 'retry.max')
  if (maxMs > LIMITS.delayMsMax)
    throw new MillraceError('INVALID_OPTION', `retry.max is at most ten years; it is ${maxMs} ms`, {
      option: 'retry.max',
    })
  if (maxMs < minMs)
    throw new MillraceError('INVALID_OPTION', `retry.max (${maxMs} ms) is less than retry.min (${minMs} ms)`, {
      option: 'retry.max',
    })
  const { backoff = 'exponential' } = options
  const jittered = (attempt: number, random: () => number): number => backoffMs(attempt, minMs, maxMs, random)
  if (typeof backoff === 'function')
    return {
      attempts,
      delayMs: (attempt, error, random) => asked(backoff, attempt, error) ?? jittered(attempt, random),
    }
  if (backoff === 'fixed') return { attempts, delayMs: () => minMs }
  if (backoff === 'exponential') return { attempts, delayMs: (attempt, _error, random) => jittered(attempt, random) }
  throw new MillraceError(
    'INVALID_OPTION',
    `retry.backoff is 'exponential', 'fixed' or a function; it is ${shown(backoff)}`,
    { option: 'retry.backoff' },
  )
}

/** The result of the application's function. Undefined if it fails, which must not lose the event. */
function asked(
  backoff: (attempt: number, error: unknown) => Duration,
  attempt: number,
  error: unknown,
): number | undefined {
  try {
    const answer: unknown = backoff(attempt, error)
    watchAnswer(answer)
    return Math.min(durationMs(answer, 'the result of retry.backoff'), LIMITS.delayMsMax)
  } catch {
    return undefined
  }
}
