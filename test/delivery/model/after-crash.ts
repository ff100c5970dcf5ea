/** What the model expects of an event after the process of its engine died. */
import type { Entry, Redrive } from './account.ts'

/** Deliveries are recorded as in flight after so many milliseconds; a commit may come just before. */
const RECORDED_MS = 5

/**
 * Change an event that was restored from its last durable state. Without a record, it may have been in flight and have
 * used an attempt.
 *
 * @param durableMs The time of that state; null if it may not count.
 */
export function afterCrash(entry: Entry, durableMs: number | null): void {
  const claimed = entry.claimedBy !== null
  entry.claimedBy = null
  entry.reserved = null
  if (entry.batch !== null) entry.batch = RECALLED
  entry.ahead = [...entry.ahead, ...entry.beside]
  entry.beside = []
  if (entry.state !== 'open') return
  // It may have been in hand without a record.
  const wasSuspect = entry.suspect
  entry.suspect = true
  if (entry.hand !== null) {
    entry.most++
    if (durableMs !== null && durableMs - entry.hand.sinceMs > RECORDED_MS) entry.least++
    entry.dueMs = 0
  } else if (claimed || wasSuspect || durableMs === null || durableMs - entry.leftMs <= RECORDED_MS) {
    entry.most++
    entry.dueMs = 0
  }
  entry.hand = null
}

/** Letters that were on their way back when the engine died. */
const RECALLED: Redrive = {
  how: 'redrive',
  consumer: '',
  query: {},
  step: 0,
  changed: [],
  answer: null,
  mixed: false,
  shaken: false,
}
