/**
 * What is stored of schedules (clause 20).
 *
 * - `$schedules` is a stream that keeps the latest event of each key. `schedule.changed` is a schedule as it is from
 *   then on; its key is the name. `schedule.ran` is the last time that was handled; its key is `NAME/ran`.
 * - A *ticket* is a delayed event in a queue: the next time of one schedule. The worker that handles it publishes the
 *   schedule's event, the next ticket and `schedule.ran` with the completion of this one (clause 12). So a time
 *   publishes once, and the chain does not end, whatever dies. Tickets of schedules with an event as data are in
 *   `$schedules.due`. A schedule whose events are made by a function has a queue of its own, `$schedule.NAME`, because
 *   only processes that have the function can work on it.
 * - A *single* ticket publishes one event, and has no next one: for `run()`, and where the event of a time could not be
 *   made or stored at once. Its lane is another, so that it does not hold back the schedule while it is tried again.
 */
import type { UntypedEvent } from '../broker/broker.ts'
import { type Channel, queue, stream } from '../channel/channel.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { Encodable } from '../event/encode.ts'
import { event } from '../event/event.ts'
import { copyOf } from '../event/made-now.ts'
import type { Timing } from './timing.ts'

export const CHANGED = 'schedule.changed'
export const RAN = 'schedule.ran'
export const DUE = 'schedule.due'
export const SINGLE = 'schedule.single'

const SOURCE = '/millrace/schedules'

/** A schedule as it is from a change on. */
export interface ScheduleRecord {
  readonly name: string
  /** Unique to this change: tickets of earlier ones have no effect. */
  readonly revision: string
  readonly channel: string
  readonly timing: Timing
  /** The event without id and time; null if a function of the application makes it. */
  readonly event: Encodable | null
  /** Times after this moment publish. */
  readonly fromMs: number
  /**
   * Changes that keep the position keep this id: a time that was handled before such a change is handled after it, too.
   * Other changes begin another chain.
   */
  readonly chain?: string | undefined
  readonly paused: { readonly sinceMs: number; readonly reason: string | null } | null
  readonly removed: boolean
  readonly author: string
  readonly changedAtMs: number
  /** The file that the change came from. */
  readonly file?: { readonly folder: string; readonly path: string; readonly digest: string } | undefined
}

/** The last time of a schedule that was handled. */
export interface RanRecord {
  readonly name: string
  /** The chain that the time belongs to. */
  readonly chain?: string | undefined
  readonly timeMs: number
  readonly atMs: number
  readonly problem: string | null
}

/** The next time of a schedule. */
export interface Ticket {
  readonly name: string
  readonly revision: string
  readonly timeMs: number
  /** How often the ticket of this time came too early: the clock went back, or its time is years ahead. */
  readonly early: number
}

export interface SingleTicket {
  readonly name: string
  readonly timeMs: number
  /** The id of the event that it publishes. */
  readonly id: string
  readonly manual: boolean
  /** How often a process without the function for the schedule's channel handed it on. */
  readonly handedOn?: number
}

export const schedulesChannel: Channel = stream('$schedules', {
  events: [event(CHANGED), event(RAN)],
  key: 'subject',
  retain: { latestByKey: true },
})

export const dueQueue: Channel = ticketQueue('$schedules.due')

/** The queue of a schedule whose events are made by a function. */
export function codeQueue(name: string): Channel {
  return ticketQueue(`$schedule.${name}`)
}

function ticketQueue(name: string): Channel {
  return queue(name, { events: [event(DUE), event(SINGLE)], key: 'subject' })
}

export function queueOf({ name, event: data }: Pick<ScheduleRecord, 'name' | 'event'>): Channel {
  return data === null ? codeQueue(name) : dueQueue
}

/** The worker of all schedules with events as data. It also begins every schedule. */
export const WORKER = '$schedules.worker'

/** The worker of one schedule whose events are made by a function. */
export function codeWorker(name: string): string {
  return `$schedules.code.${name}`
}

export function changedEvent(record: ScheduleRecord): UntypedEvent {
  return { type: CHANGED, source: SOURCE, subject: record.name, data: record }
}

export function ranEvent(record: RanRecord): UntypedEvent {
  return { type: RAN, source: SOURCE, subject: `${record.name}/ran`, data: record }
}

export function ticketEvent(ticket: Ticket): UntypedEvent {
  const { name, revision, timeMs, early } = ticket
  return { type: DUE, source: SOURCE, id: `${revision}/${timeMs}/${early}`, subject: name, data: ticket }
}

export function singleEvent(ticket: SingleTicket): UntypedEvent {
  return {
    type: SINGLE,
    source: SOURCE,
    id: ticket.handedOn === undefined ? `single/${ticket.id}` : `single/${ticket.id}/${ticket.handedOn}`,
    subject: `${ticket.name}/single`,
    data: ticket,
  }
}

/** The id of the event for a time: whichever process publishes it, it is stored once. */
export function eventIdOf(name: string, timeMs: number): string {
  return `${name}/${new Date(timeMs).toISOString()}`
}

/** The event that is published for a time. It begins a chain of its own: the ticket did not cause it. */
export function scheduledEvent(made: Encodable, { name, timeMs, id }: Omit<SingleTicket, 'manual'>): Encodable {
  const begins = { causationid: null, correlationid: null, traceparent: null, tracestate: null }
  const says = { id, schedule: name, scheduledtime: new Date(timeMs).toISOString() }
  return copyOf(made, { ...begins, ...made, ...says })
}

/** An event of `$schedules`; null if it is malformed, or of a later version. */
export function recordIn({
  type,
  data,
}: StoredEvent): { readonly changed: ScheduleRecord } | { readonly ran: RanRecord } | null {
  if (typeof data !== 'object' || data === null) return null
  if (type === RAN) {
    const ran = data as RanRecord
    return typeof ran.name === 'string' && typeof ran.timeMs === 'number' ? { ran } : null
  }
  const changed = data as ScheduleRecord
  const { name, revision, channel, timing, fromMs } = changed
  const isWhole = [name, revision, channel].every((each) => typeof each === 'string') && typeof fromMs === 'number'
  return type === CHANGED && isWhole && typeof timing === 'object' && timing !== null ? { changed } : null
}
