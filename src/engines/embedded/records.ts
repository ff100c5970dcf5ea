/**
 * Every record that the embedded engine keeps beside the events: its key and its bytes, in one place. docs/format.md has the same table.
 *
 *     m/engine                        JSON { format, nextChannelId }
 *     c/<channel>                     JSON ChannelRecord: the spec, its number, the first offset kept
 *     t/<due>/<sequence>              JSON TimerRecord: an event that is not due yet
 *     s/<channel>/<id>                key of the timer of a scheduled event: for deduplication
 *     y/<channel>/<key>               latest offset of a key, where a stream keeps only the latest
 *     g/<group>/<channel>             float64 floor
 *     b/<group>/<channel>/<chunk>     128 bytes: bits of settled offsets above the floor (done-set.ts)
 *     f/<group>/<channel>             JSON InFlightRecord: what was in handlers' hands
 *     r/<group>/<channel>/<offset>    JSON RetryRecord: attempts of an event that failed
 *     d/<group>/<channel>/<offset>    JSON DeadRecord: a dead letter, or an event that waits behind one, with its text
 *     k/<group>/<channel>/<offset>    JSON ChainRecord: the same event, without its text, for what is kept in memory
 *
 * Numbers in keys are 16 digits, so that they sort. Channels are 8 digits of their number.
 */

import type { EncodedEvent, Failure } from '../../broker/engine.ts'
import type { ChannelSpec } from '../../channel/channel.ts'

export interface EngineRecord {
  readonly nextChannelId: number
}

export interface ChannelRecord {
  readonly id: number
  readonly spec: ChannelSpec
  /** Events below are gone, whether or not their bytes are. */
  readonly first: number
}

export interface TimerRecord {
  readonly channelId: number
  readonly dueAtMs: number
  readonly event: EncodedEvent
}

/** What was in handlers' hands at some commit: the suspects, if the process died (clause 5). */
export interface InFlightRecord {
  /** Deliveries that instances could hold at once: as many may have been in flight unrecorded. */
  readonly credit: number
  readonly offsets: readonly number[]
  /** The one that ran alone. */
  readonly solo: number | null
}

export interface RetryRecord {
  /** Attempts used. */
  readonly attempts: number
  readonly dueAtMs: number
  readonly failure: Failure
  /** It ran alone when its worker died. */
  readonly proven?: boolean
}

/** `dead`: given up. `live`: redriven, or waiting behind another of its key. */
export type DeadState = 'dead' | 'live'

export interface DeadRecord extends EncodedEvent {
  readonly consumer: string
  readonly state: DeadState
  readonly timeMs: number
  readonly attempts: number
  readonly failure: Failure | null
  readonly deadAtMs: number
}

export interface ChainRecord {
  readonly consumer: string
  readonly state: DeadState
  /** The key whose later events wait; null where none do. */
  readonly key: string | null
  /** Everything waits for it. */
  readonly blocks: boolean
}

const digits = (value: number): string => String(Math.max(0, Math.floor(value))).padStart(16, '0')
const channelDigits = (channelId: number): string => String(channelId).padStart(8, '0')

export const keys = {
  engine: 'm/engine',
  channel: (name: string): string => `c/${name}`,
  timer: (dueAtMs: number, sequence: number): string => `t/${digits(dueAtMs)}/${digits(sequence)}`,
  timersUpTo: (dueAtMs: number): readonly [from: string, to: string] => ['t/', `t/${digits(dueAtMs)}/:`],
  scheduledId: (channelId: number, id: string): string => `s/${channelDigits(channelId)}/${clipped(id)}`,
  latest: (channelId: number, key: string): string => `y/${channelDigits(channelId)}/${key}`,
  cursor: (group: string, channelId: number): string => `g/${group}/${channelDigits(channelId)}`,
  chunk: (group: string, channelId: number, chunk: number): string => `b/${group}/${channelDigits(channelId)}/${digits(chunk)}`,
  inFlight: (group: string, channelId: number): string => `f/${group}/${channelDigits(channelId)}`,
  retry: (group: string, channelId: number, offset: number): string => `r/${group}/${channelDigits(channelId)}/${digits(offset)}`,
  dead: (group: string, channelId: number, offset: number): string => `d/${group}/${channelDigits(channelId)}/${digits(offset)}`,
  chain: (group: string, channelId: number, offset: number): string => `k/${group}/${channelDigits(channelId)}/${digits(offset)}`,
}

/** Ids may be longer than a key can be; the record holds what it refers to, so a cut is checked there. */
function clipped(id: string): string {
  return id.length <= 300 ? id : id.slice(0, 300)
}

/** The range of keys that begin with a prefix ending in a slash: "0" is the character after "/". */
export function under(prefix: string): readonly [from: string, to: string] {
  return [prefix, `${prefix.slice(0, -1)}0`]
}

/** The number that ends a key. */
export function lastNumber(key: string): number {
  return Number(key.slice(key.lastIndexOf('/') + 1))
}

export function toJson(value: EngineRecord | ChannelRecord | TimerRecord | InFlightRecord | RetryRecord | DeadRecord | ChainRecord): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}

export function fromJson<Value>(bytes: Uint8Array): Value {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()) as Value
}

export function toFloat(value: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeDoubleLE(value)
  return bytes
}

export function fromFloat(bytes: Uint8Array): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readDoubleLE()
}
