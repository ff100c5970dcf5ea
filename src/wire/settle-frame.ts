/**
 * The settlements of a subscription since the last such frame, in order.
 *
 *     offset  bytes
 *     0       4      subscription
 *     4       4      count of deliveries (n)
 *     8       4      count of emissions (m)
 *     12      4      bytes of JSON
 *     16      4 × n  number of each delivery
 *             1 × n  verb of each: 1 complete · 2 retry · 3 dead-letter · 4 release
 *             4 × m  for each emission, the index (0 to n − 1) of the delivery that it belongs to; ascending
 *             2 × m  for each, the index of its channel in the JSON's `channels`
 *             8 × m  for each, when it is due (float64); NaN = now
 *             …      JSON: { details: [[index, { delayMs?, failure, needs? }] …], channels: [name …], keyed? }
 *                    `keyed` as in a publish; `needs: { type, version }` of a retry: hold the event
 *             …      a block of the emissions, if there are any
 */

import { TIME_MS_MAX } from '../base/time-text.ts'
import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { Emission } from '../broker/engine.ts'
import type { Failure } from '../broker/failure.ts'
import { decodeSentBlock, encodeBlock } from '../event/block.ts'
import type { TypeVersion } from '../event/event-version.ts'
import type { JsonBounds } from '../event/json-scanner.ts'
import { FRAME, FRAME_HEADER_BYTES, isTimeOrNone, jsonOf, malformed, newFrame } from './frame.ts'

export const VERB = { complete: 1, retry: 2, deadLetter: 3, release: 4 } as const

export interface SettleDetail {
  readonly delayMs?: number
  readonly failure: Failure
  /**
   * The client does not know this version of the event: hold the event for an instance that knows it. A server that
   * does not know this member tries the event again after the delay.
   */
  readonly needs?: TypeVersion
}

const HEAD_BYTES = 16

/**
 * Settlements for the next frame. Delivery numbers and verbs are kept in arrays, so a plain completion makes no object.
 */
export class SettleBatch {
  #deliveries: number[] = []
  #verbs: number[] = []
  #details: [number, SettleDetail][] = []
  #emissions: Emission[] = []
  #emittedBy: number[] = []

  get size(): number {
    return this.#deliveries.length
  }

  add(delivery: number, verb: number, detail: SettleDetail | null, emissions: readonly Emission[] | null): void {
    const index = this.#deliveries.push(delivery) - 1
    this.#verbs.push(verb)
    if (detail !== null) this.#details.push([index, detail])
    if (emissions === null) return
    for (const emission of emissions) {
      this.#emissions.push(emission)
      this.#emittedBy.push(index)
    }
  }

  clear(): void {
    this.#deliveries = []
    this.#verbs = []
    this.#details = []
    this.#emissions = []
    this.#emittedBy = []
  }

