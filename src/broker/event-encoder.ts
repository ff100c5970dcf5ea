/**
 * Prepares an application's event for an engine: declares the channel, checks the type, validates the data by its
 * schema, takes the key, writes the text. Nearly always without waiting.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { messageOf, namedMessageOf, watchAnswer } from '../base/thrown.ts'
import { type Channel, checkChannel, isChannel } from '../channel/channel.ts'
import { typeNotCarried, unknownChannel } from '../channel/channel-errors.ts'
import type { NewEvent } from '../event/cloud-event.ts'
import { type Encodable, type Encoded, encodeEvent } from '../event/encode.ts'
import { isDefinition } from '../event/event.ts'
import { eventText } from '../event/event-text.ts'
import { mayDiffer, publishedSchema } from '../event/event-version.ts'
import { nowText } from '../event/identity.ts'
import { saysItsTime } from '../event/made-now.ts'
import { schemaOutput } from '../event/schema.ts'
import type { TraceText } from '../event/trace-context.ts'
import type { EncodedEvent } from './encoded-event.ts'
import type { Engine } from './engine.ts'
import { type KeptTarget, keptTarget } from './kept-target.ts'

/** The channel of an event: defined by the application, or known by name only. */
type Target = Pick<Channel, 'name' | 'events' | 'keyOf' | 'spec'> & Partial<Pick<KeptTarget, 'keptSchema'>>

/** How long the declaration of a channel that is known by name only is used before it is read again. */
const LOOK_MS = 1000

export class EventEncoder {
  readonly #engine: Engine
  readonly #source: string
  readonly #stampMs: (() => number) | null
  /** Channels declared on the engine, by name. */
  readonly #ready = new Map<string, Target>()
  readonly #declaring = new Map<Channel, Promise<void>>()
  /** Channels whose declarations are being read again, by name. */
  readonly #renewing = new Map<string, Promise<void>>()
  /** When the declarations of channels that are known by name only were read. */
  readonly #lookedAt = new Map<string, number>()
  readonly #looking = new Map<string, Promise<void>>()

  constructor(engine: Engine, source: string, stampMs: (() => number) | null = null) {
    this.#engine = engine
    this.#source = source
    this.#stampMs = stampMs
  }

