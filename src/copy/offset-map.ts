/**
 * Maps offsets of a source's channel to offsets at the target, from pairs of equal events. Engines assign their own
 * offsets, so what refers to offsets must be translated.
 */

import { OffsetSet } from '../base/offset-set.ts'
import type { CarriedConsumer, CarriedLetter } from '../broker/carriage.ts'

/** Whether a consumer has settled an event of the source. */
function settledAt({ floor, settled }: CarriedConsumer, offset: number): boolean {
  if (offset < floor) return true
  let low = 0
  let high = settled.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((settled[middle] as readonly [number, number])[1] > offset) high = middle
    else low = middle + 1
  }
  return low < settled.length && (settled[low] as readonly [number, number])[0] <= offset
}

/** A consumer whose state is translated to the target's offsets. */
class TranslatedConsumer {
  readonly state: CarriedConsumer
  readonly #settled = new OffsetSet(0)
  #firstOpen = Number.POSITIVE_INFINITY

  constructor(state: CarriedConsumer) {
    this.state = state
  }

  matched(source: number, target: number): void {
    if (settledAt(this.state, source)) this.#settled.add(target)
    else if (target < this.#firstOpen) this.#firstOpen = target
  }

  at(offsetMap: OffsetMap, end: number): CarriedConsumer {
    const { retries, inFlight } = this.state
    const floor = Math.min(this.#firstOpen, end)
    this.#settled.raise(floor)
    const kept = (offset: number): number[] => {
      const there = offsetMap.exactly(offset)
      return there === undefined ? [] : [there]
    }
    return {
      ...this.state,
      floor,
      settled: floor === end ? [] : [...this.#settled.ranges()],
      retries: retries.flatMap((retry) => kept(retry.offset).map((offset) => ({ ...retry, offset }))),
      inFlight:
        inFlight === null
          ? null
          : {
              ...inFlight,
              offsets: inFlight.offsets.flatMap(kept),
              solo: inFlight.solo === null ? null : (kept(inFlight.solo)[0] ?? null),
            },
    }
  }
}

export class OffsetMap {
  readonly #consumers: readonly TranslatedConsumer[]
  /** Source offsets of the events to look for. */
  readonly #wanted: ReadonlySet<number>
  readonly #exact = new Map<number, number>()
  /** Source offsets for which the first event at or after them is needed, in order; and what was found for each. */
  readonly #marks: readonly number[]
  readonly #atMarks: ({ readonly source: number; readonly target: number } | undefined)[]
  /** The end of the target's channel. */
  end = 0

  constructor(consumers: readonly CarriedConsumer[], wanted: Iterable<number>, marks: Iterable<number>) {
    this.#consumers = consumers.map((state) => new TranslatedConsumer(state))
    const own = consumers.flatMap(({ retries, inFlight }) => [
      ...retries.map(({ offset }) => offset),
      ...(inFlight?.offsets ?? []),
    ])
    this.#wanted = new Set([...wanted, ...own])
    this.#marks = [...new Set(marks)].sort((a, b) => a - b)
    this.#atMarks = new Array(this.#marks.length)
  }

  matched(source: number, target: number): void {
    for (const consumer of this.#consumers) consumer.matched(source, target)
    if (this.#wanted.has(source)) this.#exact.set(source, target)
    const at = this.#markBefore(source)
    if (at >= 0 && source < (this.#atMarks[at]?.source ?? Number.POSITIVE_INFINITY))
      this.#atMarks[at] = { source, target }
  }

  /** The index of the last mark at or before an offset. */
  #markBefore(offset: number): number {
    let low = 0
    let high = this.#marks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#marks[middle] as number) <= offset) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** The target offset of an event that was looked for, if it is there. */
  exactly(source: number): number | undefined {
    return this.#exact.get(source)
  }

  /** The target offset of the first event at or after a mark. */
  from(mark: number): number {
    for (let at = this.#marks.indexOf(mark); at >= 0 && at < this.#marks.length; at++) {
      const found = this.#atMarks[at]
      if (found !== undefined) return found.target
    }
    return this.end
  }

  /** The consumers with the target's offsets. */
  get consumers(): CarriedConsumer[] {
    return this.#consumers.map((consumer) => consumer.at(this, this.end))
  }

  letter(letter: CarriedLetter): CarriedLetter | null {
    const target = this.#exact.get(letter.offset)
    return target === undefined ? null : { ...letter, offset: target }
  }
}
