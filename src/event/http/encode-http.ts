/**
 * Encodes CloudEvents as an HTTP message: binary, structured and batched content mode. Pure.
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 */
import { MillraceError } from '../../base/errors.ts'
import { shown } from '../../base/shown.ts'
import { type CloudEvent, SHADOWED, type Shadowed, type StoredEvent } from '../cloud-event.ts'
import { encodeHeaderValue } from './header-value.ts'
import { BATCHED, isJson, STRUCTURED } from './media-type.ts'

export interface HttpMessage {
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** Members that are not attributes, and the attribute that `content-type` carries. */
const NOT_ATTRIBUTES = new Set(['data', 'data_base64', 'datacontenttype', 'offset'])

/**
 * The event in the JSON format: a `Uint8Array` in `data` becomes `data_base64`. The `offset` of a stored event is left
 * out, because it belongs to the channel and not to the event.
 */
export function toJsonFormat(event: CloudEvent | StoredEvent): CloudEvent {
  const { offset: _, [SHADOWED]: shadowed, ...members } = event as StoredEvent & { readonly [SHADOWED]?: Shadowed }
  const rest = { ...members, ...shadowed }
  if (!(rest.data instanceof Uint8Array)) return rest
  const { data, ...attributes } = rest
  return { ...attributes, data_base64: base64Of(data as Uint8Array) } as unknown as CloudEvent
}

/**
 * Encodes events as an HTTP message. `binary` and `structured` take one event, `batched` any number.
 *
 * @throws INVALID_OPTION when `binary` or `structured` gets another number of events than one · INVALID_EVENT when an
 * event cannot be written as JSON
 * @example
 * ```ts
 * import { encodeHttp } from 'millrace'
 *
 * const data = { sku: 'tea' }
 * const event = { specversion: '1.0' as const, id: '1', source: '/shop', type: 'cart.item.added', data }
 * encodeHttp([event], 'binary').headers['ce-type'] // 'cart.item.added'
 * ```
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md
 */
export function encodeHttp(
  events: readonly (CloudEvent | StoredEvent)[],
  mode: 'binary' | 'structured' | 'batched',
): HttpMessage {
  if (!['binary', 'structured', 'batched'].includes(mode)) {
    throw new MillraceError('INVALID_OPTION', `the mode is 'binary', 'structured' or 'batched'; it is ${shown(mode)}`, {
      option: 'mode',
    })
  }
  if (!Array.isArray(events) || events.some((event) => typeof event !== 'object' || event === null)) {
    throw new MillraceError('INVALID_OPTION', `events must be an array of CloudEvents; it is ${shown(events)}`, {
      option: 'events',
    })
  }
  return carried(events, mode)
}

function carried(
  events: readonly (CloudEvent | StoredEvent)[],
  mode: 'binary' | 'structured' | 'batched',
): HttpMessage {
  if (mode === 'batched') return jsonMessage(BATCHED, events.map(toJsonFormat))
  const [event] = events
  if (event === undefined || events.length > 1) {
    throw new MillraceError(
      'INVALID_OPTION',
      `the ${mode} mode carries one event; there are ${events.length}: use 'batched'`,
      { mode, events: events.length },
    )
  }
  return mode === 'structured' ? jsonMessage(STRUCTURED, toJsonFormat(event)) : binaryMessage(event)
}

function jsonMessage(contentType: string, value: unknown): HttpMessage {
  return { headers: { 'content-type': `${contentType}; charset=utf-8` }, body: Buffer.from(jsonText(value)) }
}

function binaryMessage(event: CloudEvent): HttpMessage {
  const headers: Record<string, string> = {}
  const { [SHADOWED]: shadowed = {} } = event as { readonly [SHADOWED]?: Shadowed }
  const attributes = Object.entries(event).filter(([name]) => !NOT_ATTRIBUTES.has(name))
  for (const [name, value] of [...attributes, ...Object.entries(shadowed)]) {
    if (value !== undefined && value !== null) headers[`ce-${name}`] = encodeHeaderValue(String(value))
  }
  const body = binaryBody(event)
  const contentType = event.datacontenttype ?? (body.length > 0 ? 'application/json' : undefined)
  if (contentType !== undefined && contentType !== null) headers['content-type'] = contentType
  return { headers, body }
}

/** The body of binary mode: JSON data as JSON text, text of other types unchanged, binary data as its bytes. */
function binaryBody(event: CloudEvent): Uint8Array {
  const { data, data_base64: base64 } = event
  if (base64 !== undefined && base64 !== null) return Buffer.from(base64, 'base64')
  if (data instanceof Uint8Array) return data
  if (data === undefined) return new Uint8Array(0)
  const raw = typeof data === 'string' && !isJson(event.datacontenttype ?? undefined)
  return Buffer.from(raw ? data : jsonText(data))
}

function jsonText(value: unknown): string {
  try {
    return JSON.stringify(value) ?? 'null'
  } catch (cause) {
    throw new MillraceError(
      'INVALID_EVENT',
      `an event cannot be written as JSON: ${cause instanceof Error ? cause.message : 'a member throws'}`,
      {},
      { cause },
    )
  }
}

function base64Of(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}
