/**
 * Events as Kafka records, and back: the CloudEvents Kafka binding, version 1.0.2.
 *
 * Millrace writes the binary mode (attributes in `ce_` headers, the data as the value), and the structured mode if
 * headers cannot carry the event: attributes that are not text, or data that is not JSON. The record's key is the
 * event's key.
 *
 * A record of Millrace has one more header, `millrace`: `PARTITION/PARTITIONS` and, with deduplication, `@OFFSET`: the
 * writer knew that no record before that offset has the id. So a reader finds out from the few records in between which
 * of two writers was first.
 *
 * Records of other clients are read in both modes. A record that is not a CloudEvent has an empty type, and its value
 * as text.
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
 */
import { isMillraceError } from '../../base/errors.ts'
import type { BlockEvent } from '../../event/block.ts'
import type { CloudEvent } from '../../event/cloud-event.ts'
import type { Encoded, Origin } from '../../event/encode.ts'
import { decodeTexts } from '../../event/http/decode-http.ts'
import { encodeHeaderValue } from '../../event/http/header-value.ts'
import { STRUCTURED } from '../../event/http/media-type.ts'
import type { ChannelEntry } from '../../external-log/log-backend.ts'
import { partitionOf } from '../../external-log/publish/appending.ts'
import { countChar, type FetchedRecord, type NewRecord, type RecordHeader, sizedChars } from './record-batch.ts'

const OWN = 'millrace'
const CONTENT_TYPE = 'content-type'
const JSON_TYPE: RecordHeader = [CONTENT_TYPE, 'application/json']
const STRUCTURED_TYPE: RecordHeader = [CONTENT_TYPE, `${STRUCTURED}; charset=UTF-8`]
/**
 * The key of an event without a key, in topics that keep the latest record of each key. No event's key has this
 * character.
 */