  /** Encode everything that was added into a frame, and clear the batch. */
  take(subscription: number): Buffer {
    const count = this.#deliveries.length
    const emissions = this.#emissions
    const channels = [...new Set(emissions.map(({ channel }) => channel))]
    const json =
      this.#details.length === 0 && channels.length === 0
        ? ''
        : JSON.stringify({ details: this.#details, channels, keyed: true })
    const jsonBytes = Buffer.byteLength(json)
    const block = emissions.length === 0 ? null : encodeBlock(0, 0, 0, emissions.map(eventOf)).bytes
    const frame = newFrame(
      FRAME.settle,
      HEAD_BYTES + 5 * count + 14 * emissions.length + jsonBytes + (block?.length ?? 0),
    )
    let at = FRAME_HEADER_BYTES
    for (const number of [subscription, count, emissions.length, jsonBytes]) at = frame.writeUInt32LE(number, at)
    for (const delivery of this.#deliveries) at = frame.writeUInt32LE(delivery, at)
    for (const verb of this.#verbs) frame[at++] = verb
    for (const index of this.#emittedBy) at = frame.writeUInt32LE(index, at)
    for (const { channel } of emissions) at = frame.writeUInt16LE(channels.indexOf(channel), at)
    for (const { dueAtMs } of emissions) at = frame.writeDoubleLE(dueAtMs ?? Number.NaN, at)
    at += frame.write(json, at)
    if (block !== null) frame.set(block, at)
    this.clear()
    return frame
  }
}

function eventOf({ event }: Emission): EncodedEvent {
  return event
}

/** The settlements of a received frame, read by index. */
export class Settlements {
  readonly count: number
  /** The channels of the emissions. */
  readonly channels: readonly string[]
  /** The channels' key functions were applied to the emissions. */
  readonly keyed: boolean
  readonly #body: Buffer
  readonly #verbsAt: number
  readonly #details: ReadonlyMap<number, SettleDetail> | null
  readonly #emissions: ReadonlyMap<number, Emission[]> | null

  /** @throws INVALID_REQUEST · DATA_DAMAGED */
  constructor(body: Buffer, bounds: JsonBounds | null = null) {
    if (body.length < HEAD_BYTES) throw malformed('a settlement is too short')
    this.#body = body
    this.count = body.readUInt32LE(4)
    const emitted = body.readUInt32LE(8)
    this.#verbsAt = HEAD_BYTES + 4 * this.count
    const emittersAt = this.#verbsAt + this.count
    const jsonAt = emittersAt + 14 * emitted
    const blockAt = jsonAt + body.readUInt32LE(12)
    if (blockAt > body.length) throw malformed('a settlement is too short')
    const json = blockAt === jsonAt ? null : checkedJson(jsonOf(body.subarray(0, blockAt), jsonAt, bounds), this.count)
    this.channels = emitted === 0 ? [] : (json?.channels ?? [])
    this.keyed = json?.keyed === true
    this.#details = json === null ? null : new Map(json.details)
    this.#emissions =
      emitted === 0
        ? null
        : decodeEmissions(body, { count: this.count, emittersAt, emitted, blockAt }, json?.channels ?? [])
    for (let index = 0; index < this.count; index++)
      if (!isVerb(this.verbAt(index))) throw malformed('a delivery is settled by an unknown verb')
  }

  /** The number of the settled delivery. */
  deliveryAt(index: number): number {
    return this.#body.readUInt32LE(HEAD_BYTES + 4 * index)
  }

  verbAt(index: number): number {
    return this.#body[this.#verbsAt + index] as number
  }

  detailAt(index: number): SettleDetail | null {
    return this.#details?.get(index) ?? null
  }

  emissionsAt(index: number): readonly Emission[] | null {
    return this.#emissions?.get(index) ?? null
  }
}

interface Json {
  readonly details: readonly (readonly [number, SettleDetail])[]
  readonly channels: readonly string[]
  readonly keyed: boolean
}

/**
 * Check the JSON of a client: the engine stores parts of it, so their kinds and sizes must be those that our own client
 * sends.
 */
function checkedJson(value: unknown, count: number): Json {
  const { details, channels, keyed } = (value ?? {}) as {
    readonly details?: unknown
    readonly channels?: unknown
    readonly keyed?: unknown
  }
  if (!Array.isArray(details) || !Array.isArray(channels))
    throw malformed('the JSON of a settlement has no details or channels')
  for (const name of channels) if (typeof name !== 'string') throw malformed('a channel of a settlement is not a name')
  for (const entry of details as unknown[]) {
    if (!Array.isArray(entry) || !isIndex(entry[0], count) || !isDetail(entry[1]))
      throw malformed('a settlement has invalid details')
  }
  return { details, channels, keyed: keyed === true } as Json
}

function isIndex(value: unknown, count: number): boolean {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < count
}

const KINDS: readonly unknown[] = [
  'error',
  'rejected',
  'poison',
  'timeout',
  'crash',
] satisfies readonly Failure['kind'][]

function isDetail(value: unknown): value is SettleDetail {
  if (typeof value !== 'object' || value === null) return false
  const { delayMs, failure, needs } = value as Partial<Record<keyof SettleDetail, unknown>>
  return isDelay(delayMs ?? 0) && isFailure(failure) && (needs === undefined || isTypeVersion(needs))
}

function isTypeVersion(value: unknown): value is TypeVersion {
  const { type, version } = (value ?? {}) as Partial<Record<keyof TypeVersion, unknown>>
  return typeof type === 'string' && Number.isInteger(version)
}

export function isFailure(value: unknown): value is Failure {
  if (typeof value !== 'object' || value === null) return false
  const { name, message, stack = '', code = '', kind } = value as Partial<Record<keyof Failure, unknown>>
  return [name, message, stack, code].every((text) => typeof text === 'string') && KINDS.includes(kind)
}

function isDelay(value: unknown): boolean {
  return typeof value === 'number' && value >= 0 && value <= TIME_MS_MAX
}

function isVerb(verb: number): boolean {
  return verb >= VERB.complete && verb <= VERB.release
}

interface EmissionLayout {
  /** The number of deliveries, and of emissions. */
  readonly count: number
  readonly emitted: number
  readonly emittersAt: number
  readonly blockAt: number
}

function decodeEmissions(body: Buffer, layout: EmissionLayout, channels: readonly string[]): Map<number, Emission[]> {
  const found = new Map<number, Emission[]>()
  const { emittersAt, emitted: count, blockAt } = layout
  const block = decodeSentBlock(body.subarray(blockAt))
  if (block.count !== count) throw malformed('a settlement has another count of emissions than its block')
  for (let index = 0; index < count; index++) {
    const channel = channels[body.readUInt16LE(emittersAt + 4 * count + 2 * index)]
    if (channel === undefined) throw malformed('an emission names no channel')
    const dueAtMs = body.readDoubleLE(emittersAt + 6 * count + 8 * index)
    const emitter = body.readUInt32LE(emittersAt + 4 * index)
    if (!isTimeOrNone(dueAtMs) || emitter >= layout.count)
      throw malformed('an emission has no delivery, or an invalid due time')
    const emission = { channel, event: block.at(index), dueAtMs: Number.isNaN(dueAtMs) ? null : dueAtMs }
    const others = found.get(emitter)
    if (others === undefined) found.set(emitter, [emission])
    else others.push(emission)
  }
  return found
}
