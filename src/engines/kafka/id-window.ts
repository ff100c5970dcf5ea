/**
 * The ids that were stored in a channel lately (clause 8): the ids of the last `count` events that are not older than
 * `ageMs`.
 *
 * Kafka does not know ids. A process that writes reads back the window when it begins and follows the tail, so it knows
 * what all processes have written.
 *
 * Ids are kept in the order of storing, in numbered segments. A table of them is completed when an id is looked for. An
 * id that is greater than all known ones is not in the table. New ids of version 7 mostly are, so the table may not be
 * needed for a long time.
 */

import type { TailFold } from './channel-topic.ts'
import type { KeptEvent } from './chunk-cache.ts'

export interface WindowSize {
  readonly ageMs: number
  readonly count: number
}

/** For emissions to channels without deduplication: an emission is sent again within this window. */
export const EMISSION_WINDOW: WindowSize = { ageMs: 120_000, count: 100_000 }

const SEGMENT_BITS = 9
const SEGMENT_IDS = 1 << SEGMENT_BITS

interface Segment {
  readonly ids: string[]
  readonly offsets: number[]
  readonly timesMs: number[]
}

export class IdWindow implements TailFold {
  size: WindowSize
  #segments: Segment[] = []
  /** The number of segments that were dropped, and the number of all ids that ever came. */
  #forgotten = 0
  #count = 0
  /** The numbers of the first `#tabled` ids. */
  readonly #table = new Map<string, number>()
  #tabled = 0
  #greatest = ''

  constructor(size: WindowSize) {
    this.size = size
  }

  add(events: readonly KeptEvent[]): void {
    let segment = this.#segments.at(-1)
    for (const { offset, timeMs, event } of events) {
      if (event.id === '') continue
      if (segment === undefined || segment.ids.length === SEGMENT_IDS) {
        segment = { ids: [], offsets: [], timesMs: [] }
        this.#segments.push(segment)
      }
      segment.ids.push(event.id)
      segment.offsets.push(offset)
      segment.timesMs.push(timeMs)
      this.#count++
      if (event.id > this.#greatest) this.#greatest = event.id
    }
    while (this.#count - (this.#forgotten + 1) * SEGMENT_IDS >= this.size.count) this.#forget()
  }

  /** The offset at which an id was stored within the window. */
  find(id: string, nowMs: number): number | undefined {
    if (id > this.#greatest) return undefined
    const number = this.#numberOf(id)
    if (number === undefined || this.#count - number > this.size.count) return undefined
    const { offsets, timesMs } = this.#segmentOf(number)
    const at = number & (SEGMENT_IDS - 1)
    return nowMs - (timesMs[at] as number) > this.size.ageMs ? undefined : offsets[at]
  }

  /** The offset at which an id was stored last, whatever the window. */
  offsetOf(id: string): number | undefined {
    const number = this.#numberOf(id)
    return number === undefined ? undefined : this.#segmentOf(number).offsets[number & (SEGMENT_IDS - 1)]
  }

  /** Forget ids that are too old. */
  expire(nowMs: number): void {
    for (let first = this.#segments[0]; first?.ids.length === SEGMENT_IDS; first = this.#segments[0]) {
      if (nowMs - (first.timesMs.at(-1) as number) <= this.size.ageMs) return
      this.#forget()
    }
  }

  #segmentOf(number: number): Segment {
    return this.#segments[Math.floor(number / SEGMENT_IDS) - this.#forgotten] as Segment
  }

  #numberOf(id: string): number | undefined {
    this.#tabled = Math.max(this.#tabled, this.#forgotten * SEGMENT_IDS)
    for (; this.#tabled < this.#count; this.#tabled++) {
      this.#table.set(this.#segmentOf(this.#tabled).ids[this.#tabled & (SEGMENT_IDS - 1)] as string, this.#tabled)
    }
    return this.#table.get(id)
  }

  #forget(): void {
    const { ids } = this.#segments.shift() as Segment
    const first = this.#forgotten++ * SEGMENT_IDS
    // An id that came again has its later number.
    for (let at = 0; first + at < this.#tabled && at < ids.length; at++)
      if (this.#table.get(ids[at] as string) === first + at) this.#table.delete(ids[at] as string)
  }
}
