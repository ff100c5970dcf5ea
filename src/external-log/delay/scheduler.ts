/**
 * Delayed events (clause 7) wait in a queue of their own. An internal consumer emits each when it is due. So they
 * survive whatever events and emissions survive, and every connected process takes part in the work.
 */
import { type Clock, every } from '../../base/clock.ts'
import { MillraceError } from '../../base/errors.ts'
import { isJsonObject, isNumberFrom, jsonObject } from '../../base/json-object.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { ConsumerSpec, Delivery, DeliverySink, Emission } from '../../broker/engine.ts'
import type { Failure } from '../../broker/failure.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import type { Instance } from '../../delivery/dispatch/instance.ts'
import type { ChannelEntry } from '../log-backend.ts'

export const SCHEDULE = '~schedule'

/** The prefix of ids of cancellations. No incarnation begins with it, and the channel name after it is empty. */
const CANCELLED = '~cancelled//'

/** The number of events that may be in flight at once. Events that are not due are put back until they are. */
const CREDIT = 1000

export const scheduleSpec: ChannelSpec = {
  name: SCHEDULE,
  kind: 'queue',
  types: null,
  retain: { ageMs: null, bytes: null, count: null, latestByKey: false },
  dedupe: { ageMs: 600_000, count: 100_000 },
  eventBytesMax: 32 * 1024 * 1024,
}

export const schedulerSpec: ConsumerSpec = {
  name: '~scheduler',
  channels: [SCHEDULE],
  wants: [{ type: null, pattern: null }],
  from: { at: 'beginning' },
  onDead: 'skip',
  credit: CREDIT,
  perKey: 1,
  leaseMs: 5000,
  attemptsMax: Number.MAX_SAFE_INTEGER,
  stallMs: Number.MAX_SAFE_INTEGER,
}

const NOT_DUE: Failure = { name: 'NotDue', message: 'its time has not come', kind: 'error' }

/** An event that waits, and the channel that it is for. A later channel of the same name does not get it. */
export interface Scheduled extends Emission {
  readonly incarnation: string
}

/** The emission of an event that is due. */
export interface Due extends Emission {
  readonly waited: true
}

/** The event, wrapped for the queue. */
export function scheduled(entry: ChannelEntry, event: EncodedEvent, dueAtMs: number): EncodedEvent {
  const emission: Scheduled = { channel: entry.spec.name, incarnation: entry.incarnation, event, dueAtMs }
  return { id: scheduledId(entry, event.id), type: SCHEDULE, key: null, text: JSON.stringify(emission) }
}

export function scheduledId(
  { incarnation, spec: { name } }: { readonly incarnation: string; readonly spec: { readonly name: string } },
  id: string,
): string {
  return `${incarnation}/${name}/${id}`
}

/**
 * The event with another id, for a queue that knows the id of an earlier event: of the events published again after the
 * one at `queueOffset`, one is stored.
 */
export function waitingAgain(event: EncodedEvent, queueOffset: number): EncodedEvent {
  return { ...event, id: `~again/${queueOffset}/${event.id}` }
}

const AGAIN = /^~again\/\d+\//

export function isFor({ channel, incarnation }: Scheduled, entry: ChannelEntry): boolean {
  return channel === entry.spec.name && incarnation === entry.incarnation
}

/** The waiting event in a record of the queue, or null if another client wrote the record. */
export function scheduledIn(text: string): Scheduled | null {
  const found = jsonObject(text)
  if (found === null || typeof found['channel'] !== 'string' || typeof found['incarnation'] !== 'string') return null
  const { event, dueAtMs } = found
  if (!isJsonObject(event) || (event['key'] !== null && typeof event['key'] !== 'string')) return null
  if (!['id', 'type', 'text'].every((name) => typeof event[name] === 'string')) return null
  return dueAtMs === null || isNumberFrom(dueAtMs, 0) ? (found as unknown as Scheduled) : null
}

/**
 * The id of a waiting event, or null if another client wrote the record. A server that stores only CloudEvents answers
 * the text without the id.
 */
export function waitingId({ id, text }: EncodedEvent): string | null {
  if (id !== '') return id.replace(AGAIN, '')
  const found = scheduledIn(text)
  return found === null
    ? null
    : scheduledId({ incarnation: found.incarnation, spec: { name: found.channel } }, found.event.id)
}

/**
 * The record by which a cancellation is made known: processes that keep the ids of waiting events forget the event at
 * this offset.
 */
export function cancellation(scheduledId: string, queueOffset: number): EncodedEvent {
  return {
    id: `${CANCELLED}${queueOffset}`,
    type: SCHEDULE,
    key: null,
    text: JSON.stringify({ cancelled: scheduledId, place: queueOffset }),
  }
}

