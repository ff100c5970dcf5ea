/**
 * A load that goes on while servers fail, and an independent judge of what came of it: two engines publish, handle and
 * emit on the same channels, each over its own URL, while `faults` does its worst. In the end all is drained, read, and
 * the history checked.
 */
import { expect } from 'vitest'
import { z } from 'zod'
import { isMillraceError } from '../../src/base/errors.ts'
import { type Alarm, type Broker, connect, consumer, event, stream } from '../../src/index.ts'
import type { Anomaly } from '../../src/testing/history/anomaly.ts'
import { checkHistory } from '../../src/testing/history/check-history.ts'
import type { Operation } from '../../src/testing/history/operation.ts'
import { HistoryRecorder } from '../../src/testing/history/recorder.ts'

export interface FaultLoad {
  /** One for each engine. */
  readonly urls: readonly string[]
  /** What goes wrong, after the load has begun. */
  faults(load: LoadState): Promise<void>
  /** How long the servers may take to be well again, and all to be handled. @default 60,000 */
  readonly drainMs?: number
  /** In the end no alarm may stand. @default false */
  readonly endsWell?: boolean
}

export interface LoadState {
  /** Events acknowledged and handled so far. */
  readonly acknowledged: number
  readonly handled: number
  readonly alarms: readonly Alarm[]
  readonly brokers: readonly Broker[]
  /** Resolves when this many more events are acknowledged, and this many more are handled. */
  more(count: number, withinMs?: number): Promise<void>
}

const Step = event('step', z.object({ value: z.string(), key: z.string() }))
const KEYS = 12
const IN_FLIGHT = 8
const LEASE_MS = 2000

class Load implements LoadState {
  readonly recorder = new HistoryRecorder()
  readonly alarms: Alarm[] = []
  readonly brokers: Broker[] = []
  readonly orders = stream('orders', { events: [Step], key: ({ data }) => data.key })
  readonly out = stream('out', { events: [Step] })
  acknowledged = 0
  handled = 0
  #over = false

