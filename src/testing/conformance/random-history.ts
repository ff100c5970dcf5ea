/**
 * A random run from a seed: producers, a consumer whose instances start, stop and fail, and a second consumer that only
 * listens. The run is recorded as a history, drained at the end, and checked.
 */
import assert from 'node:assert/strict'
import type { Broker } from '../../broker/broker.ts'
import { consumer } from '../../consumer/consumer.ts'
import type { HandlerContext, Running } from '../../consumer/consumer-types.ts'
import { checkHistory } from '../history/check-history.ts'
import { HistoryRecorder } from '../history/recorder.ts'
import { idle, type Order, type OrderEvent, orderStream, Placed, placed, unkeyedStream } from './fixtures.ts'
import { type Random, randomFrom } from './random.ts'
import { sleep, type World } from './world.ts'

export interface RandomRun {
  readonly seed: number
  readonly producers: number
  readonly eventsEach: number
  readonly keys: number
  /** The probability that an attempt fails, before or after emitting. */
  readonly failing: number
  /** How often an instance is stopped and another one started. */
  readonly changes: number
  /** How often the broker is closed and opened again. */
  readonly reopenings: number
}

export class RandomHistory {
  readonly recorder: HistoryRecorder = new HistoryRecorder()
  readonly #world: World
  readonly #run: RandomRun
  readonly #random: Random
  readonly #orders: ReturnType<typeof orderStream>
  readonly #out: ReturnType<typeof unkeyedStream>
  #broker: Broker
  #instances: Running[] = []
  #started = 0

  constructor(world: World, broker: Broker, run: RandomRun) {
    this.#world = world
    this.#broker = broker
    this.#run = run
    this.#random = randomFrom(run.seed)
    this.#orders = orderStream(world.name('orders'))
    this.#out = unkeyedStream(world.name('out'))
  }

  /** Run, drain and check. */
  async check(): Promise<void> {
    const { producers, eventsEach, changes, reopenings, seed } = this.#run
    await this.#broker.declare(this.#orders, this.#out)
    await this.#startAll()
    for (let part = 0; part <= reopenings; part++) {
      const publishing = Promise.all(
        Array.from({ length: producers }, (_, at) =>
          this.#produce(`producer-${part}-${at}`, Math.ceil(eventsEach / (reopenings + 1))),
        ),
      )
      for (let change = 0; change < changes; change++) await this.#change()
      await publishing
      if (part < reopenings) await this.#reopen()
    }
    await this.#drain()
    const found = checkHistory(this.recorder.operations, { doneOnce: true })
    const shown = found
      .slice(0, 5)
      .map(
        (anomaly) =>
          `${anomaly.name}: ${anomaly.message}\n${anomaly.operations.map((each) => `    ${JSON.stringify(each)}`).join('\n')}`,
      )
    assert.equal(
      found.length,
      0,
      `seed ${seed}: ${found.length} anomalies in ${this.recorder.operations.length} operations\n${shown.join('\n')}`,
    )
  }

  async #produce(process: string, count: number): Promise<void> {
    for (let n = 0; n < count; ) {
      const batch = this.#random.chance(0.2) ? 1 + this.#random.below(5) : 1
      const sends = Array.from({ length: Math.min(batch, count - n) }, () => this.#send(process, n++))
      await Promise.all(sends)
      if (this.#random.chance(0.1)) await sleep(1)
    }
  }

  #send(process: string, n: number): Promise<unknown> {
    const key = `k${this.#random.below(this.#run.keys)}`
    const value = `${process}/${n}`
    return this.recorder.send({ process, channel: this.#orders.name, key, value }, () =>
      this.#broker.publish(this.#orders, Placed({ order: key, n, note: value })),
    )
  }

  async #handle(process: string, name: string, given: OrderEvent, ctx: HandlerContext): Promise<void> {
    const value = given.data.note ?? ''
    const { channel, key, offset, attempt, signal } = ctx
    const [before, after, pause] = [
      this.#random.chance(this.#run.failing),
      this.#random.chance(this.#run.failing),
      this.#random.below(3),
    ]
    await this.recorder.handle(
      { process, consumer: name, channel, key, offset, value, attempt },
      async () => {
        if (pause > 0) await sleep(pause - 1)
        if (before) throw new Error('by chance, before emitting')
        if (name !== this.#world.name('worker')) return
        const emitted = `${value}/emitted-${attempt}-by-${process}`
        this.recorder.note({
          action: 'emit',
          process,
          consumer: name,
          cause: value,
          attempt,
          channel: this.#out.name,
          key: null,
          value: emitted,
          slot: 'only',
        })
        await ctx.emit(this.#out, Placed({ order: 'out', n: given.data.n, note: emitted }))
        if (after) throw new Error('by chance, after emitting')
      },
      signal,
    )
  }

  async #start(name: string): Promise<Running> {
    const process = `instance-${this.#started++}`
    return this.#broker.start(
      consumer(name, this.#orders, { concurrency: 4, retry: { attempts: 1000, min: 1, max: 6 } }).on(
        Placed,
        (given, ctx) => this.#handle(process, name, given, ctx),
      ),
    )
  }

  async #startAll(): Promise<void> {
    this.#instances = [await this.#start(this.#world.name('worker')), await this.#start(this.#world.name('worker'))]
    await this.#start(this.#world.name('listener'))
  }

  /** One instance stops, and another one starts. */
  async #change(): Promise<void> {
    await sleep(this.#random.below(20))
    const [leaving] = this.#instances.splice(this.#random.below(this.#instances.length), 1)
    this.#instances.push(await this.#start(this.#world.name('worker')))
    await leaving?.stop()
  }

  async #reopen(): Promise<void> {
    this.#broker = await this.#world.reopen(this.#broker)
    await this.#startAll()
  }

  async #drain(): Promise<void> {
    const names = [this.#world.name('worker'), this.#world.name('listener')]
    for (const name of names) {
      await idle(this.#world, this.#broker, name)
      this.recorder.note({ action: 'drain', process: name, consumer: name, channels: [this.#orders.name] })
    }
    // A marker at the end of each channel: a read that reaches it has returned everything.
    await this.#broker.publish(this.#out, placed('end', 0))
    for (const channel of [this.#orders, this.#out]) {
      for await (const each of this.#broker.read(channel)) {
        const { note, order } = each.data as Order
        const key = channel === this.#orders ? order : null
        if (note !== undefined)
          this.recorder.note({
            action: 'poll',
            process: `reader of ${channel.name}`,
            consumer: null,
            channel: channel.name,
            key,
            offset: each.offset,
            value: note,
          })
      }
    }
    this.recorder.note({
      action: 'drain',
      process: 'reader',
      consumer: null,
      channels: [this.#orders.name, this.#out.name],
    })
  }
}
