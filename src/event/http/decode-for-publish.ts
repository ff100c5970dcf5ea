/**
 * Decodes an HTTP message into events for publishing. They stay as they were sent: data keeps its JSON text, and an
 * event without a time gets none.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { DATA_TEXT, type Encodable } from '../encode.ts'
import { eventText } from '../event-text.ts'
import { type DecodedEvent, decodeTexts, type HttpHeaders } from './decode-http.ts'
import { depthOf } from './json-text.ts'

/** The events of an HTTP message, for publishing. @throws INVALID_EVENT as `decodeHttp` does */
export function decodeForPublish(headers: HttpHeaders, body: Uint8Array): Encodable[] {
  return decodeTexts(headers, body).map(publishable)
}

/** Data that is parsed only when code reads it, such as a schema or a key function. */
class Unparsed {
  readonly [DATA_TEXT]: string
  #data: { readonly value: unknown } | null = null

  constructor(text: string) {
    this[DATA_TEXT] = text
  }

  get data(): unknown {
    this.#data ??= { value: JSON.parse(this[DATA_TEXT]) as unknown }
    return this.#data.value
  }
}

function publishable({ attributes, dataText }: DecodedEvent): Encodable {
  const { data_base64: base64, ...rest } = attributes
  return Object.assign(dataText === undefined ? {} : new Unparsed(dataText), {
    ...rest,
    time: attributes.time ?? null,
    // Bytes, so that a schema sees the same value as a handler.
    ...(base64 !== undefined && { data: new Uint8Array(Buffer.from(base64, 'base64')) }),
  })
}

/**
 * Returns the JSON text of an event's data.
 * @throws INVALID_EVENT when the data is nested deeper than `LIMITS.dataDepthMax`
 */
export function checkedDepth(dataText: string, event: { readonly type: string; readonly id: string }): string {
  if (depthOf(dataText) <= LIMITS.dataDepthMax + 1) return dataText
  throw new MillraceError(
    'INVALID_EVENT',
    `${eventText(event)}: data is nested deeper than ${LIMITS.dataDepthMax} levels`,
    {
      path: 'data',
      type: event.type,
      id: event.id,
    },
  )
}
