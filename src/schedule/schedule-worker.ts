/**
 * Works on the tickets of schedules. The only state is what is stored: any number of processes work on the same
 * tickets, and the engine gives each ticket to one of them.
 */
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
/** Attempts at one event. A ticket that goes on is tried for ever, because without it the schedule would end. */
const SINGLE_ATTEMPTS = 8

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
    // A second ticket of a time that was handled already: the chain goes on with the other one.
    if (record === undefined || timeMs <= book.handledMs(record)) return
    const now = nowMs()
    const { times, nextMs } = turnAt(name, record.timing, timeMs, now)
    let problem: string | null = null
    for (const each of times) problem = (await this.#publish(record, each, ctx)) ?? problem
    const last = times.at(-1)
    if (last !== undefined) await ctx.emit(schedulesChannel, ranEvent({ name, timeMs: last, atMs: now, problem }))
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

  /**
   * The event of a time. If it cannot be made or stored, or an earlier attempt at this ticket failed, a single ticket
   * takes over, so that the schedule goes on. Returns why.
   */
  async #publish(record: ScheduleRecord, timeMs: number, ctx: HandlerContext): Promise<string | null> {
    const { name } = record
    const ticket = { name, timeMs, id: eventIdOf(name, timeMs), manual: false }
    let problem = 'an attempt failed'
    if (ctx.attempt === 1) {
      try {
        await this.#emit(record, ticket, ctx)
        return null
      } catch (error) {
        problem = messageOf(error)
      }
    }
    await ctx.emit(queueOf(record), singleEvent(ticket))
    return problem
  }

  async #single(ticket: SingleTicket, ctx: HandlerContext): Promise<void> {
    const record = this.#host.book.find(ticket.name)
    if (record === undefined) return
    // Its function may end the process: then no attempt has thrown.
    if (ctx.attempt > SINGLE_ATTEMPTS) return ctx.reject('its workers died, or its attempts failed, too often')
    try {
      await this.#emit(record, ticket, ctx)
    } catch (error) {
      if (ctx.attempt >= SINGLE_ATTEMPTS) return ctx.reject(error)
      throw error
    }
  }

  async #emit(record: ScheduleRecord, ticket: SingleTicket, ctx: HandlerContext): Promise<void> {
    const { name, event } = record
    const { timeMs, manual } = ticket
    if (event !== null) return ctx.emit(record.channel, scheduledEvent(event, ticket) as never)
    const own = this.#host.functionOf(name)
    if (own === undefined) throw new Error(`this process has no function for schedule "${name}"`)
    const made = (await own.make({ schedule: name, time: new Date(timeMs), manual })) as Encodable
    await ctx.emit(own.channel, scheduledEvent(made, ticket) as never)
  }
}
