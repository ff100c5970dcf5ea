/**
 * Prepares an application's event for an engine: declares the channel, or learns what it is, and encodes the event for
 * it. Nearly always without waiting.
 */
import { isMillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { type Channel, checkChannel, isChannel } from '../channel/channel.ts'
import { unknownChannel } from '../channel/channel-errors.ts'
import type { Encodable } from '../event/encode.ts'
import type { TraceText } from '../event/trace-context.ts'
import type { EncodedEvent } from './encoded-event.ts'
import type { Engine } from './engine.ts'
import { keptTarget } from './kept-target.ts'
import { withConsumers } from './schema-refusal.ts'
import { type EncodingTarget, TargetEncoder } from './target-encoder.ts'

/** How long the declaration of a channel that is known by name only is used before it is read again. */
const LOOK_MS = 1000

export class EventEncoder {
  readonly #engine: Engine
  readonly #encoder: TargetEncoder
  /** Channels declared on the engine, by name. */
  readonly #ready = new Map<string, EncodingTarget>()
  readonly #declaring = new Map<Channel, Promise<void>>()
  /** Channels whose declarations are being read again, by name. */
  readonly #renewing = new Map<string, Promise<void>>()
  /** When the declarations of channels that are known by name only were read. */
  readonly #lookedAt = new Map<string, number>()
  readonly #looking = new Map<string, Promise<void>>()

  constructor(engine: Engine, source: string, stampMs: (() => number) | null = null) {
    this.#engine = engine
    this.#encoder = new TargetEncoder(source, stampMs)
  }

  /** The CloudEvents `source` of events that have none. */
  get source(): string {
    return this.#encoder.source
  }

  /** Whether events can be encoded for the channel without waiting. */
  isReady(channel: Channel | string): boolean {
    if (typeof channel === 'string') return this.#ready.has(channel) && !this.#isOld(channel)
    return isChannel(channel) && this.#ready.get(channel.name) === channel
  }

  /** The largest event of a channel that is ready. */
  eventBytesMax(channel: string): number {
    return this.#ready.get(channel)?.spec.eventBytesMax ?? LIMITS.eventBytesMax
  }

  /**
   * Declare the channel, or learn what it is.
   * @throws INVALID_OPTION · CHANNEL_CONFLICT · INCOMPATIBLE_SCHEMA · UNKNOWN_CHANNEL
   */
  async prepare(channel: Channel | string): Promise<void> {
    if (typeof channel === 'string') return this.#look(channel)
    checkChannel(channel)
    let declaring = this.#declaring.get(channel)
    if (declaring === undefined) {
      declaring = this.#engine.declare(channel.spec).then(
        () => this.#declared(channel),
        (error: unknown) => withConsumers(this.#engine, error),
      )
      this.#declaring.set(channel, declaring)
      declaring.catch(() => this.#declaring.delete(channel))
    }
    await declaring
    this.#declared(channel)
  }

  #declared(channel: Channel): void {
    this.#ready.set(channel.name, channel)
    this.#lookedAt.delete(channel.name)
  }

  /** Another process may have declared the channel with another key or schema. */
  #isOld(name: string): boolean {
    const at = this.#lookedAt.get(name)
    return at !== undefined && performance.now() - at > LOOK_MS
  }

  /** Read the declaration of a channel that is known by name only. Concurrent calls share one reading. */
  #look(name: string): Promise<void> {
    let looking = this.#looking.get(name)
    if (looking === undefined) {
      looking = this.#learn(name).finally(() => this.#looking.delete(name))
      this.#looking.set(name, looking)
    }
    return looking
  }

  async #learn(name: string): Promise<void> {
    try {
      const found = await this.#lookUp(name)
      // It may have been declared here in the meantime.
      if (this.#ready.has(name) && !this.#lookedAt.has(name)) return
      this.#known(found)
    } catch (error) {
      if (!this.#ready.has(name)) throw error
      // While the server is unreachable, events are encoded by the last known declaration.
      if (isMillraceError(error) && error.retryable) this.#lookedAt.set(name, performance.now())
      else {
        this.forget(name)
        throw error
      }
    }
  }

  #known(target: EncodingTarget): void {
    this.#ready.set(target.name, target)
    this.#lookedAt.set(target.name, performance.now())
  }

  /** Declare the channel, even if it is known. @throws CHANNEL_CONFLICT */
  async declare(channel: Channel): Promise<void> {
    this.#declaring.delete(channel)
    await this.prepare(channel)
  }

  /**
   * Declare the channel again, or read its declaration: it may have been removed. Concurrent calls share one request.
   * @throws CHANNEL_CONFLICT · UNKNOWN_CHANNEL
   */
  renew(channel: Channel | string): Promise<void> {
    const name = typeof channel === 'string' ? channel : channel.name
    let renewing = this.#renewing.get(name)
    if (renewing === undefined) {
      renewing = this.#renew(channel, name).finally(() => this.#renewing.delete(name))
      this.#renewing.set(name, renewing)
    }
    // Another call may have given the name only.
    return this.isReady(channel)
      ? renewing
      : renewing.then(() => (this.isReady(channel) ? undefined : this.prepare(channel)))
  }

  /** Until the answer comes, other events are encoded by the last known declaration. */
  async #renew(channel: Channel | string, name: string): Promise<void> {
    const before = this.#ready.get(name)
    for (const declared of this.#declaring.keys()) if (declared.name === name) this.#declaring.delete(declared)
    try {
      if (typeof channel !== 'string') await this.prepare(channel)
      else this.#known(await this.#lookUp(name))
    } catch (error) {
      // An unreachable server does not tell whether the channel exists.
      if (this.#ready.get(name) === before && !(isMillraceError(error) && error.retryable)) this.#ready.delete(name)
      throw error
    }
  }

  /** @throws UNKNOWN_CHANNEL */
  async #lookUp(name: string): Promise<EncodingTarget> {
    const spec = await this.#engine.channel(name)
    if (spec !== undefined) return keptTarget(spec)
    const channels = await this.#engine.channels()
    throw unknownChannel(
      name,
      channels.map((each) => each.name),
    )
  }

  /**
   * Run an action that needs these channels. If the engine does not know one, they are declared again and the action
   * runs once more.
   */
  async with<T>(channels: Iterable<Channel | string>, work: () => T | Promise<T>): Promise<T> {
    for (const channel of channels) if (!this.isReady(channel)) await this.prepare(channel)
    try {
      return await work()
    } catch (error) {
      if (!isMillraceError(error, 'UNKNOWN_CHANNEL')) throw error
      for (const channel of channels) await this.renew(channel)
      return work()
    }
  }

  /** Forget a channel that was removed. */
  forget(name: string): void {
    this.#ready.delete(name)
    for (const channel of this.#declaring.keys()) if (channel.name === name) this.#declaring.delete(channel)
  }

  /**
   * The event in the form that the engine stores; a promise only if the schema validates asynchronously.
   * @throws TYPE_NOT_CARRIED · SCHEMA_MISMATCH · UNKNOWN_VERSION · UNKNOWN_CHANNEL · INVALID_EVENT · EVENT_TOO_LARGE
   */
  encode(name: string, event: Encodable, trace: TraceText | null = null): EncodedEvent | Promise<EncodedEvent> {
    const target = this.#ready.get(name)
    // It was removed after it was prepared: the caller prepares it again, or reports the error.
    if (target === undefined) throw unknownChannel(name, this.#ready.keys())
    return this.#encoder.encode(target, event, trace)
  }
}
