/**
 * How fast a consumer goes: it waits for its rate's next turn, a short while with the event in hand, longer without, which others may take meanwhile; and it is
 * held while its receiver asks for a pause.
 */
import type { Clock } from '../../base/clock.ts'
import { Released } from '../../consumer/failure.ts'
import { type Rate, RateLimit } from './rate.ts'

/** Longer than this an event is not kept in hand for its turn. */
const WAIT_IN_HAND_MS = 500

export class Pace {
  readonly #clock: Clock
  readonly #held: (held: boolean) => void
  #limit: RateLimit | null = null
  #cancelResume: () => void = () => undefined

  /** `held` is told when the consumer is to take no more, and when it may again. */
  constructor(clock: Clock, held: (held: boolean) => void) {
    this.#clock = clock
    this.#held = held
  }

  /** The rate may have changed: what was waited for by the old one is not any more. */
  follow(rate: Rate | null): void {
    if (this.#limit === null || sameRate(this.#limit.rate, rate)) return
    this.#limit = null
    this.#cancelResume()
    this.#held(false)
  }

  /** Wait for a turn. @throws Released when it is too long for an event in hand */
  async turn(rate: Rate | null, signal: AbortSignal): Promise<void> {
    if (rate === null) return
    if (this.#limit === null || !sameRate(this.#limit.rate, rate)) this.#limit = new RateLimit(rate, this.#clock)
    const waitMs = this.#limit.waitMs()
    if (waitMs > WAIT_IN_HAND_MS) {
      this.hold(waitMs)
      throw new Released('its rate is used up')
    }
    await this.#limit.turn(signal)
  }

  /** Take nothing for so long, from now. */
  hold(ms: number): void {
    this.#held(true)
    this.#cancelResume()
    this.#cancelResume = this.#clock.after(ms, () => this.#held(false))
  }

  stop(): void {
    this.#cancelResume()
  }
}

function sameRate(one: Rate, other: Rate | null): boolean {
  return one.count === other?.count && one.perMs === other.perMs
}
