/**
 * Notices that a consumer has work and makes no progress for its `stall`. It looks only while there may be work, so
 * that an idle consumer costs nothing.
 */
import type { Clock } from '../base/clock.ts'

export interface StallHost {
  /** How many deliveries were settled so far. */
  settled(): number
  /** Why there is no progress, or null when there is no work. */
  reason(): string | null
  stalled(sinceMs: number, reason: string): void
  goesOn(): void
}

export class StallWatch {
  readonly #stallMs: number
  readonly #clock: Clock
  readonly #host: StallHost
  #cancel: (() => void) | null = null
  /** How many were settled at the last look. */
  #before = 0
  #stalled = false

  constructor(stallMs: number, clock: Clock, host: StallHost) {
    // A look costs time: a `stall` of 0 must not make it look all the time.
    this.#stallMs = Math.max(20, stallMs)
    this.#clock = clock
    this.#host = host
  }

  /** There may be work. */
  begin(): void {
    if (this.#cancel !== null) return
    this.#before = this.#host.settled()
    this.#wait()
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = () => undefined
  }

  #wait(): void {
    this.#cancel = this.#clock.after(this.#stallMs, () => this.#look())
  }

  #look(): void {
    this.#cancel = null
    const settled = this.#host.settled()
    const moved = settled !== this.#before
    this.#before = settled
    const reason = moved ? null : this.#host.reason()
    if (reason !== null) {
      this.#stalled = true
      this.#host.stalled(this.#clock.now() - this.#stallMs, reason)
    } else if (this.#stalled) {
      this.#stalled = false
      this.#host.goesOn()
    }
    if (moved || reason !== null) this.#wait()
  }
}
