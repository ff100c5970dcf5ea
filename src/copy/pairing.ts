/**
 * Finds for each event of the source the same event at the target. Offsets differ between engines, so events are
 * compared by content: id, type, key and text.
 *
 * Both sides are read once, in parallel. An event without a partner so far is kept as a digest, so the memory needed
 * depends on how far apart the two orders are.
 */
import { hash } from 'node:crypto'
import type { EncodedEvent } from '../broker/encoded-event.ts'

interface EventAtOffset extends EncodedEvent {
  readonly offset: number
}

/** Count, bytes and checksums of one side. */
export class Sum {
  count = 0
  bytes = 0
  readonly #lanes = new Uint32Array(4)
  #orderA = 0x811c9dc5
  #orderB = 1

  add(digest: Buffer, bytes: number): void {
    this.count++
    this.bytes += bytes
    for (let lane = 0; lane < 4; lane++)
      this.#lanes[lane] = (this.#lanes[lane] as number) + digest.readUInt32LE(lane * 4)
    this.#orderA = Math.imul(this.#orderA, 0x01000193) ^ digest.readInt32LE(0)
    this.#orderB = Math.imul(this.#orderB, 0x5bd1e995) ^ digest.readInt32LE(4)
  }

  /** A checksum that does not depend on the order of the events. */
  get checksum(): string {
    return [...this.#lanes].map((lane) => lane.toString(16).padStart(8, '0')).join('')
  }

  /** A checksum that depends on the order of the events. */
  get order(): string {
    return `${this.#orderA}/${this.#orderB}`
  }
}

export function digestOf({ id, type, key, text }: EncodedEvent): Buffer {
  return hash('sha256', `${id}\0${type}\0${key === null ? '' : `k${key}`}\0${text}`, 'buffer').subarray(0, 16)
}

/** Offsets without a partner so far, by digest, oldest first. */
class Unpaired {
  readonly #byDigest = new Map<string, number[]>()
  size = 0

  put(digest: string, offset: number): void {
    const offsets = this.#byDigest.get(digest)
    if (offsets === undefined) this.#byDigest.set(digest, [offset])
    else offsets.push(offset)
    this.size++
  }

  take(digest: string): number | undefined {
    const offsets = this.#byDigest.get(digest)
    if (offsets === undefined) return undefined
    const offset = offsets.shift()
    if (offsets.length === 0) this.#byDigest.delete(digest)
    this.size--
    return offset
  }

  get offsets(): number[] {
    return [...this.#byDigest.values()].flat().sort((a, b) => a - b)
  }
}

export interface Paired {
  /** The events that have a partner. */
  readonly source: Sum
  readonly target: Sum
  /** How many source events have no partner. */
  readonly missing: number
  /** The offsets of target events without a partner. */
  readonly extra: readonly number[]
}

/** Read both sides. `matched` is called for each pair, in no particular order. */
export async function pair(
  source: AsyncIterable<EventAtOffset>,
  target: AsyncIterable<EventAtOffset>,
  matched: (sourceOffset: number, targetOffset: number) => void,
  without: ReadonlySet<number> = new Set(),
): Promise<Paired> {
  const [sums, waiting] = [[new Sum(), new Sum()] as const, [new Unpaired(), new Unpaired()] as const]
  const sides = [source[Symbol.asyncIterator](), target[Symbol.asyncIterator]()] as const
  const over = [false, false]
  while (!over[0] || !over[1]) {
    // The side that is behind is read next.
    const side = over[0] || (!over[1] && waiting[1].size < waiting[0].size) ? 1 : 0
    const { done, value } = await sides[side].next()
    if (done === true) {
      over[side] = true
      continue
    }
    const event = value as EventAtOffset
    if (side === 1 && without.has(event.offset)) continue
    const digest = digestOf(event)
    sums[side].add(digest, event.text.length)
    const key = digest.toString('latin1')
    const other = waiting[side === 0 ? 1 : 0].take(key)
    if (other === undefined) waiting[side].put(key, event.offset)
    else if (side === 0) matched(event.offset, other)
    else matched(other, event.offset)
  }
  return { source: sums[0], target: sums[1], missing: waiting[0].size, extra: waiting[1].offsets }
}

/**
 * Looks for a key whose events have another order on the other side. Both sides are known to have the same events.
 * Returns a key with another order, or null.
 */
export async function disorderedKey(
  source: AsyncIterable<EventAtOffset>,
  target: AsyncIterable<EventAtOffset>,
  without: ReadonlySet<number>,
): Promise<string | null> {
  const keys = new Map<string, Sum>()
  for await (const event of source) {
    if (event.key === null) continue
    const sum = keys.get(event.key) ?? new Sum()
    keys.set(event.key, sum)
    sum.add(digestOf(event), event.text.length)
  }
  const found = new Map<string, Sum>()
  for await (const event of target) {
    if (event.key === null || without.has(event.offset)) continue
    const sum = found.get(event.key) ?? new Sum()
    found.set(event.key, sum)
    sum.add(digestOf(event), event.text.length)
  }
  for (const [key, sum] of keys) if (found.get(key)?.order !== sum.order) return key
  return null
}
