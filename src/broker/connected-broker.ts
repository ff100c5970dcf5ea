/**
 * The broker over an engine: checks options, encodes events, turns human forms into the port's. Everything else is the engine's.
 */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { durationMs, knownOptions } from '../base/units.ts'
import type { Channel } from '../channel/channel.ts'
import { decodeEvent, type Encodable } from '../event/encode.ts'
import { compilePattern } from '../pattern/pattern.ts'
import type { Broker, BrokerHost, DeadLetters, From, Publishable, PublishLater, PublishNow, Readable, ReadOptions, Startable, Stoppable } from './broker.ts'
import type { BrokerDescription, DeadLetterQuery } from './description.ts'
import type { EncodedEvent, Engine, Position, Receipt, StoredText } from './engine.ts'
import { EventEncoder } from './event-encoder.ts'

export interface ConnectedBrokerOptions {
  /** The CloudEvents `source` of events that do not say their own. */
  readonly source: string
  readonly random: () => number
}

type Anything = Encodable | readonly Encodable[]

export class ConnectedBroker implements Broker {
  readonly #engine: Engine
  readonly #host: BrokerHost
  readonly #encoder: EventEncoder
  readonly #running = new Set<Stoppable>()
  readonly #starting = new Set<Promise<Stoppable>>()
  #closing: Promise<void> | null = null

  constructor(engine: Engine, options: ConnectedBrokerOptions) {
    this.#engine = engine
    this.#encoder = new EventEncoder(engine, options.source)
    this.#host = { engine, encoder: this.#encoder, random: options.random }
  }

