/**
 * One client's Server-Sent Events: channels read on and on, at the client's pace.
 *
 * Bounded: no more is read while `bytesMax` wait for the client, and a client that takes nothing for `stallMs` is cut. It
 * reconnects with `Last-Event-ID` and misses nothing.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
import { isMillraceError } from '../base/errors.ts'
import type { Broker, From } from '../broker/broker.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { toJsonFormat } from '../event/http/encode-http.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { writeCursor } from './cursor-text.ts'

export interface EventStreamOptions {
  /** Where to begin in each channel. */
  readonly from: ReadonlyMap<string, From>
  /** The offsets before those, where they are known: what the client has. */
  readonly last: Map<string, number>
  readonly where: PatternJson | undefined
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
  readonly #broker: Broker
  readonly #options: EventStreamOptions
  readonly #channels: readonly string[]
  readonly #reading = new AbortController()
  #controller!: ReadableStreamDefaultController<Uint8Array>
  #timer: NodeJS.Timeout | undefined
  #wake: (() => void) | null = null
  #takenAtMs = 0
  #sentAtMs = 0
  #over = false

  constructor(broker: Broker, options: EventStreamOptions) {
    this.#broker = broker
    this.#options = options
    this.#channels = [...options.from.keys()]
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
    const cursor = writeCursor(this.#channels, this.#options.last)
    this.#send(`retry: 1000\n${cursor === '' ? '' : `id: ${cursor}\n`}\n`)
    this.#timer = setInterval(() => this.#watch(), Math.min(this.#options.heartbeatMs, this.#options.stallMs))
    this.#timer.unref()
    for (const channel of this.#channels) void this.#pump(channel)
  }

  async #pump(channel: string): Promise<void> {
    const { from, where } = this.#options
    try {
      const events = this.#broker.read(channel, {
        from: from.get(channel) ?? 'end',
        follow: true,
        signal: this.#reading.signal,
        ...(where !== undefined && { where }),
      })
      for await (const event of events) {
        if (this.#over) return
        this.#deliver(channel, event)
        if (!this.#roomy()) await this.#room()
      }
      this.close()
    } catch (error) {
      this.#fail(error)
    }
  }

  #deliver(channel: string, event: StoredEvent): void {
    const { last } = this.#options
    last.set(channel, event.offset)
    const name = this.#channels.length === 1 ? '' : `event: ${channel}\n`
    this.#send(`${name}id: ${writeCursor(this.#channels, last)}\ndata: ${JSON.stringify(toJsonFormat(event))}\n\n`)
  }

  /** Say why in the stream itself, as the answer's status has long been sent. */
  #fail(error: unknown): void {
    if (this.#over) return
    const { code, message } = isMillraceError(error) ? error : { code: 'UNAVAILABLE', message: 'the gateway failed' }
    if (code !== 'CLOSED') this.#send(`event: error\ndata: ${JSON.stringify({ code, detail: message })}\n\n`)
    this.close()
  }

  #send(text: string): void {
    this.#sentAtMs = performance.now()
    this.#controller.enqueue(encoder.encode(text))
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
    if (this.#roomy()) {
      if (now - this.#sentAtMs >= this.#options.heartbeatMs * 0.9) this.#send(': alive\n\n')
    } else if (now - this.#takenAtMs >= this.#options.stallMs) {
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
    this.#options.ended()
  }
}
