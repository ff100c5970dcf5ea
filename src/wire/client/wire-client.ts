/**
 * A session from the client's side. It continues over successive connections. If the server no longer has the session,
 * a new session takes over the open requests.
 *
 * Every request is in `#pending` until it is answered. After a lost connection, the link sends only the missing frames.
 * In a new session, every pending request is sent again in order, unless its kind forbids it.
 */

import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { TIME_MS_MAX } from '../../base/time-text.ts'
import { errorOfWire, type Hello, type Welcome } from '../access.ts'
import { FRAME, FrameReader, jsonFrame, jsonOf, malformed, PROTOCOL_VERSION } from '../frame.ts'
import { Link } from '../link.ts'
import type { Transport } from '../transport.ts'

/**
 * Make a connection. If it rejects with a `retryable` error, the client tries again; any other error is final and goes
 * to the caller.
 */
export type Dial = () => Promise<Transport>

/** A request that waits for its answer. */
export interface Pending {
  /**
   * The frame to send in this session, or null if it must not be sent again. `again`: it was already sent in a lost
   * session.
   */
  frame(again: boolean): Buffer | null
  /** @throws INVALID_REQUEST when the body is not a valid answer; `failed` is called then. */
  answered(body: Buffer): void
  failed(error: MillraceError): void
  /** It waits for a connection without a time limit. */
  readonly patient: boolean
}

export interface WireClientOptions {
  readonly dial: Dial
  readonly token: string | null
  /** Longest wait between two attempts to reconnect. */
  readonly reconnectMsMax: number
  /** Called for a frame that answers no request. */
  frame(type: number, body: Buffer): void
  flushing(): void
  /** The session was resumed, or (`fresh`) a new one began and all deliveries in flight are lost. */
  connected(welcome: Welcome, fresh: boolean): void
  /** There has been no connection for a long time, or (null) there is one again. */
  unavailable(error: MillraceError | null): void
}

const RECONNECT_MS_MIN = 20
/** Limits for the session id and the heartbeat that a server may send. */
const SESSION_CHARS_MAX = 256
const HEARTBEAT_MS_MIN = 5
const HEARTBEAT_MS_MAX = 3_600_000

export class WireClient {
  readonly link: Link
  /** The server's clock minus ours, in milliseconds. */
  skewMs = 0
  /** The newest time that the server told. */
  toldMs = 0
  readonly #options: WireClientOptions
  readonly #pending = new Map<number, Pending>()
  #nextRequest = 1
  #session: string | null = null
  /** The session cannot be resumed: the next connection asks for a new one. */
  #sessionLost = false
  #transport: Transport | null = null
  #beating: NodeJS.Timeout | null = null
  #reconnecting: NodeJS.Timeout | null = null
  #giveUp: NodeJS.Timeout | null = null
  #tries = 0
  #closed = false
  #gone: (() => void) | null = null

  constructor(options: WireClientOptions) {
    this.#options = options
    this.link = new Link({
      frame: (type, body) => this.#take(type, body),
      flushing: () => options.flushing(),
      room: () => undefined,
      nowMs: () => Date.now(),
      told: (nowMs, askedMs) => this.#told(nowMs, askedMs),
    })
  }

  get connected(): boolean {
    return this.link.connected
  }

  get waiting(): number {
    return this.#pending.size
  }

