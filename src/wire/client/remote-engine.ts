/**
 * An engine in another process: implements the whole port over one connection at a time (docs/protocol.md).
 *
 * Invariants:
 * - Every answer comes from the server. Only the refusals CLOSED, BACKPRESSURE and UNAVAILABLE are made here.
 * - A request without an answer survives a lost connection. It survives a lost session if sending it again cannot make
 *   it take effect twice.
 */
import { atTime, type Clock, systemClock } from '../../base/clock.ts'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { orAfterMs } from '../../base/timers.ts'
import type { Capabilities } from '../../broker/capabilities.ts'
import type { Carriage } from '../../broker/carriage.ts'
import { refuseFunctions } from '../../broker/consumer-errors.ts'
import type { Consumers } from '../../broker/consumers.ts'
import type { DelayedEvent, Delays } from '../../broker/delays.ts'
import type {
  Alarm,
  ChannelDescription,
  ChannelState,
  ConsumerDescription,
  DeadLetter,
  EngineDescription,
  EventPlace,
} from '../../broker/description.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type {
  Bounds,
  ClaimOutcome,
  ConsumerSpec,
  DeliverySink,
  Engine,
  EngineReadOptions,
  HeldClaim,
  LastingAlarms,
  StoredText,
  Subscription,
  Tables,
} from '../../broker/engine.ts'
import type { RetryingEvent } from '../../broker/inspection.ts'
import type { LimitState, Limits } from '../../broker/limits.ts'
import type { PublishLoad } from '../../broker/publish-load.ts'
import type { Receipt } from '../../broker/receipt.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { unknownChannel } from '../../channel/channel-errors.ts'
import type { Welcome } from '../access.ts'
import { FRAME, FRAME_HEADER_BYTES, jsonOf, newFrame, numberedFrame } from '../frame.ts'
import {
  anything,
  boundsOf,
  channelOf,
  channelStateOf,
  consumerOf,
  descriptionOf,
  inspectionOf,
  listOf,
  numberOf,
  objectOf,
  type SentState,
  statesOf,
  storedOf,
  truthOf,
} from './answers.ts'
import { RemoteCarriage } from './remote-carriage.ts'
import { RemotePublishing } from './remote-publishing.ts'
import { RemoteRead } from './remote-read.ts'
import { RemoteSubscription, type SubscriptionLink } from './remote-subscription.ts'
import { type Dial, WireClient } from './wire-client.ts'

export interface RemoteEngineOptions {
  readonly name: string
  readonly dial: Dial
  /** Whether the server records the actions of its clients: one over the network does. @default false */
  readonly recordsActions?: boolean
  readonly token?: string | null
  /** Longest wait between two attempts to reconnect. @default LIMITS.wireReconnectMsMax */
  readonly reconnectMsMax?: number
  readonly onAlarm?: ((alarm: Alarm) => void) | undefined
  /** Called after everything else is closed. */
  readonly release?: () => Promise<void>
}

/** Methods that may be called again in a new session, because a second call has no further effect. */
const REPEATABLE = new Set([
  ...[
    'declare',
    'channel',
    'channels',
    'bounds',
    'consumer',
    'describe',
    'deadLetters',
    'pending',
    'inspect',
    'retries',
    'publishLoad',
    'delayed',
    'rewind',
    'setPause',
    'tables.get',
    'tables.scan',
  ],
  ...['accepts', 'consumers', 'letters', 'scheduled', 'putConsumer', 'putLetters'].map((call) => `carriage.${call}`),
])

const UNKNOWN_DELIVERY = 'cannot say where the delivery of an event stands'
const NO_TABLES = 'has no tables'

