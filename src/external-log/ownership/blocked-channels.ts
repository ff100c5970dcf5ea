/**
 * Clause 6, `block`: the channels in which dead letters stop a consumer, in partitions of this member and of others.
 * The partitions of a channel here share one blockade. Members tell each other with their heartbeats.
 */
import { Blockade } from '../../delivery/dead/blockade.ts'

/** Stops a channel while a dead letter of another member does. */
const ELSEWHERE = 'elsewhere'

export class BlockedChannels {
  readonly #byChannel = new Map<string, Blockade>()
  readonly #lifted: (channel: string) => void

  /** `lifted` is called when a channel is not stopped any more. */
  constructor(lifted: (channel: string) => void) {
    this.#lifted = lifted
  }

  /** What stops the consumer in all partitions of a channel. */
  of(channel: string): Blockade {
    let blockade = this.#byChannel.get(channel)
    if (blockade === undefined) {
      blockade = new Blockade(() => this.#lifted(channel))
      this.#byChannel.set(channel, blockade)
    }
    return blockade
  }

  /** The channels in which a dead letter of this member stops the consumer. */
  get here(): string[] {
    return [...this.#byChannel].filter(([, blockade]) => blockade.standsWithout(ELSEWHERE)).map(([channel]) => channel)
  }

  /** Stop the channels that other members say are stopped. */
  elsewhere(channels: ReadonlySet<string>): void {
    for (const channel of channels) this.of(channel).set(ELSEWHERE, 1)
    for (const [channel, blockade] of this.#byChannel) if (!channels.has(channel)) blockade.set(ELSEWHERE, 0)
  }
}
