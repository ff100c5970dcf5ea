/** From a delivery to the event that a handler gets: parsed, and decoded by its schema. What cannot be is poison. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { MillraceError } from '../base/errors.ts'
import type { Delivery } from '../broker/engine.ts'
import { schemaMismatch } from '../broker/event-encoder.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { decodeEvent } from '../event/encode.ts'
import type { AnyEventDefinition } from '../event/event.ts'

export class EventDecoder {
  readonly #schemas = new Map<string, StandardSchemaV1>()

  add(definition: AnyEventDefinition): void {
    if (definition.schema !== undefined) this.#schemas.set(definition.type, definition.schema)
  }

  /** @throws INVALID_EVENT · SCHEMA_MISMATCH, with `details.handled`: no attempt can help */
  decode(delivery: Delivery): StoredEvent | Promise<StoredEvent> {
    const event = parse(delivery)
    const schema = this.#schemas.get(delivery.type)
    if (schema === undefined) return event
    const result = schema['~standard'].validate(event.data)
    return result instanceof Promise ? result.then((settled) => withData(event, settled)) : withData(event, result)
  }
}

/** What an engine could not read as an event has no type. @throws INVALID_EVENT */
export function refusePoison({ type, channel, offset }: Delivery): void {
  if (type !== '') return
  throw new MillraceError('INVALID_EVENT', `what is at offset ${offset} of channel "${channel}" is no CloudEvent`, { channel, offset, handled: true })
}

function parse(delivery: Delivery): StoredEvent {
  refusePoison(delivery)
  try {
    return delivery.decode?.(delivery.offset) ?? decodeEvent(delivery.text, delivery.offset)
  } catch (cause) {
    const message = `the event at offset ${delivery.offset} of channel "${delivery.channel}" is not JSON`
    throw new MillraceError('INVALID_EVENT', message, { channel: delivery.channel, offset: delivery.offset, handled: true }, { cause })
  }
}

function withData(event: StoredEvent, result: StandardSchemaV1.Result<unknown>): StoredEvent {
  if (result.issues !== undefined) {
    const { message, details } = schemaMismatch(event, result.issues, 'handled')
    throw new MillraceError('SCHEMA_MISMATCH', message, { ...details, handled: true })
  }
  ;(event as { data: unknown }).data = result.value
  return event
}
