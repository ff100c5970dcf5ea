/** Clauses 5 and 6: whether a failed attempt is tried again or the event is given up, decided here for every face of a consumer. */
import { LIMITS } from '../base/limits.ts'
import type { Delivery, Subscription } from './engine.ts'
import type { Failure } from './failure.ts'

/** Times an event is tried, and how long until the next one. */
export interface AttemptPolicy {
  readonly attempts: number
  /** Milliseconds before the attempt after the one that failed (1 for the first). */
  delayMs(attempt: number, error: unknown, random: () => number): number
}

/** What became of the event. */
export type AfterFailure =
  | { readonly became: 'dead-lettered' }
  | { readonly became: 'retried'; readonly delayMs: number }

/** Full jitter: anywhere between nothing and the cap, so that what failed together is not tried together. */
export function backoffMs(attempt: number, minMs: number, maxMs: number, random: () => number): number {
  return Math.ceil(random() * Math.min(maxMs, minMs * 2 ** Math.min(attempt - 1, 40)))
}

/** The policy of those who cannot be asked for theirs: the default backoff. */
export function defaultPolicy(attempts: number): AttemptPolicy {
  return {
    attempts,
    delayMs: (attempt, _error, random) =>
      backoffMs(attempt, LIMITS.backoffMinMsDefault, LIMITS.backoffMaxMsDefault, random),
  }
}

/**
 * Settle a failed attempt: to the dead letters when no attempt can help or this was the last, else again after the policy's delay.
 * `null` when the delivery is no longer this instance's.
 */
export function settleFailed(
  subscription: Pick<Subscription, 'retry' | 'deadLetter'>,
  delivery: Delivery,
  failure: Failure,
  policy: AttemptPolicy,
  wait: { readonly error?: unknown; readonly delayMs?: number | null; readonly random: () => number },
): AfterFailure | null {
  if (failure.kind === 'rejected' || failure.kind === 'poison' || delivery.attempt >= policy.attempts) {
    return subscription.deadLetter(delivery, failure) ? { became: 'dead-lettered' } : null
  }
  const delayMs = wait.delayMs ?? policy.delayMs(delivery.attempt, wait.error, wait.random)
  return subscription.retry(delivery, delayMs, failure) ? { became: 'retried', delayMs } : null
}
