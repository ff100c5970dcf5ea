/**
 * What is kept of a consumer in one log: the key and the bytes of each record, in one place. docs/format.md has the same table.
 *
 *     g/<group>/<channel>             float64 floor
 *     b/<group>/<channel>/<chunk>     128 bytes: bits of settled offsets above the floor (offset-set.ts)
 *     f/<group>/<channel>             JSON InFlightRecord: what was in handlers' hands
 *     r/<group>/<channel>/<offset>    JSON RetryRecord: attempts of an event that failed
 *     d/<group>/<channel>/<offset>    JSON DeadRecord: a dead letter, or an event that waits behind one, with its text
 *     k/<group>/<channel>/<offset>    JSON ChainRecord: the same event, without its text, for what is kept in memory: its state is the one that counts
 *
 * Numbers in keys are 16 digits, so that they sort. Channels are 8 digits of their number.
 */
import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { Failure } from '../broker/failure.ts'

/** What was in handlers' hands at some commit: the suspects, if the process died (clause 5). */
export interface InFlightRecord {
  /** Deliveries that instances could hold at once: as many may have been in flight unrecorded. */
  readonly credit: number
  readonly offsets: readonly number[]
  /** The one that ran alone. */
  readonly solo: number | null
  /** The attempt that each of them has used is in its own record already: they are suspects still. */
  readonly counted?: boolean
  /** Over servers: the member whose hands they were, where whoever wrote this does not know whether it lives. */
  readonly heldBy?: string
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

/** The group of a queue's workers, whatever their consumers' names: no consumer can have this name. */
export const QUEUE_GROUP = '~queue'

export const digits = (value: number): string => String(Math.max(0, Math.floor(value))).padStart(16, '0')
export const channelDigits = (channelId: number): string => String(channelId).padStart(8, '0')

/** Tables with a record for each offset. */
export const OFFSET_TABLES = ['b', 'r', 'd', 'k'] as const

export const consumerKeys = {
  /** What the records of a table begin with. */
  table: (table: (typeof OFFSET_TABLES)[number], group: string, channelId: number): string =>
    `${table}/${group}/${channelDigits(channelId)}/`,
  cursor: (group: string, channelId: number): string => `g/${group}/${channelDigits(channelId)}`,
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

/** The range of keys that begin with a prefix ending in a slash: "0" is the character after "/". */
export function under(prefix: string): readonly [from: string, to: string] {
  return [prefix, `${prefix.slice(0, -1)}0`]
}

/** The number that ends a key. */
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
