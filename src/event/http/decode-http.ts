/**
 * Decodes an HTTP message into CloudEvents: binary, structured and batched content mode.
 *
 * Pure: headers and bytes in, events in the JSON format out (binary data as `data_base64`). Every decoded event is
 * valid; one invalid event makes its whole batch invalid. Attributes that are `null` are left out, as the JSON format
 * says.
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { shown } from '../../base/shown.ts'
import { type CloudEvent, setAside } from '../cloud-event.ts'
import { DATA_BOUNDS, JsonRefusal, JsonScanner } from '../json-scanner.ts'
import { validateCloudEvent } from '../validate-cloud-event.ts'
import { decodeHeaderValue } from './header-value.ts'
import { nameOf } from './json-text.ts'
import { BATCHED, type ContentMode, charsetOf, contentModeOf, isJson, isUtf8Text, STRUCTURED } from './media-type.ts'

/** Headers as `fetch` has them, or a plain object with names in any case. */
export type HttpHeaders = Headers | Readonly<Record<string, string | readonly string[] | number | undefined>>

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** Attributes without a `ce-` header: the data is the body, and its type is the `content-type`. */
const NOT_HEADERS = new Set(['data', 'data_base64', 'datacontenttype'])

function refuse(message: string, details: Readonly<Record<string, unknown>> = {}, cause?: unknown): MillraceError {
  return new MillraceError('INVALID_EVENT', message, details, { cause })
}

/**
 * The CloudEvents of an HTTP message: one in binary and structured mode, any number in batched mode.
 *
 * @throws INVALID_EVENT when the message has no CloudEvent, or an invalid one: `details.reasons` says why, and
 * `details.index` which event
 * @example
 * ```ts
 * import { decodeHttp } from 'millrace'
 *
 * const headers = {
 *   'ce-specversion': '1.0',
 *   'ce-id': '1',
 *   'ce-source': '/shop',
 *   'ce-type': 'cart.item.added',
 *   'content-type': 'application/json',
 * }
 * const [event] = decodeHttp(headers, new TextEncoder().encode('{"sku":"tea"}'))
 * event?.data // { sku: 'tea' }
 * ```
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 */
export function decodeHttp(headers: HttpHeaders, body: Uint8Array): CloudEvent[] {
  return decodeTexts(headers, body).map((decoded) => decoded.event)
}

/**
 * A decoded event. `dataText` is the data as the JSON text that was received. The getter `event` parses it each time it
 * is read. Other code uses the text, because `JSON.parse` is slow on hostile text and rounds large numbers.
 */
export class DecodedEvent {
  /** All attributes; and the data if it is not JSON (text, or `data_base64`). */
  readonly attributes: CloudEvent
  readonly dataText: string | undefined

  constructor(attributes: CloudEvent, dataText: string | undefined) {
    this.attributes = attributes
    this.dataText = dataText
  }

  get event(): CloudEvent {
    return this.dataText === undefined
      ? this.attributes
      : { ...this.attributes, data: JSON.parse(this.dataText) as unknown }
  }
}

/**
 * Like `decodeHttp`, with the texts of the data.
 * @throws as `decodeHttp`
 */
export function decodeTexts(headers: HttpHeaders, body: Uint8Array): DecodedEvent[] {
  if (!(body instanceof Uint8Array)) throw refuse(`the body of a message must be a Uint8Array; it is ${shown(body)}`)
  const fields = fieldsOf(headers)
  const contentType = fields.get('content-type')
  switch (modeOf(fields)) {
    case 'binary':
      return [binaryEvent(fields, contentType, body)]
    case 'structured':
      return scanned(textOfJson(body, contentType), (scanner, text) => {
        const { decoded, end } = eventAt(scanner, text, scanner.start(), undefined)
        scanner.end(end)
        return [decoded]
      })
    case 'batched':
      return scanned(textOfJson(body, contentType), batchOf)
    case 'foreign':
      throw refuse(
        `content type ${contentType?.slice(0, 200)} is not supported; send ${STRUCTURED}, ${BATCHED}, or the binary mode's ce- headers`,
        {
          contentType,
        },
      )
    case 'none':
      throw refuse(
        `there is no CloudEvent in the request: send ce- headers (ce-id, ce-source, ce-type, ce-specversion), ${STRUCTURED} or ${BATCHED}`,
        {
          contentType: contentType ?? null,
        },
      )
  }
}

