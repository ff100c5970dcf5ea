/**
 * What people do to a consumer from outside: list, redrive and drop its dead letters, rewind, pause and remove it. The
 * checks, the errors and the order of the steps are decided here, for every engine.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { OffsetSet } from '../../base/offset-set.ts'
import { unknownConsumer } from '../../broker/consumer-errors.ts'
import type { Consumers, StateChoice } from '../../broker/consumers.ts'
import type {
  ConsumerDescription,
  ConsumerPause,
  DeadLetter,
  DeadLetterQuery,
  EventPlace,
} from '../../broker/description.ts'
import type { InspectedEvent, Inspection, RetryingEvent } from '../../broker/inspection.ts'
import type { Position } from '../../broker/position.ts'
import { QUEUE_GROUP } from '../consumer-records.ts'
import { DeadLetterBox } from '../dead/dead-letter-box.ts'
import { retriesIn, settledIn } from './carried-state.ts'
import { describeConsumer } from './describing.ts'
import type { Home, HomeState, Homes } from './homes.ts'
import { inspected, instanceStates } from './inspecting.ts'
import { type Boxed, oldestFirst, sharesOf } from './oldest-first.ts'
import { rewindable } from './rewindable.ts'

export class Interventions<H extends Home> implements Consumers {
  readonly #homes: Homes<H>

  constructor(homes: Homes<H>) {
    this.#homes = homes
  }

  async describe(consumer: string): Promise<ConsumerDescription | null> {
    return describeConsumer(this.#homes, consumer, await this.#homes.of(consumer))
  }

  async rewind(consumer: string, to: Position, channel: string | null, state: StateChoice | null): Promise<void> {
    const all = await this.#homesOf(consumer)
    // The error names the declared channels.
    if (channel !== null && !all.some((home) => home.channel.name === channel)) await this.#homes.look()
    const homes = rewindable(all, { consumer, channel, declared: this.#homes.declared })
    if (state === null && (await this.#homes.keepsState(consumer))) throw unsaidState(consumer)
    // All offsets are found first: if one home does not have its offset, no home is moved.
    const targets = await Promise.all(homes.map(async (home) => [home, await this.#homes.seek(home, to)] as const))
    // Elsewhere, what is in flight has seen a state that is deleted now: it is delivered again, with the new one.
    const others = state === 'reset' ? all.filter((home) => !homes.includes(home)) : []
    if (state === 'reset') this.#homes.resetState(consumer)
    await allDone([...targets, ...others.map((home) => [home, null] as const)], ([home, offset]) =>
      this.#homes.change(home, async ({ cursor, flushed }) => {
        if (offset === null) cursor.revoke(consumer)
        else cursor.rewind(offset)
        await flushed()
      }),
    )
  }

  async setPause(consumer: string, pause: ConsumerPause | null): Promise<void> {
    await this.#homes.setPause(consumer, pause, await this.#homesOf(consumer))
  }

  async remove(consumer: string): Promise<void> {
    const homes = await this.#homesOf(consumer)
    if (this.#homes.here(consumer).length > 0 || (await this.#homes.elsewhere(consumer, homes)).length > 0)
      throw new MillraceError('INVALID_OPTION', `consumer "${consumer}" is running: stop it before removing it`, {
        consumer,
      })
    await allDone(homes, (home) =>
      home.group === QUEUE_GROUP ? this.#leaveQueue(consumer, home) : this.#homes.remove(home),
    )
    await this.#homes.setPause(consumer, null, [])
    await this.#homes.removed(consumer)
  }

  /**
   * The workers of a queue share what is settled in it. When one of them is removed, only its dead letters are
   * deleted.
   */
  async #leaveQueue(consumer: string, home: H): Promise<void> {
    const state = await this.#homes.read(home)
    const letters = await firstOf(boxOf(home, state).offsets(consumer, { limit: 1 }))
    if (letters === undefined && !state.workers.includes(consumer)) return
    await this.#homes.change(home, async ({ cursor, flushed, forgetWorker }) => {
      await cursor.box.drop(consumer, {})
      forgetWorker(consumer)
      await flushed()
    })
  }

  async deadLetters(consumer: string, query: DeadLetterQuery): Promise<DeadLetter[]> {
    const boxes = await this.#boxes(consumer, query)
    const found = oldestFirst(boxes, consumer, { ...query, limit: query.limit ?? LIMITS.deadLetterListDefault })
    return collected(found, query.after === undefined ? Number.POSITIVE_INFINITY : LIMITS.deadLetterPageChars)
  }

  redrive(consumer: string, query: DeadLetterQuery): Promise<number> {
    return this.#settle(consumer, query, 'redrive')
  }

  dropDeadLetters(consumer: string, query: DeadLetterQuery): Promise<number> {
    return this.#settle(consumer, query, 'drop')
  }

  async pending(consumer: string, events: readonly EventPlace[]): Promise<EventPlace[]> {
    const boxes = await this.#boxes(consumer, { places: events })
    const settled = new Map<H, OffsetSet | null>()
    for (const [home] of boxes) {
      const { cursor, records } = await this.#homes.read(home)
      settled.set(home, cursor?.done ?? settledIn(records, home.group, home.logId))
    }
    const pending: EventPlace[] = []
    for (const event of events) if (await this.#isPending(event, boxes, settled)) pending.push(event)
    return pending
  }

  /**
   * Whether an event that was a dead letter will be delivered. After a rewind it is not among the kept events any more,
   * and comes from the log again.
   */
  async #isPending(
    { channel, offset }: EventPlace,
    boxes: readonly Boxed<H>[],
    settled: ReadonlyMap<H, OffsetSet | null>,
  ): Promise<boolean> {
    const own = boxes.filter(([home]) => home.channel.name === channel)
    const kept = own.map(([, box]) => box.stateOf(offset)).find((state) => state !== undefined)
    if (kept !== undefined) return kept.state === 'live'
    const open = own.filter(([home]) => settled.get(home)?.has(offset) === false)
    if (open.length === 0 || own.length === 1) return open.length > 0
    const logId = await this.#homes.logAt(channel, offset)
    return open.some(([home]) => home.logId === logId)
  }

  async retries(consumer: string, limit: number): Promise<RetryingEvent[]> {
    const found: RetryingEvent[] = []
    for (const home of await this.#homesOf(consumer)) {
      await this.#homes.flushed(home)
      const { cursor, records } = await this.#homes.read(home)
      const retries =
        cursor?.state.retries ?? retriesIn(records, home.group, home.logId).map((each) => [each.offset, each] as const)
      for (const [offset, { attempts, dueAtMs, failure }] of retries)
        found.push({ channel: home.channel.name, offset, attempts, dueAtMs, failure })
    }
    return found.sort((one, other) => one.dueAtMs - other.dueAtMs).slice(0, limit)
  }

  async inspect(consumer: string, event: InspectedEvent | null): Promise<Inspection> {
    const homes = await this.#homes.of(consumer)
    const here = this.#homes.here(consumer)
    const instances = instanceStates(here, this.#homes.clock.elapsed())
    if (event === null) return { delivery: null, live: here.length > 0, instances }
    const own = homes.filter(({ channel }) => channel.name === event.channel)
    // A channel that does not exist is an error.
    if (own.length === 0) await this.#homes.look()
    const logId = await this.#homes.logAt(event.channel, event.offset)
    const home = own.find((each) => each.logId === logId)
    if (home === undefined) return { ...(await inspected(null, event)), instances }
    await this.#homes.flushed(home)
    const state = await this.#homes.read(home)
    return { ...(await inspected({ home, state, box: boxOf(home, state), here }, event)), instances }
  }

  async #settle(consumer: string, query: DeadLetterQuery, how: 'redrive' | 'drop'): Promise<number> {
    let count = 0
    await allDone(await this.#shares(consumer, query), ([home, limit]) =>
      this.#homes.change(home, async ({ cursor }) => {
        const settled = await cursor.box[how](consumer, query.limit === undefined ? query : { ...query, limit })
        count += settled.count
        cursor.wake(settled.keys)
      }),
    )
    if (count === 0 && (query.offset !== undefined || query.id !== undefined)) {
      const { places: _, after: __, ...named } = query
      const which = query.id ?? `at offset ${query.offset}`
      throw new MillraceError('UNKNOWN_DEAD_LETTER', `consumer "${consumer}" has no dead letter ${which}`, {
        consumer,
        ...named,
      })
    }
    return count
  }

  /**
   * The homes that have letters of a query, and the limit of each: with a limit, the oldest letters of all homes are
   * taken.
   */
  async #shares(consumer: string, query: DeadLetterQuery): Promise<readonly (readonly [home: H, count: number])[]> {
    const boxes = await this.#boxes(consumer, query)
    if (query.limit !== undefined) return [...(await sharesOf(boxes, consumer, query))]
    const shares: [H, number][] = []
    for (const [home, box] of boxes)
      if ((await firstOf(box.offsets(consumer, { ...query, limit: 1 }))) !== undefined) shares.push([home, 1])
    return shares
  }

  async #boxes(consumer: string, { channel, places, after }: DeadLetterQuery): Promise<readonly Boxed<H>[]> {
    const named = places === undefined ? null : new Set(places.map((place) => place.channel))
    const homes = (await this.#homesOf(consumer)).filter(
      ({ channel: { name } }) =>
        (channel === undefined || channel === name) &&
        (named === null || named.has(name)) &&
        (after === undefined || after === null || after.channel <= name),
    )
    return Promise.all(
      homes.map(async (home) => {
        await this.#homes.flushed(home)
        return [home, boxOf(home, await this.#homes.read(home))] as const
      }),
    )
  }

  /** Empty for a paused consumer that has lost its last channel. @throws UNKNOWN_CONSUMER */
  async #homesOf(consumer: string): Promise<readonly H[]> {
    const homes = await this.#homes.of(consumer)
    if (homes.length === 0 && this.#homes.pauseOf(consumer) === null) throw unknownConsumer(consumer)
    return homes
  }
}

