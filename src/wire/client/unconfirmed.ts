/**
 * What a subscription has settled and the server has not yet said to be durable, in the order in which it was settled.
 *
 * There are thousands of them in the milliseconds that this takes, and of a plain completion nothing is needed but which event it was: columns of
 * numbers, so that neither deliveries nor the frames in which they came are kept for it.
 */
import type { Emission } from '../../broker/engine.ts'
import { type SettleDetail, VERB } from '../settle-frame.ts'

/** An event that was in hand, and its number in the session that is. */
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
  /** Those that are more than a completion, by their place since the beginning. */
  readonly #others = new Map<number, Settled>()
  /** How many were confirmed. */
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

  /** The settlement of a delivery that did more than complete it, if it was not confirmed. */
  of(number: number): Settled | undefined {
    for (const settled of this.#others.values()) if (settled.delivery.number === number) return settled
    return undefined
  }

  /** So many of the session's settlements are durable; the count wraps at 2³². */
  confirm(count: number): void {
    const more = Math.min((count - this.#confirmed) >>> 0, this.#offsets.length)
    if (this.#others.size > 0)
      for (let place = 0; place < more; place++) this.#others.delete((this.#confirmed + place) >>> 0)
    this.#channels.splice(0, more)
    this.#offsets.splice(0, more)
    this.#attempts.splice(0, more)
    this.#confirmed = count
  }

  /** All of them, as they were settled; begins anew. */
  take(): Settled[] {
    const all = this.#offsets.map((offset, place): Settled => {
      const other = this.#others.get((this.#confirmed + place) >>> 0)
      if (other !== undefined) return other
      const delivery = {
        number: 0,
        channel: this.#channels[place] as string,
        offset,
        attempt: this.#attempts[place] as number,
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
