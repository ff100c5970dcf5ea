/**
 * One cursor without an engine: its log keeps no blocks in memory, its records are in a map, and the test settles the
 * deliveries.
 */
import { type Clock, systemClock } from '../../src/base/clock.ts'
import type { EncodedEvent } from '../../src/broker/encoded-event.ts'
import type { Delivery } from '../../src/broker/engine.ts'
import type { Failure } from '../../src/broker/failure.ts'
import { Cursor } from '../../src/delivery/cursor/cursor.ts'
import type { CursorHost } from '../../src/delivery/cursor-host.ts'
import type { DeliveryLog, EventBlock, LogListener } from '../../src/delivery/delivery-log.ts'
import { KeyTables } from '../../src/delivery/dispatch/consumer-keys.ts'
import { Instance } from '../../src/delivery/dispatch/instance.ts'
import { NO_STATES } from '../../src/external-log/states.ts'

export const FAILED: Failure = { name: 'Error', message: 'failed', kind: 'error' }

class OneEvent implements EventBlock {
  readonly firstOffset: number
  readonly count = 1
  readonly #event: EncodedEvent

  constructor(firstOffset: number, event: EncodedEvent) {
    this.firstOffset = firstOffset
    this.#event = event
  }

  at(): EncodedEvent {
    return this.#event
  }

  timeAt(): number {
    return 0
  }

  typeAt(): string {
    return this.#event.type
  }

  holes(): number {
    return 0
  }
}

/**
 * A log in which every event is a block of its own. A block is in memory when it is committed, and after `cache` read
 * it until the next.
 */
export class SlowLog implements DeliveryLog {
  readonly id: number
  readonly name: string
  readonly spec = { kind: 'stream' } as const
  first = 0
  committed = 0
  readonly listeners: Set<LogListener> = new Set()
  readonly #blocks: OneEvent[] = []
  #near: OneEvent | undefined

  constructor(id: number, name: string) {
    this.id = id
    this.name = name
  }

  append(...keys: (string | null)[]): void {
    for (const key of keys) {
      const offset = this.committed
      const block = new OneEvent(offset, { id: `id-${offset}`, type: 't', key, text: '{}' })
      this.#blocks.push(block)
      this.committed++
      for (const listener of [...this.listeners]) listener.onCommitted(block)
    }
  }

  superseded(): boolean {
    return false
  }

  blockInMemory(offset: number): EventBlock | undefined {
    return this.#near?.firstOffset === offset ? this.#near : undefined
  }

  async load(offset: number): Promise<EventBlock[]> {
    return this.#blocks.slice(offset, offset + 10)
  }

  async cache(offset: number): Promise<EventBlock | undefined> {
    await new Promise((resolve) => setImmediate(resolve))
    this.#near = this.#blocks[offset]
    return this.#near
  }
}

export class CursorWorld {
  readonly log: SlowLog
  readonly cursor: Cursor
  readonly instance: Instance
  readonly records: Map<string, Uint8Array> = new Map()
  readonly alarms: unknown[] = []
  /** The deliveries that the instance holds, in their order. */
  readonly deliveries: Delivery[] = []
  /** The offsets of all deliveries so far. */
  readonly given: number[] = []
  /** Called before the instance takes deliveries. */
  taking = (): void => undefined

  constructor(
    options: {
      readonly credit?: number
      readonly perKey?: number
      readonly clock?: Pick<Clock, 'now' | 'elapsed'>
      /** Whether the instance has its subscription at once. */
      readonly begin?: boolean
    } = {},
  ) {
    this.log = new SlowLog(1, 'orders')
    const clock = options.clock ?? { now: () => performance.now(), elapsed: () => performance.now() }
    this.cursor = new Cursor('worker', this.log, this.#host(clock), { at: 'beginning' })
    this.instance = this.#instance(options.credit ?? 10, options.perKey ?? 1, clock)
    this.cursor.attach(this.instance)
    if (options.begin !== false) this.instance.begin()
  }

  #host(clock: Pick<Clock, 'now' | 'elapsed'>): CursorHost {
    return {
      nowMs: () => clock.now(),
      elapsedMs: () => clock.elapsed(),
      get: (key) => this.records.get(key),
      range: (from, to, limit) =>
        [...this.records]
          .filter(([key]) => key >= from && key < to)
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .slice(0, limit),
      write: (key, value) => void (value === null ? this.records.delete(key) : this.records.set(key, value)),
      touch: () => undefined,
      flushed: () => Promise.resolve(),
      after: systemClock.after,
      at: (dueMs, task) => {
        const timer = setTimeout(task, dueMs - performance.now())
        return () => clearTimeout(timer)
      },
      alone: (cursor, offset) => cursor.runAlone(offset),
      aloneDone: () => undefined,
      alarm: (error) => void this.alarms.push(error),
      seek: () => 0,
    }
  }

  #instance(credit: number, perKey: number, clock: Pick<Clock, 'now' | 'elapsed'>): Instance {
    const spec = {
      name: 'worker',
      channels: ['orders'],
      wants: [{ type: null, pattern: null }],
      from: { at: 'beginning' },
      onDead: null,
    } as const
    return new Instance(
      { ...spec, credit, perKey, leaseMs: 30_000, attemptsMax: 8, stallMs: 60_000 },
      {
        deliver: (deliveries) => {
          this.taking()
          this.deliveries.push(...deliveries)
          this.given.push(...deliveries.map(({ offset }) => offset))
        },
        passesOn: false,
        revoked: (deliveries) => {
          for (const delivery of deliveries) this.deliveries.splice(this.deliveries.indexOf(delivery), 1)
        },
      },
      {
        clock,
        keys: new KeyTables(),
        states: NO_STATES,
        checkEmissions: () => undefined,
        emit: () => undefined,
        flushed: () => Promise.resolve(),
        closed: () => Promise.resolve(),
      },
    )
  }

  /** Take a delivery, to settle it. */
  held(offset: number): Delivery {
    const index = this.deliveries.findIndex((delivery) => delivery.offset === offset)
    if (index < 0)
      throw new Error(`offset ${offset} is not delivered; these are: ${this.deliveries.map((each) => each.offset)}`)
    return this.deliveries.splice(index, 1)[0] as Delivery
  }

  complete(offset: number): void {
    this.instance.complete(this.held(offset), null)
  }

  retry(offset: number, delayMs: number): void {
    this.instance.retry(this.held(offset), delayMs, FAILED)
  }

  reject(offset: number): void {
    this.instance.deadLetter(this.held(offset), FAILED)
  }

  async redrive(): Promise<number> {
    const { count, keys } = await this.cursor.box.redrive('worker', {})
    this.cursor.wake(keys)
    return count
  }
}