export class RemoteEngine implements Engine {
  readonly name: string
  readonly recordsActions: boolean
  readonly clock: Clock
  readonly carriage: Carriage = new RemoteCarriage(<Answer>(method: string, ...args: readonly unknown[]) =>
    this.#call<Answer>(method, anything, ...args),
  )
  readonly consumers: Consumers = {
    describe: (consumer) => this.#describeConsumer(consumer),
    rewind: (consumer, to, channel, state, ...reason) =>
      this.#call('rewind', anything<void>, consumer, to, channel, state, ...given(reason)),
    setPause: (consumer, pause, ...reason) => this.#call('setPause', anything<void>, consumer, pause, ...given(reason)),
    remove: (consumer, ...reason) => this.#call('removeConsumer', anything<void>, consumer, ...given(reason)),
    deadLetters: (consumer, query) => this.#call('deadLetters', listOf<DeadLetter>, consumer, query),
    redrive: (consumer, query, ...reason) => this.#call('redrive', numberOf, consumer, query, ...given(reason)),
    dropDeadLetters: (consumer, query, ...reason) =>
      this.#call('dropDeadLetters', numberOf, consumer, query, ...given(reason)),
    pending: (consumer, events) => this.#pending(consumer, events),
    retries: (consumer, limit) =>
      this.#later('retries', 'does not list retries', listOf<RetryingEvent>, consumer, limit),
    inspect: (consumer, event) => this.#later('inspect', UNKNOWN_DELIVERY, inspectionOf, consumer, event),
  }
  readonly delays: Delays = {
    list: (channel, query) => this.#call('delayed', listOf<DelayedEvent>, channel, query),
    cancel: (channel, id, ...reason) => this.#call('cancelDelayed', truthOf, channel, id, ...given(reason)),
  }
  readonly tables: Tables = {
    get: (channel, key) => this.#later('tables.get', NO_TABLES, storedOf, channel, key),
    scan: (channel, query) => this.#later('tables.scan', NO_TABLES, listOf<StoredText>, channel, query),
  }
  capabilities: Capabilities = {} as Capabilities
  readonly #options: RemoteEngineOptions
  readonly #client: WireClient
  readonly #publishing: RemotePublishing
  readonly #subscriptions = new Map<number, RemoteSubscription>()
  readonly #reads = new Map<number, RemoteRead>()
  readonly #closed = new AbortController()
  readonly #link: SubscriptionLink
  #alarm: Alarm | null = null
  /** Lookups of channels that are under way. */
  readonly #asking = new Map<string, Promise<ChannelSpec | undefined>>()
  /** Methods of this server that older servers do not have. */
  #methods: ReadonlySet<string> = new Set()
  #nextSubscription = 1
  #closing: Promise<void> | null = null

