/**
 * Lists and cancels the delayed events of a channel. Emissions whose ids are not looked up yet are included if they are
 * not due at once.
 */
import { type DelayedEvent, type DelayedQuery, type Delays, Soonest } from '../../broker/delays.ts'
import type { ChannelLog } from './channel-log.ts'
import type { Timers, TimersParts } from './timers.ts'
import { timersIn } from './timers.ts'

export class EmbeddedDelays implements Delays {
  readonly #parts: TimersParts
  readonly #timers: Timers
  readonly #log: (name: string) => ChannelLog

  /** `log` is called on each use. */
  constructor(parts: TimersParts, timers: Timers, log: (name: string) => ChannelLog) {
    this.#parts = parts
    this.#timers = timers
    this.#log = log
  }

  async list(channel: string, query: DelayedQuery): Promise<DelayedEvent[]> {
    const { store, committer, clock } = this.#parts
    const log = this.#log(channel)
    await committer.flushed()
    const soonest = new Soonest(channel, query)
    for await (const { channelId, dueAtMs, event, undecided } of timersIn(store, 't/', 't0')) {
      if (undecided !== true && soonest.isBehind(dueAtMs)) break
      if (channelId === log.id && (undecided !== true || dueAtMs > clock.now())) soonest.add(event, dueAtMs)
    }
    return soonest.page()
  }

  async cancel(channel: string, id: string): Promise<boolean> {
    return this.#timers.cancel(this.#log(channel), id)
  }
}
