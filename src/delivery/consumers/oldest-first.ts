/**
 * The dead letters of a consumer over its channels, the oldest first, the same on every engine: within a channel in the order of its events, and of the
 * channels' next ones that which died first. They are read as they are asked for.
 */
import type { DeadLetter, DeadLetterQuery } from '../../broker/description.ts'
import type { DeadLetterBox } from '../dead/dead-letter-box.ts'

/** A box of the consumer, with what its asker knows it by. */
export type Boxed<Whose> = readonly [whose: Whose, box: DeadLetterBox]

type Found<Whose> = readonly [whose: Whose, letter: DeadLetter]

export async function* oldestFirst<Whose>(
  boxes: readonly Boxed<Whose>[],
  consumer: string,
  query: DeadLetterQuery,
): AsyncGenerator<Found<Whose>> {
  const byChannel = new Map<string, AsyncGenerator<Found<Whose>>[]>()
  for (const [whose, box] of boxes)
    byChannel.set(box.channel, [...(byChannel.get(box.channel) ?? []), lettersOf(whose, box, consumer, query)])
  const channels = [...byChannel.values()].map((logs) => merged(logs, (a, b) => a.offset < b.offset))
  let left = query.limit ?? Number.POSITIVE_INFINITY
  if (left <= 0) return
  for await (const found of merged(channels, (a, b) => a.deadAtMs < b.deadAtMs)) {
    yield found
    if (--left <= 0) return
  }
}

/** How many letters of each box a query with a limit is about. Boxes without any are left out. */
export async function sharesOf<Whose>(
  boxes: readonly Boxed<Whose>[],
  consumer: string,
  query: DeadLetterQuery,
): Promise<Map<Whose, number>> {
  const shares = new Map<Whose, number>()
  for await (const [whose] of oldestFirst(boxes, consumer, query)) shares.set(whose, (shares.get(whose) ?? 0) + 1)
  return shares
}

async function* lettersOf<Whose>(
  whose: Whose,
  box: DeadLetterBox,
  consumer: string,
  query: DeadLetterQuery,
): AsyncGenerator<Found<Whose>> {
  for await (const letter of box.letters(consumer, query)) yield [whose, letter]
}

/** Of the next of each, that which comes before the others; of equal ones that of the first. */
async function* merged<Whose>(
  sources: readonly AsyncGenerator<Found<Whose>>[],
  comesBefore: (a: DeadLetter, b: DeadLetter) => boolean,
): AsyncGenerator<Found<Whose>> {
  const heads = await Promise.all(sources.map(async (source) => ({ source, next: await source.next() })))
  try {
    for (;;) {
      let first: (typeof heads)[number] | undefined
      for (const head of heads) {
        if (head.next.done === true) continue
        if (first === undefined || first.next.done === true || comesBefore(head.next.value[1], first.next.value[1]))
          first = head
      }
      if (first === undefined || first.next.done === true) return
      yield first.next.value
      first.next = await first.source.next()
    }
  } finally {
    await Promise.all(sources.map((source) => source.return(undefined)))
  }
}