  private constructor(options: RemoteEngineOptions) {
    this.#options = options
    this.name = options.name
    this.recordsActions = options.recordsActions === true
    this.#client = new WireClient({
      dial: options.dial,
      token: options.token ?? null,
      reconnectMsMax: options.reconnectMsMax ?? LIMITS.wireReconnectMsMax,
      frame: (type, body) => this.#take(type, body),
      flushing: () => this.#collect(),
      connected: (welcome, fresh) => this.#connected(welcome, fresh),
      unavailable: (error) => this.#unavailable(error),
    })
    this.#publishing = new RemotePublishing(this.#client)
    const now = (): number => Date.now() + this.#client.skewMs
    this.clock = { ...systemClock, now, at: (timeMs, task) => atTime(now, timeMs, task) }
    this.#link = {
      send: (frame) => this.#client.link.send(frame),
      sendUncounted: (frame) => this.#client.link.sendUncounted(frame),
      soon: () => this.#client.link.soon(),
      flushPublished: () => {
        if (this.#publishing.gathered) this.#client.link.flush()
      },
      ask: (type, subscription) => this.#askSubscription(type, subscription),
      states: (subscription, numbers) => this.#askStates(subscription, numbers),
      mark: (subscription, done) => this.#mark(subscription, done),
      ended: (subscription) => this.#subscriptions.delete(subscription.number),
    }
  }

  /** @throws UNAVAILABLE · FORBIDDEN */
  static async open(options: RemoteEngineOptions): Promise<RemoteEngine> {
    const engine = new RemoteEngine(options)
    await engine.#client.open()
    return engine
  }

  #connected(welcome: Welcome, fresh: boolean): void {
    this.capabilities = welcome.capabilities as Capabilities
    this.#methods = new Set(welcome.methods)
    if (fresh) {
      for (const subscription of [...this.#subscriptions.values()])
        if (subscription.established) this.#subscribeAgain(subscription)
      return
    }
    for (const subscription of this.#subscriptions.values()) subscription.renewAgain()
    this.#publishing.connected()
  }

  #subscribeAgain(subscription: RemoteSubscription): void {
    const claims = subscription.orphan()
    this.#ask((request) => subscribeFrame(request, subscription, claims), listOf<ClaimOutcome>).then(
      (outcomes) => {
        subscription.claimed(claims, outcomes)
      },
      (error: MillraceError) => {
        if (this.#closing !== null || !this.#subscriptions.has(subscription.number)) return
        this.#unavailable(error)
        setTimeout(() => {
          if (this.#subscriptions.has(subscription.number)) this.#subscribeAgain(subscription)
        }, LIMITS.wireReconnectMsMax).unref()
      },
    )
  }

  #unavailable(error: MillraceError | null): void {
    if (error === null) this.#alarm = null
    else if (this.#alarm === null) {
      this.#alarm = { code: error.code, message: error.message, sinceMs: Date.now() }
      this.#options.onAlarm?.(this.#alarm)
    }
  }

  #collect(): void {
    for (const subscription of this.#subscriptions.values()) subscription.collect()
    this.#publishing.collect()
  }

  #take(type: number, body: Buffer): void {
    if (type === FRAME.deliver) this.#subscriptions.get(body.readUInt32LE(0))?.take(body)
    else if (type === FRAME.revoked) this.#subscriptions.get(body.readUInt32LE(0))?.revoke(body)
    else if (type === FRAME.settled) this.#subscriptions.get(body.readUInt32LE(0))?.confirmed(body.readUInt32LE(4))
    else if (type === FRAME.buried) this.#subscriptions.get(body.readUInt32LE(0))?.buried(body)
    else if (type === FRAME.notCompleted) this.#subscriptions.get(body.readUInt32LE(0))?.notCompleted(body)
    else if (type === FRAME.events) this.#reads.get(body.readUInt32LE(0))?.take(body)
  }

  #open(): void {
    if (this.#closing !== null) throw new MillraceError('CLOSED', 'the broker is closed: connect again')
  }

  /** Send a request. It is sent again in a new session if it is repeatable. */
  #ask<Answer = unknown>(
    frame: (request: number) => Buffer,
    answerOf: (value: unknown) => Answer = anything,
    repeatable = true,
  ): Promise<Answer> {
    const request = this.#client.number()
    return new Promise((resolve, reject) => {
      this.#client.request(request, {
        patient: false,
        frame: (again) => (again && !repeatable ? null : frame(request)),
        answered: (body) => resolve(answerOf(jsonOf(body, 4))),
        failed: reject,
      })
    })
  }

  async #call<Answer>(
    method: string,
    answerOf: (value: unknown) => Answer,
    ...args: readonly unknown[]
  ): Promise<Answer> {
    this.#open()
    this.#collect()
    const body = { method, args }
    return this.#ask((request) => numberedFrame(FRAME.call, request, body), answerOf, REPEATABLE.has(method))
  }

  async #askSubscription(type: number, subscription: number): Promise<void> {
    this.#publishing.collect()
    await this.#ask((request) => subscriptionFrame(type, request, subscription))
  }

  async #askStates(subscription: number, numbers: readonly number[]): Promise<readonly SentState[]> {
    const frame = (request: number): Buffer => {
      const asking = newFrame(FRAME.states, 8 + 4 * numbers.length)
      let at = FRAME_HEADER_BYTES
      for (const value of [request, subscription, ...numbers]) at = asking.writeUInt32LE(value, at)
      return asking
    }
    // The numbers have no meaning in another session.
    return this.#ask(frame, (value) => statesOf(value, numbers.length), false)
  }

  #mark(subscription: number, done: () => void): void {
    const request = this.#client.number()
    const frame = subscriptionFrame(FRAME.mark, request, subscription)
    this.#client.request(request, { patient: false, frame: () => frame, answered: done, failed: done })
  }

  async declare(spec: ChannelSpec): Promise<void> {
    this.#publishing.seen(spec.name, await this.#call('declare', numberOf, spec))
  }

  /** Concurrent lookups of one channel share one call. */
  channel(name: string): Promise<ChannelSpec | undefined> {
    let asking = this.#asking.get(name)
    if (asking === undefined) {
      asking = this.#channel(name).finally(() => this.#asking.delete(name))
      this.#asking.set(name, asking)
    }
    return asking
  }

  async #channel(name: string): Promise<ChannelSpec | undefined> {
    const found = await this.#call('channel', channelOf, name)
    if (found === null) return undefined
    this.#publishing.seen(name, found.end)
    return found.spec
  }

  async channels(): Promise<readonly ChannelSpec[]> {
    if (this.#methods.has('channels')) return this.#call('channels', listOf<ChannelSpec>)
    const { channels } = await this.describe()
    return (await Promise.all(channels.map(({ name }) => this.channel(name)))).filter((spec) => spec !== undefined)
  }

  async bounds(channel: string): Promise<Bounds> {
    if (this.#methods.has('bounds')) return this.#call('bounds', boundsOf, channel)
    return this.#found(channel)
  }

  /** One channel of all: of a server that does not have the methods for one. @throws UNKNOWN_CHANNEL */
  async #found(channel: string): Promise<ChannelDescription> {
    const { channels } = await this.describe()
    const found = channels.find(({ name }) => name === channel)
    if (found !== undefined) return found
    throw unknownChannel(
      channel,
      channels.map(({ name }) => name),
    )
  }

  async #describeConsumer(consumer: string): Promise<ConsumerDescription | null> {
    if (this.#methods.has('consumer')) return this.#call('consumer', consumerOf, consumer)
    return (await this.describe()).consumers.find(({ name }) => name === consumer) ?? null
  }

  /** A server without the method only says whether the consumer works on events: then all of these may be pending. */
  async #pending(consumer: string, events: readonly EventPlace[]): Promise<EventPlace[]> {
    if (this.#methods.has('pending')) return this.#call('pending', listOf<EventPlace>, consumer, events)
    const described = await this.#describeConsumer(consumer)
    return described === null || described.inFlight + described.retrying === 0 ? [] : [...events]
  }

  /** A method that servers of earlier versions lack, and that nothing replaces: they say what they cannot do. */
  async #later<Answer>(
    method: string,
    which: string,
    answerOf: (value: unknown) => Answer,
    ...args: readonly unknown[]
  ): Promise<Answer> {
    if (this.#methods.has(method)) return this.#call(method, answerOf, ...args)
    throw new MillraceError('UNAVAILABLE', `the server is of an older version, which ${which}: update it`)
  }

  async publishLoad(channel: string): Promise<readonly PublishLoad[]> {
    const { load } = this.#publishing
    if (!this.#methods.has('publishLoad')) return [load]
    return [load, ...(await this.#call('publishLoad', listOf<PublishLoad>, channel))]
  }

  publish(channel: string, event: EncodedEvent, dueAtMs: number | null): Promise<Receipt> {
    if (this.#closing !== null)
      return Promise.reject(new MillraceError('CLOSED', 'the broker is closed: connect again'))
    return this.#publishing.publish(channel, event, dueAtMs)
  }

  async publishBatch(channel: string, events: readonly EncodedEvent[], dueAtMs: number | null): Promise<Receipt[]> {
    this.#open()
    return events.length === 0 ? [] : this.#publishing.publishBatch(channel, events, dueAtMs)
  }

  /** A publish goes out with the others of its turn, in a block of this process. */
  publishBlocks(): boolean {
    return false
  }

  read(channel: string, options: EngineReadOptions): AsyncIterable<readonly StoredText[]> {
    this.#open()
    return this.#read(channel, { ...options, signal: AbortSignal.any([options.signal, this.#closed.signal]) })
  }

  async *#read(channel: string, options: EngineReadOptions): AsyncGenerator<readonly StoredText[]> {
    this.#collect()
    const request = this.#client.number()
    const read = new RemoteRead(request, channel, options, (frame) => this.#client.link.send(frame))
    this.#reads.set(request, read)
    this.#client.request(request, read)
    try {
      yield* read.batches()
    } finally {
      this.#reads.delete(request)
    }
  }

  async subscribe(spec: ConsumerSpec, sink: DeliverySink): Promise<Subscription> {
    this.#open()
    const why = 'the process that has the data decides about deliveries, and has no function of this one'
    refuseFunctions(spec, this.name, { why, limits: this.#methods.has('limits') })
    const subscription = new RemoteSubscription(this.#nextSubscription++, spec, sink, this.#link)
    this.#subscriptions.set(subscription.number, subscription)
    try {
      await this.#ask((request) => subscribeFrame(request, subscription, []))
    } catch (error) {
      this.#subscriptions.delete(subscription.number)
      throw error
    }
    subscription.begin()
    return subscription
  }

  async removeChannel(channel: string, ...reason: readonly (string | undefined)[]): Promise<void> {
    await this.#call('removeChannel', anything, channel, ...given(reason))
    this.#publishing.forget(channel)
  }

  backup(directory: string): Promise<{ readonly directory: string; readonly bytes: number }> {
    return this.#call('backup', objectOf<{ readonly directory: string; readonly bytes: number }>, directory)
  }

  get limits(): Limits {
    if (!this.#methods.has('limits'))
      throw new MillraceError('CLAUSE_REFUSED', 'the server has no limits of consumers', { clause: 21 })
    return {
      list: () => this.#call('limits', listOf<LimitState>),
      set: (name, size) => this.#call('setLimit', objectOf<LimitState>, name, size),
    }
  }

  get alarms(): LastingAlarms {
    return { all: this.#alarm === null ? [] : [this.#alarm], ask: () => this.#askAlarms() }
  }

  /** The server's, and the one of this end. */
  async #askAlarms(): Promise<readonly Alarm[]> {
    const theirs = this.#methods.has('alarms')
      ? await this.#call('alarms', listOf<Alarm>)
      : (await this.#call('describe', descriptionOf)).alarms
    return [...theirs, ...this.alarms.all]
  }

  async describeChannel(channel: string): Promise<ChannelState> {
    if (this.#methods.has('describeChannel')) return this.#call('describeChannel', channelStateOf, channel)
    const { scheduled: _, ...state } = await this.#found(channel)
    return state
  }

  async describe(): Promise<EngineDescription> {
    const described = await this.#call('describe', descriptionOf)
    return { ...described, alarms: [...described.alarms, ...this.alarms.all] }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#closed.abort()
    const open = [...this.#subscriptions.values()].map((subscription) => subscription.close().catch(() => undefined))
    this.#collect()
    await orAfterMs(LIMITS.wireCloseMs, Promise.all([...open, this.#publishing.answered()]))
    const error = new MillraceError(
      'CLOSED',
      'the broker was closed before the server answered: the call may have been done',
      { maybeDone: true },
    )
    this.#publishing.fail(error)
    await this.#client.close(error)
    await this.#options.release?.()
  }
}

/** The reason of an action, as the last argument of its call. */
function given([reason]: readonly (string | undefined)[]): readonly { readonly reason: string }[] {
  return reason === undefined ? [] : [{ reason }]
}

function subscriptionFrame(type: number, request: number, subscription: number): Buffer {
  const frame = newFrame(type, 8)
  frame.writeUInt32LE(request, FRAME_HEADER_BYTES)
  frame.writeUInt32LE(subscription, FRAME_HEADER_BYTES + 4)
  return frame
}

function subscribeFrame(request: number, { number, spec }: RemoteSubscription, claims: readonly HeldClaim[]): Buffer {
  const text = JSON.stringify({ spec, claims, again: true })
  const frame = newFrame(FRAME.subscribe, 8 + Buffer.byteLength(text))
  let at = frame.writeUInt32LE(request, FRAME_HEADER_BYTES)
  at = frame.writeUInt32LE(number, at)
  frame.write(text, at)
  return frame
}
