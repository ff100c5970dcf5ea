/**
 * Works on the tickets of schedules. The only state is what is stored: any number of processes work on the same
 * tickets, and the engine gives each ticket to one of them.
 */
import { nameOf } from '../base/names.ts'
import { messageOf } from '../base/thrown.ts'
import type { BrokerHost, Startable } from '../broker/broker.ts'
import type { Delivery } from '../broker/engine.ts'
import type { MakeEvent } from '../broker/schedules.ts'
import type { Channel } from '../channel/channel.ts'
import type { ConsumerOptions, HandlerContext, Running } from '../consumer/consumer-types.ts'
import { textConsumer } from '../consumer/text-consumer.ts'
import type { Encodable } from '../event/encode.ts'
import type { ScheduleBook } from './schedule-book.ts'
import {
  CHANGED,
  codeQueue,
  codeWorker,
  DUE,
  dueQueue,
  eventIdOf,
  queueOf,
  ranEvent,
  type ScheduleRecord,
  SINGLE,
  type SingleTicket,
  scheduledEvent,
  schedulesChannel,
  singleEvent,
  type Ticket,
  ticketEvent,
  WORKER,
} from './schedule-events.ts'
import { dueOf, timeAfter, turnAt } from './times.ts'

/** The event of a schedule, for one time. `made` is what the application gave; the event has its id and time. */
export interface FunctionOfSchedule {
  readonly channel: Channel | string
  readonly make: MakeEvent<never>
}

export interface WorkerHost {
  readonly book: ScheduleBook
  readonly nowMs: () => number
  /** The function of a schedule whose events are not data. */
  functionOf(name: string): FunctionOfSchedule | undefined
}

/** A ticket further ahead than this is looked at again on the way: an engine holds an event for up to ten years. */
const AHEAD_MS_MAX = 5 * 365 * 86_400_000
/**
 * Attempts at one event. A ticket that goes on has the 1,000 attempts of `OPTIONS`, because without it the schedule
 * ends: after them it is a dead letter, and redrive continues the schedule.
 */
const SINGLE_ATTEMPTS = 8
/** How often a ticket is handed on before it is a dead letter: the delays are a minute, so this is over 16 hours. */
const HANDED_ON_MAX = 1000
const HANDED_ON_MS_MAX = 60_000

const OPTIONS: ConsumerOptions = {
  onDead: 'skip',
  lease: '10s',
  retry: { attempts: 1000, min: '1s', max: '1m' },
}

/** The worker of all schedules with events as data. It begins every schedule that was made or changed. */
export function dataWorker(host: WorkerHost): Startable<Running> {
  return worker(WORKER, [schedulesChannel, dueQueue], host, [CHANGED, DUE, SINGLE])
}

/** The worker of one schedule whose events are made by a function. */
export function functionWorker(name: string, host: WorkerHost): Startable<Running> {
  return worker(codeWorker(name), [codeQueue(name)], host, [DUE, SINGLE])
}

function worker(
  name: string,
  channels: readonly Channel[],
  host: WorkerHost,
  types: readonly string[],
): Startable<Running> {
  const tickets = new TicketWorker(host)
  const started = textConsumer(
    name,
    channels.map((each) => each.name),
    OPTIONS,
    (delivery, ctx) => tickets.handle(delivery, ctx),
    types.map((type) => ({ type, pattern: null })),
  )
  return {
    start: async (broker: BrokerHost): Promise<Running> => {
      for (const channel of channels) await broker.encoder.prepare(channel)
      return started.start(broker)
    },
  }
}

class TicketWorker {
  readonly #host: WorkerHost

  constructor(host: WorkerHost) {
    this.#host = host
  }

  async handle({ type, text }: Delivery, ctx: HandlerContext): Promise<void> {
    const { data } = JSON.parse(text) as { readonly data: unknown }
    // What others have changed before this moment is in force.
    await this.#host.book.refresh()
    if (type === CHANGED) return this.#begin(data as ScheduleRecord, ctx)
    if (type === DUE) return this.#go(data as Ticket, ctx)
    return this.#single(data as SingleTicket, ctx)
  }

