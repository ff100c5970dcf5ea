/**
 * A lane: the events of one key that a consumer has taken up, one after the other. A lane exists only while it holds something.
 * An event without a key that had to wait has a lane of its own.
 */
import { OffsetQueue } from '../../base/offset-queue.ts'
import type { Instance } from './instance.ts'

export class Lane {
  key: string | null
  /** Deliveries in a handler's hands. */
  busy = 0
  /** Whose hands. */
  holder: Instance | null = null
  /** The last that was handed out: while one is in hands, none before it is. */
  last = -1
  /** Instances that want its first event, and had no free place when it was looked at last. */
  full: readonly Instance[] | null = null
  /** Up to here, what was in hands when a letter that they had passed came back: they are done before it. */
  passed = -1
  /** What was handed out last is kept among the dead letters: it comes before everything that waits here. */
  redriven = false
  /** The first waiting event failed and its next attempt is not due, or it must run alone first. */
  blocked = false
  /** It stands in its cursor's list of ready lanes. */
  queued = false
  /** Something has waited in it, or for it: a timer or a list may still name it, so that it serves no other key. */
  named = false
  /** Counts the rewinds before it was made: a lane from before the last one is over, as is one that was forgotten while a timer names it (−1). */
  epoch: number
  readonly #waiting = new OffsetQueue()

  constructor(key: string | null, epoch: number) {
    this.key = key
    this.epoch = epoch
  }

  /** Serve another key: it holds nothing, and nobody names it. */
  reuse(key: string): void {
    this.key = key
    this.holder = null
    this.full = null
    this.passed = -1
  }

  get waiting(): number {
    return this.#waiting.size
  }

  get first(): number {
    return this.#waiting.first as number
  }

  /** Whether an event before this one waits. */
  waitsBefore(offset: number): boolean {
    return this.waiting > 0 && this.first < offset
  }

  /** What waits, in order. */
  get offsets(): number[] {
    return this.#waiting.toArray()
  }

  /** It waits no more, wherever it stands. */
  remove(offset: number): void {
    this.full = null
    this.#waiting.remove(offset)
  }

  /** An event waits, in its place. */
  add(offset: number): void {
    this.named = true
    this.full = null
    this.#waiting.add(offset)
  }

  shift(): number {
    this.full = null
    return this.#waiting.shift() as number
  }
}
