/**
 * The ids that were stored in a channel lately (clause 8): those of the last so many events that are no older than so much.
 *
 * Kafka knows none. Whoever writes follows the tail, having read back the window when it began, and so knows what everybody has written.
 *
 * Ids are kept in the order of storing, in segments whose number tells their place, and a table of them is brought up to date when somebody asks: an
 * id that is greater than all others is not among them, as new ids of version 7 mostly are, and so nobody may ask for long.
 */

import type { TailFold } from './channel-topic.ts'
import type { KeptEvent } from './chunk-cache.ts'

export interface WindowSize {
  readonly ageMs: number
  readonly count: number
}

/** For emissions to channels that do not deduplicate: they are sent again at most so long. */
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
  /** Segments that are forgotten, and all ids that ever came. */
  #forgotten = 0
  #count = 0
  /** Ids to their numbers, of the first so many that came. */
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

  /** Where an id was stored within the window. */
  find(id: string, nowMs: number): number | undefined {
    if (id > this.#greatest) return undefined
    const number = this.#numberOf(id)
    if (number === undefined || this.#count - number > this.size.count) return undefined
    const { offsets, timesMs } = this.#segmentOf(number)
    const at = number & (SEGMENT_IDS - 1)
    return nowMs - (timesMs[at] as number) > this.size.ageMs ? undefined : offsets[at]
  }

  /** Where it was stored last, whatever the window. */
  offsetOf(id: string): number | undefined {
    const number = this.#numberOf(id)
    return number === undefined ? undefined : this.#segmentOf(number).offsets[number & (SEGMENT_IDS - 1)]
  }

  /** Forget what is too old. */
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
    // An id that came again since has its later number.
    for (let at = 0; first + at < this.#tabled && at < ids.length; at++)
      if (this.#table.get(ids[at] as string) === first + at) this.#table.delete(ids[at] as string)
  }
}
