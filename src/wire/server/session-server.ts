/**
 * Serves an engine to other processes: accepts connections, authenticates them, and gives each a new session or resumes
 * its old one.
 *
 * A connection must start with a valid `hello` in time, or it is refused. A session without a connection is kept for
 * `Session.keepMs`, so that a client whose connection was cut resumes without loss.
 */
import { randomBytes } from 'node:crypto'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { afterMs } from '../../base/timers.ts'
import type { Engine } from '../../broker/engine.ts'
import { type Access, type Hello, type Welcome, wireErrorOf } from '../access.ts'
import { FRAME, FrameReader, jsonFrame, jsonOf, malformed, PROTOCOL_VERSION } from '../frame.ts'
import type { Transport } from '../transport.ts'
import { LATER_METHODS } from './calls.ts'
import { DeclaredChannels } from './declared-channels.ts'
import { Session, type SessionHost } from './session.ts'

export interface SessionServerOptions {
  /** How often a client is asked for a sign of life. @default LIMITS.wireHeartbeatMs */
  readonly heartbeatMs?: number
}

/** Decide from its `hello` what a connection may do. @throws FORBIDDEN */
export type Authenticate = (hello: Hello) => Access | Promise<Access>

export class SessionServer {
  readonly #engine: Engine
  readonly #heartbeatMs: number
  readonly #sessions = new Map<string, Session>()
  readonly #expiries = new Map<Session, () => void>()
  readonly #connections = new Set<Transport>()
  readonly #host: SessionHost
  readonly #beating: NodeJS.Timeout
  #closed = false

  constructor(engine: Engine, options: SessionServerOptions = {}) {
    this.#engine = engine
    this.#heartbeatMs = options.heartbeatMs ?? LIMITS.wireHeartbeatMs
    this.#host = { engine, channels: new DeclaredChannels(engine), ended: (session) => this.#forget(session) }
    this.#beating = setInterval(() => {
      for (const session of this.#sessions.values()) session.beat()
    }, this.#heartbeatMs)
    this.#beating.unref()
  }

  /** The number of open connections and of kept sessions. */
  get counts(): { readonly connections: number; readonly sessions: number } {
    return { connections: this.#connections.size, sessions: this.#sessions.size }
  }

  /**
   * Accept a connection. The server owns it from now on. `end` ends the connection and its session, when the client may
   * no longer be connected.
   */
  accept(transport: Transport, authenticate: Authenticate): { end(): void } {
    if (this.#closed) {
      transport.destroy()
      return { end: () => undefined }
    }
    this.#connections.add(transport)
    let session: Session | 'asked' | null = null
    const refuse = (error: unknown): void => {
      transport.write([jsonFrame(FRAME.refused, wireErrorOf(error))])
      transport.end()
    }
    const impatience = setTimeout(
      () => refuse(malformed(`no hello within ${LIMITS.wireHelloMs} ms`)),
      LIMITS.wireHelloMs,
    )
    impatience.unref()
    const reader = new FrameReader(LIMITS.wireHelloBytesMax, (type, body) => {
      if (session instanceof Session) {
        session.link.take(type, body)
        return
      }
      if (session === 'asked' || type !== FRAME.hello)
        throw malformed('the first frame must be a hello, and no other frame may come before its answer')
      session = 'asked'
      this.#greet(transport, helloOf(body), authenticate).then(
        (begun) => {
          clearTimeout(impatience)
          reader.frameBytesMax = LIMITS.wireFrameBytesMax
          session = begun
          if (!this.#connections.has(transport)) this.#lost(begun, transport)
        },
        (error: unknown) => refuse(error),
      )
    })
    transport.open({
      data: (chunk) => {
        try {
          reader.push(chunk)
        } catch (error) {
          refuse(error instanceof MillraceError ? error : malformed(String(error)))
          if (session instanceof Session) session.end()
        }
      },
      drain: () => {
        if (session instanceof Session) session.link.drained()
      },
      closed: () => {
        clearTimeout(impatience)
        this.#connections.delete(transport)
        if (session instanceof Session) this.#lost(session, transport)
      },
    })
    return { end: () => (session instanceof Session ? session.end() : transport.destroy()) }
  }

  async #greet(transport: Transport, hello: Hello, authenticate: Authenticate): Promise<Session> {
    if (hello.protocol !== PROTOCOL_VERSION) {
      const message = `the client speaks version ${hello.protocol} of the protocol, this server ${PROTOCOL_VERSION}: use the same version of millrace on both sides`
      throw new MillraceError('INVALID_REQUEST', message, { client: hello.protocol, server: PROTOCOL_VERSION })
    }
    const access = await authenticate(hello)
    if (this.#closed) throw new MillraceError('UNAVAILABLE', 'the server is closing', { closing: true })
    const known = hello.session === null ? undefined : this.#sessions.get(hello.session)
    const resumed = known !== undefined && known.access.name === access.name
    const session = resumed ? known : this.#begin(access)
    session.access = access
    this.#expiries.get(session)?.()
    this.#expiries.delete(session)
    const welcome: Welcome = {
      protocol: PROTOCOL_VERSION,
      session: session.id,
      resumed,
      received: session.link.received,
      nowMs: this.#engine.clock.now(),
      heartbeatMs: this.#heartbeatMs,
      engine: this.#engine.name,
      capabilities: this.#engine.capabilities,
      methods: LATER_METHODS,
    }
    transport.write([jsonFrame(FRAME.welcome, welcome)])
    session.attach(transport, resumed ? hello.received : 0)
    return session
  }

  #begin(access: Access): Session {
    if (this.#sessions.size >= LIMITS.wireSessionsMax) this.#makeRoom()
    const session = new Session(randomBytes(18).toString('base64url'), access, this.#host)
    this.#sessions.set(session.id, session)
    return session
  }

  /**
   * End the session that has been without a connection for the longest time. @throws BACKPRESSURE when all have a
   * connection
   */
  #makeRoom(): void {
    const [oldest] = this.#expiries.keys()
    if (oldest === undefined)
      throw new MillraceError('BACKPRESSURE', `the server has ${LIMITS.wireSessionsMax} sessions, which is its limit`, {
        max: LIMITS.wireSessionsMax,
      })
    oldest.end()
  }

  #lost(session: Session, transport: Transport): void {
    session.detach(transport)
    if (session.connected || this.#closed || !this.#sessions.has(session.id)) return
    const cancel = afterMs(session.keepMs, () => session.end())
    this.#expiries.set(session, cancel)
  }

  #forget(session: Session): void {
    this.#expiries.get(session)?.()
    this.#expiries.delete(session)
    this.#sessions.delete(session.id)
  }

  /** Say goodbye to all clients and accept no more. The engine stays open. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#beating)
    for (const cancel of this.#expiries.values()) cancel()
    for (const session of [...this.#sessions.values()]) session.end(true)
    for (const transport of this.#connections) transport.end()
    // Connections that do not close by themselves are cut.
    const cut = setTimeout(() => {
      for (const transport of this.#connections) transport.destroy()
    }, 500)
    cut.unref()
  }
}

function helloOf(body: Buffer): Hello {
  const hello = jsonOf(body, 0) as Partial<Hello>
  return {
    protocol: Number(hello.protocol),
    session: typeof hello.session === 'string' ? hello.session : null,
    received: Number.isInteger(hello.received) ? (hello.received as number) : 0,
    token: typeof hello.token === 'string' ? hello.token : null,
  }
}