function scanned<Result>(text: string, scan: (scanner: JsonScanner, text: string) => Result): Result {
  try {
    return scan(new JsonScanner(text, DATA_BOUNDS), text)
  } catch (error) {
    if (!(error instanceof JsonRefusal)) throw error
    throw refuse(`the body cannot be read as JSON: ${error.message}`, {})
  }
}

function batchOf(scanner: JsonScanner, text: string): DecodedEvent[] {
  if (text.charAt(scanner.start()) !== '[') throw refuse('a batch of CloudEvents must be a JSON array')
  const events: DecodedEvent[] = []
  const end = scanner.array(scanner.start(), (at) => {
    if (events.length === LIMITS.batchEventsMax)
      throw refuse(`a batch holds at most ${LIMITS.batchEventsMax} events: publish several`)
    scanner.reset()
    const { decoded, end: behind } = eventAt(scanner, text, at, events.length)
    events.push(decoded)
    return behind
  })
  scanner.end(end)
  return events
}

/** The longest text of an attribute that is parsed: each character may be written as an escape of six characters. */
const ATTRIBUTE_TEXT_MAX = 6 * LIMITS.attributeCharsMax + 2

/**
 * The event in JSON format that begins at index `at`.
 * @throws JsonRefusal · INVALID_EVENT
 */
function eventAt(
  scanner: JsonScanner,
  text: string,
  at: number,
  index: number | undefined,
): { readonly decoded: DecodedEvent; readonly end: number } {
  const { attributes, dataText, end } = membersAt(scanner, text, at, index)
  return { decoded: new DecodedEvent(checked(attributes, index, dataText !== undefined), dataText), end }
}

/**
 * The members of an event's text, not validated yet.
 * @throws INVALID_EVENT when the text is not a JSON object, or is larger than an event may be
 */
export function membersOfText(text: string): Members {
  return scanned(text, (scanner) => {
    const members = membersAt(scanner, text, scanner.start(), undefined)
    scanner.end(members.end)
    return members
  })
}

export interface Members {
  readonly attributes: Readonly<Record<string, unknown>>
  readonly dataText: string | undefined
  readonly end: number
}

/** Parses the attributes, up to the number that an event may have, and leaves the data as text. */
function membersAt(scanner: JsonScanner, text: string, at: number, index: number | undefined): Members {
  if (text.charAt(at) !== '{') throw invalid(['an event must be a JSON object'], index)
  const attributes: Record<string, unknown> = {}
  let dataText: string | undefined
  let count = 0
  const end = scanner.object(at, (nameAt, nameEnd, valueAt, valueEnd) => {
    if (++count > LIMITS.eventAttributesMax + 2)
      throw invalid([`it has more than ${LIMITS.eventAttributesMax} attributes`], index)
    if (nameEnd - nameAt > ATTRIBUTE_TEXT_MAX) throw invalid(['the name of an attribute is too long'], index)
    const name = nameOf(text.slice(nameAt, nameEnd))
    if (name === 'data') dataText = text.slice(valueAt, valueEnd)
    else if (name !== 'data_base64' && valueEnd - valueAt > ATTRIBUTE_TEXT_MAX)
      throw invalid([`${shown(name)} is longer than ${LIMITS.attributeCharsMax} characters`], index)
    else setOwn(attributes, name, valueIn(text, valueAt, valueEnd))
  })
  return { attributes, dataText, end }
}

/**
 * The JSON value in a range of the text. Most attributes are strings without escapes; calling the parser for each would
 * take most of the time.
 */
function valueIn(text: string, at: number, end: number): unknown {
  const json = text.slice(at, end)
  return json.startsWith('"') && !json.includes('\\') ? json.slice(1, -1) : (JSON.parse(json) as unknown)
}

/** Sets an own property of any name, `__proto__` too. */
function setOwn(target: Record<string, unknown>, name: string, value: unknown): void {
  if (name === '__proto__')
    Object.defineProperty(target, name, { value, enumerable: true, writable: true, configurable: true })
  else target[name] = value
}

