/** The schedules of a broker: changes and lists them, and runs them in this process. */
import { randomUUID } from 'node:crypto'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName, nameOf } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { knownOptions } from '../base/units.ts'
import type { Broker, Publishable, Stoppable } from '../broker/broker.ts'
import type { BrokerCore } from '../broker/engine-of.ts'
import type {
  MakeEvent,
  RunningSchedules,
  ScheduleChange,
  ScheduleDescription,
  Schedules,
  When,
} from '../broker/schedules.ts'
import type { Channel } from '../channel/channel.ts'
import type { Encodable } from '../event/encode.ts'
import { ScheduleBook } from './schedule-book.ts'
import {
  changedEvent,
  codeQueue,
  codeWorker,
  eventIdOf,
  queueOf,
  type ScheduleRecord,
  scheduledEvent,
  schedulesChannel,
  singleEvent,
} from './schedule-events.ts'
import { dataWorker, type FunctionOfSchedule, functionWorker, type WorkerHost } from './schedule-worker.ts'
import { timeAfter } from './times.ts'
import { sameTimes, type Timing, timingOf, whenOf } from './timing.ts'

/** What a change sets. */
interface Put {
  readonly name: string
  readonly timing: Timing
  readonly channel: string
  readonly event: Encodable | null
  readonly author: string
  readonly file?: ScheduleRecord['file']
}

export class BrokerSchedules implements Schedules {
  readonly book: ScheduleBook
  readonly #broker: Broker
  readonly #core: BrokerCore
  readonly #functions = new Map<string, FunctionOfSchedule>()
  /** The workers of this process: of schedules with events as data under the empty name. */
  readonly #workers = new Map<string, Promise<Stoppable>>()

  constructor(broker: Broker, core: BrokerCore) {
    this.#broker = broker
    this.#core = core
    this.book = new ScheduleBook(broker)
  }

  /** `broker.schedule()`: create or replace it, and run it in this process. */
  async schedule<C extends Channel | string>(
    name: string,
    when: When,
    channel: C,
    event: Publishable<C> | MakeEvent<C>,
  ): Promise<ScheduleDescription> {
    if (typeof event !== 'function') {
      const description = await this.put(name, when, channel, event as Publishable<C>)
      await this.#work('', () => dataWorker(this.#workerHost))
      return description
    }
    checkScheduleName(name)
    const timing = timingOf(when, name)
    await this.#core.encoder.prepare(channel)
    const put = { name, timing, channel: nameOf(channel, 'channel'), event: null, author: 'application' }
    const record = await this.#put(put)
    this.#functions.set(name, { channel, make: event as unknown as MakeEvent<never> })
    await this.#work('', () => dataWorker(this.#workerHost))
    await this.#work(name, () => functionWorker(name, this.#workerHost))
    return this.#described(record)
  }

  async put<C extends Channel | string>(
    name: string,
    when: When,
    channel: C,
    event: Publishable<C>,
    change: ScheduleChange = {},
  ): Promise<ScheduleDescription> {
    knownOptions(change, ['author'], 'a change of a schedule')
    return this.putData(name, when, channel, event as Encodable, change.author ?? 'application')
  }

  /** As `put`, also from a file. */
  async putData(
    name: string,
    when: When,
    channel: Channel | string,
    event: Encodable,
    author: string,
    file?: ScheduleRecord['file'],
  ): Promise<ScheduleDescription> {
    checkScheduleName(name)
    const timing = timingOf(when, name)
    const data = await this.#asData(name, channel, event)
    const put = { name, timing, channel: nameOf(channel, 'channel'), event: data, author, ...(file && { file }) }
    return this.#described(await this.#put(put))
  }

