/**
 * Dead letters grouped by failure. One answer counts for a limited time; the next one continues where it ended, so the
 * cost of an answer does not grow with the number of letters, and a caller who continues to the end has complete
 * counts.
 */
import { LIMITS } from '../../base/limits.ts'
import type { Consumers } from '../../broker/consumers.ts'
import type { DeadLetter, EventPlace } from '../../broker/description.ts'
import type { Fingerprint } from './fingerprint.ts'

export interface LetterGroup extends Fingerprint {
  readonly message: string
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  readonly types: readonly string[]
  readonly sample: EventPlace
}

export interface CountedGroups {
  readonly groups: readonly LetterGroup[]
  /** How many letters were counted in this answer. */
  readonly looked: number
  /** The place after which the next answer continues; null: these were the last letters. */
  readonly next: EventPlace | null
}

const TYPES_MAX = 10
const MESSAGE_CHARS = 500

export interface LettersOf {
  readonly consumers: Pick<Consumers, 'deadLetters'>
  /** The letters as the caller sees them, in the same order. */
  seen(letters: readonly DeadLetter[]): Promise<readonly DeadLetter[]>
  prints(letters: readonly DeadLetter[]): Promise<readonly Fingerprint[]>
}

export async function countGroups(
  { consumers, seen, prints }: LettersOf,
  consumer: string,
  from: EventPlace | null,
  budgetMs: number = LIMITS.letterGroupsMs,
): Promise<CountedGroups> {
  const groups = new Map<string, LetterGroup>()
  const untilMs = performance.now() + budgetMs
  let looked = 0
  for (let after = from; ; ) {
    const page = await consumers.deadLetters(consumer, { after, limit: LIMITS.redrivePageMax })
    if (page.length === 0) return { groups: largestFirst(groups), looked, next: null }
    const [shown, printed] = [await seen(page), await prints(page)]
    for (const [at, letter] of page.entries()) {
      const print = printed[at] as Fingerprint
      const known = groups.get(print.fingerprint)
      if (known === undefined && groups.size >= LIMITS.letterGroupsMax)
        return { groups: largestFirst(groups), looked, next: after }
      groups.set(print.fingerprint, grown(known, print, shown[at] ?? letter))
      looked++
      after = { channel: letter.channel, offset: letter.offset }
    }
    if (performance.now() >= untilMs) return { groups: largestFirst(groups), looked, next: after }
  }
}

function grown(
  known: LetterGroup | undefined,
  print: Fingerprint,
  { failure, deadAtMs, type, channel, offset }: DeadLetter,
): LetterGroup {
  if (known === undefined) {
    const message = failure.message.slice(0, MESSAGE_CHARS)
    return {
      ...print,
      message,
      count: 1,
      firstMs: deadAtMs,
      lastMs: deadAtMs,
      types: [type],
      sample: { channel, offset },
    }
  }
  const isNew = !known.types.includes(type) && known.types.length < TYPES_MAX
  return {
    ...known,
    count: known.count + 1,
    firstMs: Math.min(known.firstMs, deadAtMs),
    lastMs: Math.max(known.lastMs, deadAtMs),
    types: isNew ? [...known.types, type] : known.types,
  }
}

function largestFirst(groups: ReadonlyMap<string, LetterGroup>): LetterGroup[] {
  return [...groups.values()].sort((one, other) => other.count - one.count)
}
