/**
 * From an HTTP message to CloudEvents: the binary, structured and batched content modes.
 *
 * Pure: headers and bytes in, events in the JSON format out (binary data as `data_base64`). Every event that comes out is
 * valid; one bad event makes its whole batch invalid. Attributes that are `null` are left out, as the JSON format says.
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { shown } from '../../base/shown.ts'
import { type CloudEvent, setAside } from '../cloud-event.ts'
import { validateCloudEvent } from '../validate-cloud-event.ts'
import { decodeHeaderValue } from './header-value.ts'
import { depthOf, itemTexts, memberText } from './json-text.ts'
import { BATCHED, type ContentMode, charsetOf, contentModeOf, isJson, isUtf8Text, STRUCTURED } from './media-type.ts'

/** Headers as `fetch` has them, or as a plain object with names in any case. */
export type HttpHeaders = Headers | Readonly<Record<string, string | readonly string[] | number | undefined>>

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** Attributes that have no `ce-` header: the data is the body, its type is `content-type`. */
const NOT_HEADERS = new Set(['data', 'data_base64', 'datacontenttype'])

function refuse(message: string, details: Readonly<Record<string, unknown>> = {}, cause?: unknown): MillraceError {
  return new MillraceError('INVALID_EVENT', message, details, { cause })
}

/**
 * The events that an HTTP message carries: one in binary and structured mode, any number in batched mode.
 *
 * @throws INVALID_EVENT when there is no CloudEvent in the message, or one that is not valid: `details.reasons` says why, `details.index` which.
 * @example
 * ```ts
 * import { decodeHttp } from 'millrace'
 *
 * const headers = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/shop', 'ce-type': 'cart.item.added', 'content-type': 'application/json' }
 * const [event] = decodeHttp(headers, new TextEncoder().encode('{"sku":"tea"}'))
 * event?.data // { sku: 'tea' }
 * ```
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 */
export function decodeHttp(headers: HttpHeaders, body: Uint8Array): CloudEvent[] {
  return decodeTexts(headers, body).map(({ event }) => event)
}

/** An event, and its data as JSON text as it came, where it came as JSON: what a parser makes of it may have lost digits. */
export interface DecodedEvent {
  readonly event: CloudEvent
  readonly dataText: string | undefined
}

/** As `decodeHttp`, with the texts of the data. @throws INVALID_EVENT */
export function decodeTexts(headers: HttpHeaders, body: Uint8Array): DecodedEvent[] {
  if (!(body instanceof Uint8Array)) throw refuse(`the body of a message must be a Uint8Array; it is ${shown(body)}`)
  const fields = fieldsOf(headers)
  const contentType = fields.get('content-type')
  switch (modeOf(fields)) {
    case 'binary':
      return [binaryEvent(fields, contentType, body)]
    case 'structured': {
      const { value, text } = jsonOf(body, contentType)
      return [withText(checked(value, undefined), text)]
    }
    case 'batched': {
      const { value, text } = jsonOf(body, contentType)
      if (!Array.isArray(value)) throw refuse('a batch of CloudEvents must be a JSON array')
      const events = value.map((event, index) => checked(event, index))
      const texts = itemTexts(text)
      return events.map((event, index) => withText(event, texts[index] as string))
    }
    case 'foreign':
      throw refuse(`content type ${contentType} is not supported; send ${STRUCTURED}, ${BATCHED}, or the binary mode's ce- headers`, { contentType })
    case 'none':
      throw refuse(`there is no CloudEvent in the request: send ce- headers (ce-id, ce-source, ce-type, ce-specversion), ${STRUCTURED} or ${BATCHED}`, {
        contentType: contentType ?? null,
      })
  }
}

function withText(event: CloudEvent, text: string): DecodedEvent {
  return { event, dataText: event.data === undefined ? undefined : memberText(text, 'data') }
}

/** How a message carries events, by its headers. */
export function httpModeOf(headers: HttpHeaders): ContentMode {
  return modeOf(fieldsOf(headers))
}

function modeOf(fields: ReadonlyMap<string, string>): ContentMode {
  return contentModeOf(
    fields.get('content-type'),
    ['ce-specversion', 'ce-id', 'ce-source', 'ce-type'].some((name) => fields.has(name)),
  )
}

