/** An answer to "why?": a reason in words for people, with a code and facts for programs. */

/** The code of a reason. docs/guide/why.md lists them. */
export type Because =
  // The event
  | 'removed'
  | 'not-stored'
  | 'delayed'
  | 'unknown-id'
  // The delivery of the event
  | 'settled'
  | 'before-begin'
  | 'filter'
  | 'not-subscribed'
  | 'not-begun'
  | 'in-flight'
  | 'retrying'
  | 'dead-letter'
  | 'behind'
  | 'blocked'
  | 'unmatched'
  | 'newer-version'
  | 'alone'
  | 'redriven'
  | 'behind-others'
  | 'next'
  // The consumer
  | 'paused'
  | 'instances-paused'
  | 'circuit-open'
  | 'limited'
  | 'no-instance'
  | 'hung'
  | 'busy'
  | 'stalled'
  | 'slow'
  | 'nothing-to-do'
  | 'elsewhere'
  | 'store'
  // Publishing
  | 'credit'
  | 'journal'
  | 'commit'
  | 'answer'
  | 'requests'
  | 'not-slow'
  // Rules
  | 'condition'
  | 'disabled'
  | 'broken'
  | 'before-rule'
  | 'no-rule'
  | 'dropped'
  | 'router'
  | 'acted'
  | 'action-queue'

export interface Reason {
  readonly because: Because
  /** One or two sentences. */
  readonly text: string
  /** Numbers, names and times that the text has in words. */
  readonly facts: Readonly<Record<string, unknown>>
}

export function reason(because: Because, text: string, facts: Reason['facts'] = {}): Reason {
  return { because, text, facts }
}

export function timeText(ms: number): string {
  return new Date(ms).toISOString()
}

/** A duration for people: "850 ms", "12 s", "5 min", "3 h", "2 d". */
export function durationText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  return ms < 172_800_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`
}