  publish<C extends Channel | string>(channel: C, event: Publishable<C>, options?: PublishNow): Promise<Receipt>
  publish<C extends Channel | string>(channel: C, events: readonly Publishable<C>[], options?: PublishNow): Promise<Receipt[]>
  publish<C extends Channel | string>(channel: C, event: Publishable<C>, options: PublishLater): Promise<Receipt>
  publish<C extends Channel | string>(channel: C, events: readonly Publishable<C>[], options: PublishLater): Promise<Receipt[]>
  publish(channel: Channel | string, event: unknown, options?: PublishNow | PublishLater): Promise<never> {
    try {
      if (this.#closing !== null) throw closed()
      const dueAtMs = options === undefined ? null : dueAt(options, this.#engine.clock.now())
      if (this.#encoder.isReady(channel)) return this.#publish(channel, event as Anything, dueAtMs) as Promise<never>
      return this.#encoder.prepare(channel).then(() => this.#publish(channel, event as Anything, dueAtMs)) as Promise<never>
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  #publish(channel: Channel | string, event: Anything, dueAtMs: number | null): Promise<unknown> {
    const name = typeof channel === 'string' ? channel : channel.name
    if (Array.isArray(event)) return this.#publishBatch(name, event, dueAtMs)
    const encoded = this.#encoder.encode(name, event as Encodable)
    if (encoded instanceof Promise) return encoded.then((settled) => this.#engine.publish(name, settled, dueAtMs))
    return this.#engine.publish(name, encoded, dueAtMs)
  }

  async #publishBatch(name: string, events: readonly Encodable[], dueAtMs: number | null): Promise<unknown> {
    if (events.length > LIMITS.batchEventsMax) {
      throw new MillraceError('INVALID_OPTION', `a batch holds at most ${LIMITS.batchEventsMax} events; this one has ${events.length}: publish several`, {
        events: events.length,
        batchEventsMax: LIMITS.batchEventsMax,
      })
    }
    const encoded: EncodedEvent[] = []
    let bytes = 0
    for (const event of events) {
      const one = this.#encoder.encode(name, event)
      const settled = one instanceof Promise ? await one : one
      bytes += settled.text.length
      encoded.push(settled)
    }
    if (bytes > LIMITS.batchBytesMax) {
      throw new MillraceError('EVENT_TOO_LARGE', `a batch holds at most ${LIMITS.batchBytesMax} bytes of events; this one has ${bytes}: publish several`, {
        bytes,
        bytesMax: LIMITS.batchBytesMax,
      })
    }
    return encoded.length === 0 ? [] : this.#engine.publishBatch(name, encoded, dueAtMs)
  }

  async declare(...channels: readonly Channel[]): Promise<void> {
    this.#open()
    for (const channel of channels) await this.#encoder.prepare(channel)
  }

  async start<Running extends Stoppable>(consumer: Startable<Running>): Promise<Running> {
    this.#open()
    const starting = this.#start(consumer)
    this.#starting.add(starting)
    const started = (): boolean => this.#starting.delete(starting)
    starting.then(started, started)
    return starting
  }

  async #start<Running extends Stoppable>(consumer: Startable<Running>): Promise<Running> {
    const running = await consumer.start(this.#host)
    this.#running.add(running)
    const gone = (): boolean => this.#running.delete(running)
    running.done.then(gone, gone)
    return running
  }

  read<C extends Channel | string>(channel: C, options: ReadOptions = {}): AsyncIterableIterator<Readable<C>> {
    this.#open()
    knownOptions(options, ['from', 'to', 'where', 'follow', 'signal'], 'read')
    const left = new AbortController()
    const signal = options.signal === undefined ? left.signal : AbortSignal.any([left.signal, options.signal])
    return leavable(this.#read(channel, options, signal), left) as AsyncIterableIterator<Readable<C>>
  }

  async *#read(channel: Channel | string, options: ReadOptions, signal: AbortSignal): AsyncGenerator<unknown> {
    const pattern = options.where === undefined ? null : compilePattern(options.where)
    if (!this.#encoder.isReady(channel)) await this.#encoder.prepare(channel)
    const nowMs = this.#engine.clock.now()
    const batches = this.#engine.read(typeof channel === 'string' ? channel : channel.name, {
      from: position(options.from ?? 'beginning', nowMs),
      to: options.to === undefined ? null : position(options.to, nowMs),
      follow: options.follow ?? false,
      signal,
    })
    for await (const batch of batches) for (const event of matching(batch, pattern)) yield decodeEvent(event.text, event.offset)
  }

  async describe(): Promise<BrokerDescription> {
    this.#open()
    return { engine: this.#engine.name, capabilities: this.#engine.capabilities, ...(await this.#engine.describe()) }
  }

  deadLetters(consumer: string | { readonly name: string }): DeadLetters {
    this.#open()
    const name = typeof consumer === 'string' ? consumer : consumer.name
    const checked = (query: DeadLetterQuery): DeadLetterQuery => {
      knownOptions(query, ['channel', 'offset', 'id', 'key', 'limit'], 'a dead-letter query')
      return query
    }
    return {
      list: async (query = {}) => this.#engine.deadLetters(name, checked(query)),
      redrive: async (query = {}) => this.#engine.redrive(name, checked(query)),
      drop: async (query = {}) => this.#engine.dropDeadLetters(name, checked(query)),
    }
  }

  async rewind(consumer: string | { readonly name: string }, to: From, options: { readonly channel?: string } = {}): Promise<void> {
    this.#open()
    const name = typeof consumer === 'string' ? consumer : consumer.name
    await this.#engine.rewind(name, position(to, this.#engine.clock.now()), options.channel ?? null)
  }

  async removeConsumer(consumer: string | { readonly name: string }): Promise<void> {
    this.#open()
    await this.#engine.removeConsumer(typeof consumer === 'string' ? consumer : consumer.name)
  }

  async removeChannel(channel: string | { readonly name: string }): Promise<void> {
    this.#open()
    const name = typeof channel === 'string' ? channel : channel.name
    await this.#engine.removeChannel(name)
    this.#encoder.forget(name)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    // A consumer's handlers may run, and close the broker, before its start() has returned.
    await Promise.allSettled([...this.#starting])
    await Promise.allSettled([...this.#running].map((running) => running.stop()))
    await this.#engine.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #open(): void {
    if (this.#closing !== null) throw closed()
  }
}

function closed(): MillraceError {
  return new MillraceError('CLOSED', 'the broker is closed: connect again')
}

/** The events, whose reader may leave while it waits for the next one: a generator alone would first wait for it. */
function leavable<T>(events: AsyncGenerator<T>, left: AbortController): AsyncIterableIterator<T> {
  return {
    next: () => events.next(),
    return: () => {
      left.abort()
      return events.return(undefined)
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

function* matching(batch: readonly StoredText[], pattern: ReturnType<typeof compilePattern> | null): Generator<StoredText> {
  for (const event of batch) if (pattern === null || pattern.matches(event.text)) yield event
}

function dueAt(options: PublishNow | PublishLater, nowMs: number): number | null {
  knownOptions(options, ['delay', 'at'], 'publish')
  const { delay, at } = options
  if (delay === undefined && at === undefined) return null
  if (delay !== undefined && at !== undefined) throw new MillraceError('INVALID_OPTION', 'publish takes delay or at, not both', { option: 'delay' })
  const dueAtMs = delay === undefined ? Number(at) : nowMs + durationMs(delay, 'delay')
  if (Number.isFinite(dueAtMs) && dueAtMs >= 0 && dueAtMs - nowMs <= LIMITS.delayMsMax) return dueAtMs
  throw new MillraceError('INVALID_OPTION', `at must be a valid Date or milliseconds since the epoch, at most ten years ahead; it is ${String(at ?? delay)}`, {
    option: 'at',
  })
}

/** A place in a channel from its human form. @throws INVALID_OPTION */
export function position(from: From, nowMs: number): Position {
  if (from === 'beginning' || from === 'end') return { at: from }
  if (typeof from === 'number') return { offset: from }
  if (from instanceof Date && Number.isFinite(from.getTime())) return { timeMs: from.getTime() }
  if (typeof from === 'string') return { timeMs: nowMs - durationMs(from, 'from') }
  throw new MillraceError('INVALID_OPTION', "a place in a channel is 'beginning', 'end', an offset, a Date, or an age such as '1h'", { option: 'from' })
}
