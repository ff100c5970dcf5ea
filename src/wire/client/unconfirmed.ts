/**
 * The settlements that the server has not yet confirmed as durable, in the order in which they were made.
 *
 * There can be thousands within the few milliseconds that a confirmation takes, and a plain completion needs only its
 * event's identity. So completions are stored as columns of numbers, and neither deliveries nor their frames are kept
 * for them.
 */
import type { Emission } from '../../broker/engine.ts'
import { type SettleDetail, VERB } from '../settle-frame.ts'

/** A delivery in flight, with its number in the current session. */
export interface Handed {
  number: number
  readonly channel: string
  readonly offset: number
  readonly attempt: number
}

/** How a delivery was settled. */
export interface Settled {
  readonly delivery: Handed
  readonly verb: number
  readonly detail: SettleDetail | null
  readonly emissions: readonly Emission[] | null
}

export class Unconfirmed {
  #channels: string[] = []
  #offsets: number[] = []
  #attempts: number[] = []
  /** Settlements other than plain completions, by their number since the session began. */
  readonly #others = new Map<number, Settled>()
  /** How many settlements were confirmed. */
  #confirmed = 0

  get size(): number {
    return this.#offsets.length
  }

  add(settled: Settled): void {
    const { delivery, verb, detail, emissions } = settled
    if (verb !== VERB.complete || detail !== null || emissions !== null)
      this.#others.set((this.#confirmed + this.#offsets.length) >>> 0, settled)
    this.#channels.push(delivery.channel)
    this.#offsets.push(delivery.offset)
    this.#attempts.push(delivery.attempt)
  }

  /** The unconfirmed settlement of a delivery, if it is not a plain completion. */
  of(number: number): Settled | undefined {
    for (const settled of this.#others.values()) if (settled.delivery.number === number) return settled
    return undefined
  }

  /** The first `count` settlements of the session are durable. The count wraps at 2³². */
  confirm(count: number): void {
    const more = Math.min((count - this.#confirmed) >>> 0, this.#offsets.length)
    if (this.#others.size > 0)
      for (let index = 0; index < more; index++) this.#others.delete((this.#confirmed + index) >>> 0)
    this.#channels.splice(0, more)
    this.#offsets.splice(0, more)
    this.#attempts.splice(0, more)
    this.#confirmed = count
  }

  /** Returns all settlements in order, and clears them. */
  take(): Settled[] {
    const all = this.#offsets.map((offset, index): Settled => {
      const other = this.#others.get((this.#confirmed + index) >>> 0)
      if (other !== undefined) return other
      const delivery = {
        number: 0,
        channel: this.#channels[index] as string,
        offset,
        attempt: this.#attempts[index] as number,
      }
      return { delivery, verb: VERB.complete, detail: null, emissions: null }
    })
    this.#channels = []
    this.#offsets = []
    this.#attempts = []
    this.#others.clear()
    this.#confirmed = 0
    return all
  }
}
