/**
 * The events of a channel in the order in which they are copied: those that it holds, and events that only dead letters
 * still hold, at their old offsets. At the target, the latter are stored first and then removed again by the same
 * retention.
 */
import type { Carriage, CarriedEvent, CarriedLetter, CarriedSchedule, Page } from '../broker/carriage.ts'
import type { Engine, StoredText } from '../broker/engine.ts'
import type { Position } from '../broker/position.ts'

export interface SourceEvent extends CarriedEvent {
  readonly offset: number
}

const NEVER: AbortSignal = new AbortController().signal

/** The events of a channel from a position on, in offset order. */
export async function* eventsOf(
  engine: Engine,
  channel: string,
  from: Position = { at: 'beginning' },
): AsyncGenerator<StoredText> {
  for await (const batch of engine.read(channel, { from, to: null, follow: false, signal: NEVER })) yield* batch
}

async function* paged<Item>(page: (from: string | null) => Promise<Page<Item>>): AsyncGenerator<Item> {
  let from: string | null = null
  do {
    const { items, next } = await page(from)
    yield* items
    from = next
  } while (from !== null)
}

export function lettersOf(carriage: Carriage, channel: string, consumer: string | null): AsyncGenerator<CarriedLetter> {
  return paged((from) => carriage.letters(channel, consumer, from))
}

export function scheduledOf(carriage: Carriage, channel: string): AsyncGenerator<CarriedSchedule> {
  return paged((from) => carriage.scheduled(channel, from))
}

/** Merges sorted sequences. If several have an item at one offset, the first sequence's item is used. */
async function* merged<Item extends { readonly offset: number }>(
  sequences: readonly AsyncGenerator<Item>[],
): AsyncGenerator<Item> {
  const heads = await Promise.all(sequences.map((sequence) => sequence.next()))
  let last = -1
  for (;;) {
    let least: Item | null = null
    let at = 0
    for (const [index, head] of heads.entries()) {
      if (head.done === true || (least !== null && head.value.offset >= least.offset)) continue
      least = head.value
      at = index
    }
    if (least === null) return
    if (least.offset > last) yield least
    last = least.offset
    heads[at] = await (sequences[at] as AsyncGenerator<Item>).next()
  }
}

/**
 * Everything to copy of a channel, in offset order. `consumers` are those whose dead letters come with it (`null`: a
 * queue's workers).
 */
export function sourceEvents(
  engine: Engine,
  channel: string,
  consumers: readonly (string | null)[],
): AsyncGenerator<SourceEvent> {
  const letters = consumers.map((consumer) => lettersOf(engine.carriage, channel, consumer))
  return merged<SourceEvent>([eventsOf(engine, channel), ...letters])
}
