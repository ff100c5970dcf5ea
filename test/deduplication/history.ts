/**
 * Random histories of everything that brings events into a channel, from a seed, and the rules that every history must
 * keep (clause 8).
 */
import type { Receipt } from '../../src/broker/receipt.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'

/** One event of a step. Its number distinguishes it from all others, also from those with the same id. */
export interface Item {
  readonly id: string
  readonly n: number
}

export type Step =
  | {
      readonly do: 'publish' | 'emit'
      readonly items: readonly Item[]
      readonly delayMs: number | null
      readonly batch: boolean
    }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'restart' }

/** The actions of each step begin in one turn and do not wait for each other. */
export type History = readonly (readonly Step[])[]

export const WINDOW_MS = 300
const DELAYS = [5, 40, 200, 500]

export function historyFrom(seed: number): History {
  const random = seededRandom(seed)
  const whole = (below: number): number => Math.floor(random() * below)
  let n = 0
  const items = (count: number): Item[] => Array.from({ length: count }, () => ({ id: `id-${whole(6)}`, n: n++ }))
  const step = (): Step => {
    const kind = random()
    const delayMs = random() < 0.4 ? (DELAYS[whole(DELAYS.length)] as number) : null
    if (kind < 0.35) return { do: 'publish', items: items(1), delayMs, batch: false }
    if (kind < 0.65) return { do: 'publish', items: items(1 + whole(4)), delayMs, batch: true }
    return { do: 'emit', items: items(1 + whole(3)), delayMs, batch: false }
  }
  return Array.from({ length: 4 + whole(10) }, (): Step[] => {
    const kind = random()
    if (kind < 0.2) return [{ do: 'wait', ms: whole(WINDOW_MS * 1.5) }]
    if (kind < 0.3) return [{ do: 'restart' }]
    return Array.from({ length: 1 + whole(5) }, step)
  })
}

/** A publish with its answer, or an emission that took effect, with the times between which it was decided. */
export interface Outcome {
  readonly item: Item
  readonly dueAtMs: number | null
  readonly beganMs: number
  /** Null: an emission. */
  readonly receipt: Receipt | null
}

export interface Stored extends Item {
  readonly offset: number
  readonly timeMs: number
}

/** What is wrong with the channel or with an answer; null if nothing is. */
export function broken(outcomes: readonly Outcome[], stored: readonly Stored[]): string | null {
  const last = new Map<string, Stored>()
  for (const event of stored) {
    const before = last.get(event.id)
    if (before !== undefined && event.timeMs - before.timeMs <= WINDOW_MS)
      return `${text(event)} was stored ${event.timeMs - before.timeMs} ms after ${text(before)}`
    last.set(event.id, event)
    if (!outcomes.some(({ item }) => item.n === event.n)) return `${text(event)} was never published`
  }
  for (const outcome of outcomes) {
    const wrong =
      outcome.receipt === null
        ? wrongEmission(outcome, stored)
        : wrongReceipt(outcome, outcome.receipt, outcomes, stored)
    if (wrong !== null) return `${outcome.item.id} (${outcome.item.n}): ${wrong}`
  }
  return null
}

function wrongEmission({ item, beganMs }: Outcome, stored: readonly Stored[]): string | null {
  return stored.some(({ id, timeMs }) => id === item.id && timeMs >= beganMs - WINDOW_MS)
    ? null
    : 'the emission is lost'
}

function wrongReceipt(
  { item, dueAtMs, beganMs }: Outcome,
  receipt: Receipt,
  outcomes: readonly Outcome[],
  stored: readonly Stored[],
): string | null {
  const own = stored.filter(({ n }) => n === item.n)
  if (!receipt.duplicate) {
    if (own.length !== 1) return `it was acknowledged, and is stored ${own.length} times`
    if (receipt.offset !== null)
      return receipt.offset === own[0]?.offset ? null : `its offset is ${own[0]?.offset}, and not ${receipt.offset}`
    return receipt.dueAtMs === dueAtMs && (own[0]?.timeMs ?? 0) >= dueAtMs
      ? null
      : `it was due at ${receipt.dueAtMs}, and came at ${own[0]?.timeMs}`
  }
  if (own.length > 0) return 'it was said to be a duplicate, and is stored'
  if (receipt.offset !== null) {
    const first = stored.find(({ offset }) => offset === receipt.offset)
    if (first?.id !== item.id) return `the offset ${receipt.offset} is of ${first?.id}`
    return first.timeMs >= beganMs - WINDOW_MS
      ? null
      : `it was said to be a duplicate of one that was stored ${beganMs - first.timeMs} ms before`
  }
  const waits = outcomes.some(
    (other) =>
      other.item.id === item.id &&
      other.item.n !== item.n &&
      other.dueAtMs === receipt.dueAtMs &&
      other.receipt?.duplicate !== true,
  )
  return waits ? null : `nothing with its id is due at ${receipt.dueAtMs}`
}

function text({ id, n, offset }: Stored): string {
  return `${id} (${n}, offset ${offset})`
}

/** The shortest history that still breaks a rule, found by leaving steps out. */
export async function shrunk(
  history: History,
  failure: (shorter: History) => Promise<string | null>,
): Promise<History> {
  let best = history
  for (let shorter = true; shorter; ) {
    shorter = false
    for (const without of shorterOnes(best)) {
      if ((await failure(without)) === null) continue
      best = without
      shorter = true
      break
    }
  }
  return best
}

function* shorterOnes(history: History): Generator<History> {
  for (const [at, group] of history.entries()) {
    yield history.toSpliced(at, 1)
    for (const place of group.keys()) if (group.length > 1) yield history.with(at, group.toSpliced(place, 1))
  }
}
