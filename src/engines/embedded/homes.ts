/**
 * Where the state of consumers is on the embedded engine: one home for each consumer in each stream, and one for each
 * queue. The file also owns the cursors. The cursor of a stopped consumer is kept once it was used.
 */
import type { Clock } from '../../base/clock.ts'
import type { ConsumerPause } from '../../broker/description.ts'
import type { Bounds, ConsumerSpec } from '../../broker/engine.ts'
import type { Position } from '../../broker/position.ts'
import {
  consumerKeys,
  fromFloat,
  fromJson,
  lastNumber,
  QUEUE_GROUP,
  toJson,
  under,
} from '../../delivery/consumer-records.ts'
import type { CarriedHomes, OpenRecords } from '../../delivery/consumers/carried-homes.ts'
import { clearedRecords } from '../../delivery/consumers/carried-state.ts'
import { type Elsewhere, type Home, type HomeState, inOrder, type OpenHome } from '../../delivery/consumers/homes.ts'
import { Cursor } from '../../delivery/cursor/cursor.ts'
import type { CursorHost } from '../../delivery/cursor-host.ts'
import type { Instance } from '../../delivery/dispatch/instance.ts'
import type { Block } from '../../event/block.ts'
import type { ChannelLog } from './channel-log.ts'
import type { Committer } from './committer.ts'
import { keys } from './records.ts'
import type { Store } from './store.ts'

export interface EmbeddedHome extends Home {
  readonly log: ChannelLog
}

export interface HomesParts {
  readonly store: Store<Block>
  readonly committer: Committer
  readonly clock: Clock
  readonly logs: ReadonlyMap<string, ChannelLog>
  readonly instances: ReadonlySet<Instance>
  readonly cursorHost: CursorHost
  /** Called after a cursor was made. */
  made(cursor: Cursor, log: ChannelLog): void
  /** @throws UNKNOWN_CHANNEL */
  log(name: string): ChannelLog
  /** @throws CLOSED */
  open(): void
  /** The states that consumers keep (clause 19). */
  readonly states: {
    kept(consumer: string): boolean
    /** Delete all states of the consumer, in this turn. `again`: it begins to keep new ones. */
    drop(consumer: string, again: boolean): void
  }
}

export class EmbeddedHomes implements CarriedHomes<EmbeddedHome> {
  readonly #parts: HomesParts
  readonly #cursors = new Map<string, Cursor>()

  constructor(parts: HomesParts) {
    this.#parts = parts
  }

  get cursors(): Iterable<Cursor> {
    return this.#cursors.values()
  }