  /** The event as it is stored with the schedule. The channel checks it now, and again each time it is published. */
  async #asData(name: string, channel: Channel | string, event: Encodable): Promise<Encodable> {
    const { encoder } = this.#core
    await encoder.prepare(channel)
    if (typeof event !== 'object' || event === null)
      throw new MillraceError(
        'INVALID_EVENT',
        `schedule "${name}" needs an event, or a function that makes one; this is ${shown(event)}`,
        { channel: nameOf(channel, 'channel') },
      )
    const timeMs = 0
    const checked = { ...scheduledEvent(event, { name, timeMs, id: eventIdOf(name, timeMs) }), time: null }
    const to = nameOf(channel, 'channel')
    const { text, key } = await encoder.encode(to, checked)
    const {
      id: _id,
      specversion: _version,
      schedule: _name,
      scheduledtime: _time,
      ...data
    } = JSON.parse(text) as Record<string, unknown>
    // A key function is only in this process; another one publishes the event with the key that is stored.
    const isOfFunction = (await this.#core.engine.channel(to))?.key === 'function'
    return { ...data, ...(isOfFunction && key !== null && { partitionkey: key }) } as unknown as Encodable
  }

  async #put(put: Put): Promise<ScheduleRecord> {
    const { book } = this
    await book.refresh()
    const current = book.find(put.name)
    if (current !== undefined && isSame(current, put)) return current
    const nowMs = this.#core.engine.clock.now()
    const goesOn = current !== undefined && this.#isUnderWay(current) && sameTimes(current.timing, put.timing)
    const revision = randomUUID()
    const record: ScheduleRecord = {
      ...put,
      revision,
      ...(goesOn ? { fromMs: book.handledMs(current), chain: current.chain } : { fromMs: nowMs, chain: revision }),
      paused: current?.paused ?? null,
      removed: false,
      changedAtMs: nowMs,
    }
    if (!goesOn && timeAfter(put.timing, nowMs) === null)
      throw new MillraceError(
        'INVALID_OPTION',
        `schedule "${put.name}" would never publish: none of its times lies ahead`,
        { option: optionThatEnds(put.timing) },
      )
    if (current === undefined && book.all().length >= LIMITS.schedulesMax)
      throw new MillraceError(
        'INVALID_OPTION',
        `there are ${LIMITS.schedulesMax} schedules already: remove some, or publish events with delay or at instead`,
        { option: 'name' },
      )
    await this.#change(record)
    // The tickets of the schedule as it was are in the other queue.
    if (current?.event === null && put.event !== null) await this.#forgetFunction(put.name)
    return record
  }

  /** Whether the schedule has times that it has not handled. One that is over, or paused, counts from a change on. */
  #isUnderWay(record: ScheduleRecord): boolean {
    return record.paused === null && timeAfter(record.timing, this.book.handledMs(record)) !== null
  }

  async #change(record: ScheduleRecord): Promise<void> {
    await this.#broker.publish(schedulesChannel, changedEvent(record))
    await this.book.refresh()
  }

  async list(): Promise<ScheduleDescription[]> {
    await this.book.refresh()
    return this.book.all().map((record) => this.#described(record))
  }

  async get(name: string): Promise<ScheduleDescription> {
    return this.#described(await this.record(name))
  }

  /** @throws UNKNOWN_SCHEDULE */
  async record(name: string): Promise<ScheduleRecord> {
    await this.book.refresh()
    return this.book.get(name)
  }

  async pause(name: string, change: ScheduleChange & { readonly reason?: string } = {}): Promise<ScheduleDescription> {
    knownOptions(change, ['author', 'reason'], 'a change of a schedule')
    const { author = 'application', reason = null } = change
    if (reason !== null && (typeof reason !== 'string' || reason.length > LIMITS.reasonCharsMax))
      throw new MillraceError('INVALID_OPTION', `reason must be text of at most ${LIMITS.reasonCharsMax} characters`, {
        option: 'reason',
      })
    const record = await this.record(name)
    if (record.paused !== null && record.paused.reason === reason) return this.#described(record)
    const sinceMs = record.paused?.sinceMs ?? this.#core.engine.clock.now()
    return this.#changed(record, { paused: { sinceMs, reason }, author })
  }

  async resume(name: string, change: ScheduleChange = {}): Promise<ScheduleDescription> {
    knownOptions(change, ['author'], 'a change of a schedule')
    const record = await this.record(name)
    if (record.paused === null) return this.#described(record)
    const fromMs = this.#core.engine.clock.now()
    return this.#changed(record, { paused: null, fromMs, chain: randomUUID(), author: change.author ?? 'application' })
  }

  async #changed(record: ScheduleRecord, change: Partial<ScheduleRecord>): Promise<ScheduleDescription> {
    const changedAtMs = this.#core.engine.clock.now()
    const changed = { ...record, ...change, revision: randomUUID(), changedAtMs }
    await this.#change(changed)
    return this.#described(changed)
  }

  async remove(name: string, change: ScheduleChange = {}): Promise<void> {
    knownOptions(change, ['author'], 'a change of a schedule')
    const record = await this.record(name)
    await this.#changed(record, { removed: true, author: change.author ?? 'application' })
    if (record.event === null) await this.#forgetFunction(name)
  }

  /** Remove the queue of a function, unless other processes still work on it. */
  async #forgetFunction(name: string): Promise<void> {
    this.#functions.delete(name)
    const worker = this.#workers.get(name)
    this.#workers.delete(name)
    await (await worker)?.stop()
    try {
      await this.#broker.consumer(codeWorker(name)).remove()
      await this.#broker.channel(codeQueue(name)).remove()
    } catch (error) {
      if (!isMillraceError(error) || error.retryable) throw error
    }
  }

  async run(name: string): Promise<{ readonly id: string }> {
    const record = await this.record(name)
    const timeMs = this.#core.engine.clock.now()
    const id = `${name}/run/${randomUUID()}`
    const queue = queueOf(record)
    await this.#broker.publish(queue, singleEvent({ name, timeMs, id, manual: true }))
    return { id }
  }

  async start(): Promise<RunningSchedules> {
    const running = await this.#work('', () => dataWorker(this.#workerHost))
    return { stop: async () => void (await running.stop()), done: running.done }
  }

  get #workerHost(): WorkerHost {
    return {
      book: this.book,
      nowMs: () => this.#core.engine.clock.now(),
      functionOf: (name) => this.#functions.get(name),
    }
  }

  /** One worker of a name runs in this process. */
  #work(name: string, make: () => Parameters<Broker['start']>[0]): Promise<Stoppable> {
    let worker = this.#workers.get(name)
    if (worker === undefined) {
      worker = this.#broker.start(make())
      this.#workers.set(name, worker)
      const gone = (): void => {
        if (this.#workers.get(name) === worker) this.#workers.delete(name)
      }
      worker.then(({ done }) => done.then(gone, gone), gone)
    }
    return worker
  }

  #described(record: ScheduleRecord): ScheduleDescription {
    const { name, channel, event, timing, paused, author, changedAtMs } = record
    const ran = this.book.ran(name)
    const nextMs = paused === null ? timeAfter(timing, this.book.handledMs(record)) : null
    return {
      name,
      channel,
      type: event?.type ?? null,
      when: whenOf(timing),
      paused: paused === null ? null : { since: new Date(paused.sinceMs), reason: paused.reason },
      next: nextMs === null ? null : new Date(nextMs),
      last: ran === null ? null : { time: new Date(ran.timeMs), at: new Date(ran.atMs), problem: ran.problem },
      author,
      changedAt: new Date(changedAtMs),
    }
  }
}

function checkScheduleName(name: unknown): string {
  const checked = checkName(name, 'schedule')
  if (checked.length <= LIMITS.scheduleNameCharsMax) return checked
  throw new MillraceError(
    'INVALID_NAME',
    `the name of a schedule has at most ${LIMITS.scheduleNameCharsMax} characters; this one has ${checked.length}`,
    { name: checked, of: 'schedule' },
  )
}

/** The option because of which no time lies ahead. */
function optionThatEnds(timing: Timing): keyof When {
  if ('atMs' in timing) return 'at'
  return 'cron' in timing && timing.untilMs === null ? 'cron' : 'until'
}

/** Whether the schedule is as given already. A change that comes from a file also says which content it has. */
function isSame(current: ScheduleRecord, { timing, channel, event, file }: Put): boolean {
  const text = (value: unknown): string =>
    JSON.stringify(value, (_, each: unknown) =>
      typeof each === 'object' && each !== null && !Array.isArray(each)
        ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
        : each,
    )
  return (
    text([current.timing, current.channel, current.event]) === text([timing, channel, event]) &&
    (file === undefined || file.digest === current.file?.digest)
  )
}
