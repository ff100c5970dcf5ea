/** Event streams with wildcards: one lookup per second finds new channels for all of them. */
import { isMillraceError } from '../base/errors.ts'
import type { ChannelFeed } from './channel-feed.ts'
import type { EventStream } from './event-stream.ts'
import type { GatewayHost } from './gateway-host.ts'
import type { StreamChannels } from './stream-channels.ts'

const LOOK_MS = 1000

interface WildStream {
  readonly channels: StreamChannels
  readonly feedOf: (channel: string) => ChannelFeed
}

export class WildStreams {
  readonly #host: Pick<GatewayHost, 'core' | 'report'>
  readonly #streams = new Map<EventStream, WildStream>()
  #timer: NodeJS.Timeout | null = null
  #looking = false

  constructor(host: Pick<GatewayHost, 'core' | 'report'>) {
    this.#host = host
  }

  add(stream: EventStream, channels: StreamChannels, feedOf: WildStream['feedOf']): void {
    this.#streams.set(stream, { channels, feedOf })
    this.#timer ??= setInterval(() => void this.#look(), LOOK_MS).unref()
  }

  delete(stream: EventStream): void {
    this.#streams.delete(stream)
    if (this.#streams.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }

  async #look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      const { engine } = this.#host.core
      const there = (await engine.channels()).map(({ name }) => name)
      for (const [stream, wild] of [...this.#streams]) this.#take(stream, wild, there)
    } catch (error) {
      if (isMillraceError(error, 'CLOSED')) for (const stream of [...this.#streams.keys()]) stream.close()
      // A server that does not answer now may answer the next lookup.
      else if (!isMillraceError(error) || !error.retryable) this.#host.report(error)
    } finally {
      this.#looking = false
    }
  }

  /** A new channel is read from its beginning, so the stream misses nothing of it. */
  #take(stream: EventStream, { channels, feedOf }: WildStream, there: readonly string[]): void {
    try {
      for (const channel of channels.matched(there))
        if (!stream.has(channel)) stream.add({ channel, from: 'beginning', feed: feedOf(channel), matched: true })
    } catch (error) {
      stream.fail(error)
    }
  }
}