/**
 * The content mode that the headers declare: `binary`, `structured`, `batched`, `foreign` (an unsupported type) or
 * `none`.
 * @throws INVALID_EVENT when the headers are malformed
 */
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
  if (typeof headers !== 'object' || headers === null)
    throw refuse(`the headers of a message must be an object; they are ${shown(headers)}`)
  const fields = new Map<string, string>()
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined)
      fields.set(name.toLowerCase(), Array.isArray(value) ? value.map(headerText).join(', ') : headerText(value))
  }
  return fields
}

function headerText(value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  throw refuse(`the value of a header must be a text; it is ${shown(value)}`)
}

function binaryEvent(
  fields: ReadonlyMap<string, string>,
  contentType: string | undefined,
  body: Uint8Array,
): DecodedEvent {
  const event: Record<string, unknown> = {}
  let count = 0
  for (const [field, value] of fields) {
    if (!field.startsWith('ce-')) continue
    if (++count > LIMITS.eventAttributesMax)
      throw invalid([`it has more than ${LIMITS.eventAttributesMax} attributes`], undefined)
    const name = field.slice(3)
    if (NOT_HEADERS.has(name))
      throw refuse(`header ${field} is not allowed: the data is the body and its type the content-type header`, {
        header: field,
      })
    event[name] = decodeHeaderValue(field, value.trim())
  }
  if (contentType !== undefined && contentType !== '') event['datacontenttype'] = contentType
  const { dataText, ...data } = body.length > 0 ? binaryData(contentType, body) : {}
  return new DecodedEvent(checked(Object.assign(event, data), undefined, false), dataText)
}

interface BinaryData {
  readonly data?: unknown
  readonly data_base64?: string
  readonly dataText?: string
}

/** The body as data in the JSON format: JSON as a value, text as a string, other bytes in base64. */
function binaryData(contentType: string | undefined, body: Uint8Array): BinaryData {
  if (contentType !== undefined && contentType !== '') {
    if (isJson(contentType)) return { dataText: jsonTextOf(body, contentType) }
    const text = isUtf8Text(contentType) ? textOf(body) : undefined
    return text === undefined ? { data_base64: base64Of(body) } : { data: text }
  }
  // Without a content type, the body is JSON if it can be parsed as JSON, as readers of the JSON format assume.
  try {
    return { dataText: jsonTextOf(body, undefined) }
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

function textOfJson(body: Uint8Array, contentType: string | undefined): string {
  const charset = contentType === undefined ? undefined : charsetOf(contentType)
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8' && charset !== 'us-ascii') {
    throw refuse(`JSON in charset ${shown(charset)} is not supported: send UTF-8`, { charset })
  }
  const text = textOf(body)
  if (text === undefined) throw refuse('the body is not UTF-8')
  return text
}

/** The text of a body that is one JSON value. */
function jsonTextOf(body: Uint8Array, contentType: string | undefined): string {
  const text = textOfJson(body, contentType)
  scanned(text, (scanner) => scanner.whole())
  return text
}

function checked(event: Readonly<Record<string, unknown>>, index: number | undefined, hasData: boolean): CloudEvent {
  const reasons = validateCloudEvent(event)
  if (hasData && event['data_base64'] !== undefined && event['data_base64'] !== null)
    reasons.push('data and data_base64 cannot both be there')
  if (reasons.length > 0) throw invalid(reasons, index)
  const valid = withoutNulls(event)
  setAside(valid as object)
  return valid
}

/** The longest list of reasons in an error. */
const REASONS_MAX = 10

function invalid(reasons: readonly string[], index: number | undefined): MillraceError {
  const which = index === undefined ? 'the event' : `event ${index} of the batch`
  const told = reasons.slice(0, REASONS_MAX)
  return refuse(`${which} is not a valid CloudEvent: ${told.join('; ')}`, {
    reasons: told,
    ...(index !== undefined && { index }),
  })
}

function withoutNulls(event: Readonly<Record<string, unknown>>): CloudEvent {
  for (const name in event) {
    if (event[name] !== null || name === 'data') continue
    return Object.fromEntries(
      Object.entries(event).filter(([key, value]) => value !== null || key === 'data'),
    ) as unknown as CloudEvent
  }
  return event as unknown as CloudEvent
}
