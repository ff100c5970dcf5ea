/**
 * The dead letters of a consumer over all its channels, oldest first: within a channel by offset, and between
 * channels by the time of giving up. Where a query asks for pages, one channel comes after the other, by name. Letters
 * are read one after the other, as the caller asks for them.
 */
import type { DeadLetter, DeadLetterQuery } from '../../broker/description.ts'
import type { DeadLetterBox } from '../dead/dead-letter-box.ts'

/** A box of the consumer, and the home that it belongs to. */
export type Boxed<Home> = readonly [home: Home, box: DeadLetterBox]

type Found<Home> = readonly [home: Home, letter: DeadLetter]

export async function* oldestFirst<Home>(
  boxes: readonly Boxed<Home>[],
  consumer: string,
  query: DeadLetterQuery,
): AsyncGenerator<Found<Home>> {
  const byChannel = new Map<string, AsyncGenerator<Found<Home>>[]>()
  for (const [home, box] of boxes)
    byChannel.set(box.channel, [...(byChannel.get(box.channel) ?? []), lettersOf(home, box, consumer, query)])
  const channels = [...byChannel.values()].map((logs) => merged(logs, (a, b) => a.offset < b.offset))
  let left = query.limit ?? Number.POSITIVE_INFINITY
  if (left <= 0) return
  const all = query.after === undefined ? merged(channels, (a, b) => a.deadAtMs < b.deadAtMs) : inTurn(channels)
  for await (const found of all) {
    yield found
    if (--left <= 0) return
  }
}

async function* inTurn<Home>(channels: readonly AsyncGenerator<Found<Home>>[]): AsyncGenerator<Found<Home>> {
  for (const channel of channels) yield* channel
}

/** How many letters of each box a query with a limit takes. Boxes without such letters are left out. */
export async function sharesOf<Home>(
  boxes: readonly Boxed<Home>[],
  consumer: string,
  query: DeadLetterQuery,
): Promise<Map<Home, number>> {
  const shares = new Map<Home, number>()
  for await (const [home] of oldestFirst(boxes, consumer, query)) shares.set(home, (shares.get(home) ?? 0) + 1)
  return shares
}

async function* lettersOf<Home>(
  home: Home,
  box: DeadLetterBox,
  consumer: string,
  query: DeadLetterQuery,
): AsyncGenerator<Found<Home>> {
  for await (const letter of box.letters(consumer, query)) yield [home, letter]
}

/** Merges sources that are in order. Of equal letters, that of the first source comes first. */
async function* merged<Home>(
  sources: readonly AsyncGenerator<Found<Home>>[],
  comesBefore: (a: DeadLetter, b: DeadLetter) => boolean,
): AsyncGenerator<Found<Home>> {
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