  /** The CloudEvents `source` of events that have none. */
  get source(): string {
    return this.#source
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

  /** Declare the channel, or learn what it is. @throws INVALID_OPTION · CHANNEL_CONFLICT · UNKNOWN_CHANNEL */
  async prepare(channel: Channel | string): Promise<void> {
    if (typeof channel === 'string') return this.#look(channel)
    checkChannel(channel)
    let declaring = this.#declaring.get(channel)
    if (declaring === undefined) {
      declaring = this.#engine.declare(channel.spec).then(() => this.#declared(channel))
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

  #known(target: Target): void {
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
  async #lookUp(name: string): Promise<Target> {
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
   * @throws TYPE_NOT_CARRIED · SCHEMA_MISMATCH · UNKNOWN_VERSION · INVALID_EVENT · EVENT_TOO_LARGE
   */
  encode(name: string, event: Encodable, trace: TraceText | null = null): EncodedEvent | Promise<EncodedEvent> {
    try {
      return this.#encode(name, event, trace)
    } catch (cause) {
      if (isMillraceError(cause)) throw cause
      // A member's getter threw.
      throw new MillraceError(
        'INVALID_EVENT',
        `an event for channel "${name}" cannot be read: ${messageOf(cause)}`,
        { channel: name },
        { cause },
      )
    }
  }

  #encode(name: string, event: Encodable, trace: TraceText | null): EncodedEvent | Promise<EncodedEvent> {
    const target = this.#ready.get(name)
    // It was removed after it was prepared: the caller prepares it again, or reports the error.
    if (target === undefined) throw unknownChannel(name, this.#ready.keys())
    if (typeof event !== 'object' || event === null) refuseOther(name, event)
    const definition = target.events?.get(event.type)
    if (definition === undefined) refuseType(target, event)
    const kept = target.keptSchema?.(event)
    if (kept !== undefined) return this.#judged(target, event, kept, trace)
    const schema =
      definition !== undefined && mayDiffer(definition, event) ? publishedSchema(definition, event) : definition?.schema
    if (schema === undefined) return this.#finish(target, event, trace)
    const judged = schemaOutput(schema, event.data, event, 'published')
    return judged instanceof Promise
      ? judged.then(() => this.#takenBack(target, event, schema, trace))
      : this.#takenBack(target, event, schema, trace)
  }

  /** If the data reads back as something else, the schema must accept that form: it is what a handler gets. */
  #takenBack(
    target: Target,
    event: Encodable,
    schema: StandardSchemaV1,
    trace: TraceText | null,
  ): EncodedEvent | Promise<EncodedEvent> {
    const encoded = this.#finish(target, event, trace)
    if (!encoded.altered) return encoded
    const judged = schemaOutput(schema, encoded.data, encoded, 'stored')
    return judged instanceof Promise ? judged.then(() => encoded) : encoded
  }

  /** Validates by the stored schema, which applies to the JSON form of the data. */
  #judged(target: Target, event: Encodable, schema: StandardSchemaV1, trace: TraceText | null): EncodedEvent {
    const encoded = this.#finish(target, event, trace)
    const data = encoded.altered ? encoded.data : event.data
    schemaOutput(schema, isJson(data) ? data : null, encoded, 'published')
    return encoded
  }

  #finish(target: Target, event: Encodable, trace: TraceText | null): Encoded {
    const stamped = this.#stampMs === null || saysItsTime(event) ? event : { ...event, time: nowText(this.#stampMs()) }
    return encodeEvent(stamped, keyOf(target, event), this.#source, target.spec.eventBytesMax, trace)
  }
}

function refuseOther(channel: string, given: unknown): never {
  const what = isDefinition(given)
    ? `the definition of ${shown(given.type)}: call it with the event's data`
    : shown(given)
  throw new MillraceError('INVALID_EVENT', `an event for channel "${channel}" must be an object; this is ${what}`, {
    channel,
  })
}

function refuseType(target: Target, event: Encodable): void {
  const { types } = target.spec
  if (types === null || (target.events === null && types.includes(event.type))) return
  throw typeNotCarried(`channel "${target.name}" does not carry ${shown(event.type)}`, event.type, types, {
    channel: target.name,
  })
}

/** Whether the data is neither binary nor absent. */
function isJson(data: unknown): boolean {
  return data !== undefined && !(data instanceof Uint8Array)
}

function keyOf(target: Target, event: Encodable): string | null {
  let key: unknown
  try {
    key = target.keyOf === undefined ? (event as NewEvent).partitionkey : target.keyOf(event as NewEvent)
  } catch (cause) {
    if (isMillraceError(cause, 'INVALID_EVENT')) throw cause
    const message = `the key function of channel "${target.name}" failed for ${eventText(event)}: ${namedMessageOf(cause)}`
    throw new MillraceError(
      'INVALID_EVENT',
      message,
      { channel: target.name, type: event.type, id: event.id },
      { cause },
    )
  }
  if (key === undefined || key === null) return null
  if (
    typeof key === 'string' &&
    key.length > 0 &&
    (key.length * 3 <= LIMITS.keyBytesMax || Buffer.byteLength(key) <= LIMITS.keyBytesMax) &&
    !key.includes('\0')
  ) {
    // Normalised as UTF-8 does it: consumers that get the event at once and later readers must see the same key.
    return key.isWellFormed() ? key : key.toWellFormed()
  }
  watchAnswer(key)
  throw new MillraceError(
    'INVALID_EVENT',
    `the key of ${eventText(event)} must be a string of 1 to ${LIMITS.keyBytesMax} bytes, or undefined for none; it is ${shown(key)}`,
    { channel: target.name, type: event.type, id: event.id },
  )
}