  /** The schedule was made or changed: its first ticket. */
  async #begin({ name, revision }: ScheduleRecord, ctx: HandlerContext): Promise<void> {
    const record = this.#current(name, revision)
    if (record === undefined) return
    await this.#emitTicket(record, timeAfter(record.timing, this.#host.book.handledMs(record)), ctx)
  }

  /** The schedule, if it is still the one of this change, and runs. */
  #current(name: string, revision: string): ScheduleRecord | undefined {
    const record = this.#host.book.find(name)
    return record?.revision === revision && record.paused === null ? record : undefined
  }

  async #go({ name, revision, timeMs, early }: Ticket, ctx: HandlerContext): Promise<void> {
    const { book, nowMs } = this.#host
    const record = this.#current(name, revision)
    if (record === undefined) return
    const handledMs = book.handledMs(record)
    // The time was handled before the schedule was changed. This ticket may be the only one that goes on: if there is
    // another one, both emit a next ticket with one id.
    if (timeMs <= handledMs) return this.#emitTicket(record, timeAfter(record.timing, handledMs), ctx)
    const now = nowMs()
    const { times, nextMs } = turnAt(name, record.timing, timeMs, now)
    const made: (Made | Failed)[] = []
    for (const each of times) made.push(await this.#tried(record, ofTime(name, each), ctx))
    // A function takes time. If the schedule was changed meanwhile, the ticket of the change handles these times.
    if (record.event === null) await book.refresh()
    if (this.#current(name, revision) === undefined) return
    let problem: string | null = null
    for (const [index, each] of times.entries())
      problem = (await this.#publish(record, ofTime(name, each), made[index] as Made | Failed, ctx)) ?? problem
    const last = times.at(-1)
    const { chain } = record
    if (last !== undefined)
      await ctx.emit(schedulesChannel, ranEvent({ name, chain, timeMs: last, atMs: now, problem }))
    await this.#emitTicket(record, nextMs, ctx, nextMs === timeMs ? early + 1 : 0)
  }

  async #emitTicket(
    { name, revision, timing, event }: ScheduleRecord,
    timeMs: number | null,
    ctx: HandlerContext,
    early = 0,
  ): Promise<void> {
    if (timeMs === null) return
    const at = Math.min(dueOf(name, timing, timeMs), this.#host.nowMs() + AHEAD_MS_MAX)
    await ctx.emit(queueOf({ name, event }), ticketEvent({ name, revision, timeMs, early }), { at })
  }

  /** The event of a time, or why there is none. A function is not called again after a failed attempt at the ticket. */
  async #tried(record: ScheduleRecord, ticket: SingleTicket, ctx: HandlerContext): Promise<Made | Failed> {
    if (ctx.attempt > 1) return { problem: 'an attempt failed' }
    try {
      return await this.#make(record, ticket)
    } catch (error) {
      return { problem: messageOf(error) }
    }
  }

  /** If the event could not be made, or cannot be stored, a single ticket takes over. Returns why. */
  async #publish(
    record: ScheduleRecord,
    ticket: SingleTicket,
    made: Made | Failed,
    ctx: HandlerContext,
  ): Promise<string | null> {
    let problem: string
    if ('problem' in made) ({ problem } = made)
    else
      try {
        await ctx.emit(made.channel, made.event as never)
        return null
      } catch (error) {
        problem = messageOf(error)
      }
    await ctx.emit(queueOf(record), singleEvent(ticket))
    return problem
  }

  async #single(ticket: SingleTicket, ctx: HandlerContext): Promise<void> {
    const { book } = this.#host
    const record = book.find(ticket.name)
    if (record === undefined) return
    // Its function may end the process: then no attempt has thrown.
    if (ctx.attempt > SINGLE_ATTEMPTS) return ctx.reject('its workers died, or its attempts failed, too often')
    if (record.event === null && this.#functionFor(record) === undefined) return this.#handOn(record, ticket, ctx)
    try {
      const made = await this.#make(record, ticket)
      if (record.event === null) await book.refresh()
      const current = book.find(ticket.name)
      // A function takes time: the schedule may have been removed meanwhile, or moved.
      if (current === undefined) return
      if (queueOf(current).name === queueOf(record).name && current.channel === record.channel)
        return await ctx.emit(made.channel, made.event as never)
    } catch (error) {
      if (ctx.attempt >= SINGLE_ATTEMPTS) return ctx.reject(error)
      throw error
    }
    await this.#handOn(book.get(ticket.name), ticket, ctx)
  }

  /** Put the ticket back for a process that has the function for the schedule's channel. This is no failed attempt. */
  async #handOn(record: ScheduleRecord, ticket: SingleTicket, ctx: HandlerContext): Promise<void> {
    const { name, channel } = record
    const handedOn = (ticket.handedOn ?? 0) + 1
    if (handedOn > HANDED_ON_MAX) return ctx.reject(`no process has the function of "${name}" for channel "${channel}"`)
    const at = this.#host.nowMs() + Math.min(HANDED_ON_MS_MAX, 500 * 2 ** Math.min(handedOn, 10))
    await ctx.emit(queueOf(record), singleEvent({ ...ticket, handedOn }), { at })
  }

  /** The function of the schedule, if the one of this process is for the channel that the schedule has now. */
  #functionFor({ name, channel }: ScheduleRecord): FunctionOfSchedule | undefined {
    const own = this.#host.functionOf(name)
    return own !== undefined && nameOf(own.channel, 'channel') === channel ? own : undefined
  }

  async #make(record: ScheduleRecord, ticket: SingleTicket): Promise<Made> {
    const { name, event, channel } = record
    const { timeMs, manual } = ticket
    if (event !== null) return { channel, event: scheduledEvent(event, ticket) }
    const own = this.#functionFor(record)
    if (own === undefined) throw new Error(`this process has no function of "${name}" for channel "${channel}"`)
    const made = (await own.make({ schedule: name, time: new Date(timeMs), manual })) as Encodable
    return { channel: own.channel, event: scheduledEvent(made, ticket) }
  }
}

/** An event, and the channel that it is for. */
interface Made {
  readonly channel: Channel | string
  readonly event: Encodable
}

/** Why there is no event. */
interface Failed {
  readonly problem: string
}

function ofTime(name: string, timeMs: number): SingleTicket {
  return { name, timeMs, id: eventIdOf(name, timeMs), manual: false }
}
