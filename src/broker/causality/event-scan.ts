/**
 * Searches the events of many channels for texts, from a time on, and counts the events that it reads.
 *
 * It is bounded: few channels are read at once, one batch of each is in memory, and a budget of events ends the scan.
 * In each round every channel gets an equal share of the rest of the budget, so one large channel does not use the
 * budget of the others.
 */
import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Engine, StoredText } from '../engine.ts'
import type { Position } from '../position.ts'

/** An event that was found, with its channel. */
export interface Found {
  readonly channel: string
  readonly stored: StoredText
}

/** How many events the scans of a walk have read together, and the limit. */
export interface Budget {
  looked: number
  readonly lookedMax: number
}

export interface ScanRange {
  readonly from: Position
  /** Events stored at or after this time are not read; null: read to the end. */
  readonly untilMs: number | null
}

interface Part {
  readonly channel: string
  at: Position
}

/** The smallest share: to begin a read costs more than reading so many events. */
const SHARE_MIN = 256

export class EventScan {
  readonly #engine: Pick<Engine, 'read'>
  readonly #signal: AbortSignal
  readonly #budget: Budget
  #left: Part[]
  readonly #range: ScanRange
  readonly #matches: (text: string) => boolean

  constructor(
    engine: Pick<Engine, 'read'>,
    channels: readonly string[],
    range: ScanRange,
    matches: (text: string) => boolean,
    budget: Budget,
    signal: AbortSignal,
  ) {
    this.#engine = engine
    this.#left = channels.map((channel) => ({ channel, at: range.from }))
    this.#range = range
    this.#matches = matches
    this.#budget = budget
    this.#signal = signal
  }

  /** Whether every channel was read to its end. */
  get complete(): boolean {
    return this.#left.length === 0
  }

  /**
   * The matching events as they are found, in batches that may be empty. Ends when all channels are read, or with the
   * budget.
   */
  async *found(): AsyncGenerator<readonly Found[]> {
    while (this.#left.length > 0 && this.#rest() > 0 && !this.#signal.aborted) {
      const round = this.#left
      this.#left = []
      for (let at = 0; at < round.length; at += LIMITS.causalReadersMax) {
        const some = round.slice(at, at + LIMITS.causalReadersMax)
        const share = Math.max(SHARE_MIN, Math.floor(this.#rest() / (round.length - at)))
        if (this.#rest() <= 0) this.#left.push(...some)
        else yield (await Promise.all(some.map((part) => this.#read(part, share)))).flat()
      }
    }
  }

  #rest(): number {
    return this.#budget.lookedMax - this.#budget.looked
  }

  /** Read up to a share of one channel. The rest of the channel is read in the next round. */
  async #read(part: Part, share: number): Promise<Found[]> {
    const { channel } = part
    const found: Found[] = []
    const reading = new AbortController()
    const signal = AbortSignal.any([reading.signal, this.#signal])
    let looked = 0
    try {
      for await (const batch of this.#engine.read(channel, { from: part.at, to: null, follow: false, signal })) {
        for (const stored of batch) {
          if (this.#range.untilMs !== null && stored.timeMs >= this.#range.untilMs) return found
          if (looked === share || this.#rest() <= 0) {
            this.#left.push({ channel, at: { offset: stored.offset } })
            return found
          }
          looked++
          this.#budget.looked++
          if (this.#matches(stored.text)) found.push({ channel, stored })
        }
      }
    } catch (error) {
      // The channel was removed, or retention has removed the events meanwhile: they cannot be found.
      if (!isMillraceError(error, 'UNKNOWN_CHANNEL') && !isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
    } finally {
      reading.abort()
    }
    // When the scan is stopped, the read ends without an error and before the end of the channel.
    if (this.#signal.aborted) this.#left.push(part)
    return found
  }
}
