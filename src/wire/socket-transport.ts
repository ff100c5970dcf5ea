/** A transport over a Unix or TCP socket, which delivers the bytes of frames in arbitrary chunks. */
import { createConnection, type Socket } from 'node:net'
import { MillraceError } from '../base/errors.ts'
import type { Transport, TransportHooks } from './transport.ts'

/** Up to this size, copying several parts into one buffer costs less than separate writes. */
const COPY_BYTES_MAX = 65_536

export class SocketTransport implements Transport {
  readonly #socket: Socket
  #hooks: TransportHooks | null = null
  #reason: string | null = null

  /** Bytes that were read beyond the greeting must be given back to the socket with `unshift` first. */
  constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#reason ??= error.code ?? error.message
    })
    socket.once('close', () => this.#hooks?.closed(this.#reason ?? 'closed'))
  }

  get waitingBytes(): number {
    return this.#socket.writableLength
  }

  open(hooks: TransportHooks): void {
    this.#hooks = hooks
    this.#socket.on('data', (chunk) => hooks.data(chunk as Buffer))
    this.#socket.on('drain', () => hooks.drain())
    if (this.#socket.destroyed) hooks.closed(this.#reason ?? 'closed')
    else this.#socket.resume()
  }

  write(parts: readonly Buffer[]): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) return
    let bytes = 0
    for (const part of parts) bytes += part.length
    if (parts.length > 1 && bytes <= COPY_BYTES_MAX) {
      this.#socket.write(Buffer.concat(parts, bytes))
      return
    }
    this.#socket.cork()
    for (const part of parts) this.#socket.write(part)
    this.#socket.uncork()
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#reason ??= 'closed here'
    this.#socket.destroy()
  }

  hold(alive: boolean): void {
    if (alive) this.#socket.ref()
    else this.#socket.unref()
  }
}

/** The side that listens on a socket first sends a line of JSON, the greeting. Frames follow in both directions. */
export interface Greeted {
  readonly greeting: string
  readonly transport: Transport
}

/** The longest greeting that is accepted. */
const GREETING_BYTES_MAX = 4096

/**
 * Connect to a Unix socket and read its greeting.
 * @throws UNAVAILABLE with `details.errno`
 */
export function dialSocket(path: string, timeoutMs: number): Promise<Greeted> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path)
    let read: Buffer = Buffer.alloc(0)
    const fail = (why: string, errno: string | null): void => {
      socket.destroy()
      reject(new MillraceError('UNAVAILABLE', `no process answers on ${path}: ${why}`, { path, errno }))
    }
    const timer = setTimeout(() => fail(`no greeting within ${timeoutMs} ms`, null), timeoutMs)
    const failed = (error: NodeJS.ErrnoException): void => ended(error.message, error.code ?? null)
    const closed = (): void => ended('the connection was closed', null)
    const ended = (why: string, errno: string | null): void => {
      clearTimeout(timer)
      fail(why, errno)
    }
    const onData = (chunk: Buffer | string): void => {
      read = Buffer.concat([read, chunk as Buffer])
      const end = read.indexOf(10)
      if (end < 0 && read.length > GREETING_BYTES_MAX) ended('its greeting is not Millrace’s', null)
      if (end < 0) return
      clearTimeout(timer)
      socket.pause()
      socket.off('data', onData).off('error', failed).off('close', closed)
      if (end + 1 < read.length) socket.unshift(read.subarray(end + 1))
      resolve({ greeting: read.toString('utf8', 0, end), transport: new SocketTransport(socket) })
    }
    socket.on('data', onData).on('error', failed).on('close', closed)
  })
}
