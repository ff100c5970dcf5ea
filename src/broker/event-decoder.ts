/**
 * Decodes a stored event for a handler or a reader: parses it and applies its schema. An event of an earlier version is
 * changed to the newest one first.
 *
 * The definition is the channel's own: two channels may carry one type with different schemas. If the
 * channel is known by name only, or defines the type without a schema, the handler's definition is used.
 */
import { MillraceError } from '../base/errors.ts'
import type { Channel } from '../channel/channel.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { decodeEvent } from '../event/encode.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import { hasVersions, inNewest, mayDiffer } from '../event/event-version.ts'
import { schemaOutput } from '../event/schema.ts'
import type { Delivery, StoredText } from './engine.ts'

type Definitions = Map<string, AnyEventDefinition>

export class EventDecoder {
  readonly #use: 'handled' | 'read'
  readonly #byChannel = new Map<string, Definitions>()
  readonly #byType: Definitions = new Map()

  constructor(use: 'handled' | 'read') {
    this.#use = use
  }

  addChannel({ name, events }: Channel): void {
    const definitions: Definitions = new Map()
    for (const definition of events?.values() ?? []) add(definitions, definition)
    if (definitions.size > 0) this.#byChannel.set(name, definitions)
  }

  /** A definition of a handler. */
  addHandled(definition: AnyEventDefinition): void {
    add(this.#byType, definition)
  }

  /** The newest version that it can decode, by type. */
  get versions(): Readonly<Record<string, number>> {
    const newest: Record<string, number> = {}
    for (const definitions of [this.#byType, ...this.#byChannel.values()])
      for (const { type, version } of definitions.values()) newest[type] = Math.max(newest[type] ?? 0, version)
    return newest
  }

  /**
   * A promise only if the schema is asynchronous. @throws INVALID_EVENT · SCHEMA_MISMATCH · UNKNOWN_VERSION ·
   * UPCAST_FAILED; for a handler with `details.handled`: no attempt can help
   */
  decode(stored: StoredText, channel: string): StoredEvent | Promise<StoredEvent> {
    const event = parsed(stored, channel, this.#use)
    const definition = this.#byChannel.get(channel)?.get(stored.type) ?? this.#byType.get(stored.type)
    if (definition === undefined) return event
    const judged = this.#use === 'read' ? { type: event.type, id: event.id, channel, offset: stored.offset } : event
    if (mayDiffer(definition, event)) return inNewest(definition, event, judged, this.#use)
    const { schema } = definition
    if (schema === undefined) return event
    const output = schemaOutput(schema, event.data, judged, this.#use)
    return output instanceof Promise ? output.then((settled) => withData(event, settled)) : withData(event, output)
  }
}

function add(definitions: Definitions, definition: AnyEventDefinition): void {
  if (hasVersions(definition)) definitions.set(definition.type, definition)
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

/** The event as it is stored. @throws INVALID_EVENT */
export function parsed(stored: StoredText, channel: string, use: 'handled' | 'read'): StoredEvent {
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

/** The delivery itself, for a consumer of stored texts. @throws INVALID_EVENT */
export function undecoded(delivery: Delivery): StoredEvent {
  refusePoison(delivery, delivery.channel)
  return delivery as unknown as StoredEvent
}

function withData(event: StoredEvent, data: unknown): StoredEvent {
  ;(event as { data: unknown }).data = data
  return event
}
