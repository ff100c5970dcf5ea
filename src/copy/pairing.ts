/**
 * Which event of the target is which of the source: by what they are, as offsets differ from engine to engine.
 *
 * Both sides are read once, side by side; what has no partner yet is kept as a digest, so memory holds as many as the two orders are apart. Two events are
 * the same when id, type, key and text are.
 */
import { hash } from 'node:crypto'
import type { EncodedEvent } from '../broker/encoded-event.ts'

interface Placed extends EncodedEvent {
  readonly offset: number
}

/** What one side amounts to. */
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

  /** The same for the same events in any order. */
  get checksum(): string {
    return [...this.#lanes].map((lane) => lane.toString(16).padStart(8, '0')).join('')
  }

  /** The same for the same events in the same order. */
  get order(): string {
    return `${this.#orderA}/${this.#orderB}`
  }
}

export function digestOf({ id, type, key, text }: EncodedEvent): Buffer {
  return hash('sha256', `${id}\0${type}\0${key === null ? '' : `k${key}`}\0${text}`, 'buffer').subarray(0, 16)
}

/** Offsets that wait for their partner, by digest, oldest first. */
class Waiting {
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
  /** What of each side has a partner. */
  readonly source: Sum
  readonly target: Sum
  /** How many of the source have none at the target. */
  readonly missing: number
  /** Where those of the target stand that have none at the source. */
  readonly extra: readonly number[]
}

/** Read both sides; `matched` is told of each pair, in no order. */
export async function pair(
  source: AsyncIterable<Placed>,
  target: AsyncIterable<Placed>,
  matched: (sourceOffset: number, targetOffset: number) => void,
  without: ReadonlySet<number> = new Set(),
): Promise<Paired> {
  const [sums, waiting] = [[new Sum(), new Sum()] as const, [new Waiting(), new Waiting()] as const]
  const sides = [source[Symbol.asyncIterator](), target[Symbol.asyncIterator]()] as const
  const over = [false, false]
  while (!over[0] || !over[1]) {
    // The side that is behind is read on.
    const side = over[0] || (!over[1] && waiting[1].size < waiting[0].size) ? 1 : 0
    const { done, value } = await sides[side].next()
    if (done === true) {
      over[side] = true
      continue
    }
    const event = value as Placed
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

/** Whether the events of each key stand in the same order on both sides, of which it is known that they hold the same events. Answers a key for which they do not. */
export async function disorderedKey(
  source: AsyncIterable<Placed>,
  target: AsyncIterable<Placed>,
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