  /**
   * Correct the clock difference. The server's time was read at some moment between our question and now, which gives a
   * lower and an upper bound for the difference.
   * The value changes only if it is outside these bounds, because a new measurement must not reorder two delayed
   * publishes. On one machine it stays 0.
   */
  #told(nowMs: number, askedMs: number): void {
    if (!Number.isFinite(nowMs) || Math.abs(nowMs) > TIME_MS_MAX || !Number.isFinite(askedMs))
      throw malformed('the server’s time is not a time')
    this.toldMs = nowMs
    this.skewMs = Math.min(Math.max(this.skewMs, nowMs - Date.now()), nowMs - askedMs)
  }

  /** Make the first connection. @throws UNAVAILABLE · FORBIDDEN */
  async open(): Promise<Welcome> {
    return this.#connect()
  }

  async #connect(): Promise<Welcome> {
    const transport = await this.#options.dial()
    if (this.#closed) {
      transport.destroy()
      throw new MillraceError('CLOSED', 'the broker was closed')
    }
    return new Promise((resolve, reject) => {
      let welcomed = false
      const askedMs = 0
      const impatience = setTimeout(() => transport.destroy(), LIMITS.wireHelloMs)
      const failed = (error: MillraceError): void => {
        clearTimeout(impatience)
        reject(error)
        transport.destroy()
      }
      let spoiled = false
      const reader = new FrameReader(LIMITS.wireFrameBytesMax, (type, body) => {
        if (welcomed) this.link.take(type, body)
        else if (type === FRAME.refused) failed(errorOfWire(jsonOf(body, 0)))
        else if (type === FRAME.welcome) {
          const welcome = welcomeOf(jsonOf(body, 0))
          welcomed = true
          clearTimeout(impatience)
          this.#told(welcome.nowMs, askedMs)
          // The caller of `open` is answered first. If `#begin` fails, the connection is dropped and made again.
          resolve(welcome)
          this.#begin(transport, welcome)
        }
      })
      transport.open({
        data: (chunk) => {
          if (spoiled) return
          try {
            reader.push(chunk)
          } catch (error) {
            spoiled = true
            this.#spoiled(transport, error, welcomed ? null : failed)
          }
        },
        drain: () => this.link.drained(),
        closed: (reason) => {
          if (welcomed) this.#lost(transport)
          else
            failed(
              new MillraceError('UNAVAILABLE', `the connection ended before the server answered: ${reason}`, {
                reason,
              }),
            )
        },
      })
      transport.hold(true)
      transport.write([jsonFrame(FRAME.hello, this.#hello())])
    })
  }

  /**
   * The server's frame cannot be processed. The frame is already counted as received and would not be sent again, so
   * this session cannot be resumed. A new session may work.
   */
  #spoiled(transport: Transport, error: unknown, failed: ((error: MillraceError) => void) | null): void {
    this.#sessionLost = true
    const what = error instanceof MillraceError ? error.message : String(error)
    failed?.(new MillraceError('UNAVAILABLE', `the server's first answer is not Millrace's: ${what}`, {}))
    transport.destroy()
  }

  #begin(transport: Transport, welcome: Welcome): void {
    this.#transport = transport
    this.#tries = 0
    if (this.#giveUp !== null) clearTimeout(this.#giveUp)
    this.#giveUp = null
    this.#options.unavailable(null)
    const first = this.#session === null
    this.#session = welcome.session
    this.#sessionLost = false
    if (!welcome.resumed) this.link.reset()
    this.link.attach(transport, welcome.received)
    this.#beating = setInterval(() => {
      if (this.link.beat() !== null) transport.destroy()
    }, welcome.heartbeatMs)
    this.#beating.unref()
    if (!welcome.resumed) this.#sendAgain()
    this.#options.connected(welcome, !welcome.resumed && !first)
    this.hold()
  }

  #hello(): Hello {
    const going = !this.#sessionLost && this.#session !== null
    return {
      protocol: PROTOCOL_VERSION,
      session: going ? this.#session : null,
      received: going ? this.link.received : 0,
      token: this.#options.token,
    }
  }

  /** In a new session, send every pending request again, in the original order. */
  #sendAgain(): void {
    for (const [request, pending] of [...this.#pending]) {
      const frame = pending.frame(true)
      if (frame !== null) this.link.send(frame)
      else {
        this.#pending.delete(request)
        pending.failed(
          new MillraceError(
            'UNAVAILABLE',
            'the connection was lost before the answer: the call may have been done, so check before you repeat it',
            {
              maybeDone: true,
            },
          ),
        )
      }
    }
  }

  #lost(transport: Transport): void {
    if (this.#transport !== transport) return
    this.#transport = null
    if (this.#beating !== null) clearInterval(this.#beating)
    this.#beating = null
    this.link.detach()
    this.#gone?.()
    if (this.#closed) return
    this.#giveUp ??= setTimeout(() => this.#unavailable(), LIMITS.wireUnavailableMs).unref()
    this.#reconnect(0)
  }

  #reconnect(delayMs: number): void {
    this.#reconnecting = setTimeout(() => {
      this.#reconnecting = null
      this.#connect().catch((error: unknown) => this.#notConnected(error))
    }, delayMs)
    if (this.#pending.size === 0) this.#reconnecting.unref()
  }

  #notConnected(error: unknown): void {
    if (this.#closed) return
    const known = error instanceof MillraceError ? error : new MillraceError('UNAVAILABLE', String(error))
    if (!known.retryable) {
      this.#options.unavailable(known)
      this.fail(known, () => true)
    }
    const backoffMs = Math.min(this.#options.reconnectMsMax, RECONNECT_MS_MIN * 2 ** Math.min(this.#tries++, 10))
    this.#reconnect(backoffMs * (0.5 + Math.random() / 2))
  }

  #unavailable(): void {
    const error = new MillraceError(
      'UNAVAILABLE',
      `there has been no connection to the server for ${LIMITS.wireUnavailableMs} ms; connecting again`,
    )
    this.#options.unavailable(error)
    this.fail(error, ({ patient }) => !patient)
  }

  /** Fail the pending requests that `which` selects. */
  fail(error: MillraceError, which: (pending: Pending) => boolean): void {
    for (const [request, pending] of [...this.#pending]) {
      if (!which(pending)) continue
      this.#pending.delete(request)
      pending.failed(error)
    }
    this.hold()
  }

  /** The number for a new request. */
  number(): number {
    const number = this.#nextRequest
    this.#nextRequest = number === 0xffff_ffff ? 1 : number + 1
    return number
  }

  /** Send a request and wait for its answer. */
  request(number: number, pending: Pending): void {
    const idle = this.#pending.size === 0
    this.#pending.set(number, pending)
    const frame = pending.frame(false)
    if (frame !== null) this.link.send(frame)
    if (idle) this.hold()
  }

  /** Keep the process alive while a request waits for its answer. */
  hold(): void {
    const alive = this.#pending.size > 0
    this.#transport?.hold(alive)
    if (alive) this.#reconnecting?.ref()
    else this.#reconnecting?.unref()
  }

  #take(type: number, body: Buffer): void {
    if (type !== FRAME.result && type !== FRAME.error && type !== FRAME.receipts) {
      this.#options.frame(type, body)
      return
    }
    const request = body.readUInt32LE(0)
    const pending = this.#pending.get(request)
    if (pending === undefined) return
    this.#pending.delete(request)
    try {
      if (type === FRAME.error) pending.failed(errorOfWire(jsonOf(body, 4)))
      else pending.answered(body)
    } catch (error) {
      // Fail the request now: its answer does not come again.
      pending.failed(unreadable(error))
      throw error
    } finally {
      if (this.#pending.size === 0) this.hold()
    }
  }

  /** End the session. Requests that wait for an answer fail. */
  async close(error: MillraceError): Promise<void> {
    if (this.#closed) return
    if (this.#reconnecting !== null) clearTimeout(this.#reconnecting)
    if (this.#giveUp !== null) clearTimeout(this.#giveUp)
    this.link.flush()
    this.#closed = true
    this.fail(error, () => true)
    const transport = this.#transport
    if (transport === null) return
    transport.write([jsonFrame(FRAME.goodbye, {})])
    await new Promise<void>((resolve) => {
      const cut = setTimeout(() => transport.destroy(), 500)
      this.#gone = () => {
        clearTimeout(cut)
        resolve()
      }
      transport.hold(true)
      transport.end()
    })
  }
}

function unreadable(error: unknown): MillraceError {
  const what = error instanceof Error ? error.message : String(error)
  return new MillraceError(
    'UNAVAILABLE',
    `the server's answer cannot be read: the call may have been done, so check before you repeat it (${what})`,
    {
      maybeDone: true,
    },
  )
}

/** Check the server's first message. @throws INVALID_REQUEST when it is not a welcome */
function welcomeOf(value: unknown): Welcome {
  const welcome = (value ?? {}) as Partial<Record<keyof Welcome, unknown>>
  const { session, resumed, received, nowMs, heartbeatMs, engine, capabilities } = welcome
  if (typeof session !== 'string' || session.length > SESSION_CHARS_MAX || typeof resumed !== 'boolean')
    throw malformed('a welcome names no session')
  if (!Number.isSafeInteger(received) || !Number.isFinite(nowMs) || Math.abs(nowMs as number) > TIME_MS_MAX)
    throw malformed('a welcome has no numbers')
  if (
    !Number.isFinite(heartbeatMs) ||
    (heartbeatMs as number) < HEARTBEAT_MS_MIN ||
    (heartbeatMs as number) > HEARTBEAT_MS_MAX
  )
    throw malformed('a welcome has no heartbeat')
  if (typeof engine !== 'string' || typeof capabilities !== 'object' || capabilities === null)
    throw malformed('a welcome names no engine')
  const { methods } = welcome
  return {
    ...(welcome as unknown as Welcome),
    methods: Array.isArray(methods) ? methods.filter((method) => typeof method === 'string') : [],
  }
}