  async open(urls: readonly string[]): Promise<void> {
    for (const url of urls) this.brokers.push(await connect(url, { onAlarm: (alarm) => void this.alarms.push(alarm) }))
    await this.brokers[0]?.declare(this.orders, this.out)
    await Promise.all(this.brokers.map((broker, at) => this.#handle(broker, `engine-${at}`)))
  }

  async #handle(broker: Broker, process: string): Promise<void> {
    const worker = consumer('worker', this.orders, {
      concurrency: 8,
      lease: LEASE_MS,
      retry: { attempts: 1000, min: 5, max: 50 },
    })
    await broker.start(
      worker.on(Step, async ({ data }, ctx) => {
        const { channel, key, offset, attempt, signal } = ctx
        const { value } = data
        const mark = `${process}/${attempt}/${Math.random().toString(36).slice(2)}`
        await this.recorder.handle(
          { process, consumer: 'worker', channel, key, offset, value, attempt },
          async () => {
            if (offset % 13 === 0 && attempt === 1) throw new Error('the first attempt fails')
            const emitted = `${value}>${mark}`
            this.recorder.note({
              action: 'emit',
              process,
              consumer: 'worker',
              cause: value,
              attempt,
              channel: 'out',
              key: null,
              value: emitted,
              slot: 'only',
            })
            await ctx.emit(this.out, Step({ value: emitted, key: 'out' }))
            this.handled++
          },
          signal,
        )
      }),
    )
  }

  /** Publishes until it is over: in order by key, as each is awaited before the next of its key. */
  produce(): Promise<unknown> {
    return Promise.all(
      this.brokers.flatMap((broker, at) =>
        Array.from({ length: IN_FLIGHT }, async (_, lane) => {
          for (let n = 0; !this.#over; n++) {
            // Keys of one lane are its own, so that it decides their order.
            const key = `k${(lane + (n % 3) * IN_FLIGHT) % KEYS}-${at}-${lane}`
            const value = `producer-${at}-${lane}/${n}`
            const sent = { process: `producer-${at}-${lane}`, channel: 'orders', key, value }
            await this.recorder
              .send(
                sent,
                () => broker.publish(this.orders, Step({ value, key }, { id: value })),
                (error) => !isMillraceError(error) || error.code === 'UNAVAILABLE',
              )
              .then(
                () => this.acknowledged++,
                (error: unknown) => expect(error).toMatchObject({ code: 'UNAVAILABLE', retryable: true }),
              )
          }
        }),
      ),
    )
  }

  async more(count: number, withinMs = 45_000): Promise<void> {
    const [acknowledged, handled] = [this.acknowledged + count, this.handled + count]
    await expect
      .poll(() => Math.min(this.acknowledged - acknowledged, this.handled - handled), {
        timeout: withinMs,
        interval: 20,
      })
      .toBeGreaterThanOrEqual(0)
  }

  stop(): void {
    this.#over = true
  }
}

/** Wait until all is handled, and read all that there is. */
export async function drain(broker: Broker, recorder: HistoryRecorder, timeout: number): Promise<void> {
  await expect
    .poll(
      async () => {
        const found = (await broker.describe()).consumers.find(({ name }) => name === 'worker')
        return found === undefined
          ? 'none'
          : found.channels.reduce((sum, each) => sum + each.lag, 0) + found.inFlight + found.retrying
      },
      { timeout, interval: 200 },
    )
    .toBe(0)
  recorder.note({ action: 'drain', process: 'worker', consumer: 'worker', channels: ['orders'] })
  // Emissions follow their completions: they are there when nothing more comes.
  for (let before = -1, now = 0; before !== now; ) {
    before = now
    await new Promise((resolve) => setTimeout(resolve, 500))
    now = (await broker.describe()).channels.find(({ name }) => name === 'out')?.next ?? 0
  }
  for (const channel of ['orders', 'out']) {
    for await (const each of broker.read(channel)) {
      const { value, key } = each.data as { readonly value: string; readonly key: string }
      const read = { process: `reader of ${channel}`, consumer: null, channel, offset: each.offset, value }
      recorder.note({ action: 'poll', ...read, key: channel === 'orders' ? key : null })
    }
  }
  recorder.note({ action: 'drain', process: 'reader', consumer: null, channels: ['orders', 'out'] })
}

/**
 * What is wrong in a history in which partitions were lost to others. Of an event that was handed out more than once,
 * nobody knows which of its handlers' ends was the one that counted: any may be, and what exactly one of them emitted
 * must be there. Their ends count for the order of the key all the same.
 */
function judged(history: readonly Operation[]): Anomaly[] {
  const polls = new Map<string, number>()
  const eventOf = ({ channel, offset }: { readonly channel: string; readonly offset: number }): string =>
    `${channel}/${offset}`
  for (const each of history)
    if (each.action === 'poll' && each.consumer !== null) polls.set(eventOf(each), (polls.get(eventOf(each)) ?? 0) + 1)
  const settled = history.map((each) => {
    const repeated = each.action === 'done' && each.outcome === 'ok' && (polls.get(eventOf(each)) ?? 0) > 1
    return repeated ? { ...each, outcome: 'unknown' as const } : each
  })
  const order = new Set<string>(['order-by-key', 'overlap'])
  const found = [
    ...checkHistory(history).filter(({ name }) => order.has(name)),
    ...checkHistory(settled).filter(({ name }) => !order.has(name)),
  ]
  return [...found, ...emissionsLost(history)]
}

/** Events that were done, and nothing of what their handlers emitted is there. */
function emissionsLost(history: readonly Operation[]): Anomaly[] {
  const seen = new Set(
    history.flatMap((each) => (each.action === 'poll' && each.channel === 'out' ? [each.value] : [])),
  )
  const emitted = new Map<string, string[]>()
  for (const each of history)
    if (each.action === 'emit') emitted.set(each.cause, [...(emitted.get(each.cause) ?? []), each.value])
  const done = new Map(
    history.flatMap((each) => (each.action === 'done' && each.outcome === 'ok' ? [[each.value, each] as const] : [])),
  )
  return [...done]
    .filter(([cause]) => !(emitted.get(cause) ?? []).some((value) => seen.has(value)))
    .map(([cause, operation]) => ({
      name: 'emission-lost',
      message: `${cause} was done, and what it emitted is not there`,
      operations: [operation],
    }))
}

/** Runs the load through the faults, and fails on every anomaly. Answers what there was. */
export async function underFaults({ urls, faults, drainMs = 60_000, endsWell = false }: FaultLoad): Promise<LoadState> {
  const load = new Load()
  try {
    await load.open(urls)
    const producing = load.produce()
    await load.more(50)
    await faults(load)
    await load.more(50)
    load.stop()
    await producing
    await drain(load.brokers[0] as Broker, load.recorder, drainMs)
    expectSound(load.recorder.operations)
    if (endsWell) {
      const standing = async (): Promise<readonly Alarm[]> =>
        (await Promise.all(load.brokers.map((broker) => broker.describe()))).flatMap(({ alarms }) => alarms)
      await expect.poll(standing, { timeout: 15_000 }).toEqual([])
    }
    return load
  } finally {
    load.stop()
    await Promise.race([
      Promise.all(load.brokers.map((broker) => broker.close().catch(() => undefined))),
      new Promise((resolve) => setTimeout(resolve, 5000)),
    ])
  }
}

/** Nothing acknowledged is lost, keys are in order, nothing emitted is lost or doubled. */
export function expectSound(history: readonly Operation[]): void {
  const found = judged(history)
  const shown = found
    .slice(0, 4)
    .map(
      ({ name, message, operations }) =>
        `${name}: ${message}\n${operations.map((each) => `    ${JSON.stringify(each)}`).join('\n')}`,
    )
  expect(
    found.length,
    `${found.length} anomalies: ${[...new Set(found.map(({ name }) => name))].join(', ')}\n${shown.join('\n')}`,
  ).toBe(0)
}
