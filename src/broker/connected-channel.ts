/** A channel's handle over an engine: checks options, and asks the engine for this channel only. */
import { LIMITS } from '../base/limits.ts'
import { nameOf } from '../base/names.ts'
import { knownOptions } from '../base/units.ts'
import type { Channel } from '../channel/channel.ts'
import { refuseStateChannel } from '../channel/state-channel.ts'
import { ACTION_MEMBERS, type ActionOptions } from './action-options.ts'
import { noted } from './audit.ts'
import type { BrokerHost } from './broker.ts'
import { checkedDelayedId, checkedDelayedQuery } from './call-options.ts'
import type { ChannelState } from './description.ts'
import type { Bounds } from './engine.ts'
import type { ChannelHandle, DelayedEvents } from './handles.ts'
import type { Readable, ReadOptions } from './reading.ts'

/** What a handle needs of its broker. */
export interface ChannelHost {
  /** @throws CLOSED */
  core(): Pick<BrokerHost, 'engine' | 'encoder'>
  read<C extends Channel | string>(channel: C, options?: ReadOptions): AsyncIterableIterator<Readable<C>>
  /** The channel is gone: what the broker remembers of it goes, too. */
  forget(channel: string): void
}

export class ConnectedChannel<C extends Channel | string> implements ChannelHandle<C> {
  readonly name: string
  readonly delayed: DelayedEvents
  readonly #channel: C
  readonly #host: ChannelHost

  /** @throws INVALID_OPTION · INVALID_NAME */
  constructor(channel: C, host: ChannelHost) {
    this.name = nameOf(channel, 'channel')
    this.#channel = channel
    this.#host = host
    this.delayed = {
      list: async (query = {}) => host.core().engine.delays.list(this.name, checkedDelayedQuery(query)),
      cancel: async (id, options = {}) => {
        const { engine } = host.core()
        const checked = checkedDelayedId(id)
        return this.#noted('cancelDelayedEvent', { id: checked }, options, (reason) =>
          engine.delays.cancel(this.name, checked, reason),
        )
      },
      cancelKey: (key, options = {}) => this.#cancelKey(key, options),
    }
  }

  /** Page by page: each event is cancelled by its id, or is stored because it is due meanwhile. */
  async #cancelKey(key: string, options: ActionOptions): Promise<number> {
    const limit = LIMITS.delayedListDefault
    for (let cancelled = 0; ; ) {
      const page = await this.delayed.list({ key, limit })
      const answers = await Promise.all(page.map(({ id }) => this.delayed.cancel(id, options)))
      const done = answers.filter((answer) => answer).length
      cancelled += done
      if (page.length < limit || done === 0) return cancelled
    }
  }

  async describe(): Promise<ChannelState> {
    return this.#host.core().engine.describeChannel(this.name)
  }

  async bounds(): Promise<Bounds> {
    const { first, next } = await this.#host.core().engine.bounds(this.name)
    return { first, next }
  }

  read(options?: ReadOptions): AsyncIterableIterator<Readable<C>> {
    return this.#host.read(this.#channel, options)
  }

  async remove(options: ActionOptions = {}): Promise<void> {
    refuseStateChannel(this.name, 'remove the consumer to delete it')
    const { engine } = this.#host.core()
    await this.#noted('removeChannel', {}, options, (reason) => engine.removeChannel(this.name, reason))
    this.#host.forget(this.name)
  }

  #noted<Answer>(
    action: string,
    target: Readonly<Record<string, string>>,
    options: ActionOptions,
    act: (reason: string | undefined) => Promise<Answer>,
  ): Promise<Answer> {
    knownOptions(options, ACTION_MEMBERS, action)
    return noted(this.#host.core(), { action, target: { channel: this.name, ...target }, options }, act)
  }
}
