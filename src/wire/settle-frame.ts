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
 *             …      JSON: { details: [[place, { delayMs?, failure }] …], channels: [name …] }
 *             …      a block of the emissions, if there are any
 */
import type { Emission, EncodedEvent, Failure } from '../broker/engine.ts'
import { decodeBlock, encodeBlock } from '../event/block.ts'
import type { JsonBounds } from '../event/json-scanner.ts'
import { FRAME, FRAME_HEADER_BYTES, jsonOf, malformed, newFrame } from './frame.ts'

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
    const json = this.#details.length === 0 && channels.length === 0 ? '' : JSON.stringify({ details: this.#details, channels })
    const jsonBytes = Buffer.byteLength(json)
    const block = emissions.length === 0 ? null : encodeBlock(0, 0, 0, emissions.map(eventOf)).bytes
    const frame = newFrame(FRAME.settle, HEAD_BYTES + 5 * count + 14 * emissions.length + jsonBytes + (block?.length ?? 0))
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
    const json = blockAt === jsonAt ? null : (jsonOf(body.subarray(0, blockAt), jsonAt, bounds) as Json)
    this.#details = json === null ? null : new Map(json.details)
    this.#emissions = emitted === 0 ? null : decodeEmissions(body, placesAt, emitted, blockAt, json?.channels ?? [])
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
}

function decodeEmissions(body: Buffer, placesAt: number, count: number, blockAt: number, channels: readonly string[]): Map<number, Emission[]> {
  const found = new Map<number, Emission[]>()
  const block = decodeBlock(0, body.subarray(blockAt))
  if (block.count !== count) throw malformed('a settlement counts other emissions than its block')
  for (let index = 0; index < count; index++) {
    const channel = channels[body.readUInt16LE(placesAt + 4 * count + 2 * index)]
    if (channel === undefined) throw malformed('an emission names no channel')
    const dueAtMs = body.readDoubleLE(placesAt + 6 * count + 8 * index)
    const emission = { channel, event: block.at(index), dueAtMs: Number.isNaN(dueAtMs) ? null : dueAtMs }
    const place = body.readUInt32LE(placesAt + 4 * index)
    const others = found.get(place)
    if (others === undefined) found.set(place, [emission])
    else others.push(emission)
  }
  return found
}