const KEYLESS = '\0'
/** One member of an event's JSON: a name, and a text without escapes. Headers carry no others. */
const MEMBER = /[{,]"([a-z0-9]+)":"([^"\\]*)"/y
const DATA = ',"data":'
// biome-ignore lint/suspicious/noControlCharactersInRegex: what JSON must escape
const ESCAPES = /["\\\u0000-\u001f]/

/** The partition of a record, and the offset before which its writer knew that no record has the id. */
export interface RecordNote {
  readonly partition: number
  readonly partitions: number
  /** Null if the event is not deduplicated. */
  readonly seen: number | null
}

/** The record of an event. */
export function toRecord(event: BlockEvent, note: RecordNote, byKey: boolean): NewRecord {
  const own: RecordHeader = [OWN, noteText(note)]
  const key = recordKeyOf(event, byKey)
  const split = binaryMode(event.text)
  if (split === null) return { key, value: event.text, headers: [STRUCTURED_TYPE, own] }
  return { key, value: split.value, headers: [...split.headers, own] }
}

/** The characters that headers and JSON write alike, with one byte each. */
const PLAIN = /^[ !#-[\]-~]{1,4000}$/
const READY_HEAD = countChar(7) + sizedChars('ce_specversion') + sizedChars('1.0') + sizedChars('ce_id')
let lastOrigin: Origin | null = null
let lastHeaders: string | null = null

/**
 * The headers of the binary mode before Millrace's own one, ready to be written, for an event that was just encoded;
 * null if that is not possible.
 */
export function readyHeaders(event: Encoded): string | null {
  const { origin } = event
  if (origin === null || !PLAIN.test(event.id)) return null
  if (origin !== lastOrigin) {
    lastOrigin = origin
    lastHeaders = originHeaders(origin)
  }
  return lastHeaders === null ? null : READY_HEAD + sizedChars(event.id) + lastHeaders
}

function originHeaders({ source, type, time }: Origin): string | null {
  if (time === undefined || !PLAIN.test(source) || !PLAIN.test(type) || !PLAIN.test(time)) return null
  const headers = [['ce_source', source], ['ce_type', type], ['ce_time', time], JSON_TYPE] as const
  return headers.map(([name, text]) => sizedChars(name) + sizedChars(text)).join('')
}

/** Millrace's own header, ready to be written. */
export function readyNote(note: RecordNote): string {
  return sizedChars(OWN) + sizedChars(noteText(note))
}

function noteText({ partition, partitions, seen }: RecordNote): string {
  return `${partition}/${partitions}${seen === null ? '' : `@${seen}`}`
}

/** The record's key. In a topic that keeps the latest of each key, an event without a key gets a unique one. */
export function recordKeyOf({ id, key }: BlockEvent, byKey: boolean): string | null {
  return key ?? (byKey ? `${KEYLESS}${id}` : null)
}

/** The parts of an event's text, if the binary mode carries it without loss. */
function binaryMode(text: string): { readonly headers: RecordHeader[]; readonly value: string } | null {
  const headers: RecordHeader[] = []
  MEMBER.lastIndex = 0
  let at = 0
  for (let member = MEMBER.exec(text); member !== null; member = MEMBER.exec(text)) {
    const [, name = '', value = ''] = member
    if (name === 'datacontenttype' || name === 'data') return null
    headers.push([`ce_${name}`, value])
    at = MEMBER.lastIndex
  }
  if (text.length === at + 1) return { headers, value: '' }
  const value = text.startsWith(DATA, at) ? text.slice(at + DATA.length, -1) : ''
  if (!isJson(value)) return null
  headers.push(JSON_TYPE)
  return { headers, value }
}

/** Whether everything after `"data":` is data, and no attribute follows. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** The event of a record, with its partition. */
export interface EventRecord {
  readonly event: BlockEvent
  readonly partition: number
  readonly seen: number | null
}

/**
 * The event of a record. Never throws: a record that is not an event is poison, with its bytes as text. A record
 * without a value says that its key is gone, if the topic keeps the latest of each key. It has nothing but the key.
 */
export function fromRecord(record: FetchedRecord, { partitions, spec }: ChannelEntry): EventRecord {
  if (spec.retain.latestByKey && record.value === null) {
    const event = { id: '', type: '', key: keyOf(record.key), text: '' }
    return { event, partition: partitionOf(withSpreadId(event, record), partitions), seen: null }
  }
  const own = record.headers.find(([name]) => name === OWN)?.[1]?.toString()
  const note = own === undefined ? null : noteOf(own)
  const event = (note === null ? null : (ownEvent(record) ?? ownStructured(record))) ?? foreignEvent(record)
  const known = note !== null && note.partitions === partitions
  return {
    event,
    partition: known ? note.partition : partitionOf(withSpreadId(event, record), partitions),
    seen: note?.seen ?? null,
  }
}

function noteOf(text: string): RecordNote | null {
  const parts = /^(\d+)\/(\d+)(?:@(\d+))?$/.exec(text)
  if (parts === null) return null
  return {
    partition: Number(parts[1]),
    partitions: Number(parts[2]),
    seen: parts[3] === undefined ? null : Number(parts[3]),
  }
}

/** An event without an id is spread by its offset. */
function withSpreadId(event: BlockEvent, { offset, key }: FetchedRecord): BlockEvent {
  const byKey = event.key ?? (key === null ? null : textOf(key))
  return { ...event, key: byKey, id: event.id === '' ? String(offset) : event.id }
}

/** A record that Millrace wrote in the binary mode: its text is put together again. */
function ownEvent({ key, value, headers }: FetchedRecord): BlockEvent | null {
  let text = ''
  let [id, type] = ['', '']
  for (const [name, bytes] of headers) {
    if (!name.startsWith('ce_')) continue
    const attribute = bytes?.toString() ?? ''
    if (ESCAPES.test(attribute)) return null
    if (name === 'ce_id') id = attribute
    else if (name === 'ce_type') type = attribute
    text += `${text === '' ? '{' : ','}"${name.slice(3)}":"${attribute}"`
  }
  if (id === '' || type === '' || value === null) return null
  return { id, type, key: keyOf(key), text: value.length === 0 ? `${text}}` : `${text}${DATA}${value.toString()}}` }
}

/** A record that Millrace wrote in the structured mode. It was checked when it was published. */
function ownStructured({ key, value, headers }: FetchedRecord): BlockEvent | null {
  if (value === null || headers.find(([name]) => name === CONTENT_TYPE)?.[1]?.toString() !== STRUCTURED_TYPE[1])
    return null
  const text = value.toString()
  try {
    const { id, type } = JSON.parse(text) as { readonly id?: unknown; readonly type?: unknown }
    if (typeof id === 'string' && id !== '' && typeof type === 'string' && type !== '')
      return { id, type, key: keyOf(key), text }
  } catch {
    // It is not JSON, so it is read like a record of another client.
  }
  return null
}

function keyOf(key: Buffer | null): string | null {
  if (key === null) return null
  const text = textOf(key)
  return text.startsWith(KEYLESS) ? null : text
}

/** Bytes as text, or as a data URL if they are not UTF-8. */
function textOf(bytes: Buffer): string {
  const text = bytes.toString()
  return text.includes('�') && !Buffer.from(text).equals(bytes)
    ? `data:application/octet-stream;base64,${bytes.toString('base64')}`
    : text
}

/** A record of another client, in either mode of the binding. */
function foreignEvent(record: FetchedRecord): BlockEvent {
  const value = record.value ?? Buffer.alloc(0)
  try {
    const fields: Record<string, string> = {}
    for (const [name, bytes] of record.headers) {
      const text = bytes?.toString() ?? ''
      const field = name.toLowerCase()
      // The CloudEvents SDK writes the type of the data twice.
      if (field === CONTENT_TYPE) fields[field] = text
      else if (field === 'ce_datacontenttype') fields[CONTENT_TYPE] ??= text
      else if (field.startsWith('ce_')) fields[`ce-${field.slice(3)}`] = encodeHeaderValue(text)
    }
    // Some clients write the JSON format without saying so.
    if (Object.keys(fields).length === 0 && value.includes('"specversion"')) fields[CONTENT_TYPE] = STRUCTURED
    const found = decodeTexts(fields, value)
    if (found.length === 1 && found[0] !== undefined) return asEvent(found[0].event, found[0].dataText, record.key)
  } catch (error) {
    if (!isMillraceError(error)) throw error
  }
  return { id: '', type: '', key: null, text: textOf(value) }
}

function asEvent(event: CloudEvent, dataText: string | undefined, recordKey: Buffer | null): BlockEvent {
  const { data, ...attributes } = event
  const envelope = JSON.stringify(attributes)
  const text = data === undefined ? envelope : `${envelope.slice(0, -1)}${DATA}${dataText ?? JSON.stringify(data)}}`
  return { id: event.id, type: event.type, key: keyOf(recordKey) ?? event.partitionkey ?? null, text }
}
