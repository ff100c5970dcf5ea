/** A channel's handle over an engine: checks options, and asks the engine for this channel only. */
import { nameOf } from '../base/names.ts'
import type { Channel } from '../channel/channel.ts'
import { refuseStateChannel } from '../channel/state-channel.ts'
import { checkedDelayedId, checkedDelayedQuery } from './call-options.ts'
import type { ChannelState } from './description.ts'
import type { Bounds, Engine } from './engine.ts'
import type { ChannelHandle, DelayedEvents } from './handles.ts'
import type { Readable, ReadOptions } from './reading.ts'

/** What a handle needs of its broker. */
export interface ChannelHost {
  /** @throws CLOSED */
  engine(): Engine
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
      list: async (query = {}) => host.engine().delays.list(this.name, checkedDelayedQuery(query)),
      cancel: async (id) => host.engine().delays.cancel(this.name, checkedDelayedId(id)),
    }
  }

  async describe(): Promise<ChannelState> {
    return this.#host.engine().describeChannel(this.name)
  }

  async bounds(): Promise<Bounds> {
    const { first, next } = await this.#host.engine().bounds(this.name)
    return { first, next }
  }

  read(options?: ReadOptions): AsyncIterableIterator<Readable<C>> {
    return this.#host.read(this.#channel, options)
  }

  async remove(): Promise<void> {
    refuseStateChannel(this.name, 'remove the consumer to delete it')
    await this.#host.engine().removeChannel(this.name)
    this.#host.forget(this.name)
  }
}
