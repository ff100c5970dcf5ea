/**
 * The delivery room in a simulated engine: logs, records and time are simulated. One object is one life of the
 * engine, from start to crash.
 */

import { DueQueue } from '../../../src/base/due-queue.ts'
import type { DeadLetterQuery } from '../../../src/broker/description.ts'
import type { ConsumerSpec, DeliverySink } from '../../../src/broker/engine.ts'
import type { Position } from '../../../src/broker/position.ts'
import { consumerKeys, QUEUE_GROUP } from '../../../src/delivery/consumer-records.ts'
import { Cursor } from '../../../src/delivery/cursor/cursor.ts'
import { SuspectQueue } from '../../../src/delivery/cursor/suspect-queue.ts'
import type { CursorHost } from '../../../src/delivery/cursor-host.ts'
import { KeyTables } from '../../../src/delivery/dispatch/consumer-keys.ts'
import { Instance, type InstanceHost } from '../../../src/delivery/dispatch/instance.ts'
import { LeaseWatch } from '../../../src/delivery/dispatch/lease-watch.ts'
import { FlowTables } from '../../../src/delivery/flow/flow-tables.ts'
import { NO_STATES } from '../../../src/external-log/states.ts'
import type { ModelLog } from './account.ts'
import type { SimClock } from './sim-clock.ts'
import type { SimLog } from './sim-log.ts'
import type { SimStore } from './sim-store.ts'

export interface RoomHooks {
  /** A cursor was made: the consumer begins, or goes on, in a log. */
  opened(group: string, log: SimLog, floor: number): void
  alarm(error: unknown): void
}

export class Room {
  readonly clock: SimClock
  readonly store: SimStore
  readonly cursors: Map<string, Cursor> = new Map()
  readonly instances: Set<Instance> = new Set()
  readonly #logs: readonly SimLog[]
  readonly #hooks: RoomHooks
  readonly #due: DueQueue
  readonly #suspects: SuspectQueue
  readonly #leases: LeaseWatch
  readonly #host: CursorHost
  readonly #instanceHost: InstanceHost

  /** `claimsMs`: how long workers of the life before may claim their events; null where no worker is left. */
  constructor(logs: readonly SimLog[], store: SimStore, clock: SimClock, hooks: RoomHooks, claimsMs: number | null) {
    this.#logs = logs
    this.store = store
    this.clock = clock
    this.#hooks = hooks
    this.#due = new DueQueue(clock)
    this.#suspects = new SuspectQueue(() => store.flushed(), clock)
    this.#leases = new LeaseWatch(clock, this.instances)
    if (claimsMs !== null) this.#suspects.hold(claimsMs, (delayMs, task) => this.#due.after(delayMs, task))
    this.#host = {
      nowMs: () => clock.now(),
      elapsedMs: () => clock.elapsed(),
      get: (key) => store.get(key),
      range: (from, to, limit) => store.range(from, to, limit),
      write: (key, value) => store.write(key, value),
      touch: (source) => store.touch(source),
      flushed: () => store.flushed(),
      after: (delayMs, task) => clock.after(delayMs, task),
      at: (dueMs, task) => this.#due.add(dueMs, task),
      alone: (cursor, offset) => this.#suspects.add(cursor, offset),
      aloneDone: (cursor, offset) => this.#suspects.done(cursor, offset),
      alarm: (error) => hooks.alarm(error),
      seek: (log, position) => seek(log as SimLog, position),
    }
    this.#instanceHost = {
      clock,
      keys: new KeyTables(),
      flows: new FlowTables({ ...this.#host, clock, alarms: { raise: (code) => hooks.alarm(code) } }),
      states: NO_STATES,
      checkEmissions: () => undefined,
      emit: () => undefined,
      flushed: () => store.flushed(),
      closed: (instance) => {
        this.instances.delete(instance)
        return store.flushed()
      },
    }
    store.onStored = () => {
      for (const cursor of this.cursors.values()) cursor.pumpSoon()
    }
  }

  cursor(group: string, log: SimLog, from: Position): Cursor {
    const key = `${group}/${log.id}`
    let cursor = this.cursors.get(key)
    if (cursor === undefined) {
      const host = this.store.near ? { ...this.#host, letters: this.store.letters(group, log.id) } : this.#host
      cursor = new Cursor(group, log, host, from)
      this.cursors.set(key, cursor)
      if (cursor.state.interrupted) this.#suspects.restrict(cursor)
      this.#hooks.opened(group, log, cursor.done.floor)
    }
    return cursor
  }

  /** The channels of a consumer. */
  channels({ channels }: ConsumerSpec): SimLog[] {
    return this.#logs.filter(({ name }) => channels.includes(name))
  }

  /** The cursors of a consumer, whether it runs or not. */
  cursorsOf(spec: ConsumerSpec): Cursor[] {
    return this.channels(spec).flatMap((log) => {
      const group = groupOf(spec, log)
      const began = this.cursors.has(`${group}/${log.id}`) || this.store.durable.has(consumerKeys.cursor(group, log.id))
      return began ? [this.cursor(group, log, { at: 'end' })] : []
    })
  }

  subscribe(spec: ConsumerSpec, sink: DeliverySink, begun: (instance: Instance) => void): Instance {
    const instance = new Instance(spec, sink, this.#instanceHost)
    for (const log of this.channels(spec))
      this.cursor(groupOf(spec, log), log, log.spec.kind === 'queue' ? { at: 'beginning' } : spec.from).attach(instance)
    this.instances.add(instance)
    void this.store.flushed().then(() => {
      instance.begin()
      this.#leases.watch()
      begun(instance)
    })
    return instance
  }

  async settleLetters(spec: ConsumerSpec, query: DeadLetterQuery, how: 'redrive' | 'drop'): Promise<number> {
    let count = 0
    for (const cursor of this.cursorsOf(spec)) {
      const limited = query.limit === undefined ? query : { ...query, limit: query.limit - count }
      const result = await cursor.box[how](spec.name, limited)
      count += result.count
      cursor.wake(result.keys)
    }
    return count
  }

  /** The process of the engine is gone. */
  end(): void {
    this.#due.close()
  }
}

export function groupOf(spec: ConsumerSpec, log: Pick<ModelLog, 'spec'>): string {
  return log.spec.kind === 'queue' ? QUEUE_GROUP : spec.name
}

export function seek(log: SimLog, position: Position): number {
  if ('at' in position) return position.at === 'beginning' ? log.first : log.committed
  if ('timeMs' in position) return log.first
  return Math.max(log.first, Math.min(position.offset, log.committed))
}
