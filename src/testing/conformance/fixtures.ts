/**
 * The events, channels and instruments of the scenarios. The schema is written by hand, so that the exported suite
 * depends on no schema library.
 */
import assert from 'node:assert/strict'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { type ErrorCode, isMillraceError, type MillraceError } from '../../base/errors.ts'
import type { Broker } from '../../broker/broker.ts'
import type { ConsumerDescription } from '../../broker/description.ts'
import type { ReadOptions } from '../../broker/reading.ts'
import type { Receipt } from '../../broker/receipt.ts'
import { type Channel, type ChannelOptions, type Queue, queue, type Stream, stream } from '../../channel/channel.ts'
import type { HandlerContext } from '../../consumer/consumer-types.ts'
import type { EventAttributes, NewEvent, StoredEvent } from '../../event/cloud-event.ts'
import { type EventDefinition, event } from '../../event/event.ts'
import type { World } from './world.ts'

/** `order` is the key; `n` is the index of the event among those that a scenario publishes. */
export interface Order {
  readonly order: string
  readonly n: number
  readonly note?: string
}

/** A hand-written Standard Schema: `order` is a string, `n` a number of at least 0. */
export const orderSchema: StandardSchemaV1<Order, Order> = {
  '~standard': {
    version: 1,
    vendor: 'millrace-conformance',
    validate: (value) => {
      const issues: StandardSchemaV1.Issue[] = []
      const { order, n } = (typeof value === 'object' && value !== null ? value : {}) as Partial<Order>
      if (typeof order !== 'string') issues.push({ message: 'order must be text', path: ['order'] })
      if (typeof n !== 'number' || !(n >= 0)) issues.push({ message: 'n must be a number of at least 0', path: ['n'] })
      return issues.length > 0 ? { issues } : { value: value as Order }
    },
  },
}

export type Placed = EventDefinition<'order.placed', Order, Order>
export type Paid = EventDefinition<'order.paid', Order, Order>
export const Placed: Placed = event('order.placed', orderSchema)
export const Paid: Paid = event('order.paid', orderSchema)
/** An event without a schema. */
export const Note: EventDefinition<'note'> = event('note')

export type OrderEvent = StoredEvent<'order.placed' | 'order.paid', Order>
type OrderOptions = Omit<ChannelOptions<Placed | Paid>, 'events' | 'key'>

/** A stream of orders, with the order as key. */
export function orderStream(name: string, options: OrderOptions = {}): Stream<Placed | Paid> {
  return stream(name, { events: [Placed, Paid], key: (each) => each.data.order, ...options })
}

/** A stream of orders without a key. */
export function unkeyedStream(name: string, options: OrderOptions = {}): Stream<Placed | Paid> {
  return stream(name, { events: [Placed, Paid], ...options })
}

/** A queue of orders, with the order as key. */
export function orderQueue(name: string, options: Omit<OrderOptions, 'retain'> = {}): Queue<Placed | Paid> {
  return queue(name, { events: [Placed, Paid], key: (each) => each.data.order, ...options })
}

/** A queue of orders without a key. */
export function unkeyedQueue(name: string): Queue<Placed | Paid> {
  return queue(name, { events: [Placed, Paid] })
}

export function placed(order: string, n: number, attributes?: EventAttributes): NewEvent<'order.placed', Order> {
  return attributes === undefined ? Placed({ order, n }) : Placed({ order, n }, attributes)
}

/** `count` events, numbered from `from`, over `keys` keys. */
export function placedMany(count: number, keys = 1, from = 0): NewEvent<'order.placed', Order>[] {
  return Array.from({ length: count }, (_, index) => placed(`k${(from + index) % keys}`, from + index))
}

/** The numbers from `from` (0 by default) up to, but not including, `to`. */
export function numbers(to: number, from = 0): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index)
}

/** Retry delays that are short enough for a test. */
export const QUICK = { min: 5, max: 20 } as const
/** Options for a consumer whose handlers never return on purpose: stopping it does not wait for them for long. */
export const HASTY = { drain: 30 } as const

/** One call of a handler. */
export interface Call {
  readonly n: number
  readonly order: string
  readonly type: string
  readonly channel: string
  readonly offset: number
  readonly key: string | null
  readonly attempt: number
  readonly redriven: boolean
  readonly atMs: number
}

/** The calls of handlers, in order. */
export class Calls {
  readonly all: Call[] = []

  add(given: OrderEvent, ctx: HandlerContext): void {
    const { n, order } = given.data
    const { channel, offset, key, attempt, redriven } = ctx
    this.all.push({ n, order, type: given.type, channel, offset, key, attempt, redriven, atMs: Date.now() })
  }

