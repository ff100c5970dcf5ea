/**
 * Delay (clause 7): events that are not due wait in a queue of their own, and a consumer of this room's emits each when its time has come. So they survive
 * everything that events and emissions survive, and whoever is connected looks after them.
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

/** Begins the ids of cancellations: no incarnation does, and the channel behind it is none. */
const CANCELLED = '~cancelled//'

/** How many events may be looked at in one go: those that are not due are put back until they are. */
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

/** An event that waits, and the channel that it is for: not for another of the same name. */
export interface Scheduled extends Emission {
  readonly incarnation: string
}

/** The emission of an event whose time has come. */
export interface Due extends Emission {
  readonly waited: true
}

/** The event, wrapped for its wait. */
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

/** The same event with the id that it has in the queue where the queue knows its own: of what stood at a place, it is the one that waits next. */
export function waitingAgain(event: EncodedEvent, place: number): EncodedEvent {
  return { ...event, id: `~again/${place}/${event.id}` }
}

const AGAIN = /^~again\/\d+\//

export function isFor({ channel, incarnation }: Scheduled, entry: ChannelEntry): boolean {
  return channel === entry.spec.name && incarnation === entry.incarnation
}

/** The waiting event in a record of the schedule, or null where the record is not Millrace's: other clients may write there. */
export function scheduledIn(text: string): Scheduled | null {
  const found = jsonObject(text)
  if (found === null || typeof found['channel'] !== 'string' || typeof found['incarnation'] !== 'string') return null
  const { event, dueAtMs } = found
  if (!isJsonObject(event) || (event['key'] !== null && typeof event['key'] !== 'string')) return null
  if (!['id', 'type', 'text'].every((name) => typeof event[name] === 'string')) return null
  return dueAtMs === null || isNumberFrom(dueAtMs, 0) ? (found as unknown as Scheduled) : null
}

/** The id of a waiting event, or null where the record is not Millrace's. A server that knows only CloudEvents gives the text back without the id. */
export function waitingId({ id, text }: EncodedEvent): string | null {
  if (id !== '') return id.replace(AGAIN, '')
  const found = scheduledIn(text)
  return found === null
    ? null
    : scheduledId({ incarnation: found.incarnation, spec: { name: found.channel } }, found.event.id)
}

/** The record that says of a place in the queue that what waited there was cancelled: processes that follow the ids which wait forget it. */
export function cancellation(scheduledId: string, place: number): EncodedEvent {
  return {
    id: `${CANCELLED}${place}`,
    type: SCHEDULE,
    key: null,
    text: JSON.stringify({ cancelled: scheduledId, place }),
  }
}

/** What such a record says; null of any other. Its text alone decides: not every server gives the id back. */
export function cancelledIn(text: string): { readonly cancelled: string; readonly place: number } | null {
  if (!text.startsWith('{"cancelled":')) return null
  const found = jsonObject(text)
  if (found === null || typeof found['cancelled'] !== 'string' || !isNumberFrom(found['place'], 0)) return null
  return { cancelled: found['cancelled'], place: found['place'] as number }
}

/** The channel that a scheduled event is for; empty where the record is not Millrace's. */
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
 * Emits what is due, and puts back what is not. Events that are due at one time are emitted in the order of their publishing, also where that time comes
 * while they are looked at: an event waits behind those of its time that were put back before it. A record that is not Millrace's becomes a dead letter of the
 * schedule.
 */
export class Scheduler implements DeliverySink {
  readonly #clock: Clock
  readonly #incarnation: (channel: string) => string | undefined
  readonly #alarm: (error: unknown) => void
  #subscription: Instance | null = null
  #early: Delivery[] = []
  /** Events that were put back and have not been emitted: when each is due, by its offset; and how many there are of each time. */
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
    this.deliver(this.#early.splice(0))
  }

  deliver(deliveries: readonly Delivery[]): void {
    if (this.#subscription === null) this.#early.push(...deliveries)
    else for (const delivery of deliveries) this.#look(this.#subscription, delivery)
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
      // At one time for all that are due together. What is behind them comes after their timers.
      subscription.retryAt(delivery, Math.max(dueAtMs, now + 1), NOT_DUE)
    } else {
      this.#forget(delivery.offset)
      subscription.complete(delivery, [emissionOf(channel, event)])
    }
  }

  /** Whether others that are due at the same time were put back before it. What was put back once for this reason is in its turn. */
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

  /** Another process may have the queue now. */
  revoked(): void {
    this.#putBack.clear()
    this.#countOf.clear()
  }

  end(): void {
    this.#endRenewal()
  }
}
