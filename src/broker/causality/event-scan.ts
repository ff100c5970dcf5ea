/**
 * Looks for texts in the events of many channels, from a time on, and counts what it looks at.
 *
 * Bounded: few channels are read at once, a batch of each is in memory, and a budget of events ends it. In each round every channel gets an equal
 * share of what is left, so one large channel does not use up the budget of the others.
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

/** How many events a scan has looked at and may look at, for all its parts together. */
export interface Budget {
  looked: number
  readonly lookedMax: number
}

export interface ScanRange {
  readonly from: Position
  /** Events stored at or after this time are not looked at; null reads to the end. */
  readonly untilMs: number | null
}

interface Part {
  readonly channel: string
  at: Position
}

/** A share is at least so large: to begin to read costs more than so many events. */
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

  /** What matches, as it is found: a batch, maybe empty, for each few channels. Ends with the channels, or with the budget. */
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

  /** Up to a share of one channel; what is left of it is for the next round. */
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
      // The channel was removed, or retention overtook the reading: what is gone is not to be found.
      if (!isMillraceError(error, 'UNKNOWN_CHANNEL') && !isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
    } finally {
      reading.abort()
    }
    // Reading ends without an error then, and not at the channel's end.
    if (this.#signal.aborted) this.#left.push(part)
    return found
  }
}
