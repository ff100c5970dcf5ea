/**
 * The events, channels and instruments of the scenarios. The schema is made by hand, so that the exported suite depends on no schema library.
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

/** `order` is the key, `n` the place in what a scenario publishes. */
export interface Order {
  readonly order: string
  readonly n: number
  readonly note?: string
}

/** A Standard Schema by hand: `order` is text, `n` a number of at least 0. */
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
/** Without a schema. */
export const Note: EventDefinition<'note'> = event('note')

export type OrderEvent = StoredEvent<'order.placed' | 'order.paid', Order>
type OrderOptions = Omit<ChannelOptions<Placed | Paid>, 'events' | 'key'>

/** A stream of orders, with the order as key. */
export function orderStream(name: string, options: OrderOptions = {}): Stream<Placed | Paid> {
  return stream(name, { events: [Placed, Paid], key: (each) => each.data.order, ...options })
}

/** A stream of orders without a key. */
export function looseStream(name: string, options: OrderOptions = {}): Stream<Placed | Paid> {
  return stream(name, { events: [Placed, Paid], ...options })
}

/** A queue of orders, with the order as key. */
export function orderQueue(name: string, options: Omit<OrderOptions, 'retain'> = {}): Queue<Placed | Paid> {
  return queue(name, { events: [Placed, Paid], key: (each) => each.data.order, ...options })
}

/** A queue of orders without a key. */
export function looseQueue(name: string): Queue<Placed | Paid> {
  return queue(name, { events: [Placed, Paid] })
}

export function placed(order: string, n: number, attributes?: EventAttributes): NewEvent<'order.placed', Order> {
  return attributes === undefined ? Placed({ order, n }) : Placed({ order, n }, attributes)
}

/** `count` events, numbered from `from`, over as many keys. */
export function placedMany(count: number, keys = 1, from = 0): NewEvent<'order.placed', Order>[] {
  return Array.from({ length: count }, (_, index) => placed(`k${(from + index) % keys}`, from + index))
}

/** The numbers from 0, or `from`, to below `to`. */
export function numbers(to: number, from = 0): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index)
}

/** Retries that a test can wait for. */
export const QUICK = { min: 5, max: 20 } as const
/** Options of a consumer whose handlers never return on purpose: it gives up on them soon. */
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

/** What handlers were called with, in the order of the calls. */
export class Calls {
  readonly all: Call[] = []

  add(given: OrderEvent, ctx: HandlerContext): void {
    const { n, order } = given.data
    const { channel, offset, key, attempt, redriven } = ctx
    this.all.push({ n, order, type: given.type, channel, offset, key, attempt, redriven, atMs: Date.now() })
  }

  /** A handler that notes the call and succeeds. */
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

  /** Wait until there were so many calls. */
  async reach(world: World, count: number): Promise<void> {
    await world.eventually(() =>
      holds(this.all.length >= count, `${this.all.length} of ${count} calls: ${JSON.stringify(this.all.slice(-5))}`),
    )
  }
}

/** How many run at once, now and at most. */
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

/** Something to wait at until it is opened. */
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

/** Never, unless the signal aborts. */
export function hang(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason))
  })
}

/** All that reading gives. */
export async function readAll<C extends Channel | string>(
  broker: Broker,
  channel: C,
  options: ReadOptions = {},
): Promise<StoredEvent[]> {
  const events: StoredEvent[] = []
  for await (const each of broker.read(channel, options)) events.push(each as StoredEvent)
  return events
}

/** `n` of all that reading gives. */
export async function readNs(broker: Broker, channel: Channel, options: ReadOptions = {}): Promise<number[]> {
  return (await readAll(broker, channel, options)).map((each) => (each.data as Order).n)
}

/** Wait until a channel holds so many events, then look on for a while, for more. */
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
 * It holds. Not `assert.ok`, which without a message reads and parses the source to make one: for long, in a transpiled file, in every round of a wait.
 */
/** Where a receipt says that its event is stored. */
export function offsetOf({ id, offset }: Receipt): number {
  assert.notEqual(offset, null, `event ${id} is stored`)
  return offset as number
}

export function holds(value: unknown, message = 'this does not hold'): asserts value {
  if (!value)
    throw new assert.AssertionError({ message, actual: value, expected: true, operator: 'holds', stackStartFn: holds })
}

/** It rejects with a typed error of this code, whose message names each of the texts. */
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

/** Bytes that are still reachable: on the heap and outside of it. */
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
