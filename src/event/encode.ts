/**
 * Encodes a published event as the CloudEvents JSON text that is stored, and decodes it.
 *
 * This runs once for every event, on the caller's thread: it builds the text by hand around one `JSON.stringify` of the
 * data. In JavaScript binary data is a `Uint8Array` in `data`; in the text it is `data_base64`.
 */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { isShadowed, SHADOWED, type Shadowed, type StoredEvent, setAside } from './cloud-event.ts'
import { eventText } from './event-text.ts'
import { isNewest, newId, nowText } from './identity.ts'
import { isAltered, jsonOf } from './json-data.ts'
import type { TraceText } from './trace-context.ts'
import { attributeReason, isBase64 } from './validate-cloud-event.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: what JSON must escape
const NEEDS_QUOTING = /["\\\u0000-\u001f\u007f-\uffff]/

/**
 * Members of a published event that are not extension attributes. A `Set` would take longer for each member of each
 * event.
 */
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

function invalid(attribute: string, why: string, event: Encodable, cause?: unknown): MillraceError {
  return new MillraceError(
    'INVALID_EVENT',
    `${eventText(event)}: ${attribute} ${why}`,
    { attribute, type: event.type, id: event.id },
    { cause },
  )
}

/** An event's data as JSON text that is known to be valid. It is stored unchanged, digit for digit. */
export const DATA_TEXT: unique symbol = Symbol('millrace.dataText')

/** What can be encoded: an event that a definition made, or an untyped CloudEvent. */
export interface Encodable {
  readonly type: string
  readonly id?: string | undefined
  readonly source?: string | undefined
  readonly time?: string | Date | null | undefined
  readonly data?: unknown
  readonly data_base64?: string | null | undefined
  readonly specversion?: string | null | undefined
  readonly extensions?: object | undefined
  readonly dataversion?: unknown
  readonly [DATA_TEXT]?: string | undefined
  readonly [SHADOWED]?: Shadowed | undefined
}

/** The members that successive events mostly share, and their text. */
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
  /** The members besides id and data; null if there are others. */
  readonly #origin: Origin | null
  readonly #data: string
  /** Its data reads back as something else than was published: the schema must accept that, too. */
  readonly altered: boolean

  constructor(
    id: string,
    key: string | null,
    text: string,
    type: string,
    origin: Origin | null,
    data: string,
    altered: boolean,
  ) {
    this.id = id
    this.type = type
    this.key = key
    this.text = text
    this.#origin = origin
    this.#data = data
    this.altered = altered
  }

  /** Its attributes, for callers that do not need the text; null if it has others besides an id, or no data. */
  get origin(): Origin | null {
    return this.#origin
  }

  /** Its data as JSON text; empty if there is none, or it is binary. */
  get dataText(): string {
    return this.#data
  }

  /** Its data as it reads back. */
  get data(): unknown {
    return this.#data === '' ? decodeEvent(this.text, 0).data : JSON.parse(this.#data)
  }

  /**
   * The same as `decodeEvent` of its text. The text stays in pieces until it is read: if the rest is known, only its
   * data is parsed.
   */
  decode(offset: number): StoredEvent {
    const origin = this.#origin
    if (origin === null) return decodeEvent(this.text, offset)
    return {
      specversion: '1.0',
      id: this.id,
      source: origin.source,
      type: origin.type,
      time: origin.time,
      data: JSON.parse(this.#data),
      offset,
    } as StoredEvent
  }
}

/** The attribute's text, quoted, if the attribute can have this value. */
function checkedText(name: string, value: unknown, event: Encodable): string {
  const reason = attributeReason(name, value)
  if (reason !== undefined) throw invalid(calledIn(name), reason, event)
  if (typeof value !== 'string') throw invalid(calledIn(name), 'must be a string that is not empty', event)
  if (value.length > LIMITS.attributeCharsMax)
    throw invalid(calledIn(name), `is longer than ${LIMITS.attributeCharsMax} characters`, event)
  return NEEDS_QUOTING.test(value) ? JSON.stringify(value) : `"${value}"`
}

function calledIn(name: string): string {
  return isCore(name) ? name : `attribute ${shown(name)}`
}

let lastTime = ''

function timeText(time: unknown, event: Encodable): string {
  if (time === undefined) return nowText()
  if (time === lastTime) return lastTime
  if (time instanceof Date && !Number.isFinite(time.getTime())) throw invalid('time', 'is an invalid Date', event)
  const text = time instanceof Date ? time.toISOString() : time
  const reason = attributeReason('time', text)
  if (reason !== undefined || typeof text !== 'string') throw invalid('time', reason ?? 'must be a string', event)
  lastTime = text
  return text
}

function attributeText(name: string, value: unknown, event: Encodable): string {
  if (name.length > LIMITS.attributeNameCharsMax)
    throw invalid(calledIn(name), `has a name longer than ${LIMITS.attributeNameCharsMax} characters`, event)
  if (typeof value === 'string') return `,"${name}":${checkedText(name, value, event)}`
  const reason = attributeReason(name, value)
  if (reason !== undefined) throw invalid(calledIn(name), reason, event)
  return `,"${name}":${String(value)}`
}

/** `trace` is written if the event has no trace context of its own. */
function attributesText(event: Encodable, trace: TraceText | null): string {
  let text = ''
  let count = 0
  const add = (name: string, value: unknown): void => {
    if (value === undefined || value === null) return
    if (++count > LIMITS.eventAttributesMax)
      throw invalid('it', `has more than ${LIMITS.eventAttributesMax} attributes`, event)
    text += attributeText(name, value, event)
  }
  for (const name in event) if (!isCore(name)) add(name, event[name as keyof Encodable] as unknown)
  if (trace !== null) {
    add('traceparent', trace.traceparent)
    add('tracestate', trace.tracestate)
  }
  if ((event.specversion ?? '1.0') !== '1.0') checkedText('specversion', event.specversion, event)
  const { extensions, [SHADOWED]: shadowed } = event
  if (extensions === undefined && shadowed === undefined) return text
  if (extensions !== undefined && (typeof extensions !== 'object' || extensions === null || Array.isArray(extensions)))
    throw invalid('extensions', `must be an object of attributes; it is ${shown(extensions)}`, event)
  for (const [name, value] of Object.entries({ ...shadowed, ...extensions })) {
    if (isCore(name) ? !isShadowed(name) : Object.hasOwn(event, name))
      throw invalid(`extension ${shown(name)}`, 'has the name of another attribute', event)
    add(name, value)
  }
  return text
}

/** The data as JSON text; empty if there is none, or it is binary. */
function dataText(event: Encodable): string {
  // First, because reading the `data` of an event that came as text would parse it.
  const text = event[DATA_TEXT]
  if (text !== undefined) return text
  const { data } = event
  if (data === undefined || data instanceof Uint8Array) return ''
  if (hasBase64(event)) throw invalid('data_base64', 'cannot be used together with data', event)
  return jsonOf(data, event)
}

function hasBase64({ data_base64 }: Encodable): boolean {
  return data_base64 !== undefined && data_base64 !== null
}

/** `,"data_base64":…`, if there is any. */
function binaryText(event: Encodable): string {
  const { data } = event
  if (hasBase64(event)) {
    if (data !== undefined) throw invalid('data_base64', 'cannot be used together with data', event)
    if (typeof event.data_base64 !== 'string' || !isBase64(event.data_base64))
      throw invalid('data_base64', 'is not base64', event)
    return `,"data_base64":"${event.data_base64}"`
  }
  if (!(data instanceof Uint8Array)) return ''
  return `,"data_base64":"${Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64')}"`
}

let lastOrigin: Origin | null = null

/** The text of the previous event, if it is the same. */
function originOf(source: string, event: Encodable): Origin {
  const { type } = event
  const time = event.time === null ? undefined : timeText(event.time, event)
  if (lastOrigin !== null && type === lastOrigin.type && source === lastOrigin.source && time === lastOrigin.time)
    return lastOrigin
  const text = `,"source":${checkedText('source', source, event)},"type":${checkedText('type', type, event)}${time === undefined ? '' : `,"time":"${time}"`}`
  // Flat: a text of pieces would be joined again for each event.
  lastOrigin = { source, type, time, text: Buffer.from(text).toString() }
  return lastOrigin
}

/**
 * The event's CloudEvents JSON text.
 * @throws INVALID_EVENT that names the attribute, or the path in the data, that JSON cannot represent
 * @throws EVENT_TOO_LARGE
 */
export function encodeEvent(
  event: Encodable,
  key: string | null,
  defaultSource: string,
  bytesMax: number,
  trace: TraceText | null = null,
): Encoded {
  const id = event.id ?? newId()
  const quotedId = event.id === undefined || isNewest(id) ? `"${id}"` : checkedText('id', id, event)
  const origin = originOf(event.source ?? defaultSource, event)
  const attributes = attributesText(event, trace)
  const data = dataText(event)
  const text = `{"specversion":"1.0","id":${quotedId}${origin.text}${attributes}${data === '' ? binaryText(event) : `,"data":${data}`}}`
  if (text.length * 3 > bytesMax) {
    const bytes = Buffer.byteLength(text)
    if (bytes > bytesMax) {
      throw new MillraceError(
        'EVENT_TOO_LARGE',
        `${eventText({ type: event.type, id })} has ${bytes} bytes as CloudEvents JSON; its channel takes ${bytesMax}: raise maxEventBytes, or store the data elsewhere and publish a reference`,
        { type: event.type, id, bytes, bytesMax },
      )
    }
  }
  const isPlain = attributes === '' && data !== '' && origin.time !== undefined
  return new Encoded(
    id,
    key,
    text,
    event.type,
    isPlain ? origin : null,
    data,
    data === '' ? isOwnBytes(event.data) : event[DATA_TEXT] === undefined && isAltered(),
  )
}

/** Whether binary data is of a class of its own, such as a Buffer: it reads back as a plain `Uint8Array`. */
function isOwnBytes(data: unknown): boolean {
  return data instanceof Uint8Array && data.constructor !== Uint8Array
}

/**
 * The event that a text holds, with its offset; binary data as a `Uint8Array`. Throws SyntaxError when the text is not
 * JSON.
 */
export function decodeEvent(text: string, offset: number): StoredEvent {
  const event = JSON.parse(text) as { -readonly [K in keyof StoredEvent]: StoredEvent[K] }
  if ('offset' in event || 'extensions' in event) setAside(event)
  event.offset = offset
  if (event.data_base64 !== undefined) {
    event.data = new Uint8Array(Buffer.from(event.data_base64, 'base64'))
    delete event.data_base64
  }
  return event
}