/** Events that are handled again would change the state again: the caller says what is meant. */
function unsaidState(consumer: string): MillraceError {
  const message = `consumer "${consumer}" keeps state, which its handlers would change again: say state: 'reset' to delete all of its states with the rewind, or state: 'keep' if its handlers expect to see events again`
  return new MillraceError('INVALID_OPTION', message, { consumer, option: 'state' })
}

/** The dead letters of a home, for reading. */
function boxOf({ group, channel, logId }: Home, { cursor, records, letters }: HomeState): DeadLetterBox {
  if (cursor !== null) return cursor.box
  return new DeadLetterBox({
    ...{ group, channelId: logId, channel: channel.name },
    get: (key) => records.get(key),
    range: (from, to, limit) => records.range(from, to, limit),
    write: () => undefined,
    flushed: () => Promise.resolve(),
    ...(letters !== undefined && { letters }),
  })
}

/** Act on all items. Afterwards the first error is thrown, if one failed. */
async function allDone<Item>(items: readonly Item[], act: (item: Item) => Promise<void>): Promise<void> {
  const results = await Promise.allSettled(items.map(act))
  const failed = results.find((result) => result.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}

async function firstOf<Item>(items: AsyncIterable<Item>): Promise<Item | undefined> {
  for await (const item of items) return item
  return undefined
}

async function collected(
  found: AsyncIterable<readonly [home: unknown, letter: DeadLetter]>,
  charsMax: number,
): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = []
  let chars = 0
  for await (const [, letter] of found) {
    letters.push(letter)
    chars += letter.text.length
    if (chars >= charsMax) break
  }
  return letters
}
