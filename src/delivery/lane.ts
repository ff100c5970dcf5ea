/**
 * A lane: the events of one key that a consumer has taken up, one after the other. A lane exists only while it holds something.
 * An event without a key that had to wait has a lane of its own.
 */
import type { Instance } from './instance.ts'

export class Lane {
  key: string | null
  /** Deliveries in a handler's hands. */
  busy = 0
  /** Whose hands. */
  holder: Instance | null = null
  /** The first waiting event failed and its next attempt is not due, or it must run alone first. */
  blocked = false
  /** It stands in its cursor's list of ready lanes. */
  queued = false
  /** Something has waited in it, or for it: a timer or a list may still name it, so that it serves no other key. */
  named = false
  #waiting: number[] = []
  #head = 0

  constructor(key: string | null) {
    this.key = key
  }

  /** Serve another key: it holds nothing, and nobody names it. */
  reuse(key: string): void {
    this.key = key
    this.holder = null
  }

  get waiting(): number {
    return this.#waiting.length - this.#head
  }

  get first(): number {
    return this.#waiting[this.#head] as number
  }

  /** Whether an event before this one waits. */
  waitsBefore(offset: number): boolean {
    return this.waiting > 0 && this.first < offset
  }

  /** What waits, in order. */
  get offsets(): number[] {
    return this.#waiting.slice(this.#head)
  }

  /** It waits no more, wherever it stands. */
  remove(offset: number): void {
    const at = this.#waiting.indexOf(offset, this.#head)
    if (at >= 0) this.#waiting.splice(at, 1)
  }

  push(offset: number): void {
    this.named = true
    this.#waiting.push(offset)
  }

  shift(): number {
    const offset = this.#waiting[this.#head++] as number
    if (this.#head > 64 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head)
      this.#head = 0
    }
    return offset
  }

  /** Put an event back in its place. */
  restore(offset: number): void {
    this.named = true
    let at = this.#head
    while (at < this.#waiting.length && (this.#waiting[at] as number) < offset) at++
    this.#waiting.splice(at, 0, offset)
  }
}
