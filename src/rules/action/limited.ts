/** The limits of an action that has its own consumer: `http` and `call`. All of them apply to one process. */
import { LIMITS } from '../../base/limits.ts'
import { durationMs, wholeNumber } from '../../base/units.ts'
import type { RetryOptions } from '../../consumer/consumer-types.ts'
import { retryPolicy } from '../../consumer/retry-policy.ts'
import { parseRate, RATE_FORM, type Rate } from '../../outbound/rate.ts'
import { membersOf, refuseRule, shown, within } from '../rule-error.ts'

export interface Limited {
  readonly concurrency: number
  readonly rate: Rate | null
  readonly retry: RetryOptions | null
  readonly timeoutMs: number | null
}

/** The members of an action that state its limits. */
export const LIMITED_MEMBERS: readonly string[] = ['concurrency', 'rate', 'retry', 'timeout']

/** The limits that an action states. @throws INVALID_RULE when one is wrong */
export function limitsOf(form: Readonly<Record<string, unknown>>, path: string): Limited {
  const { concurrency = LIMITS.concurrencyDefault, rate, retry, timeout } = form
  return {
    concurrency: within(`${path}.concurrency`, () => wholeNumber(concurrency, 'concurrency', 1, LIMITS.concurrencyMax)),
    rate: rate === undefined ? null : rateOf(rate, `${path}.rate`),
    retry: retry === undefined ? null : retryOf(retry, `${path}.retry`),
    timeoutMs: timeout === undefined ? null : within(`${path}.timeout`, () => durationMs(timeout, 'timeout')),
  }
}

function rateOf(value: unknown, path: string): Rate {
  return parseRate(value) ?? refuseRule(path, `a rate is ${RATE_FORM}, not ${shown(value)}`)
}

function retryOf(value: unknown, path: string): RetryOptions {
  const form = membersOf(value, path, ['attempts', 'backoff', 'min', 'max'])
  if (typeof form['backoff'] === 'function') return refuseRule(`${path}.backoff`, '"exponential" or "fixed"')
  within(path, () => retryPolicy(form))
  return form
}
