/**
 * `testBroker()`: a broker for unit tests, in memory. Time advances only when the test says so, and faults come from a
 * seed.
 */
import { MillraceError } from '../base/errors.ts'
import { nameOf } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { nextTurn, realNowMs } from '../base/timers.ts'
import { type Duration, durationMs, knownOptions, wholeNumber } from '../base/units.ts'
import type { Broker } from '../broker/broker.ts'
import { ConnectedBroker } from '../broker/connected-broker.ts'
import type { Channel } from '../channel/channel.ts'
import { Runner } from '../consumer/runner.ts'
import type { EmbeddedEngine } from '../engines/embedded/embedded-engine.ts'
import { openMemoryEngine } from '../engines/embedded/open.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { decodeEvent } from '../event/encode.ts'
import { noteMadeNow } from '../event/made-now.ts'
import { BrokerSchedules } from '../schedule/schedules.ts'
import { checkedFaults, type Faults, type Handled, withFaults } from './faults.ts'
import { seededRandom } from './seeded-random.ts'
import { VirtualClock } from './virtual-clock.ts'

export interface TestBrokerOptions {
  /** The same seed gives the same faults and jitter. @default 1 */
  readonly seed?: number
  /** The initial time. @default 2026-01-01T00:00:00Z */
  readonly start?: Date
  readonly faults?: Faults
}

/** A broker whose time and faults the test controls. */
export interface TestBroker extends Broker {
  /** The broker's time. */
  readonly now: Date
  /**
   * Resolves when nothing is left to do at this time: everything is committed, no handler runs, nothing is due. Events
   * that wait for a batch to fill keep waiting.
   */
  settled(): Promise<void>
  /**
   * Move the time: everything that becomes due happens in order, and settles. It waits for running handlers. If a
   * handler does nothing for a quarter of a second of real time, it may itself be waiting for the broker's time, for
   * example for its time limit, so the time moves on.
   */
  advance(duration: Duration): Promise<void>
  /** Change the faults from now on. @throws INVALID_OPTION when a probability is not from 0 to 1 */
  inject(faults: Faults): void
  /** Events in a channel, oldest first. @throws as `read` */
  published(channel: Channel | string): Promise<StoredEvent[]>
  /** Events that a consumer has completed, in the order of completion, repetitions included. */
  handled(consumer: string | { readonly name: string }): StoredEvent[]
}

/** After this many turns of the event loop without activity, nothing more will happen. */
const QUIET_TURNS = 4
/** How long `advance` waits, in real time, for handlers that show no activity: they may wait for the broker's time. */
const PATIENCE_MS = 250

interface State {
  faults: Faults
  readonly handled: Handled[]
  readonly runners: Runner[]
}

noteMadeNow()

class VirtualBroker extends ConnectedBroker implements TestBroker {
  readonly #engine: EmbeddedEngine
  readonly #clock: VirtualClock
  readonly #state: State

  constructor(engine: EmbeddedEngine, clock: VirtualClock, state: State, random: () => number) {
    const faulty = withFaults(engine, {
      random,
      faults: () => state.faults,
      handled: (record) => state.handled.push(record),
      subscribed: (sink) => void (sink instanceof Runner && state.runners.push(sink)),
    })
    super(faulty, {
      source: '/test',
      random,
      stampMs: () => clock.now(),
      schedules: async (broker, core) => new BrokerSchedules(broker, core),
    })
    this.#engine = engine
    this.#clock = clock
    this.#state = state
  }

  get now(): Date {
    return new Date(this.#clock.now())
  }

  async settled(): Promise<void> {
    await this.#settle(null)
  }

  async advance(duration: Duration): Promise<void> {
    const until = this.#clock.now() + durationMs(duration, 'advance')
    let waiting = await this.#settle(0)
    while (this.#clock.nextOf(waiting > 0) <= until) {
      this.#clock.step(until, waiting > 0)
      waiting = await this.#settle(waiting)
    }
    this.#clock.step(until, waiting > 0)
    await this.#settle(waiting)
  }

  /** Events whose handlers run. Events that wait for a batch to fill do not count. */
  get #running(): number {
    return this.#state.runners.reduce((count, { gathered }) => count - gathered, this.#engine.inFlight)
  }

  /**
   * Resolves when nothing is left to do at this time. `waiting` is the number of handlers already known to wait: for
   * further ones it waits only until they also seem to wait. Returns how many handlers wait.
   */
  async #settle(waiting: number | null): Promise<number> {
    let running = -1
    let sinceMs = realNowMs()
    for (let quiet = 0; quiet < QUIET_TURNS; ) {
      while (this.#clock.nextMs <= this.#clock.now()) this.#clock.step(this.#clock.now())
      await new Promise<void>((resolve) => nextTurn(resolve))
      if (this.#engine.busy || this.#running !== running) {
        running = this.#running
        sinceMs = realNowMs()
        quiet = 0
      } else if (running <= (waiting ?? 0) || (waiting !== null && realNowMs() - sinceMs > PATIENCE_MS)) quiet++
      else quiet = 0
    }
    return running
  }

  inject(faults: Faults): void {
    this.#state.faults = checkedFaults(faults)
  }

  async published(channel: Channel | string): Promise<StoredEvent[]> {
    const events: StoredEvent[] = []
    for await (const event of this.read(channel)) events.push(event as StoredEvent)
    return events
  }

  handled(consumer: string | { readonly name: string }): StoredEvent[] {
    const name = nameOf(consumer, 'consumer')
    return this.#state.handled
      .filter((record) => record.consumer === name)
      .map(({ delivery }) => decodeEvent(delivery.text, delivery.offset))
  }
}

/**
 * A broker for unit tests. Nothing is durable, and time stands still until `advance`. With `faults` it simulates the
 * effects of crashes and redeliveries on handlers, always the same for the same seed. So a test shows whether a handler
 * is idempotent.
 *
 * @throws INVALID_OPTION when an option is wrong
 * @example
 * ```ts
 * import { consumer, event, stream } from 'millrace'
 * import { testBroker } from 'millrace/testing'
 *
 * const Paid = event('order.paid')
 * const orders = stream('orders', { events: [Paid] })
 * let total = 0
 * const books = consumer('books', orders).on(Paid, () => { total += 1 })
 *
 * const broker = testBroker({ seed: 42, faults: { redeliver: 1 } })
 * await broker.start(books)
 * await broker.publish(orders, Paid({ order: 1 }))
 * await broker.settled()
 * console.log(total) // 2: the handler counts an event twice when it comes twice
 * await broker.close()
 * ```
 */
export function testBroker(options: TestBrokerOptions = {}): TestBroker {
  knownOptions(options, ['seed', 'start', 'faults'], 'testBroker')
  const { start = new Date('2026-01-01T00:00:00Z'), seed = 1 } = options
  if (!(start instanceof Date) || !Number.isFinite(start.getTime())) {
    throw new MillraceError('INVALID_OPTION', `start of testBroker must be a valid Date; it is ${shown(start)}`, {
      option: 'start',
    })
  }
  wholeNumber(seed, 'seed', 0, Number.MAX_SAFE_INTEGER)
  const clock = new VirtualClock(start.getTime())
  return new VirtualBroker(
    openMemoryEngine({}, clock),
    clock,
    { faults: checkedFaults(options.faults ?? {}), handled: [], runners: [] },
    seededRandom(seed),
  )
}
