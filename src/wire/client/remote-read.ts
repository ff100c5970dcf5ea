/**
 * A read at the server, from the client's side: it takes batches as they arrive, and tells the server that there is
 * room for more as the reader consumes them.
 */
import type { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { EngineReadOptions, StoredText } from '../../broker/engine.ts'
import { EventColumns } from '../event-columns.ts'
import { FRAME, FRAME_HEADER_BYTES, malformed, newFrame, numberedFrame } from '../frame.ts'
import type { Pending } from './wire-client.ts'

export class RemoteRead implements Pending {
  readonly patient = false
  readonly #request: number
  readonly #channel: string
  readonly #options: EngineReadOptions
  readonly #send: (frame: Buffer) => void
  readonly #arrived: { readonly events: readonly StoredText[]; readonly bytes: number }[] = []
  #waitingBytes = 0
  /** The offset at which to continue in a new session. */
  #next: number | null = null
  #over = false
  #error: MillraceError | null = null
  #wake: (() => void) | null = null

  constructor(request: number, channel: string, options: EngineReadOptions, send: (frame: Buffer) => void) {
    this.#request = request
    this.#channel = channel
    this.#options = options
    this.#send = send
  }

  frame(): Buffer {
    const { from, to, follow } = this.#options
    const position = this.#next === null ? from : { offset: this.#next }
    return numberedFrame(FRAME.read, this.#request, { channel: this.#channel, from: position, to, follow })
  }

  answered(): void {
    this.#over = true
    this.#awake()
  }

  failed(error: MillraceError): void {
    this.#error = error
    this.#awake()
  }

  take(body: Buffer): void {
    this.#waitingBytes += body.length + FRAME_HEADER_BYTES
    if (this.#waitingBytes > LIMITS.wireReadBytes + LIMITS.wireFrameBytesMax)
      throw malformed('a read got more than it asked for')
    const columns = new EventColumns(body, 4)
    const { block, count } = columns
    const events: StoredText[] = new Array(count)
    for (let index = 0; index < count; index++) {
      const { id, type, key, text } = block.at(index)
      events[index] = { id, type, key, text, offset: columns.offsetAt(index), timeMs: columns.timeAt(index) }
    }
    this.#next = columns.offsetAt(count - 1) + 1
    this.#arrived.push({ events, bytes: body.length + FRAME_HEADER_BYTES })
    this.#awake()
  }

  #awake(): void {
    this.#wake?.()
    this.#wake = null
  }

  async *batches(): AsyncGenerator<readonly StoredText[]> {
    const { signal } = this.#options
    const stop = (): void => this.#awake()
    signal.addEventListener('abort', stop)
    try {
      for (;;) {
        const batch = signal.aborted ? undefined : this.#arrived.shift()
        if (batch !== undefined) {
          yield batch.events
          this.#more(batch.bytes)
        } else if (this.#error !== null && !signal.aborted) throw this.#error
        else if (this.#over || signal.aborted) return
        else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve
          })
        }
      }
    } finally {
      signal.removeEventListener('abort', stop)
      if (!this.#over && this.#error === null) this.#send(numberedFrame(FRAME.readStop, this.#request, undefined))
    }
  }

  #more(bytes: number): void {
    this.#waitingBytes -= bytes
    if (this.#over) return
    const frame = newFrame(FRAME.readMore, 8)
    frame.writeUInt32LE(this.#request, FRAME_HEADER_BYTES)
    frame.writeUInt32LE(bytes, FRAME_HEADER_BYTES + 4)
    this.#send(frame)
  }
}
