/**
 * Server-Sent Events for one client: it follows channels at the client's pace.
 *
 * At the end of a channel it is fed together with all other streams. A client without room leaves the feed, and reads
 * by itself when it has room again.
 *
 * Bounded: nothing is read for it while `bytesMax` wait, and a client that takes nothing for `stallMs` is disconnected.
 * It can reconnect with `Last-Event-ID` and misses nothing.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { isMillraceError } from '../base/errors.ts'
import { TIMER_MS_MAX } from '../base/timers.ts'
import type { BrokerHost } from '../broker/broker.ts'
import type { StoredText } from '../broker/engine.ts'
import type { From } from '../broker/position.ts'
import type { MaySee } from '../broker/seen-events.ts'
import type { ChannelFeed, FeedBatch, FeedMember } from './channel-feed.ts'
import { oneLine, readTexts } from './channel-texts.ts'
import { writeCursor } from './cursor-text.ts'
import type { StreamChannels } from './stream-channels.ts'

/** A channel of a stream, with the position from which it is read. */
export interface FollowedChannel {
  readonly channel: string
  /** A wildcard matched the channel: when it is removed, the stream continues without it. */
  readonly matched: boolean
  readonly feed: ChannelFeed
  /** The position to begin at. */
  readonly from: From
}

export interface EventStreamOptions {
  readonly channels: StreamChannels
  readonly follow: readonly FollowedChannel[]
  /** The last offset of each channel that the client has, as far as it is known. */
  readonly last: Map<string, number>
  readonly bytesMax: number
  readonly heartbeatMs: number
  readonly stallMs: number
  readonly maySee: MaySee
  /** Called once, when the stream has ended for any reason. */
  readonly ended: () => void
  /** Called when the client must be disconnected because it takes nothing. */
  readonly cut: () => void
}

const encoder = new TextEncoder()

export class EventStream {
  readonly body: ReadableStream<Uint8Array>
  readonly #host: BrokerHost
  readonly #options: EventStreamOptions
  readonly #followed = new Map<string, FollowedChannel>()
  readonly #reading = new AbortController()
  #controller!: ReadableStreamDefaultController<Uint8Array>
  #timer: NodeJS.Timeout | undefined
  #wake: (() => void) | null = null
  #takenAtMs = 0
  #sentAtMs = 0
  #sentCursor = ''
  #over = false

  constructor(host: BrokerHost, options: EventStreamOptions) {
    this.#host = host
    this.#options = options
    for (const followed of options.follow) this.#hold(followed)
    this.body = new ReadableStream(
      {
        start: (controller) => {
          this.#controller = controller
        },
        pull: () => this.#pulled(),
        cancel: () => this.#end(),
      },
      { highWaterMark: options.bytesMax, size: (chunk) => chunk.byteLength },
    )
  }

