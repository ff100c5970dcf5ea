/**
 * Patience with servers that are away: a call that may be repeated is repeated until it succeeds, fails for a lasting
 * reason, or the time for it is over.
 *
 * Each backend decides which failures pass, and which calls may be repeated. How a connection is made again differs
 * between the client libraries and stays with each backend: the one of NATS reconnects by itself, the one of Redis
 * reconnects while the link lets calls wait, and Kafka needs a new connection to another broker.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/** The pause before the second attempt. It doubles for each later one. */
const WAIT_MS = 25
const WAIT_MS_MAX = 500

export interface Attempt {
  /** 1 for the first attempt. */
  readonly number: number
  /** When the patience ends, by `performance.now()`. */
  readonly deadlineMs: number
}

export interface Patience {
  readonly patienceMs: number
  /** The longest pause between two attempts. @default 500 */
  readonly waitMsMax?: number
  /** Whether the next attempt may succeed after this failure. */
  isPassing(error: unknown): boolean
  /** The error of a call whose time is over, made from its last failure. */
  givenUp(error: unknown): unknown
}

/**
 * Repeats `work` until it succeeds, fails for a lasting reason, or the patience ends.
 * @throws what `work` throws for a lasting reason, or what `givenUp` answers
 */
export async function patiently<T>(work: (attempt: Attempt) => Promise<T>, patience: Patience): Promise<T> {
  const deadlineMs = performance.now() + patience.patienceMs
  const waitMsMax = patience.waitMsMax ?? WAIT_MS_MAX
  for (let number = 1, waitMs = WAIT_MS; ; number++, waitMs = Math.min(waitMs * 2, waitMsMax)) {
    try {
      return await work({ number, deadlineMs })
    } catch (error) {
      if (!patience.isPassing(error)) throw error
      if (performance.now() + waitMs > deadlineMs) throw patience.givenUp(error)
      await sleep(waitMs)
    }
  }
}
