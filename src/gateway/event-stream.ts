/**
 * One client's Server-Sent Events: channels read on and on, at the client's pace.
 *
 * At a channel's end it is fed with everyone else; a client that has no room leaves the feed and reads on by itself when it has. Bounded: nothing is
 * read for it while `bytesMax` wait, and a client that takes nothing for `stallMs` is cut. It reconnects with `Last-Event-ID` and misses nothing.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { isMillraceError } from '../base/errors.ts'
import { TIMER_MS_MAX } from '../base/timers.ts'
import type { BrokerHost } from '../broker/broker.ts'
import type { StoredText } from '../broker/engine.ts'
import type { From } from '../broker/position.ts'
import type { ChannelFeed, FeedBatch, FeedMember } from './channel-feed.ts'
import { oneLine, readTexts } from './channel-texts.ts'
import { writeCursor } from './cursor-text.ts'
import type { StreamChannels } from './stream-channels.ts'

/** Where a stream is in a channel. */
export interface StreamPlace {
  readonly channel: string
  /** A wildcard brought it: when the channel is removed, the stream goes on without it. */
  readonly matched: boolean
  readonly feed: ChannelFeed
  /** Where to begin. */
  readonly from: From
}

export interface EventStreamOptions {
  readonly channels: StreamChannels
  readonly places: readonly StreamPlace[]
  /** The offsets before those, where they are known: what the client has. */
  readonly last: Map<string, number>
  readonly bytesMax: number
  readonly heartbeatMs: number
  readonly stallMs: number
  /** Called once, when the stream has ended for whatever reason. */
  readonly ended: () => void
  /** Called when the client must be disconnected, as it takes nothing. */
  readonly cut: () => void
}

const encoder = new TextEncoder()

export class EventStream {
  readonly body: ReadableStream<Uint8Array>
  readonly #host: BrokerHost
  readonly #options: EventStreamOptions
  readonly #places = new Map<string, StreamPlace>()
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
    for (const place of options.places) this.#hold(place)
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

  /** End it in order: the client may come back. */
  close(): void {
    if (this.#over) return
    this.#end()
    this.#controller.close()
  }

  /** Start reading. Once. */
  begin(): void {
    this.#takenAtMs = this.#sentAtMs = performance.now()
    // The place is told before the first event: a client that is cut before it misses nothing either.
    this.#send(`retry: 1000\n${this.#cursorLine()}\n`)
    this.#timer = setInterval(
      () => this.#watch(),
      Math.min(this.#options.heartbeatMs, this.#options.stallMs, TIMER_MS_MAX),
    )
    this.#timer.unref()
    for (const place of this.#places.values()) void this.#pump(place)
  }

  has(channel: string): boolean {
    return this.#places.has(channel)
  }

  /** A channel that a wildcard matches has come, after `begin`. */
  add(place: StreamPlace): void {
    if (this.#over) return
    this.#hold(place)
    void this.#pump(place)
  }

  #hold(place: StreamPlace): void {
    place.feed.hold()
    this.#places.set(place.channel, place)
  }

  /** The channel of a place was removed. What a channel of its name has later is read from its beginning. */
  #gone({ channel, feed, matched }: StreamPlace): void {
    if (!matched) return this.close()
    this.#places.delete(channel)
    this.#options.last.delete(channel)
    feed.letGo()
  }

  async #pump(place: StreamPlace): Promise<void> {
    const { channel, feed, from } = place
    let next = from
    try {
      await feed.ready
      while (!this.#over && this.#places.get(channel) === place) {
        if (!this.#roomy()) await this.#room()
        else if (typeof next === 'object' && 'offset' in next && next.offset >= feed.head)
          next = { offset: await this.#follow(place, next.offset) }
        else next = { offset: await this.#catchUp(channel, feed, next) }
      }
    } catch (error) {
      if (place.matched && isMillraceError(error, 'UNKNOWN_CHANNEL') && this.#places.get(channel) === place)
        this.#gone(place)
      else this.fail(error)
    }
  }

  /** Read by itself what the feed has passed. Answers where it is then. */
  async #catchUp(channel: string, feed: ChannelFeed, from: From): Promise<number> {
    const to = feed.head
    for await (const batch of await readTexts(this.#host, channel, {
      from,
      to: { offset: to },
      signal: this.#reading.signal,
    })) {
      for (const event of batch) {
        if (this.#over) return to
        if (feed.filter === null || feed.filter(event.text)) this.#deliver(channel, event)
        if (!this.#roomy()) await this.#room()
      }
    }
    return to
  }

  /** Be fed, until there is no room. Answers where it is then. Rejects when the feed ends. */
  #follow(place: StreamPlace, from: number): Promise<number> {
    const { channel, feed } = place
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
          if (error === null) this.#gone(place)
          else reject(error as Error)
          resolve(next)
        },
      }
      this.#reading.signal.addEventListener('abort', leave)
      feed.join(member)
    })
  }

  /** Whether there was room for the batch. */
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
    return writeCursor(this.#options.channels, this.#places.keys(), this.#options.last)
  }

  #cursorLine(): string {
    this.#sentCursor = this.#cursor()
    return this.#sentCursor === '' ? '' : `id: ${this.#sentCursor}\n`
  }

  /** Say why in the stream itself, as the answer's status has long been sent. */
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

  /** The client took something, and there is room again. */
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
      // With a filter the place moves on though nothing is sent: a client that comes back need not start where it last got something.
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
    for (const { feed } of this.#places.values()) feed.letGo()
    this.#options.ended()
  }
}
