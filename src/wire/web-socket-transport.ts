/** A transport over a WebSocket (`ws`): binary messages, each with whole frames. A text message ends the connection. */
import type { WebSocket } from 'ws'
import type { Transport, TransportHooks } from './transport.ts'

/** A message holds up to this many bytes, or one larger frame. */
const MESSAGE_BYTES = 1_048_576
const UNSUPPORTED_DATA = 1003

export class WebSocketTransport implements Transport {
  readonly #socket: WebSocket
  readonly #hold: (alive: boolean) => void
  #hooks: TransportHooks | null = null
  #early: Buffer[] = []
  #reason: string | null = null
  #over = false

  /** Takes an open WebSocket. `hold` refs or unrefs the socket beneath it. */
  constructor(socket: WebSocket, hold: (alive: boolean) => void) {
    this.#socket = socket
    this.#hold = hold
    socket.on('error', (error: Error) => {
      this.#reason ??= error.message
    })
    socket.on('message', (data, isBinary) => this.#message(data as Buffer, isBinary))
    socket.once('close', (code, reason) => {
      this.#over = true
      this.#hooks?.closed(this.#reason ?? `closed with ${code} ${reason.toString()}`.trimEnd())
    })
  }

  get waitingBytes(): number {
    return this.#socket.bufferedAmount
  }

  open(hooks: TransportHooks): void {
    this.#hooks = hooks
    for (const chunk of this.#early.splice(0)) hooks.data(chunk)
    if (this.#over) hooks.closed(this.#reason ?? 'closed')
  }

  #message(data: Buffer, isBinary: boolean): void {
    if (!isBinary) {
      this.#reason ??= 'a text message'
      this.#socket.close(UNSUPPORTED_DATA, 'binary messages only')
    } else if (this.#hooks === null) this.#early.push(data)
    else this.#hooks.data(data)
  }

  write(parts: readonly Buffer[]): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return
    let from = 0
    let bytes = 0
    for (let at = 0; at < parts.length; at++) {
      const { length } = parts[at] as Buffer
      if (bytes > 0 && bytes + length > MESSAGE_BYTES) {
        this.#send(parts.slice(from, at), bytes)
        from = at
        bytes = 0
      }
      bytes += length
    }
    if (bytes > 0) this.#send(parts.slice(from), bytes)
  }

  #send(parts: readonly Buffer[], bytes: number): void {
    const message = parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts, bytes)
    this.#socket.send(message, { binary: true, compress: false }, () => {
      if (!this.#over && this.#socket.bufferedAmount === 0) this.#hooks?.drain()
    })
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#socket.close(1000)
  }

  destroy(): void {
    this.#reason ??= 'closed here'
    this.#socket.terminate()
  }

  hold(alive: boolean): void {
    this.#hold(alive)
  }
}