function fieldsOf(headers: HttpHeaders): Map<string, string> {
  if (headers instanceof Headers) return new Map(headers)
  if (typeof headers !== 'object' || headers === null) throw refuse(`the headers of a message must be an object; they are ${shown(headers)}`)
  const fields = new Map<string, string>()
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) fields.set(name.toLowerCase(), Array.isArray(value) ? value.map(headerText).join(', ') : headerText(value))
  }
  return fields
}

function headerText(value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  throw refuse(`the value of a header must be a text; it is ${shown(value)}`)
}

function binaryEvent(fields: ReadonlyMap<string, string>, contentType: string | undefined, body: Uint8Array): DecodedEvent {
  const event: Record<string, unknown> = {}
  for (const [field, value] of fields) {
    if (!field.startsWith('ce-')) continue
    const name = field.slice(3)
    if (NOT_HEADERS.has(name)) throw refuse(`header ${field} is not allowed: the data is the body and its type the content-type header`, { header: field })
    event[name] = decodeHeaderValue(field, value.trim())
  }
  if (contentType !== undefined && contentType !== '') event['datacontenttype'] = contentType
  const { dataText, ...data } = body.length > 0 ? binaryData(contentType, body) : {}
  return { event: checked(Object.assign(event, data), undefined), dataText }
}

interface BinaryData {
  readonly data?: unknown
  readonly data_base64?: string
  readonly dataText?: string
}

/** The body as the JSON format has it: JSON as itself, text as a string, other bytes in base64. */
function binaryData(contentType: string | undefined, body: Uint8Array): BinaryData {
  if (contentType !== undefined && contentType !== '') {
    if (isJson(contentType)) {
      const { value, text } = jsonOf(body, contentType)
      return { data: value, dataText: text }
    }
    const text = isUtf8Text(contentType) ? textOf(body) : undefined
    return text === undefined ? { data_base64: base64Of(body) } : { data: text }
  }
  // Without a type the body may be JSON, which is what a reader of the JSON format will take it for.
  try {
    const { value, text } = jsonOf(body, undefined)
    return { data: value, dataText: text }
  } catch {
    return { data_base64: base64Of(body) }
  }
}

function textOf(body: Uint8Array): string | undefined {
  try {
    return utf8.decode(body)
  } catch {
    return undefined
  }
}

function base64Of(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('base64')
}

function jsonOf(body: Uint8Array, contentType: string | undefined): { readonly value: unknown; readonly text: string } {
  const charset = contentType === undefined ? undefined : charsetOf(contentType)
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8' && charset !== 'us-ascii') {
    throw refuse(`JSON in charset ${charset} is not supported: send UTF-8`, { charset })
  }
  const text = textOf(body)
  if (text === undefined) throw refuse('the body is not UTF-8')
  const depth = depthOf(text)
  if (depth > LIMITS.dataDepthMax + 3) throw refuse(`the body is nested ${depth} levels deep; data may be nested ${LIMITS.dataDepthMax}`, { depth })
  try {
    return { value: JSON.parse(text), text }
  } catch (cause) {
    throw refuse(`the body is not JSON: ${(cause as Error).message}`, {}, cause)
  }
}

function checked(event: unknown, index: number | undefined): CloudEvent {
  const reasons = validateCloudEvent(event)
  if (reasons.length > 0) {
    const which = index === undefined ? 'the event' : `event ${index} of the batch`
    throw refuse(`${which} is not a valid CloudEvent: ${reasons.join('; ')}`, { reasons, ...(index !== undefined && { index }) })
  }
  const valid = withoutNulls(event as Readonly<Record<string, unknown>>)
  setAside(valid as object)
  return valid
}

function withoutNulls(event: Readonly<Record<string, unknown>>): CloudEvent {
  for (const name in event) {
    if (event[name] !== null || name === 'data') continue
    return Object.fromEntries(Object.entries(event).filter(([key, value]) => value !== null || key === 'data')) as unknown as CloudEvent
  }
  return event as unknown as CloudEvent
}
