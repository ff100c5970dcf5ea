/**
 * Makes the stored form of an application's event for a channel: checks the type, validates the data by its schema,
 * takes the key, writes the text. It asks no engine. A promise only if the schema validates asynchronously.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { messageOf, namedMessageOf, watchAnswer } from '../base/thrown.ts'
import type { Channel } from '../channel/channel.ts'
import { typeNotCarried } from '../channel/channel-errors.ts'
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
import type { KeptTarget } from './kept-target.ts'

/** The channel of an event: defined by the application, or known by name only. */
export type EncodingTarget = Pick<Channel, 'name' | 'events' | 'keyOf' | 'spec'> &
  Partial<Pick<KeptTarget, 'keptSchema'>>

export class TargetEncoder {
  /** The CloudEvents `source` of events that have none. */
  readonly source: string
  readonly #stampMs: (() => number) | null

  /** `source` is that of events without one. `stampMs` is the time of events without one, if not the current one. */
  constructor(source: string, stampMs: (() => number) | null = null) {
    this.source = source
    this.#stampMs = stampMs
  }

  /** @throws TYPE_NOT_CARRIED · SCHEMA_MISMATCH · UNKNOWN_VERSION · INVALID_EVENT · EVENT_TOO_LARGE */
  encode(
    target: EncodingTarget,
    event: Encodable,
    trace: TraceText | null = null,
  ): EncodedEvent | Promise<EncodedEvent> {
    try {
      return this.#encode(target, event, trace)
    } catch (cause) {
      if (isMillraceError(cause)) throw cause
      // A member's getter threw.
      throw new MillraceError(
        'INVALID_EVENT',
        `an event for channel "${target.name}" cannot be read: ${messageOf(cause)}`,
        { channel: target.name },
        { cause },
      )
    }
  }

  #encode(target: EncodingTarget, event: Encodable, trace: TraceText | null): EncodedEvent | Promise<EncodedEvent> {
    if (typeof event !== 'object' || event === null) refuseOther(target.name, event)
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
    target: EncodingTarget,
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
  #judged(target: EncodingTarget, event: Encodable, schema: StandardSchemaV1, trace: TraceText | null): EncodedEvent {
    const encoded = this.#finish(target, event, trace)
    const data = encoded.altered ? encoded.data : event.data
    schemaOutput(schema, isJson(data) ? data : null, encoded, 'published')
    return encoded
  }

  #finish(target: EncodingTarget, event: Encodable, trace: TraceText | null): Encoded {
    const stamped = this.#stampMs === null || saysItsTime(event) ? event : { ...event, time: nowText(this.#stampMs()) }
    return encodeEvent(stamped, keyOf(target, event), this.source, target.spec.eventBytesMax, trace)
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

function refuseType(target: EncodingTarget, event: Encodable): void {
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

function keyOf(target: EncodingTarget, event: Encodable): string | null {
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
