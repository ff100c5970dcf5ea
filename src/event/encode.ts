/**
 * From an event as it is published to the CloudEvents JSON text that is stored, and back.
 *
 * This runs once for every event, on the caller's thread: it builds the text by hand around one `JSON.stringify` of the data.
 * In JavaScript binary data is a `Uint8Array` in `data`; in the text it is `data_base64`.
 */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { StoredEvent } from './cloud-event.ts'
import { isNewest, newId, nowText } from './identity.ts'
import { refuseLossyJson } from './json-data.ts'
import { isBase64 } from './validate-cloud-event.ts'

/** RFC 3339, as CloudEvents' `time` wants it. */
const RFC3339 = /^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])[Tt](?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/
const EXTENSION_NAME = /^[a-z0-9]+$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: what JSON must escape
const NEEDS_QUOTING = /["\\\u0000-\u001f\u007f-\uffff]/
/** Control characters and lone surrogates are not allowed in a CloudEvents string. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: what the specification bars
const BARRED = /[\u0000-\u001f\u007f-\u009f]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/

/** Members of a published event that are not extension attributes. Asked for each member of each event: a set would take longer. */
function isCore(name: string): boolean {
  switch (name) {
    case 'id':
    case 'type':
    case 'time':
    case 'data':
    case 'source':
    case 'specversion':
    case 'data_base64':
    case 'extensions':
    case 'offset':
      return true
    default:
      return false
  }
}
/** Those of them that CloudEvents does not know: an extension attribute may have the name, and then stands in `extensions`. */
const NOT_ATTRIBUTES = new Set(['extensions', 'offset'])

function invalid(attribute: string, why: string, event: Encodable): MillraceError {
  return new MillraceError('INVALID_EVENT', `event "${String(event.type)}" (id ${String(event.id)}): ${attribute} ${why}`, {
    attribute,
    type: event.type,
    id: event.id,
  })
}

/** An event's data as JSON text that is known to be valid: it is stored as it stands, digit for digit, and not what a parser made of it. */
export const DATA_TEXT: unique symbol = Symbol('millrace.dataText')

/** What can be encoded: an event that a definition made, or a loose CloudEvent. */
export interface Encodable {
  readonly type: string
  readonly id?: string | undefined
  readonly source?: string | undefined
  readonly time?: string | Date | null | undefined
  readonly data?: unknown
  readonly data_base64?: string | undefined
  readonly extensions?: object | undefined
  readonly [DATA_TEXT]?: string | undefined
}

/** What neighbouring events mostly have in common, and its place in their texts. */
export interface Origin {
  readonly source: string
  readonly type: string
  /** Undefined: it has none. */
  readonly time: string | undefined
  /** `,"source":…,"type":…,"time":…` */
  readonly text: string
}

/** An event ready to be stored. */
export class Encoded {
  readonly id: string
  readonly type: string
  readonly key: string | null
  readonly text: string
  /** All that there is besides the id and the data; null where there is more. */
  readonly #origin: Origin | null
  readonly #data: string

  constructor(id: string, key: string | null, text: string, type: string, origin: Origin | null, data: string) {
    this.id = id
    this.type = type
    this.key = key
    this.text = text
    this.#origin = origin
    this.#data = data
  }

  /** Its attributes, for who does not want the text; null where it has others than these and an id, or no data. */
  get origin(): Origin | null {
    return this.#origin
  }

  /** Its data as JSON text, where it has an origin. */
  get dataText(): string {
    return this.#data
  }

  /** What `decodeEvent` makes of its text. The text is in pieces as long as nobody reads it: only its data is parsed, where the rest is known. */
  decode(offset: number): StoredEvent {
    const origin = this.#origin
    if (origin === null) return decodeEvent(this.text, offset)
    return { specversion: '1.0', id: this.id, source: origin.source, type: origin.type, time: origin.time, data: JSON.parse(this.#data), offset } as StoredEvent
  }
}

function checkedText(name: string, value: unknown, event: Encodable): string {
  if (typeof value !== 'string' || value.length === 0) throw invalid(name, 'must be a string that is not empty', event)
  if (value.length > LIMITS.attributeCharsMax) throw invalid(name, `is longer than ${LIMITS.attributeCharsMax} characters`, event)
  if (NEEDS_QUOTING.test(value)) {
    if (BARRED.test(value)) throw invalid(name, 'holds control characters or half a surrogate pair', event)
    return JSON.stringify(value)
  }
  return `"${value}"`
}

let lastTime = ''

function timeText(time: string | Date | undefined, event: Encodable): string {
  if (time === undefined) return nowText()
  if (typeof time === 'string') {
    if (time === lastTime) return time
    if (RFC3339.test(time)) {
      lastTime = time
      return time
    }
  } else if (time instanceof Date && Number.isFinite(time.getTime())) return time.toISOString()
  throw invalid('time', 'must be RFC 3339 text such as 2026-01-31T12:00:00Z, or a valid Date', event)
}

function attributeText(name: string, value: unknown, event: Encodable): string {
  if (!EXTENSION_NAME.test(name)) throw invalid(`attribute "${name}"`, 'must be named by lower-case letters and digits only', event)
  if (typeof value === 'boolean') return `,"${name}":${value}`
  if (typeof value === 'number') {
    if (Number.isInteger(value) && value <= 0x7fffffff && value >= -0x80000000) return `,"${name}":${value}`
    throw invalid(`attribute "${name}"`, 'must be a 32-bit whole number, a boolean or a string', event)
  }
  return `,"${name}":${checkedText(`attribute "${name}"`, value, event)}`
}

function attributesText(event: Encodable): string {
  let text = ''
  for (const name in event) {
    if (isCore(name)) continue
    const value = event[name as keyof Encodable]
    if (value !== undefined && value !== null) text += attributeText(name, value, event)
  }
  if (event.extensions !== undefined) {
    for (const [name, value] of Object.entries(event.extensions)) {
      if (isCore(name) ? !NOT_ATTRIBUTES.has(name) : Object.hasOwn(event, name))
        throw invalid(`extension "${name}"`, 'has the name of another attribute', event)
      text += attributeText(name, value, event)
    }
  }
  return text
}

/** The data as JSON text; empty where there is none, or it is binary. */
function dataText(event: Encodable): string {
  const { data } = event
  if (data === undefined || data instanceof Uint8Array) return ''
  const text = event[DATA_TEXT]
  if (text !== undefined) return text
  refuseLossyJson(data, event)
  return JSON.stringify(data)
}

/** `,"data_base64":…`, if there is any. */
function binaryText(event: Encodable): string {
  const { data } = event
  if (event.data_base64 !== undefined) {
    if (data !== undefined) throw invalid('data_base64', 'cannot stand beside data', event)
    if (!isBase64(event.data_base64)) throw invalid('data_base64', 'is not base64', event)
    return `,"data_base64":"${event.data_base64}"`
  }
  if (!(data instanceof Uint8Array)) return ''
  return `,"data_base64":"${Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')}"`
}

let lastOrigin: Origin | null = null

/** That of the event before, where it is the same. */
function originOf(source: string, event: Encodable): Origin {
  const { type } = event
  const time = event.time === null ? undefined : timeText(event.time, event)
  if (lastOrigin !== null && type === lastOrigin.type && source === lastOrigin.source && time === lastOrigin.time) return lastOrigin
  const text = `,"source":${checkedText('source', source, event)},"type":${checkedText('type', type, event)}${time === undefined ? '' : `,"time":"${time}"`}`
  // Flat: a text of pieces would be put together again for each event.
  lastOrigin = { source, type, time, text: Buffer.from(text).toString() }
  return lastOrigin
}

/**
 * The event's CloudEvents JSON text.
 * @throws INVALID_EVENT naming the attribute, or the place in the data that JSON cannot carry
 * @throws EVENT_TOO_LARGE
 */
export function encodeEvent(event: Encodable, key: string | null, defaultSource: string, bytesMax: number): Encoded {
  const id = event.id ?? newId()
  const quotedId = event.id === undefined || isNewest(id) ? `"${id}"` : checkedText('id', id, event)
  const origin = originOf(event.source ?? defaultSource, event)
  const attributes = attributesText(event)
  const data = dataText(event)
  const text = `{"specversion":"1.0","id":${quotedId}${origin.text}${attributes}${data === '' ? binaryText(event) : `,"data":${data}`}}`
  if (text.length * 3 > bytesMax) {
    const bytes = Buffer.byteLength(text)
    if (bytes > bytesMax) {
      throw new MillraceError(
        'EVENT_TOO_LARGE',
        `event "${event.type}" (id ${id}) has ${bytes} bytes as CloudEvents JSON; its channel takes ${bytesMax}: raise maxEventBytes, or store the data elsewhere and publish a reference`,
        { type: event.type, id, bytes, bytesMax },
      )
    }
  }
  const isPlain = attributes === '' && data !== '' && origin.time !== undefined
  return new Encoded(id, key, text, event.type, isPlain ? origin : null, data)
}

/** The event that a text holds, with its offset; binary data as a `Uint8Array`. Throws SyntaxError when the text is not JSON. */
export function decodeEvent(text: string, offset: number): StoredEvent {
  const event = JSON.parse(text) as { -readonly [K in keyof StoredEvent]: StoredEvent[K] }
  event.offset = offset
  if (event.data_base64 !== undefined) {
    event.data = new Uint8Array(Buffer.from(event.data_base64, 'base64'))
    delete event.data_base64
  }
  return event
}
