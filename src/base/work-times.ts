/** How long pieces of work take: the mean of the last ones, and the age of the oldest that is under way. */
import { realNowMs } from './timers.ts'

/** The weight of a new duration in the mean. */
const WEIGHT = 1 / 8
/** After this time without any work, the mean says nothing any more. */
const KNOWN_MS = 60_000

export class WorkTimes {
  /** When the work under way began, the oldest first. */
  readonly #begun: number[] = []
  #meanMs: number | null = null
  #endedMs = Number.NEGATIVE_INFINITY

  /** Returns what `end` takes. */
  begin(): number {
    const nowMs = realNowMs()
    this.#begun.push(nowMs)
    return nowMs
  }

  end(begunMs: number): void {
    const at = this.#begun.indexOf(begunMs)
    if (at >= 0) this.#begun.splice(at, 1)
    const nowMs = realNowMs()
    const tookMs = nowMs - begunMs
    const before = nowMs - this.#endedMs > KNOWN_MS ? null : this.#meanMs
    this.#meanMs = before === null ? tookMs : before + (tookMs - before) * WEIGHT
    this.#endedMs = nowMs
  }

  /** For how long the oldest work is under way; null: nothing is. */
  get underWayMs(): number | null {
    const [oldest] = this.#begun
    return oldest === undefined ? null : Math.max(0, realNowMs() - oldest)
  }

  /** The mean of the last ones; null if none ended in the last minute. */
  get meanMs(): number | null {
    return realNowMs() - this.#endedMs > KNOWN_MS ? null : this.#meanMs
  }
}
