/**
 * One HTTP request to an address that the guard permits.
 *
 * The host name is resolved once, every resolved address is checked, and the connection goes to a checked address, so a
 * second resolution cannot lead elsewhere. Redirects are not followed. The time and the bytes read of the answer are
 * limited.
 */
import { lookup as resolve } from 'node:dns'
import {
  Agent,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
  request as requestHttp,
} from 'node:http'
import { request as requestHttps, Agent as SecureAgent } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { TIMER_MS_MAX } from '../base/timers.ts'
import type { AddressGuard } from './public-address.ts'

export interface GuardedRequest {
  readonly url: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly timeoutMs: number
  /** The most bytes to read of the answer's body. @default 1 KiB, which is enough for the reason of a refusal */
  readonly answerBytesMax?: number
  /** Connections to reuse, which were made under the same guard. @default a new connection for this request */
  readonly connections?: KeptConnections
  readonly signal: AbortSignal
}

/**
 * Connections to one receiver, kept open for its next requests. The addresses that the guard permits do not change
 * while these connections live.
 */
export class KeptConnections {
  readonly #plain: Agent
  readonly #secure: SecureAgent

  constructor(connectionsMax: number) {
    // Shorter than the time for which servers commonly keep idle connections.
    const options = {
      keepAlive: true,
      maxSockets: connectionsMax,
      maxFreeSockets: connectionsMax,
      timeout: LIMITS.httpIdleMs,
    }
    this.#plain = new Agent(options)
    this.#secure = new SecureAgent(options)
  }

  of(url: URL): Agent {
    return url.protocol === 'https:' ? this.#secure : this.#plain
  }

  close(): void {
    this.#plain.destroy()
    this.#secure.destroy()
  }
}

export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** The beginning of the body, up to `answerBytesMax`. */
  readonly body: Buffer
  /** Whether `body` is the complete body. */
  readonly whole: boolean
}

/** Resolves a host name to its addresses. */
export type Resolver = (
  hostname: string,
  found: (error: Error | null, addresses: readonly { readonly address: string; readonly family: number }[]) => void,
) => void

export const systemResolver: Resolver = (hostname, found) => {
  resolve(hostname, { all: true, verbatim: true }, (error, addresses) => found(error, addresses ?? []))
}

function refused(hostname: string, addresses: readonly string[]): MillraceError {
  return new MillraceError(
    'FORBIDDEN',
    `"${hostname}" is at ${addresses.slice(0, 4).join(', ')}, which is not a public address: if you want it, allow it in the configuration (http.allow of the rules, push.allow of the gateway)`,
    { hostname, addresses },
  )
}

/**
 * A lookup that answers only permitted addresses. If one address of a name is not permitted, the whole name is refused:
 * a name that also leads to an internal address is not trusted.
 */
function guardedLookup(guard: AddressGuard, resolver: Resolver): LookupFunction {
  return (hostname, options, callback) => {
    resolver(hostname, (error, found) => {
      const wanted = found.filter(
        ({ family }) =>
          options.family === undefined ||
          options.family === 0 ||
          options.family === family ||
          options.family === `IPv${family}`,
      )
      const barred = found.filter(({ address }) => !guard(address)).map(({ address }) => address)
      const [first] = wanted
      if (error !== null) callback(error, '', 0)
      else if (barred.length > 0) callback(refused(hostname, barred), '', 0)
      else if (first === undefined)
        callback(Object.assign(new Error(`"${hostname}" has no address`), { code: 'ENOTFOUND' }), '', 0)
      else if (options.all === true) callback(null, [...wanted])
      else callback(null, first.address, first.family)
    })
  }
}

/**
 * Makes a request, and connects only to addresses that the guard permits.
 * @throws FORBIDDEN when an address is not permitted · UNAVAILABLE when no answer came
 */
export function guardedRequest(
  request: GuardedRequest,
  guard: AddressGuard,
  resolver: Resolver = systemResolver,
): Promise<HttpAnswer> {
  const url = new URL(request.url)
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(hostname) !== 0 && !guard(hostname)) return Promise.reject(refused(hostname, [hostname]))
  const timeout = AbortSignal.timeout(Math.ceil(Math.min(request.timeoutMs, TIMER_MS_MAX)))
  const options: RequestOptions = {
    method: request.method,
    headers: { ...request.headers, 'content-length': String(Buffer.byteLength(request.body)) },
    lookup: guardedLookup(guard, resolver),
    signal: AbortSignal.any([request.signal, timeout]),
  }
  return exchange(request, url, { ...options, agent: request.connections?.of(url) ?? false }).catch(
    (error: unknown) => {
      // The receiver closed a kept connection while it was being reused. That says nothing about this request, so the
      // request is sent once more, on a new connection.
      const again =
        error instanceof ClosedConnection && !timeout.aborted
          ? exchange(request, url, { ...options, agent: false })
          : Promise.reject(error as Error)
      return again.catch((last: unknown) => {
        throw noAnswer(last, url, timeout.aborted ? request.timeoutMs : null)
      })
    },
  )
}

/** A reused connection was closed before an answer came. */
class ClosedConnection extends Error {}

function exchange(
  { body, answerBytesMax = LIMITS.httpAnswerBytesMax }: GuardedRequest,
  url: URL,
  options: RequestOptions,
): Promise<HttpAnswer> {
  return new Promise((done, failed) => {
    const sent = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, options, (answer) => {
      read(answer, answerBytesMax).then((read) => {
        // A connection whose answer was not read to its end cannot carry another request.
        if (!read.whole || options.agent === false) sent.destroy()
        done({ status: answer.statusCode ?? 0, headers: answer.headers, ...read })
      }, failed)
    })
    sent.on('error', (error: NodeJS.ErrnoException) => {
      failed(
        sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
          ? new ClosedConnection(error.message, { cause: error })
          : error,
      )
    })
    sent.end(body)
  })
}

/** Reads up to `bytesMax` bytes of the answer's body and does not wait for the rest. */
async function read(answer: IncomingMessage, bytesMax: number): Promise<Pick<HttpAnswer, 'body' | 'whole'>> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > bytesMax) break
  }
  return { body: Buffer.concat(chunks).subarray(0, bytesMax), whole: bytes <= bytesMax }
}

function noAnswer(error: unknown, { origin }: URL, timeoutMs: number | null): Error {
  if (error instanceof MillraceError) return error
  if (timeoutMs !== null)
    return new MillraceError(
      'UNAVAILABLE',
      `${origin} did not answer within ${timeoutMs} ms`,
      { origin, timeoutMs },
      { cause: error },
    )
  const { message = String(error), code } = error as { readonly message?: string; readonly code?: string }
  return new MillraceError(
    'UNAVAILABLE',
    `${origin} gave no answer: ${message || code}`,
    { origin, ...(code !== undefined && { code }) },
    { cause: error },
  )
}
