/**
 * Events as NATS messages, and back: the NATS protocol binding of CloudEvents.
 *
 * Events are written in `structured` mode (the payload is the CloudEvent as JSON) or `binary` mode (attributes in `ce-`
 * headers, the payload is the data). Both are read, and also JSON without headers, which is all that version 1.0.2 of
 * the binding has. A message that is not a CloudEvent is read as poison, with its bytes.
 * @see https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md
 */
import type { MsgHdrs } from '@nats-io/transport-node'
import { LIMITS } from '../../base/limits.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { BlockEvent } from '../../event/block.ts'
import { decodeTexts } from '../../event/http/decode-http.ts'
import { decodeHeaderValue, encodeHeaderValue } from '../../event/http/header-value.ts'
import { depthOf, memberText } from '../../event/http/json-text.ts'
import { isJson, STRUCTURED } from '../../event/http/media-type.ts'
import { validateCloudEvent } from '../../event/validate-cloud-event.ts'

/** The key, if it differs from the event's `partitionkey`; empty for no key. */
const KEY = 'Millrace-Key'
const ID = 'Nats-Msg-Id'
const CONTENT_TYPE = 'Content-Type'
/** An event with longer headers is written in structured mode: servers accept 64 KiB of headers. */
const HEADER_CHARS_MAX = 32_768
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export interface EventMessage {
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly payload: Uint8Array
}

/** An id as the servers compare it: printable, and different for different ids. */
export function messageId(id: string): string {
  return encodeHeaderValue(id)
}

export function encodeMessage({ key, text }: EncodedEvent, id: string, content: 'structured' | 'binary'): EventMessage {
  const own: [string, string][] = [[ID, id]]
  if (key !== null || text.includes('"partitionkey"')) own.push([KEY, key === null ? '' : encodeHeaderValue(key)])
  const binary = content === 'binary' ? binaryMessage(text) : null
  if (binary !== null) return { headers: [...own, ...binary.headers], payload: binary.payload }
  return { headers: [...own, [CONTENT_TYPE, STRUCTURED]], payload: Buffer.from(text) }
}

/** Null if headers cannot carry the event. */
function binaryMessage(text: string): EventMessage | null {
  const event = JSON.parse(text) as Readonly<Record<string, unknown>>
  // In headers every attribute is text. Only an event that is valid can be checked by its reader.
  if (validateCloudEvent(event).length > 0) return null
  const headers: [string, string][] = []
  let chars = 0
  for (const [name, value] of Object.entries(event)) {
    if (name === 'data' || name === 'data_base64' || value === null) continue
    const header: [string, string] = [`ce-${name}`, encodeHeaderValue(String(value))]
    chars += header[0].length + header[1].length
    headers.push(header)
  }
  if (chars > HEADER_CHARS_MAX) return null
  const type = event['datacontenttype'] as string | undefined
  const { data, data_base64: base64 } = event
  if (base64 !== undefined) return { headers, payload: Buffer.from(base64 as string, 'base64') }
  // Data that is not JSON by its type is the text itself.
  if (typeof data === 'string' && !isJson(type)) return { headers, payload: Buffer.from(data) }
  if (type === undefined && data !== undefined) headers.push(['ce-datacontenttype', 'application/json'])
  return { headers, payload: Buffer.from(memberText(text, 'data') ?? '') }
}

export function decodeMessage(headers: MsgHdrs | undefined, payload: Uint8Array): BlockEvent {
  const fields = fieldsOf(headers)
  try {
    const key = fields.get(KEY.toLowerCase())
    const structured = (fields.get('content-type') ?? '').toLowerCase().startsWith('application/cloudevents')
    const attributes = [...fields.keys()].some((name) => name.startsWith('ce-'))
    const event = structured || !attributes ? jsonEvent(payload) : binaryEvent(fields, payload)
    if (key !== undefined) return { ...event, key: key === '' ? null : decodeHeaderValue(KEY, key) }
    return event
  } catch {
    return { id: decodedId(fields), type: '', key: null, text: bytesText(payload) }
  }
}

function fieldsOf(headers: MsgHdrs | undefined): Map<string, string> {
  const fields = new Map<string, string>()
  for (const [name, values] of headers ?? []) fields.set(name.toLowerCase(), values[0] ?? '')
  return fields
}

/** @throws when the payload is not a CloudEvent */
function jsonEvent(payload: Uint8Array): BlockEvent {
  const text = utf8.decode(payload)
  if (payload.length > 2 * LIMITS.dataDepthMax && depthOf(text) > LIMITS.dataDepthMax + 3) throw new Error('too deep')
  const { specversion, id, source, type, partitionkey } = JSON.parse(text) as Readonly<Record<string, unknown>>
  if (specversion !== '1.0' || !isText(id) || !isText(source) || !isText(type)) throw new Error('no CloudEvent')
  return { id, type, key: isText(partitionkey) ? partitionkey : null, text }
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

/** As over HTTP, except that the type of the data has a header like every other attribute. */
function binaryEvent(fields: ReadonlyMap<string, string>, payload: Uint8Array): BlockEvent {
  const asHttp: Record<string, string> = {}
  for (const [name, value] of fields) if (name.startsWith('ce-') && name !== 'ce-datacontenttype') asHttp[name] = value
  const type = fields.get('ce-datacontenttype') ?? fields.get('content-type')
  if (type !== undefined) asHttp['content-type'] = decodeHeaderValue('ce-datacontenttype', type)
  const [decoded] = decodeTexts(asHttp, payload)
  if (decoded === undefined) throw new Error('no CloudEvent')
  const { data, ...attributes } = decoded.event
  const { dataText } = decoded
  const head = JSON.stringify(attributes)
  const body = dataText ?? (data === undefined ? undefined : JSON.stringify(data))
  const text = body === undefined ? head : `${head.slice(0, -1)},"data":${body}}`
  return { id: attributes.id, type: attributes.type, key: attributes.partitionkey ?? null, text }
}

function decodedId(fields: ReadonlyMap<string, string>): string {
  return fields.get(ID.toLowerCase()) ?? ''
}

/** The bytes as text, or as a `data:` URL if they are not UTF-8. */
function bytesText(payload: Uint8Array): string {
  try {
    return utf8.decode(payload)
  } catch {
    return `data:application/octet-stream;base64,${Buffer.from(payload).toString('base64')}`
  }
}