/**
 * The content of the record of a cancellation; null for any other record. The text alone decides, because not every
 * server returns the id.
 */
export function cancelledIn(text: string): { readonly cancelled: string; readonly queueOffset: number } | null {
  if (!text.startsWith('{"cancelled":')) return null
  const found = jsonObject(text)
  if (found === null || typeof found['cancelled'] !== 'string' || !isNumberFrom(found['place'], 0)) return null
  return { cancelled: found['cancelled'], queueOffset: found['place'] as number }
}

/** The channel that a delayed event is for; empty if another client wrote the record. */
export function channelOf(event: EncodedEvent): string {
  return waitingId(event)?.split('/', 2)[1] ?? ''
}

function emissionOf(channel: string, event: EncodedEvent): Due {
  return { channel, event, dueAtMs: null, waited: true }
}

const NOT_OURS: Failure = {
  name: 'DataDamaged',
  message: 'this record of the schedule is not a delayed event',
  kind: 'poison',
}

/**
 * Emits events that are due, and puts the others back. Events that are due at the same time are emitted in the order of
 * their publishing, also if they become due while they are in flight: an event waits behind the events of its time that
 * were put back before it. A record of another client becomes a dead letter of the queue.
 */
export class Scheduler implements DeliverySink {
  readonly passesOn = false
  readonly #clock: Clock
  readonly #incarnation: (channel: string) => string | undefined
  readonly #alarm: (error: unknown) => void
  #subscription!: Instance
  /**
   * Events that were put back and are not emitted: the time of each, by its offset, and the number of events of each
   * time.
   */
  readonly #putBack = new Map<number, number>()
  readonly #countOf = new Map<number, number>()
  #endRenewal: () => void = () => undefined

  constructor(clock: Clock, incarnation: (channel: string) => string | undefined, alarm: (error: unknown) => void) {
    this.#alarm = alarm
    this.#clock = clock
    this.#incarnation = incarnation
  }

  begin(subscription: Instance): void {
    this.#subscription = subscription
    this.#endRenewal = every(this.#clock, schedulerSpec.leaseMs / 3, () => subscription.renew())
  }

  deliver(deliveries: readonly Delivery[]): void {
    for (const delivery of deliveries) this.#look(this.#subscription, delivery)
  }

  #look(subscription: Instance, delivery: Delivery): void {
    const found = scheduledIn(delivery.text)
    if (found === null && cancelledIn(delivery.text) !== null) return void subscription.complete(delivery, null)
    if (found === null) {
      const message = `the record at offset ${delivery.offset} of ${SCHEDULE} is not a delayed event, and is skipped: another client wrote it`
      this.#alarm(new MillraceError('DATA_DAMAGED', message, { channel: SCHEDULE, offset: delivery.offset }))
      subscription.deadLetter(delivery, NOT_OURS)
      return
    }
    const { channel, incarnation, event, dueAtMs } = found
    const now = this.#clock.now()
    if (this.#incarnation(channel) !== incarnation) {
      this.#forget(delivery.offset)
      subscription.complete(delivery, null)
    } else if (dueAtMs !== null && (dueAtMs > now || this.#isBehind(delivery.offset, dueAtMs))) {
      this.#remember(delivery.offset, dueAtMs)
      // Events that are due together get the same time. Events behind them come after their timers.
      subscription.retryAt(delivery, Math.max(dueAtMs, now + 1), NOT_DUE)
    } else {
      this.#forget(delivery.offset)
      subscription.complete(delivery, [emissionOf(channel, event)])
    }
  }

  /**
   * Whether other events of the same time were put back before this one. An event that was put back once for this
   * reason is not put back again.
   */
  #isBehind(offset: number, dueAtMs: number): boolean {
    return this.#countOf.has(dueAtMs) && !this.#putBack.has(offset)
  }

  #remember(offset: number, dueAtMs: number): void {
    if (this.#putBack.has(offset)) return
    this.#putBack.set(offset, dueAtMs)
    this.#countOf.set(dueAtMs, (this.#countOf.get(dueAtMs) ?? 0) + 1)
  }

  #forget(offset: number): void {
    const dueAtMs = this.#putBack.get(offset)
    if (dueAtMs === undefined) return
    this.#putBack.delete(offset)
    const left = (this.#countOf.get(dueAtMs) ?? 1) - 1
    if (left > 0) this.#countOf.set(dueAtMs, left)
    else this.#countOf.delete(dueAtMs)
  }

  /** Another process may own the queue now. */
  revoked(): void {
    this.#putBack.clear()
    this.#countOf.clear()
  }

  end(): void {
    this.#endRenewal()
  }
}
