/**
 * What an engine can do, as data: for users, for the conformance suite and for the docs.
 */

/** The contract's clauses, by number. */
export const CLAUSES = {
  1: 'durable',
  2: 'fan-out and competition',
  3: 'at least once',
  4: 'order by key',
  5: 'retry',
  6: 'dead letter',
  7: 'delay',
  8: 'deduplication',
  9: 'replay',
  10: 'bounded memory',
  11: 'leases',
  12: 'emit once',
  13: 'retention',
  14: 'lifecycle',
  15: 'filter',
  16: 'wildcards',
  17: 'discovery',
  18: 'errors',
  19: 'state',
  20: 'schedules',
  21: 'flow control',
  22: 'request and reply',
} as const

export type Clause = keyof typeof CLAUSES

/**
 * How an engine fulfils a clause: with a feature of its own, built from its parts, or not at all. A refused feature is
 * an error when it is used.
 */
export interface Capability {
  readonly support: 'native' | 'emulated' | 'refused'
  /** Which parts it is built with, or why it is refused. */
  readonly reason: string
  /** What it costs compared with the native way; absent if it costs nothing. */
  readonly cost?: string
}

export type Capabilities = Readonly<Record<Clause, Capability>>