  /** The cursor of a consumer, or of a queue's workers, in a channel. A cursor without records begins at `from`. */
  cursor(group: string, log: ChannelLog, from: Position): Cursor {
    const key = `${group}/${log.id}`
    let cursor = this.#cursors.get(key)
    if (cursor === undefined) {
      cursor = new Cursor(group, log, this.#parts.cursorHost, from)
      this.#cursors.set(key, cursor)
      this.#parts.made(cursor, log)
    }
    return cursor
  }

  /** The offset below which the group has settled everything; null if the group has never begun. */
  floorOf(group: string, log: ChannelLog): number | null {
    const cursor = this.#cursors.get(`${group}/${log.id}`)
    const saved = cursor === undefined ? this.#parts.store.get(consumerKeys.cursor(group, log.id)) : undefined
    return cursor?.done.floor ?? (saved === undefined ? null : fromFloat(saved))
  }

  /** Let an instance work on a channel. */
  attach(instance: Instance, log: ChannelLog, from: Position): void {
    const isQueue = log.spec.kind === 'queue'
    if (isQueue) this.#parts.committer.record(keys.worker(log.id, instance.spec.name), Buffer.alloc(0))
    this.cursor(isQueue ? QUEUE_GROUP : instance.spec.name, log, isQueue ? { at: 'beginning' } : from).attach(instance)
  }

  /**
   * The other consumer that works on a queue, where one of the two has a key of its own: they cannot share the queue.
   * Null where they can, or there is no other.
   */
  sharesQueue(spec: Pick<ConsumerSpec, 'name' | 'keyOf'>, log: ChannelLog): string | null {
    if (log.spec.kind !== 'queue') return null
    const others = [...this.#parts.instances].filter(
      (instance) => instance.spec.name !== spec.name && [...instance.cursors].some((cursor) => cursor.log === log),
    )
    const other = others.find((instance) => spec.keyOf !== undefined || instance.spec.keyOf !== undefined)
    return other?.spec.name ?? null
  }

  /** The channel is removed, with everything that consumers have settled in it. */
  removeChannel(log: ChannelLog): void {
    for (const cursor of [...this.#cursors.values()]) {
      if (cursor.log === log) cursor.detachAll()
    }
    for (const home of this.#all(null)) if (home.log === log) this.clear(home)
  }

  /** Delete all records of a home. */
  clear({ group, log }: Pick<EmbeddedHome, 'group' | 'log'>): void {
    for (const [key] of clearedRecords(this.#parts.store, group, log.id)) this.#parts.committer.record(key, null)
    this.forget(group, log)
  }

  /** Drop the cursor. It is made again from its records when it is needed. */
  forget(group: string, log: ChannelLog): void {
    const cursor = this.#cursors.get(`${group}/${log.id}`)
    if (cursor !== undefined) log.listeners.delete(cursor)
    this.#cursors.delete(`${group}/${log.id}`)
  }

  get clock(): Clock {
    return this.#parts.clock
  }

  async look(): Promise<void> {
    this.#parts.open()
  }

  get declared(): readonly string[] {
    return [...this.#parts.logs.keys()]
  }

  async of(consumer: string): Promise<readonly EmbeddedHome[]> {
    this.#parts.open()
    // The record of a worker may not be committed yet.
    const working = new Set(this.here(consumer).flatMap(({ cursors }) => [...cursors].map(({ log }) => log.name)))
    const queues = [...this.#parts.logs.values()].filter(
      ({ spec, id }) =>
        spec.kind === 'queue' &&
        (working.has(spec.name) || this.#parts.store.get(keys.worker(id, consumer)) !== undefined),
    )
    return inOrder([...this.#all(consumer), ...queues.map((log) => homeOf(QUEUE_GROUP, log))])
  }

  async list(): Promise<readonly EmbeddedHome[]> {
    return this.#all(null)
  }

  /** A consumer is known by its records: only its state is left. */
  async removed(consumer: string): Promise<void> {
    this.#parts.states.drop(consumer, false)
    await this.flushed()
  }

  async keepsState(consumer: string): Promise<boolean> {
    return this.#parts.states.kept(consumer)
  }

  resetState(consumer: string): void {
    this.#parts.states.drop(consumer, true)
  }

  #all(group: string | null): EmbeddedHome[] {
    const byId = new Map([...this.#parts.logs.values()].map((log) => [log.id, log]))
    const found = new Map<string, EmbeddedHome>()
    const add = (of: string, log: ChannelLog | undefined): void => {
      if (log !== undefined) found.set(`${of}/${log.id}`, homeOf(of, log))
    }
    for (const [key] of this.#parts.store.range(...under(group === null ? 'g/' : `g/${group}/`)))
      add(key.slice(2, key.lastIndexOf('/')), byId.get(lastNumber(key)))
    // The records of a cursor in memory may not be committed yet.
    for (const cursor of this.#cursors.values())
      if (group === null || group === cursor.group) add(cursor.group, byId.get(cursor.log.id))
    return [...found.values()]
  }

  async read({ group, log }: EmbeddedHome): Promise<HomeState> {
    return {
      records: this.#parts.store,
      cursor: this.#cursors.get(`${group}/${log.id}`) ?? null,
      workers: group === QUEUE_GROUP ? this.workers(log) : [],
      unsent: 0,
      pending: async (from) => Math.max(0, log.committed - Math.max(from, log.first)),
      storedAtMs: async (from) => {
        const block = log.blockInMemory(from) ?? (await log.cache(from))
        return block?.timeAt(from - block.firstOffset) ?? null
      },
    }
  }

  /** The names of the consumers that have worked on a queue. */
  workers(log: ChannelLog): string[] {
    const prefix = keys.worker(log.id, '')
    const names = new Set(this.#parts.store.range(...under(prefix)).map(([key]) => key.slice(prefix.length)))
    for (const { spec, cursors } of this.#parts.instances)
      for (const cursor of cursors) if (cursor.log === log) names.add(spec.name)
    return [...names].sort()
  }

  flushed(): Promise<void> {
    return this.#parts.committer.flushed()
  }

  async change({ group, log }: EmbeddedHome, change: (open: OpenHome) => Promise<void>): Promise<void> {
    await change({
      cursor: this.cursor(group, log, { at: 'beginning' }),
      flushed: () => this.flushed(),
      forgetWorker: (consumer) => this.#parts.committer.record(keys.worker(log.id, consumer), null),
    })
  }

  remove(home: EmbeddedHome): Promise<void> {
    this.clear(home)
    return this.flushed()
  }

  async seek({ log }: EmbeddedHome, position: Position): Promise<number> {
    return log.seek(position)
  }

  async bounds(channel: string): Promise<Bounds> {
    const { first, committed } = this.#parts.log(channel)
    return { first, next: committed }
  }

  here(consumer: string): readonly Instance[] {
    return [...this.#parts.instances].filter(({ spec }) => spec.name === consumer)
  }

  /** Returns none: other processes work through this engine. */
  async elsewhere(): Promise<readonly Elsewhere[]> {
    return []
  }

  pauseOf(consumer: string): ConsumerPause | null {
    const saved = this.#parts.store.get(keys.pause(consumer))
    // Earlier versions stored no name.
    return saved === undefined ? null : { by: null, ...fromJson<Omit<ConsumerPause, 'by'>>(saved) }
  }

  get paused(): readonly string[] {
    const prefix = keys.pause('')
    return this.#parts.store.range(...under(prefix)).map(([key]) => key.slice(prefix.length))
  }

  async setPause(consumer: string, pause: ConsumerPause | null): Promise<void> {
    this.#parts.committer.record(keys.pause(consumer), pause === null ? null : toJson(pause))
    await this.flushed()
    for (const instance of this.here(consumer)) instance.suspend(pause !== null)
  }

  async logs(channel: string, group: string): Promise<readonly EmbeddedHome[]> {
    return [homeOf(group, this.#parts.log(channel))]
  }

  logOf(channel: string): number {
    return this.#parts.log(channel).id
  }

  async logAt(channel: string): Promise<number> {
    return this.#parts.log(channel).id
  }

  async endOf({ log }: EmbeddedHome): Promise<number> {
    return log.committed
  }

  /** A channel has one log, so settled offsets need no joining, and nothing calls this. */
  async *offsets(): AsyncGenerator<number> {}

  async put(
    { group, log }: EmbeddedHome,
    _consumers: readonly string[],
    change: (open: OpenRecords) => void,
  ): Promise<boolean> {
    const { committer, store } = this.#parts
    if (this.#cursors.get(`${group}/${log.id}`)?.hasInstances === true) return false
    await this.flushed()
    this.forget(group, log)
    change({
      records: store,
      write: (key, value) => committer.record(key, value),
      addWorker: (consumer) => committer.record(keys.worker(log.id, consumer), Buffer.alloc(0)),
    })
    await this.flushed()
    return true
  }
}

function homeOf(group: string, log: ChannelLog): EmbeddedHome {
  return { group, channel: log.spec, logId: log.id, log }
}
