/**
 * Clauses 5 and 6: what follows a failed attempt. The event is tried again after a delay, or it becomes a dead letter.
 *
 * It is decided here for handlers, for consumers that clients pull, and for a client of an older version whose
 * completion the server could not store.
 */
import { LIMITS } from '../base/limits.ts'
import type { Delivery, Subscription } from './engine.ts'
import type { Failure } from './failure.ts'

/** How many times an event is tried, and how long it waits in between. */
export interface AttemptPolicy {
  readonly attempts: number
  /** Milliseconds until the next attempt. `attempt` is the number of the one that failed, 1 for the first. */
  delayMs(attempt: number, error: unknown, random: () => number): number
}

/** The result for the event. */
export type AfterFailure =
  | { readonly became: 'dead-lettered' }
  | { readonly became: 'retried'; readonly delayMs: number }

/** Full jitter: any time up to the cap, so that events that failed together are not tried together. */
export function backoffMs(attempt: number, minMs: number, maxMs: number, random: () => number): number {
  return Math.ceil(random() * Math.min(maxMs, minMs * 2 ** Math.min(attempt - 1, 40)))
}

/** A policy with this number of attempts and the default backoff, where the consumer's own policy is not known. */
export function defaultPolicy(attempts: number): AttemptPolicy {
  return {
    attempts,
    delayMs: (attempt, _error, random) =>
      backoffMs(attempt, LIMITS.backoffMinMsDefault, LIMITS.backoffMaxMsDefault, random),
  }
}

/** What the caller knows about the next attempt. */
export interface NextAttempt {
  /** What was thrown: the policy may look at it. */
  readonly error?: unknown
  /** The delay that was asked for, instead of the policy's. */
  readonly delayMs?: number | null
  readonly random: () => number
}

/** Give up when no attempt can help, or when this was the last one. */
export function afterFailure(
  attempt: number,
  { kind }: Pick<Failure, 'kind'>,
  policy: AttemptPolicy,
  { error, delayMs, random }: NextAttempt,
): AfterFailure {
  if (kind === 'rejected' || kind === 'poison' || attempt >= policy.attempts) return { became: 'dead-lettered' }
  return { became: 'retried', delayMs: delayMs ?? policy.delayMs(attempt, error, random) }
}

/** Settle a failed attempt. Returns `null` when the delivery is no longer this instance's. */
export function settleFailed(
  subscription: Pick<Subscription, 'retry' | 'deadLetter'>,
  delivery: Delivery,
  failure: Failure,
  policy: AttemptPolicy,
  next: NextAttempt,
): AfterFailure | null {
  const after = afterFailure(delivery.attempt, failure, policy, next)
  const settled =
    after.became === 'retried'
      ? subscription.retry(delivery, after.delayMs, failure)
      : subscription.deadLetter(delivery, failure)
  return settled ? after : null
}
