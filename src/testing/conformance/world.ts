/**
 * The world of one scenario: its data, the brokers opened on it, and functions that wait.
 *
 * Invariants:
 * - Every broker and engine opened through it is closed when the scenario ends, also after a failure.
 * - Names are unique to the world, so that a harness can run every scenario against one shared server.
 * - Waits are for conditions, with a time limit.
 */
import { randomBytes } from 'node:crypto'
import type { Broker } from '../../broker/broker.ts'
import type { Engine } from '../../broker/engine.ts'

/** What a harness provides for one scenario. Every call works on the same data. */
export interface ConformanceWorld {
  /** A broker on this world's data. A call after `close()` opens the data again. */
  connect(): Promise<Broker>
  /** The engine itself, without a broker. Never called while a broker of this world is open. */
  openEngine?(): Promise<Engine>
  /**
   * End the open broker as `kill -9` would: nothing more is drained, closed or written. The next `connect()` finds what
   * was durable.
   */
  crash?(): Promise<void>
  /** The scenario is over: delete the data. */
  dispose?(): Promise<void>
}

/** The waiting times of a scenario. */
export interface Patience {
  /** How long a condition may take to become true. @default 20,000 */
  readonly eventuallyMs: number
  /** How long to wait for something that must not happen. @default 80 */
  readonly quietMs: number
}

export const PATIENCE: Patience = { eventuallyMs: 20_000, quietMs: 80 }

/** The longest wait for a scenario's brokers to close. */
const DISPOSE_MS_MAX = 1000

/** Wait in real time. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Repeat until `check` neither throws nor returns `false`. After the time limit, fail with its last error. */
export async function eventually<T>(check: () => T | Promise<T>, timeoutMs: number): Promise<Exclude<T, false>> {
  const end = performance.now() + timeoutMs
  for (let waitMs = 1; ; waitMs = Math.min(waitMs * 1.5, 25)) {
    let complaint: unknown
    try {
      const answer = await check()
      if (answer !== false) return answer as Exclude<T, false>
      complaint = new Error(`not true within ${timeoutMs} ms: ${check.toString().slice(0, 300)}`)
    } catch (error) {
      complaint = error
    }
    if (performance.now() > end) throw complaint
    await sleep(waitMs)
  }
}

export class World {
  readonly patience: Patience
  readonly #world: ConformanceWorld
  readonly #prefix = `c${randomBytes(4).toString('hex')}`
  #brokers: Broker[] = []
  #engines: Engine[] = []

  constructor(world: ConformanceWorld, patience: Patience) {
    this.#world = world
    this.patience = patience
  }

  /** A name for a channel or consumer that no other scenario uses. Dots and wildcards are kept. */
  name(base: string): string {
    return `${this.#prefix}.${base}`
  }

  async connect(): Promise<Broker> {
    const broker = await this.#world.connect()
    this.#brokers.push(broker)
    return broker
  }

  /** Close the broker and open the same data again. */
  async reopen(broker: Broker): Promise<Broker> {
    await broker.close()
    this.#brokers = this.#brokers.filter((each) => each !== broker)
    return this.connect()
  }

  /** End the open broker as `kill -9` would, and open the same data again. */
  async crash(): Promise<Broker> {
    if (this.#world.crash === undefined)
      throw new Error('this world cannot crash: the harness must list "crash" in `lacks`')
    await this.#world.crash()
    this.#brokers = []
    return this.connect()
  }

  async engine(): Promise<Engine> {
    if (this.#world.openEngine === undefined)
      throw new Error('this world has no engine to open: the harness must list "engine" in `lacks`')
    const engine = await this.#world.openEngine()
    this.#engines.push(engine)
    return engine
  }

  /** Wait until `check` neither throws nor returns `false`. */
  eventually<T>(check: () => T | Promise<T>): Promise<Exclude<T, false>> {
    return eventually(check, this.patience.eventuallyMs)
  }

  /** Wait long enough for something that must not happen. */
  quiet(times = 1): Promise<void> {
    return sleep(this.patience.quietMs * times)
  }

  async dispose(): Promise<void> {
    const closing = [...this.#brokers, ...this.#engines].map((each) => each.close().catch(() => undefined))
    // After a failure, handlers may wait for ever, and closing would drain them for long.
    await Promise.race([Promise.all(closing), sleep(DISPOSE_MS_MAX)])
    await this.#world.dispose?.()
  }
}
