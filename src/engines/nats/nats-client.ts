/**
 * One connection to NATS for the rest of this engine: the API of JetStream, requests with patience, and alarms when the
 * connection is lost.
 *
 * The client library reconnects by itself, without end. A request that was under way when the connection was lost is
 * unanswered. The caller decides whether the request may be sent again (`patiently`: requests that may be repeated).
 */
import { accessSync, constants } from 'node:fs'
import type { ConnectionOptions, Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { loadClient } from '../../broker/client-library.ts'
import { BackendAlarms } from '../../external-log/backend/alarms.ts'
import { patiently } from '../../external-log/backend/patience.ts'
import { ApiError, type ApiErrorBody, isPassing, millraceError } from './api-error.ts'
import type { NatsTarget } from './nats-url.ts'
import { Requests, Unanswered } from './requests.ts'

export type NatsLibrary = typeof import('@nats-io/transport-node')

const CONNECT_MS = 5000
const RECONNECT_MS = 100
const RECONNECT_JITTER_MS = 200
/**
 * A server that leaves two pings unanswered is given up. The library then connects to another server, or to the same
 * one again.
 */
const PING_MS = 5000
const ANSWER_MS = 5000
const LOST = 'UNAVAILABLE'

export class NatsClient {
  readonly connection: NatsConnection
  readonly library: NatsLibrary
  readonly #requests: Requests
  readonly #reconnected = new Set<() => void>()
  readonly alarms: BackendAlarms = new BackendAlarms()
  #lost: string | null = null
  #closed = false

  private constructor(connection: NatsConnection, library: NatsLibrary) {
    this.connection = connection
    this.library = library
    this.#requests = new Requests(connection, library.createInbox())
    void this.#attend()
  }

  /**
   * Connects, with one attempt. @throws UNAVAILABLE · UNAUTHENTICATED · MISSING_DEPENDENCY · INVALID_OPTION when a file
   * of certificates cannot be read
   */
  static async connect(target: NatsTarget): Promise<NatsClient> {
    const library = await loadClient<NatsLibrary>('@nats-io/transport-node')
    checkFiles(target)
    try {
      return new NatsClient(await library.connect(connectionOptions(target, library)), library)
    } catch (cause) {
      const servers = (target.connection.servers as readonly string[]).join(', ')
      const refused =
        cause instanceof library.AuthorizationError || cause instanceof library.UserAuthenticationExpiredError
      if (refused)
        throw new MillraceError('UNAUTHENTICATED', `nats: ${servers} refused the credentials`, { servers }, { cause })
      throw new MillraceError(
        'UNAVAILABLE',
        `nats: cannot connect to ${servers}: ${(cause as Error).message}`,
        { servers },
        { cause },
      )
    }
  }

  /** The largest message, with its headers. */
  get maxPayload(): number {
    return this.connection.info?.max_payload ?? LIMITS.eventBytesDefault
  }

  /** Called each time after the connection was made again. */
  onReconnect(task: () => void): () => void {
    this.#reconnected.add(task)
    return () => this.#reconnected.delete(task)
  }

  async #attend(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === 'disconnect') this.#disconnected(status.server)
      else if (status.type === 'reconnect') this.#connectedAgain()
      else if (status.type === 'error' && status.error instanceof this.library.PermissionViolationError)
        this.#forbidden(status.error)
    }
  }

  /**
   * A server reports a refused permission beside the answers. All requests that wait for an answer from that subject
   * fail.
   */
  #forbidden({ operation, subject }: InstanceType<NatsLibrary['PermissionViolationError']>): void {
    const may = operation === 'publish' ? 'publish to' : 'subscribe to'
    const message = `nats: the account may not ${may} "${subject}": docs/engines/nats.md lists the permissions that Millrace needs`
    const error = new MillraceError('FORBIDDEN', message, { engine: 'nats', operation, subject })
    this.#requests.forbidden(operation === 'publish' ? subject : null, error)
    // Ordinary accounts may not ask the system account. The caller expects that.
    if (!this.#closed && !subject.startsWith('$SYS.')) this.alarms.raise(error.code, message)
  }

  #disconnected(server: string): void {
    this.#lost = `nats: the connection to ${server} was lost; connecting again`
    this.#requests.lost('the connection was lost')
    if (!this.#closed) this.alarms.raise(LOST, this.#lost)
  }

  #connectedAgain(): void {
    this.#lost = null
    this.alarms.clear(LOST)
    for (const task of [...this.#reconnected]) task()
  }

  #ready(): void {
    if (this.#closed || this.connection.isClosed())
      throw new MillraceError('CLOSED', 'the broker is closed: connect again')
    if (this.#lost !== null) throw new Unanswered('there is no connection')
  }

  headers(fields: Iterable<readonly [name: string, value: string]>): MsgHdrs {
    const headers = this.library.headers()
    for (const [name, value] of fields) headers.set(name, value)
    return headers
  }

  /** Publish without an answer. @throws Unanswered */
  publish(subject: string, payload: Uint8Array | string, headers?: MsgHdrs): void {
    this.#ready()
    this.connection.publish(subject, payload, headers === undefined ? {} : { headers })
  }

  /** @throws Unanswered */
  async request(subject: string, payload: Uint8Array | string, headers?: MsgHdrs): Promise<Msg> {
    this.#ready()
    return this.#requests.one(subject, payload, headers, ANSWER_MS)
  }

  /** The answer as JSON. @throws ApiError · Unanswered */
  async ask<Answer>(subject: string, payload: Uint8Array | string, headers?: MsgHdrs): Promise<Answer> {
    const answer = (await this.request(subject, payload, headers)).json<Answer & { readonly error?: ApiErrorBody }>()
    if (answer.error !== undefined) throw new ApiError(answer.error)
    return answer
  }

  /** @throws ApiError · Unanswered */
  api<Answer>(name: string, body: object = {}): Promise<Answer> {
    return this.ask<Answer>(`$JS.API.${name}`, JSON.stringify(body))
  }

  /** Messages until one has a status. Answers that one. @throws Unanswered */
  async many(subject: string, body: object, each: (message: Msg) => void): Promise<Msg> {
    this.#ready()
    return this.#requests.many(subject, JSON.stringify(body), ANSWER_MS, each)
  }

  /**
   * Repeat work that may be repeated, until it succeeds, is refused, or the time is over.
   * @throws ApiError when it is refused · UNAVAILABLE · CLOSED
   */
  patiently<T>(what: string, work: (tries: number) => Promise<T>): Promise<T> {
    return patiently(({ number }) => work(number), {
      patienceMs: LIMITS.brokerPatienceMs,
      isPassing,
      givenUp: (error) => millraceError(error, `${what}: given up after ${LIMITS.brokerPatienceMs} ms`),
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.connection.close()
    this.#requests.lost('the connection was closed')
  }
}

/**
 * The library reports a certificate file that it cannot read like a server that does not answer, so the files are
 * checked before. @throws INVALID_OPTION
 */
function checkFiles({ connection: { tls } }: NatsTarget): void {
  const { caFile: ca, certFile: cert, keyFile: key } = tls ?? {}
  for (const [option, path] of Object.entries({ ca, cert, key })) {
    try {
      if (path !== undefined) accessSync(path, constants.R_OK)
    } catch (cause) {
      throw new MillraceError(
        'INVALID_OPTION',
        `nats: the file of "${option}", ${path}, cannot be read`,
        { option, path },
        { cause },
      )
    }
  }
}

function connectionOptions({ connection, creds, seed }: NatsTarget, library: NatsLibrary): ConnectionOptions {
  const authenticator = [
    ...(creds === null ? [] : [library.credsAuthenticator(creds)]),
    ...(seed === null ? [] : [library.nkeyAuthenticator(seed)]),
  ]
  return {
    name: 'millrace',
    ...connection,
    ...(authenticator.length > 0 && { authenticator }),
    timeout: CONNECT_MS,
    maxReconnectAttempts: -1,
    reconnectTimeWait: RECONNECT_MS,
    reconnectJitter: RECONNECT_JITTER_MS,
    reconnectJitterTLS: RECONNECT_JITTER_MS,
    ignoreAuthErrorAbort: true,
    pingInterval: PING_MS,
    noAsyncTraces: true,
  }
}
