/**
 * A partition that this engine works on for a consumer, from the claim to the release: its consumer log, its log and
 * its cursor.
 */
import { nextTurn } from '../../base/timers.ts'
import { consumerKeys, toFloat, under } from '../../delivery/consumer-records.ts'
import { Cursor } from '../../delivery/cursor/cursor.ts'
import type { CursorHost } from '../../delivery/cursor-host.ts'
import type { Instance } from '../../delivery/dispatch/instance.ts'
import { DeadLetterStore, type DeadLetterStoreHost } from '../letters/dead-letter-store.ts'
import type { PartitionLog } from '../read/partition-log.ts'
import type { Ownership } from './ownership.ts'

/** The part of a cursor's host that all cursors of the engine share. */
export type SharedHost = Pick<
  CursorHost,
  'nowMs' | 'elapsedMs' | 'after' | 'at' | 'alone' | 'aloneDone' | 'alarm' | 'blockade'
>

export class OwnedPartition {
  readonly consumerLog: string
  readonly channel: string
  readonly partition: number
  readonly ownership: Ownership
  readonly cursor: Cursor
  readonly log: PartitionLog
  readonly #gone: (owned: OwnedPartition) => void
  /** Whether the partition has begun to give out events. */
  #begun = false
  #stopping: Promise<void> | null = null
  #releasing: Promise<void> | null = null

  private constructor(
    group: string,
    ownership: Ownership,
    log: PartitionLog,
    shared: SharedHost,
    letterStore: DeadLetterStoreHost,
    gone: (owned: OwnedPartition) => void,
  ) {
    this.consumerLog = ownership.consumerLog
    this.channel = log.name
    this.partition = log.id
    this.ownership = ownership
    this.log = log
    this.#gone = gone
    const letters = new DeadLetterStore(letterStore, ownership, group, log.name, log.id)
    letters.onStored = () => this.cursor.pumpSoon()
    const host: CursorHost = {
      ...shared,
      letters,
      get: (key) => letters.get(key),
      range: (from, to, limit) => letters.range(from, to, limit),
      write: (key, value) => letters.write(key, value),
      touch: (source) => ownership.touch(source),
      flushed: () => ownership.flushed(),
      // The consumer log has the consumer's begin before the cursor is created.
      seek: () => 0,
    }
    this.cursor = new Cursor(group, log, host, { at: 'beginning' })
  }

  /** Begin at the position in the consumer log. Without one, the consumer is new and begins at `from`. */
  static async begin(
    group: string,
    ownership: Ownership,
    log: PartitionLog,
    shared: SharedHost,
    letterStore: DeadLetterStoreHost,
    from: () => Promise<number>,
    gone: (owned: OwnedPartition) => void,
  ): Promise<OwnedPartition> {
    await log.refresh()
    const floor = consumerKeys.cursor(group, log.id)
    if (ownership.get(floor) === undefined) {
      const begin = toFloat(await from())
      ownership.write(floor, begin)
      ownership.write(consumerKeys.begin(group, log.id), begin)
      await ownership.flushed()
    }
    return new OwnedPartition(group, ownership, log, shared, letterStore, gone)
  }

  get begun(): boolean {
    return this.#begun
  }

  /** It gives out no more events. */
  get ending(): boolean {
    return this.#stopping !== null || this.ownership.over
  }

  /** Give events to these instances. */
  keep(instances: ReadonlySet<Instance>): void {
    if (this.ending) return
    this.#begun = true
    this.noteWorkers(instances)
    for (const instance of instances)
      if (!instance.closing && !this.cursor.isAttached(instance)) this.cursor.attach(instance)
  }

  /** The consumers that have worked on a queue are known by their records in it. */
  noteWorkers(instances: ReadonlySet<Instance>): void {
    if (this.log.spec.kind !== 'queue') return
    for (const { spec } of instances)
      if (this.ownership.get(`w/${spec.name}`) === undefined) this.ownership.write(`w/${spec.name}`, Buffer.from('{}'))
  }

  /** The consumers that have worked on the queue. */
  get workers(): string[] {
    return this.ownership.range(...under('w/')).map(([key]) => key.slice(2))
  }

  /** Give out no more events. Resolves when no event is in flight. */
  #stop(): Promise<void> {
    this.#stopping ??= this.#stopped()
    return this.#stopping
  }

  async #stopped(): Promise<void> {
    this.cursor.detachAll()
    const isOver = (): boolean => this.ownership.over || !this.cursor.hasDeliveries
    if (isOver()) return
    await new Promise<void>((resolve) => {
      let looking = false
      // However many events are settled in a turn, one look follows.
      const lookSoon = (): void => {
        if (looking) return
        looking = true
        nextTurn(() => {
          looking = false
          if (isOver()) resolve()
        })
      }
      this.cursor.onDeliveriesEnded(lookSoon)
      this.ownership.onOver = lookSoon
    })
  }

  /** Give out no more events. Release the consumer log when no event of the stripe is in flight. */
  release(stripe: readonly OwnedPartition[] = [this]): Promise<void> {
    this.#releasing ??= this.#release(stripe)
    return this.#releasing
  }

  async #release(stripe: readonly OwnedPartition[]): Promise<void> {
    await Promise.all(stripe.map((each) => each.#stop()))
    if (this.#begun && !this.ownership.over) this.cursor.end()
    this.ownership.touch(this.cursor.state)
    try {
      await this.ownership.release()
    } finally {
      this.drop()
    }
  }

  /** Another member owns it now: take away the events that are in flight. */
  lost(): void {
    this.cursor.evictAll()
    this.drop()
  }

  drop(): void {
    this.log.listeners.delete(this.cursor)
    this.#gone(this)
  }
}
