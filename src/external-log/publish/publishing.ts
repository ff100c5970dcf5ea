/**
 * Publishing over a backend: the only way by which events come into channels, or into the queue of delayed events
 * (clauses 7, 8 and 12).
 *
 * The servers know the ids of a channel's events, and store each once. Whether an id waits is known here
 * (`waiting-ids.ts`). For an id that may wait, looking for it and storing exclude everything else that this process
 * does with the id. For all other ids, storing begins in the same turn.
 */
import { MillraceError } from '../../base/errors.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Emission } from '../../broker/engine.ts'
import type { Receipt } from '../../broker/receipt.ts'
import { Delaying, type DelayingHost, type Known } from '../delay/delaying.ts'
import { type Due, scheduledId } from '../delay/scheduler.ts'
import type { Appended, ChannelEntry } from '../log-backend.ts'
import { itemOf } from './appending.ts'

const NONE: ReadonlyMap<string, Known> = new Map()

export class Publishing {
  readonly #host: DelayingHost
  readonly delaying: Delaying
  /** Ids that are being looked for and stored, by channel. Each promise resolves when that is over. */
  readonly #busy = new Map<string, Promise<void>>()

  constructor(host: DelayingHost) {
    this.#host = host
    this.delaying = new Delaying(host)
  }

  publish(channel: string, event: EncodedEvent, dueAtMs: number | null): Promise<Receipt> {
    const entry = this.#host.registry.find(channel)
    if (entry !== undefined && dueAtMs === null && this.#isFree(entry, event))
      return this.#host.appenders.of(channel).appendOne(itemOf(event, entry))
    return this.#publish(channel, [event], dueAtMs, false).then(([receipt]) => receipt as Receipt)
  }

  async publishBatch(channel: string, events: readonly EncodedEvent[], dueAtMs: number | null): Promise<Receipt[]> {
    const { batchEvents } = this.#host.backend.limits
    if (events.length > batchEvents) {
      const message = `a batch on ${this.#host.backend.name} holds at most ${batchEvents} events, to be stored all or none; this one has ${events.length}: publish several`
      throw new MillraceError('INVALID_OPTION', message, { events: events.length, batchEventsMax: batchEvents })
    }
    return this.#publish(channel, events, dueAtMs, true)
  }

  async #publish(
    channel: string,
    events: readonly EncodedEvent[],
    dueAtMs: number | null,
    atomic: boolean,
  ): Promise<Receipt[]> {
    const { registry, clock } = this.#host
    const entry = registry.find(channel) ?? (await registry.current(channel))
    if (dueAtMs !== null && dueAtMs > clock.now()) return this.#delay(entry, events, dueAtMs)
    if (events.every((event) => this.#isFree(entry, event))) return this.#append(entry, events, NONE, atomic)
    return this.alone(entry, events, async () =>
      this.#append(entry, events, await this.delaying.waiting(entry, idsOf(events)), atomic),
    )
  }

  /** Store events until they are due. Events that were published before are stored before the ids are looked for. */
  #delay(entry: ChannelEntry, events: readonly EncodedEvent[], dueAtMs: number): Promise<Receipt[]> {
    return this.alone(entry, events, async () => {
      // All calls wait for one promise, so they continue in their order of arrival.
      await this.delaying.attend()
      await this.#host.appenders.of(entry.spec.name).settled()
      return this.delaying.keep(entry, events, dueAtMs)
    })
  }

  /**
   * Store emissions that an owner sends on, now or when they are due. Those whose ids are known are not stored again.
   */
  async emit(channel: string, emissions: readonly Emission[]): Promise<void> {
    const { registry, clock } = this.#host
    const entry = await registry.current(channel)
    for (let from = 0; from < emissions.length; ) {
      const later = isLater(emissions[from] as Emission, clock.now())
      let to = from + 1
      while (!later && to < emissions.length && !isLater(emissions[to] as Emission, clock.now())) to++
      const run = emissions.slice(from, to)
      const events = run.map(({ event }) => event)
      if (later) await this.#delay(entry, events, (run[0] as Emission).dueAtMs as number)
      else await this.#emitNow(entry, run)
      from = to
    }
  }

  async #emitNow(entry: ChannelEntry, emissions: readonly Emission[]): Promise<void> {
    // A delayed event that is due does not wait for itself.
    const others = emissions.filter((emission) => (emission as Due).waited !== true).map(({ event }) => event)
    const append = async (waiting: ReadonlySet<string>): Promise<void> => {
      const items = emissions
        .filter((emission) => (emission as Due).waited === true || !waiting.has(emission.event.id))
        .map(({ event }) => itemOf(event, entry, true))
      if (items.length > 0) await this.#host.appenders.of(entry.spec.name).append(items, false)
    }
    if (others.every((event) => this.#isFree(entry, event))) await append(new Set())
    else
      await this.alone(entry, others, async () =>
        append(new Set((await this.delaying.waiting(entry, idsOf(others))).keys())),
      )
  }

  /** Whether the id certainly has no delayed event, so that no lookup is needed. */
  #isFree(entry: ChannelEntry, event: EncodedEvent): boolean {
    if (this.#busy.size > 0 && this.#busy.has(scheduledId(entry, event.id))) return false
    return this.delaying.isFree(entry, event)
  }

  /**
   * Run work on the ids of these events while this process does nothing else with the ids, in the order of the calls.
   */
  alone<T>(entry: ChannelEntry, events: readonly { readonly id: string }[], work: () => Promise<T>): Promise<T> {
    if (entry.spec.dedupe === null) return work()
    const ids = [...new Set(events.map(({ id }) => scheduledId(entry, id)))]
    const before = ids.flatMap((id) => this.#busy.get(id) ?? [])
    const done = before.length === 0 ? work() : Promise.all(before).then(work)
    const over = done.then(
      () => undefined,
      () => undefined,
    )
    for (const id of ids) this.#busy.set(id, over)
    void over.then(() => {
      for (const id of ids) if (this.#busy.get(id) === over) this.#busy.delete(id)
    })
    return done
  }

  /** Store the events whose ids do not wait. */
  async #append(
    entry: ChannelEntry,
    events: readonly EncodedEvent[],
    waiting: ReadonlyMap<string, Known>,
    atomic: boolean,
  ): Promise<Receipt[]> {
    const { name: channel } = entry.spec
    const items = events.filter(({ id }) => !waiting.has(id)).map((event) => itemOf(event, entry))
    const appended = items.length === 0 ? [] : await this.#host.appenders.of(channel).append(items, atomic)
    let next = 0
    return events.map(({ id }): Receipt => {
      const known = waiting.get(id)
      if (known !== undefined) return { channel, id, ...known, duplicate: true }
      const { offset, duplicate } = appended[next++] as Appended
      return { channel, id, offset, duplicate }
    })
  }
}

function isLater({ dueAtMs }: Emission, nowMs: number): boolean {
  return dueAtMs !== null && dueAtMs > nowMs
}

function idsOf(events: readonly EncodedEvent[]): string[] {
  return events.map(({ id }) => id)
}
