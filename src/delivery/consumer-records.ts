/**
 * The records of a consumer in one log: the key and the bytes of each. docs/format.md has the same table.
 *
 *     g/<group>/<channel>             float64 floor
 *     o/<group>/<channel>             float64: where it began, or was moved to last
 *     b/<group>/<channel>/<chunk>     128 bytes: bits of settled offsets above the floor (offset-set.ts)
 *     f/<group>/<channel>             JSON InFlightRecord: the deliveries in flight
 *     r/<group>/<channel>/<offset>    JSON RetryRecord: attempts of an event that failed
 *     d/<group>/<channel>/<offset>    JSON DeadRecord: a dead letter, or an event that waits behind one, with its text
 *     k/<group>/<channel>/<offset>    JSON ChainRecord: the same event without its text. Its state is the valid one
 *
 * Numbers in keys have 16 digits, so that keys sort by number. A channel is its number with 8 digits.
 */
import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { Failure } from '../broker/failure.ts'

/** The deliveries in flight at some commit. If the process dies, their events are suspects (clause 5). */
export interface InFlightRecord {
  /**
   * How many deliveries the instances could hold at once. Up to this number may have been in flight and not recorded.
   */
  readonly credit: number
  readonly offsets: readonly number[]
  /** The suspect that ran alone. */
  readonly solo: number | null
  /** The retry records count these attempts already. The events are still suspects. */
  readonly counted?: boolean
  /** On servers: the member that held them, written by a member that does not know whether the first one lives. */
  readonly heldBy?: string
}

export interface RetryRecord {
  /** How many attempts the event has used. */
  readonly attempts: number
  readonly dueAtMs: number
  readonly failure: Failure
  /** The event ran alone when its worker died. */
  readonly proven?: boolean
}

/** `dead`: a dead letter. `live`: redriven, or waiting behind a letter of its key. */
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
  /** The key of its chain; null where it is in no chain. */
  readonly key: string | null
  /** It holds back every event (`block`). */
  readonly blocks: boolean
}

/** The group of all workers of a queue, whatever the names of their consumers. No consumer can have this name. */
export const QUEUE_GROUP = '~queue'

export const digits = (value: number): string => String(Math.max(0, Math.floor(value))).padStart(16, '0')
export const channelDigits = (channelId: number): string => String(channelId).padStart(8, '0')

/** The tables that have a record for each offset, or for each chunk of offsets. */
export const OFFSET_TABLES = ['b', 'r', 'd', 'k'] as const

export const consumerKeys = {
  /** The prefix of the keys of a table. */
  table: (table: (typeof OFFSET_TABLES)[number], group: string, channelId: number): string =>
    `${table}/${group}/${channelDigits(channelId)}/`,
  cursor: (group: string, channelId: number): string => `g/${group}/${channelDigits(channelId)}`,
  begin: (group: string, channelId: number): string => `o/${group}/${channelDigits(channelId)}`,
  chunk: (group: string, channelId: number, chunk: number): string =>
    `b/${group}/${channelDigits(channelId)}/${digits(chunk)}`,
  inFlight: (group: string, channelId: number): string => `f/${group}/${channelDigits(channelId)}`,
  retry: (group: string, channelId: number, offset: number): string =>
    `r/${group}/${channelDigits(channelId)}/${digits(offset)}`,
  dead: (group: string, channelId: number, offset: number): string =>
    `d/${group}/${channelDigits(channelId)}/${digits(offset)}`,
  chain: (group: string, channelId: number, offset: number): string =>
    `k/${group}/${channelDigits(channelId)}/${digits(offset)}`,
}

/** The range of keys that begin with a prefix. The prefix ends with "/", and "0" is the character after "/". */
export function under(prefix: string): readonly [from: string, to: string] {
  return [prefix, `${prefix.slice(0, -1)}0`]
}

/** The number at the end of a key. */
export function lastNumber(key: string): number {
  return Number(key.slice(key.lastIndexOf('/') + 1))
}

export function toJson(value: object): Uint8Array {
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
