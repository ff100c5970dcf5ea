/**
 * Decodes a stored event for a handler or a reader: parses it and applies its schema.
 *
 * The schema is that of the channel's own definition: two channels may carry one type with different schemas. If the
 * channel is known by name only, or defines the type without a schema, the schema of the handler's definition is used.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { MillraceError } from '../base/errors.ts'
import type { Channel } from '../channel/channel.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { decodeEvent } from '../event/encode.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import { schemaOutput } from '../event/schema.ts'
import type { StoredText } from './engine.ts'

type Schemas = Map<string, StandardSchemaV1>

export class EventDecoder {
  readonly #use: 'handled' | 'read'
  readonly #byChannel = new Map<string, Schemas>()
  readonly #byType: Schemas = new Map()

  constructor(use: 'handled' | 'read') {
    this.#use = use
  }

  addChannel({ name, events }: Channel): void {
    const schemas: Schemas = new Map()
    for (const definition of events?.values() ?? []) add(schemas, definition)
    if (schemas.size > 0) this.#byChannel.set(name, schemas)
  }

  /** A definition of a handler. */
  addHandled(definition: AnyEventDefinition): void {
    add(this.#byType, definition)
  }

  /**
   * A promise only if the schema is asynchronous. @throws INVALID_EVENT · SCHEMA_MISMATCH; for a handler with
   * `details.handled`: no attempt can help
   */
  decode(stored: StoredText, channel: string): StoredEvent | Promise<StoredEvent> {
    const event = parse(stored, channel, this.#use)
    const schema = this.#byChannel.get(channel)?.get(stored.type) ?? this.#byType.get(stored.type)
    if (schema === undefined) return event
    const output = schemaOutput(
      schema,
      event.data,
      this.#use === 'read' ? { type: event.type, id: event.id, channel, offset: stored.offset } : event,
      this.#use,
    )
    return output instanceof Promise ? output.then((settled) => withData(event, settled)) : withData(event, output)
  }
}

function add(schemas: Schemas, { type, schema }: AnyEventDefinition): void {
  if (schema !== undefined) schemas.set(type, schema)
}

/** Data that an engine could not read as an event has no type. @throws INVALID_EVENT */
export function refusePoison({ type, offset }: StoredText, channel: string): void {
  if (type !== '') return
  throw new MillraceError(
    'INVALID_EVENT',
    `the record at offset ${offset} of channel "${channel}" is not a CloudEvent`,
    { channel, offset, handled: true },
  )
}

function parse(stored: StoredText, channel: string, use: 'handled' | 'read'): StoredEvent {
  if (use === 'handled') refusePoison(stored, channel)
  const { offset } = stored
  try {
    return stored.decode?.(offset) ?? decodeEvent(stored.text, offset)
  } catch (cause) {
    const message = `the event at offset ${offset} of channel "${channel}" is not JSON`
    throw new MillraceError(
      'INVALID_EVENT',
      message,
      { channel, offset, ...(use === 'handled' && { handled: true }) },
      { cause },
    )
  }
}

function withData(event: StoredEvent, data: unknown): StoredEvent {
  ;(event as { data: unknown }).data = data
  return event
}