  /** End the stream cleanly: the client may reconnect. */
  close(): void {
    if (this.#over) return
    this.#end()
    this.#controller.close()
  }

  /** Start reading. Call it once. */
  begin(): void {
    this.#takenAtMs = this.#sentAtMs = performance.now()
    // The position is sent before the first event, so that a client that is cut before the first event misses nothing.
    this.#send(`retry: 1000\n${this.#cursorLine()}\n`)
    this.#timer = setInterval(
      () => this.#watch(),
      Math.min(this.#options.heartbeatMs, this.#options.stallMs, TIMER_MS_MAX),
    )
    this.#timer.unref()
    for (const followed of this.#followed.values()) void this.#pump(followed)
  }

  has(channel: string): boolean {
    return this.#followed.has(channel)
  }

  /** Add a channel that a wildcard matches and that was created after `begin`. */
  add(followed: FollowedChannel): void {
    if (this.#over) return
    this.#hold(followed)
    void this.#pump(followed)
  }

  #hold(followed: FollowedChannel): void {
    followed.feed.hold()
    this.#followed.set(followed.channel, followed)
  }

  /** The channel was removed. A new channel of the same name is read from its beginning. */
  #gone({ channel, feed, matched }: FollowedChannel): void {
    if (!matched) return this.close()
    this.#followed.delete(channel)
    this.#options.last.delete(channel)
    feed.release()
  }

  async #pump(followed: FollowedChannel): Promise<void> {
    const { channel, feed, from } = followed
    let next = from
    try {
      await feed.ready
      while (!this.#over && this.#followed.get(channel) === followed) {
        if (!this.#roomy()) await this.#room()
        else if (typeof next === 'object' && 'offset' in next && next.offset >= feed.head)
          next = { offset: await this.#follow(followed, next.offset) }
        else next = { offset: await this.#catchUp(channel, feed, next) }
      }
    } catch (error) {
      if (followed.matched && isMillraceError(error, 'UNKNOWN_CHANNEL') && this.#followed.get(channel) === followed)
        this.#gone(followed)
      else this.fail(error)
    }
  }

  /** Read up to the feed's head. Returns the position reached. */
  async #catchUp(channel: string, feed: ChannelFeed, from: From): Promise<number> {
    const to = feed.head
    for await (const batch of await readTexts(this.#host, channel, {
      from,
      to: { offset: to },
      signal: this.#reading.signal,
      maySee: this.#options.maySee,
    })) {
      for (const event of batch) {
        if (this.#over) return to
        if (feed.filter === null || feed.filter(event.text)) this.#deliver(channel, event)
        if (!this.#roomy()) await this.#room()
      }
    }
    return to
  }

  /** Be a member of the feed until there is no room. Returns the position reached. Rejects when the feed ends. */
  #follow(followed: FollowedChannel, from: number): Promise<number> {
    const { channel, feed } = followed
    return new Promise((resolve, reject) => {
      let next = from
      const leave = (): void => {
        feed.leave(member)
        this.#reading.signal.removeEventListener('abort', leave)
        resolve(next)
      }
      const member: FeedMember = {
        live: (batch) => {
          if (batch.next <= next) return
          if (this.#feed(channel, batch, next)) next = batch.next
          else leave()
        },
        ended: (error) => {
          this.#reading.signal.removeEventListener('abort', leave)
          if (error === null) this.#gone(followed)
          else reject(error as Error)
          resolve(next)
        },
      }
      this.#reading.signal.addEventListener('abort', leave)
      feed.join(member)
    })
  }

  /** Take a batch from the feed. Returns false if there was no room for it. */
  #feed(channel: string, { events, next, frames }: FeedBatch, from: number): boolean {
    if (this.#over || !this.#roomy()) return false
    const { last } = this.#options
    if (this.#options.channels.single && (events[0]?.offset ?? from) >= from) {
      if (events.length > 0) {
        const bytes = frames()
        if (bytes.byteLength > this.#options.bytesMax && events.length > 1) return false
        this.#sendBytes(bytes)
      }
    } else for (const event of events) if (event.offset >= from) this.#deliver(channel, event)
    last.set(channel, next - 1)
    if (events.length > 0) this.#sentCursor = this.#cursor()
    return true
  }

  #deliver(channel: string, { offset, text }: StoredText): void {
    const { last } = this.#options
    last.set(channel, offset)
    const name = this.#options.channels.single ? '' : `event: ${channel}\n`
    this.#send(`${name}${this.#cursorLine()}data: ${oneLine(text)}\n\n`)
  }

  #cursor(): string {
    return writeCursor(this.#options.channels, this.#followed.keys(), this.#options.last)
  }

  #cursorLine(): string {
    this.#sentCursor = this.#cursor()
    return this.#sentCursor === '' ? '' : `id: ${this.#sentCursor}\n`
  }

  /** Report the error inside the stream, because the status of the response was sent long ago. */
  fail(error: unknown): void {
    if (this.#over) return
    const { code, message } = isMillraceError(error) ? error : { code: 'UNAVAILABLE', message: 'the gateway failed' }
    if (code !== 'CLOSED') this.#send(`event: error\ndata: ${JSON.stringify({ code, detail: message })}\n\n`)
    this.close()
  }

  #send(text: string): void {
    this.#sendBytes(encoder.encode(text))
  }

  #sendBytes(bytes: Uint8Array): void {
    this.#sentAtMs = performance.now()
    this.#controller.enqueue(bytes)
  }

  #roomy(): boolean {
    return (this.#controller.desiredSize ?? 0) > 0
  }

  #room(): Promise<void> {
    const before = this.#wake
    return new Promise((resolve) => {
      this.#wake = () => {
        before?.()
        resolve()
      }
    })
  }

  /** The client took something, so there may be room again. */
  #pulled(): void {
    this.#takenAtMs = performance.now()
    const wake = this.#wake
    this.#wake = null
    wake?.()
  }

  #watch(): void {
    const now = performance.now()
    const { heartbeatMs, stallMs } = this.#options
    if (this.#roomy()) {
      // With a filter the position advances although nothing is sent. Telling it saves a reconnecting client from
      // reading the same events again.
      if (now - this.#sentAtMs >= heartbeatMs * 0.9) {
        this.#send(this.#sentCursor === this.#cursor() ? ': alive\n\n' : `: alive\n${this.#cursorLine()}\n`)
      }
    } else if (now - this.#takenAtMs >= stallMs) {
      this.close()
      this.#options.cut()
    }
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    clearInterval(this.#timer)
    this.#reading.abort()
    this.#pulled()
    for (const { feed } of this.#followed.values()) feed.release()
    this.#options.ended()
  }
}
