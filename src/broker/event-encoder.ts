/**
 * What stands between an application's event and an engine: the channel is declared, the type is carried, the data satisfies its schema, the
 * key is taken, the text is made. Nearly always without waiting for anything.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { Channel } from '../channel/channel.ts'
import type { NewEvent } from '../event/cloud-event.ts'
import { type Encodable, encodeEvent } from '../event/encode.ts'
import type { EncodedEvent, Engine } from './engine.ts'

/** Where an event goes: a channel of the application, or one known by name only. */
type Target = Pick<Channel, 'name' | 'events' | 'keyOf' | 'spec'>

export class EventEncoder {
  readonly #engine: Engine
  readonly #source: string
  /** Channels declared on the engine, by name. */
  readonly #ready = new Map<string, Target>()
  readonly #declaring = new Map<Channel, Promise<void>>()

  constructor(engine: Engine, source: string) {
    this.#engine = engine
    this.#source = source
  }

  /** Whether events can be encoded for the channel without waiting. */
  isReady(channel: Channel | string): boolean {
    return typeof channel === 'string' ? this.#ready.has(channel) : this.#ready.get(channel.name) === channel
  }

  /** Declare the channel, or learn what it is. @throws CHANNEL_CONFLICT · UNKNOWN_CHANNEL */
  async prepare(channel: Channel | string): Promise<void> {
    if (typeof channel === 'string') {
      const spec = await this.#engine.channel(channel)
      if (spec === undefined) throw unknownChannel(channel, await this.#engine.describe())
      if (!this.#ready.has(channel)) this.#ready.set(channel, { name: channel, spec, events: null, keyOf: undefined })
      return
    }
    let declaring = this.#declaring.get(channel)
    if (declaring === undefined) {
      declaring = this.#engine.declare(channel.spec).then(() => {
        this.#ready.set(channel.name, channel)
      })
      this.#declaring.set(channel, declaring)
      declaring.catch(() => this.#declaring.delete(channel))
    }
    await declaring
    this.#ready.set(channel.name, channel)
  }

  /** Forget a channel that was removed. */
  forget(name: string): void {
    this.#ready.delete(name)
    for (const channel of this.#declaring.keys()) if (channel.name === name) this.#declaring.delete(channel)
  }

  /**
   * The event as the engine stores it. A promise only where the schema validates asynchronously.
   * @throws TYPE_NOT_CARRIED · SCHEMA_MISMATCH · INVALID_EVENT · EVENT_TOO_LARGE
   */
  encode(name: string, event: Encodable): EncodedEvent | Promise<EncodedEvent> {
    const target = this.#ready.get(name) as Target
    if (typeof event !== 'object' || event === null)
      throw new MillraceError('INVALID_EVENT', `an event for channel "${name}" must be an object`, { channel: name })
    const definition = target.events?.get(event.type)
    if (definition === undefined) refuseType(target, event)
    const schema = definition?.schema
    if (schema === undefined) return this.#finish(target, event)
    const result = schema['~standard'].validate(event.data)
    if (result instanceof Promise) return result.then((settled) => this.#checked(target, event, settled))
    return this.#checked(target, event, result)
  }

  #checked(target: Target, event: Encodable, result: StandardSchemaV1.Result<unknown>): EncodedEvent {
    if (result.issues !== undefined) throw schemaMismatch(event, result.issues, 'published')
    return this.#finish(target, event)
  }

  #finish(target: Target, event: Encodable): EncodedEvent {
    return encodeEvent(event, keyOf(target, event), this.#source, target.spec.eventBytesMax)
  }
}

function refuseType(target: Target, event: Encodable): void {
  const { types } = target.spec
  if (types === null || (target.events === null && types.includes(event.type))) return
  throw new MillraceError('TYPE_NOT_CARRIED', `channel "${target.name}" does not carry "${String(event.type)}": it carries ${types.join(', ')}`, {
    channel: target.name,
    type: event.type,
    types,
  })
}

function keyOf(target: Target, event: Encodable): string | null {
  let key: unknown
  try {
    key = target.keyOf === undefined ? (event as NewEvent).partitionkey : target.keyOf(event as NewEvent)
  } catch (cause) {
    const message = `the key function of channel "${target.name}" failed for event "${event.type}" (id ${String(event.id)}): ${String(cause)}`
    throw new MillraceError('INVALID_EVENT', message, { channel: target.name, type: event.type, id: event.id }, { cause })
  }
  if (key === undefined || key === null) return null
  if (
    typeof key === 'string' &&
    key.length > 0 &&
    (key.length * 3 <= LIMITS.keyBytesMax || Buffer.byteLength(key) <= LIMITS.keyBytesMax) &&
    !key.includes('\0')
  ) {
    // As UTF-8 will have it: a key is the same to who takes the event up at once and to who reads it later.
    return key.isWellFormed() ? key : key.toWellFormed()
  }
  throw new MillraceError(
    'INVALID_EVENT',
    `the key of event "${event.type}" (id ${String(event.id)}) must be a string of 1 to ${LIMITS.keyBytesMax} bytes, or undefined for none; it is ${String(key).slice(0, 60)}`,
    { channel: target.name, type: event.type, id: event.id },
  )
}

/** The data is not what its schema says; the schema library's own issues are in `details.issues`. */
export function schemaMismatch(event: Encodable, issues: readonly StandardSchemaV1.Issue[], when: 'published' | 'handled'): MillraceError {
  const shown = issues.slice(0, 5).map((issue) => {
    const path = (issue.path ?? []).map((segment) => String(typeof segment === 'object' ? segment.key : segment)).join('.')
    return path === '' ? issue.message : `${path}: ${issue.message}`
  })
  return new MillraceError(
    'SCHEMA_MISMATCH',
    `event "${event.type}" (id ${String(event.id)}) cannot be ${when}: its data does not satisfy its schema (${shown.join('; ')})`,
    {
      type: event.type,
      id: event.id,
      issues,
    },
  )
}

function unknownChannel(name: string, { channels }: { readonly channels: readonly { readonly name: string }[] }): MillraceError {
  const there =
    channels.length === 0
      ? 'no channel has been declared'
      : `there are ${channels
          .slice(0, 20)
          .map((channel) => `"${channel.name}"`)
          .join(', ')}`
  return new MillraceError('UNKNOWN_CHANNEL', `channel "${name}" is not declared: ${there}`, { channel: name })
}
