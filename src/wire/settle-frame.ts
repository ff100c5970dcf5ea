/**
 * What a subscription settled since it was last sent, in order.
 *
 *     offset  bytes
 *     0       4      subscription
 *     4       4      count of deliveries
 *     8       4      count of emissions
 *     12      4      bytes of JSON
 *     16      4 × n  number of each delivery
 *             1 × n  verb of each: 1 complete · 2 retry · 3 dead-letter · 4 release
 *             4 × m  for each emission, the place (0 to n − 1) of the delivery that it belongs to; ascending
 *             2 × m  for each, the place of its channel in the JSON's `channels`
 *             8 × m  for each, when it is due (float64); NaN = now
 *             …      JSON: { details: [[place, { delayMs?, failure }] …], channels: [name …], keyed? }; `keyed` as in a publish
 *             …      a block of the emissions, if there are any
 */
import type { Emission, EncodedEvent, Failure } from '../broker/engine.ts'
import { decodeSentBlock, encodeBlock } from '../event/block.ts'
import type { JsonBounds } from '../event/json-scanner.ts'
import { FRAME, FRAME_HEADER_BYTES, isTimeOrNone, jsonOf, malformed, newFrame, TIME_MS_MAX } from './frame.ts'

export const VERB = { complete: 1, retry: 2, deadLetter: 3, release: 4 } as const

export interface SettleDetail {
  readonly delayMs?: number
  readonly failure: Failure
}

const HEAD_BYTES = 16

/** Settlements gathered for the next frame: columns, not objects. */
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
    const place = this.#deliveries.push(delivery) - 1
    this.#verbs.push(verb)
    if (detail !== null) this.#details.push([place, detail])
    if (emissions === null) return
    for (const emission of emissions) {
      this.#emissions.push(emission)
      this.#emittedBy.push(place)
    }
  }

  clear(): void {
    this.#deliveries = []
    this.#verbs = []
    this.#details = []
    this.#emissions = []
    this.#emittedBy = []
  }

  /** The frame of all that was added; begins anew. */
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
    for (const place of this.#emittedBy) at = frame.writeUInt32LE(place, at)
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

/** The settlements of a frame, read by their places. */
export class Settlements {
  readonly count: number
  /** Those of the emissions. */
  readonly channels: readonly string[]
  /** The channels' key functions were asked for the keys of the emissions. */
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
    const placesAt = this.#verbsAt + this.count
    const jsonAt = placesAt + 14 * emitted
    const blockAt = jsonAt + body.readUInt32LE(12)
    if (blockAt > body.length) throw malformed('a settlement is too short')
    const json = blockAt === jsonAt ? null : checkedJson(jsonOf(body.subarray(0, blockAt), jsonAt, bounds), this.count)
    this.channels = emitted === 0 ? [] : (json?.channels ?? [])
    this.keyed = json?.keyed === true
    this.#details = json === null ? null : new Map(json.details)
    this.#emissions =
      emitted === 0
        ? null
        : decodeEmissions(body, { count: this.count, placesAt, emitted, blockAt }, json?.channels ?? [])
    for (let place = 0; place < this.count; place++)
      if (!isVerb(this.verbAt(place))) throw malformed('a delivery is settled by an unknown verb')
  }

  /** The number of the delivery that was settled. */
  deliveryAt(place: number): number {
    return this.#body.readUInt32LE(HEAD_BYTES + 4 * place)
  }

  verbAt(place: number): number {
    return this.#body[this.#verbsAt + place] as number
  }

  detailAt(place: number): SettleDetail | null {
    return this.#details?.get(place) ?? null
  }

  emissionsAt(place: number): readonly Emission[] | null {
    return this.#emissions?.get(place) ?? null
  }
}

interface Json {
  readonly details: readonly (readonly [number, SettleDetail])[]
  readonly channels: readonly string[]
  readonly keyed: boolean
}

/** The JSON of a stranger: what an engine keeps of it is of the kinds and sizes that our own end sends. */
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
    if (!Array.isArray(entry) || !isPlace(entry[0], count) || !isDetail(entry[1]))
      throw malformed('a settlement has invalid details')
  }
  return { details, channels, keyed: keyed === true } as Json
}

function isPlace(value: unknown, count: number): boolean {
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
  const { delayMs, failure } = value as { readonly delayMs?: unknown; readonly failure?: unknown }
  return isDelay(delayMs ?? 0) && isFailure(failure)
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

interface EmissionPlaces {
  /** Deliveries, and emissions. */
  readonly count: number
  readonly emitted: number
  readonly placesAt: number
  readonly blockAt: number
}

function decodeEmissions(body: Buffer, places: EmissionPlaces, channels: readonly string[]): Map<number, Emission[]> {
  const found = new Map<number, Emission[]>()
  const { placesAt, emitted: count, blockAt } = places
  const block = decodeSentBlock(body.subarray(blockAt))
  if (block.count !== count) throw malformed('a settlement has another count of emissions than its block')
  for (let index = 0; index < count; index++) {
    const channel = channels[body.readUInt16LE(placesAt + 4 * count + 2 * index)]
    if (channel === undefined) throw malformed('an emission names no channel')
    const dueAtMs = body.readDoubleLE(placesAt + 6 * count + 8 * index)
    const place = body.readUInt32LE(placesAt + 4 * index)
    if (!isTimeOrNone(dueAtMs) || place >= places.count)
      throw malformed('an emission has no delivery, or an invalid due time')
    const emission = { channel, event: block.at(index), dueAtMs: Number.isNaN(dueAtMs) ? null : dueAtMs }
    const others = found.get(place)
    if (others === undefined) found.set(place, [emission])
    else others.push(emission)
  }
  return found
}