  /** A handler that records the call and succeeds. */
  readonly handler = (given: OrderEvent, ctx: HandlerContext): void => this.add(given, ctx)

  get length(): number {
    return this.all.length
  }

  /** `n` of each call. */
  get ns(): number[] {
    return this.all.map((call) => call.n)
  }

  /** `n` of each call, in numeric order. */
  get sorted(): number[] {
    return this.ns.sort((a, b) => a - b)
  }

  /** `n` of the calls for one key. */
  of(order: string): number[] {
    return this.all.filter((call) => call.order === order).map((call) => call.n)
  }

  /** Wait until there are at least this many calls. */
  async reach(world: World, count: number): Promise<void> {
    await world.eventually(() =>
      holds(this.all.length >= count, `${this.all.length} of ${count} calls: ${JSON.stringify(this.all.slice(-5))}`),
    )
  }
}

/** Counts how many tasks run at once, now and at most. */
export class Gauge {
  now = 0
  max = 0

  async during<T>(work: () => Promise<T>): Promise<T> {
    this.max = Math.max(this.max, ++this.now)
    try {
      return await work()
    } finally {
      this.now--
    }
  }
}

/** A promise that resolves when the gate is opened. */
export interface Gate {
  readonly opened: Promise<void>
  open(): void
}

export function gate(): Gate {
  let open = (): void => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

/** Never resolves; rejects when the signal aborts. */
export function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason))
  })
}

/** All events that a read returns. */
export async function readAll<C extends Channel | string>(
  broker: Broker,
  channel: C,
  options: ReadOptions = {},
): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  for await (const each of broker.read(channel, options)) events.push(each as StoredEvent)
  return events
}

/** `n` of all events that a read returns. */
export async function readNs(broker: Broker, channel: Channel, options: ReadOptions = {}): Promise<number[]> {
  return (await readAll(broker, channel, options)).map((each) => (each.data as Order).n)
}

/** Wait until a channel has at least this many events, then a little longer, in case there are more. */
export async function arrived(world: World, broker: Broker, channel: Channel, count: number): Promise<void> {
  await world.eventually(async () => {
    const { length } = await readAll(broker, channel)
    holds(length >= count, `"${channel.name}" holds ${length} of ${count} events`)
  })
  await world.quiet()
}

export async function describeConsumer(broker: Broker, name: string): Promise<ConsumerDescription> {
  const found = (await broker.describe()).consumers.find((each) => each.name === name)
  holds(found, `describe() does not list consumer "${name}"`)
  return found
}

/** Wait until the consumer has settled everything. */
export async function idle(world: World, broker: Broker, name: string): Promise<void> {
  await world.eventually(async () => {
    const found = await broker.consumer(name).describe()
    const lag = found.channels.reduce((sum, each) => sum + each.lag, 0)
    holds(lag === 0 && found.inFlight === 0 && found.retrying === 0, `"${name}" is not idle: ${JSON.stringify(found)}`)
  })
}

/**
 * Fails with this message if the condition is false. `assert.ok` without a message reads and parses the source to make
 * one, which takes long in a transpiled file and happens in every round of a wait.
 */
/** The offset at which the receipt's event is stored. */
export function offsetOf({ id, offset }: Receipt): number {
  assert.notEqual(offset, null, `event ${id} is stored`)
  return offset as number
}

export function holds(value: unknown, message = 'this does not hold'): asserts value {
  if (!value)
    throw new assert.AssertionError({ message, actual: value, expected: true, operator: 'holds', stackStartFn: holds })
}

/** Checks that `work` rejects with a typed error of this code, whose message contains each of the texts. */
export async function refused(work: () => unknown, code: ErrorCode, ...named: string[]): Promise<MillraceError> {
  let outcome: unknown
  try {
    outcome = await work()
  } catch (error) {
    holds(isMillraceError(error), `expected ${code}, got ${error instanceof Error ? error.stack : String(error)}`)
    assert.equal(error.code, code, error.message)
    for (const text of named)
      holds(
        error.message.includes(text),
        `the message of ${code} does not name ${JSON.stringify(text)}: ${error.message}`,
      )
    return error
  }
  throw new assert.AssertionError({ message: `expected ${code}, got ${JSON.stringify(outcome)}` })
}

let collect: (() => void) | undefined

/** Bytes that are still reachable, on and outside the heap. */
export async function retainedBytes(): Promise<number> {
  if (collect === undefined) {
    const [{ setFlagsFromString }, { runInNewContext }] = await Promise.all([import('node:v8'), import('node:vm')])
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  for (let round = 0; round < 3; round++) {
    collect()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}
