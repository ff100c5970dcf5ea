/**
 * Events as entries of streams, and back.
 *
 * The fields of an entry of Millrace: `data`, the CloudEvent as JSON (structured content mode, as Dapr writes it);
 * `key`, if the event has one; `head`, id and type, if the text has others; and in some entries `n`, the number of
 * entries that the partition had before. A `head` without a type marks a record from an inbox that is not a CloudEvent.
 *
 * Plain clients write into the inbox of a channel, in the same form (`data`, and `key` if they like) or in binary
 * content mode: attributes as `ce_` fields, `content-type`, and the data in `data`. The specification has no binding
 * for Redis. The binary mode is that of Kafka, with fields instead of headers.
 */
import { isMillraceError } from '../../base/errors.ts'
import { jsonObject } from '../../base/json-object.ts'
import { LIMITS } from '../../base/limits.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { BlockEvent } from '../../event/block.ts'
import type { CloudEvent } from '../../event/cloud-event.ts'
import { type DecodedEvent, decodeTexts } from '../../event/http/decode-http.ts'
import type { StoredRecord } from '../../external-log/log-backend.ts'

/** An entry of a stream, as Redis answers it. */
export type Entry<Text = string> = readonly [id: string, fields: readonly Text[]]

/** No offset is this large. Redis chose such an id itself, for an entry that another client wrote. */
const STRANGE_ID = 1e12

const STRUCTURED = 'application/cloudevents+json'
/** The beginning of an event's text as Millrace writes it. The id follows. */
export const PLAIN_BEGIN = '{"specversion":"1.0","id":"'

/** The stored event, or null if another client wrote the entry. */
export function recordOf([id, fields]: Entry): StoredRecord | null {
  const dash = id.indexOf('-')
  const offset = Number(id.slice(0, dash))
  if (offset >= STRANGE_ID) return null
  const text = fields[0] === 'data' ? (fields[1] as string) : ''
  return { offset, timeMs: Number(id.slice(dash + 1)), event: eventOf(text, fields) }
}

function eventOf(text: string, fields: readonly string[]): BlockEvent {
  const keyed = fields[2] === 'key'
  const key = keyed ? (fields[3] as string) : null
  const at = keyed ? 4 : 2
  if (fields[at] !== 'head') return { ...headIn(text), key, text }
  return { ...headFrom(fields[at + 1] as string), key, text }
}

const NO_HEAD = { id: '', type: '' } as const

/** Id and type in a `head`; empty if another client wrote something else there. */
function headFrom(json: string): { readonly id: string; readonly type: string } {
  try {
    const head: unknown = JSON.parse(json)
    if (!Array.isArray(head)) return NO_HEAD
    const [id, type]: readonly unknown[] = head
    return typeof id === 'string' && typeof type === 'string' ? { id, type } : NO_HEAD
  } catch {
    return NO_HEAD
  }
}

/** Whether an event's id stands in its text where Millrace writes it. */
export function beginsPlainly({ id, text }: Pick<EncodedEvent, 'id' | 'text'>): boolean {
  return text.startsWith(id, PLAIN_BEGIN.length) && text.startsWith(PLAIN_BEGIN)
}

/** The id and the type of an event as JSON, for its entry; empty if they can be read from the text. */
export function headOf({ id, type, text }: Pick<EncodedEvent, 'id' | 'type' | 'text'>): string {
  const found = headIn(text)
  return found.id === id && found.type === type ? '' : JSON.stringify([id, type])
}

/** Id and type in an event's text. A text that Millrace wrote is not parsed. */
function headIn(text: string): { readonly id: string; readonly type: string } {
  if (text.startsWith(PLAIN_BEGIN)) {
    const idEnd = text.indexOf('"', PLAIN_BEGIN.length)
    const id = text.slice(PLAIN_BEGIN.length, idEnd)
    if (text.startsWith(',"source":"', idEnd + 1)) {
      const sourceEnd = text.indexOf('"', idEnd + 12)
      if (text.startsWith(',"type":"', sourceEnd + 1)) {
        const begin = sourceEnd + 10
        const end = text.indexOf('"', begin)
        if (text.lastIndexOf('\\', end) < PLAIN_BEGIN.length) return { id, type: text.slice(begin, end) }
      }
    }
  }
  const { id, type } = jsonObject(text) ?? NO_HEAD
  return typeof id === 'string' && typeof type === 'string' ? { id, type } : NO_HEAD
}

/** What was taken from an inbox: an event, or the bytes of something else. */
export type TakenIn =
  | { readonly event: EncodedEvent; readonly poison: false }
  | { readonly text: string; readonly poison: true }

/** Read an entry that a plain client wrote. */
export function takenIn([, fields]: Entry<Buffer>): TakenIn {
  const byName = new Map<string, Buffer>()
  for (let at = 0; at + 1 < fields.length; at += 2)
    byName.set(String(fields[at]).toLowerCase(), fields[at + 1] as Buffer)
  const data = byName.get('data') ?? Buffer.alloc(0)
  try {
    const { event, text } = eventIn(byName, data)
    const key = byName.get('key')?.toString() ?? event.partitionkey ?? ''
    const good = key !== '' && Buffer.byteLength(key) <= LIMITS.keyBytesMax && !key.includes('\0')
    return { event: { id: event.id, type: event.type, key: good ? key : null, text }, poison: false }
  } catch (error) {
    if (!isMillraceError(error) && !(error instanceof SyntaxError)) throw error
    return { text: byName.size === 1 && byName.has('data') ? bytesText(data) : fieldsText(fields), poison: true }
  }
}

/** @throws INVALID_EVENT */
function eventIn(
  fields: ReadonlyMap<string, Buffer>,
  data: Buffer,
): { readonly event: CloudEvent; readonly text: string } {
  const headers: Record<string, string> = {}
  for (const [name, value] of fields)
    if (/^ce[_-]/.test(name)) headers[`ce-${name.slice(3)}`] = encodeURIComponent(value.toString())
  if (Object.keys(headers).length === 0) {
    const [found] = decodeTexts({ 'content-type': STRUCTURED }, data)
    const { event } = found as DecodedEvent
    // The text is kept as it was written, unless it has attributes that are null, which do not count.
    const text = data.toString()
    return {
      event,
      text: Object.keys(JSON.parse(text) as object).length === Object.keys(event).length ? text : JSON.stringify(event),
    }
  }
  headers['content-type'] = fields.get('content-type')?.toString() ?? 'application/json'
  const [found] = decodeTexts(headers, data)
  const { event, dataText } = found as DecodedEvent
  if (dataText === undefined) return { event, text: JSON.stringify(event) }
  const { data: _, ...attributes } = event
  return { event, text: `${JSON.stringify(attributes).slice(0, -1)},"data":${dataText}}` }
}

/** Bytes as text from which they can be recovered: unchanged if they are UTF-8. */
function bytesText(bytes: Buffer): string {
  const text = bytes.toString()
  return Buffer.from(text).equals(bytes) ? text : `data:application/octet-stream;base64,${bytes.toString('base64')}`
}

/** All fields of an entry that has no known form. */
function fieldsText(fields: readonly Buffer[]): string {
  const pairs: [string, string][] = []
  for (let at = 0; at + 1 < fields.length; at += 2)
    pairs.push([bytesText(fields[at] as Buffer), bytesText(fields[at + 1] as Buffer)])
  return JSON.stringify(Object.fromEntries(pairs))
}
