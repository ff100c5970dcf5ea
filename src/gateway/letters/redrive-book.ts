/**
 * The redrives of a broker, stored in its channels: `$redrives.queue` holds the jobs that are not done, and `$redrives`
 * keeps the latest state of each, and the wishes to stop one. So redrives survive restarts, every process shows the
 * same, and it is the same on every engine.
 */
import { randomUUID } from 'node:crypto'
import { isMillraceError } from '../../base/errors.ts'
import { isJsonObject } from '../../base/json-object.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Broker } from '../../broker/broker.ts'
import { engineOf } from '../../broker/engine-of.ts'
import type { From } from '../../broker/position.ts'
import { type Queue, queue, type Stream, stream } from '../../channel/channel.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import { event } from '../../event/event.ts'
import { RedriveTaken } from './redrive-job.ts'
import { initialState, type RedriveOrder, type RedriveState, stateIn } from './redrive-state.ts'

const SOURCE = '/millrace/gateway'
const STATE = 'redrive.state'
/** A process takes a job. States of the process before it that come later do not count. */
const TAKEN = 'redrive.taken'
const STOP = 'redrive.stop'
const ORDER = 'redrive.order'

const definitions = [STATE, TAKEN, STOP].map((type) => event(type))

const states: Stream = stream('$redrives', {
  events: definitions,
  key: redriveKey,
  retain: { latestByKey: true, age: '30d' },
  dedupe: false,
})

/** Jobs of one consumer run one after the other. */
export const redriveQueue: Queue = queue('$redrives.queue', {
  events: [event(ORDER)],
  key: ({ data }) => (data as RedriveOrder).plan.consumer,
  // Two gateways may order the same at once: `order` gives both events one id.
  dedupe: { age: '10m' },
})

/**
 * The latest event of each key is kept. Each process (`runner`) stores under keys of its own. So a late state never
 * replaces that of another process, and it stays known which processes ran the job before.
 */
export function redriveKey({ type, data }: { readonly type: string; readonly data?: unknown }): string {
  const { id, runner } = data as { readonly id: string; readonly runner?: string }
  return `${id} ${type} ${runner ?? ''}`
}

export class RedriveBook {
  readonly #broker: Broker
  /** By id, in the order in which they began. */
  readonly #states = new Map<string, RedriveState>()
  /** By id of the job: the name of its runner. */
  readonly #runners = new Map<string, string>()
  readonly #stops = new Set<string>()
  #next = 0
  #reading: Promise<void> = Promise.resolve()

  constructor(broker: Broker) {
    this.#broker = broker
  }

  get states(): ReadonlyMap<string, RedriveState> {
    return this.#states
  }

  /** Somebody asked to stop the job, as far as was read. */
  isStopped(id: string): boolean {
    return this.#stops.has(id)
  }

  /** Whether there have been redrives, so that some may wait in the queue. */
  async hasQueue(): Promise<boolean> {
    return (await engineOf(this.#broker).channel(redriveQueue.name)) !== undefined
  }

  /**
   * Resolves when the job will run, whatever happens to this process: with false if another job of the consumer was
   * ordered after the last one that is known here.
   */
  async order(order: RedriveOrder): Promise<boolean> {
    await this.#broker.declare(states, redriveQueue)
    const { consumer } = order.plan
    const last = [...this.#states.values()].filter(({ plan }) => plan.consumer === consumer).at(-1)
    const id = `${consumer} after ${last?.id ?? 'none'}`
    const event = { id, type: ORDER, data: order, source: SOURCE }
    const { duplicate } = await this.#broker.publish(redriveQueue, event as never)
    return !duplicate
  }

  /**
   * Take a job. Whatever the process before this one stored until now is in the state, and whatever it stores later
   * does not count: it finds that out before it does anything more.
   */
  async take(order: RedriveOrder): Promise<RedriveState> {
    const runner = randomUUID()
    await this.#publish(states, TAKEN, { id: order.id, runner })
    await this.refresh()
    const state = this.#states.get(order.id) ?? initialState(order)
    return { ...state, runner, runs: state.runs + 1 }
  }

  /** @throws RedriveTaken when another process took the job */
  async save(state: RedriveState): Promise<void> {
    await this.#publish(states, STATE, state)
    await this.refresh()
    if (this.#runners.get(state.id) !== state.runner) throw new RedriveTaken()
  }

  async stop(id: string, by: string): Promise<void> {
    this.#stops.add(id)
    await this.#publish(states, STOP, { id, by })
  }

  async #publish(channel: Stream | Queue, type: string, data: object): Promise<void> {
    await this.#broker.publish(channel, { type, data, source: SOURCE } as never)
  }

  /** Reads all events that are in `$redrives` now. */
  refresh(): Promise<void> {
    const reading = this.#reading.catch(() => undefined).then(() => this.#read())
    this.#reading = reading
    return reading
  }

  async #read(): Promise<void> {
    if ((await engineOf(this.#broker).channel(states.name)) === undefined) return
    try {
      await this.#applyFrom({ offset: this.#next })
    } catch (error) {
      if (!isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
      // Retention has removed events, so the channel begins at a later offset than the one that is read next.
      await this.#applyFrom('beginning')
    }
  }

  async #applyFrom(from: From): Promise<void> {
    for await (const stored of this.#broker.read(states.name, { from })) {
      this.#next = stored.offset + 1
      this.#apply(stored)
    }
  }

  #apply({ type, data }: StoredEvent): void {
    if (!isJsonObject(data) || typeof data['id'] !== 'string') return
    const { id, runner } = data
    if (type === STOP) this.#stops.add(id)
    else if (type === TAKEN && typeof runner === 'string') this.#runners.set(id, runner)
    else if (type === STATE && runner === this.#runners.get(id)) this.#keep(stateIn(data))
  }

  #keep(state: RedriveState | null): void {
    if (state === null || (this.#states.get(state.id)?.endedMs ?? null) !== null) return
    this.#states.set(state.id, state)
    if (state.endedMs === null) return
    this.#stops.delete(state.id)
    for (const [id, { endedMs }] of this.#states) {
      if (this.#states.size <= LIMITS.redriveKeptMax) break
      if (endedMs === null) continue
      this.#states.delete(id)
      this.#runners.delete(id)
    }
  }
}
