/**
 * One HTTP request to an address that was checked: the name is resolved, every address that comes back is judged, and the connection goes to
 * one that passed, so nothing can be resolved anew in between. Redirects are not followed. Time and the answer that is read are bounded.
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
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { TIMER_MS_MAX } from '../../base/timers.ts'
import type { AddressGuard } from './public-address.ts'

export interface GuardedRequest {
  readonly url: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly timeoutMs: number
  /** How much of the answer's body is read. @default 1 KiB: enough to say why it was refused */
  readonly answerBytesMax?: number
  /** Kept connections that may be used, and are made under the same guard. @default a connection of its own */
  readonly connections?: KeptConnections
  readonly signal: AbortSignal
}

/** Connections to a receiver that are kept for its next requests. All are made under one guard: what may be reached does not change while they live. */
export class KeptConnections {
  readonly #plain: Agent
  readonly #secure: SecureAgent

  constructor(most: number) {
    // Shorter than servers commonly keep them.
    const options = { keepAlive: true, maxSockets: most, maxFreeSockets: most, timeout: LIMITS.httpIdleMs }
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

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Its beginning. */
  readonly body: Buffer
  /** Whether that is all of it. */
  readonly whole: boolean
}

/** Resolves a name as the system does. */
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

/** Looks a name up and gives only addresses that passed. All must pass: a name that also leads inside is not trusted at all. */
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

/** @throws FORBIDDEN when an address is not to be connected to; UNAVAILABLE when no answer came */
export function guardedRequest(
  request: GuardedRequest,
  guard: AddressGuard,
  resolver: Resolver = systemResolver,
): Promise<Answer> {
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
      // The receiver closed a kept connection as it was used again, which says nothing of this request: it goes once more, on one of its own.
      const again =
        error instanceof Stale && !timeout.aborted
          ? exchange(request, url, { ...options, agent: false })
          : Promise.reject(error as Error)
      return again.catch((last: unknown) => {
        throw unanswered(last, url, timeout.aborted ? request.timeoutMs : null)
      })
    },
  )
}

class Stale extends Error {}

function exchange(
  { body, answerBytesMax = LIMITS.httpAnswerBytesMax }: GuardedRequest,
  url: URL,
  options: RequestOptions,
): Promise<Answer> {
  return new Promise((done, failed) => {
    const sent = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, options, (answer) => {
      read(answer, answerBytesMax).then((read) => {
        // What is not read to its end cannot carry another request.
        if (!read.whole || options.agent === false) sent.destroy()
        done({ status: answer.statusCode ?? 0, headers: answer.headers, ...read })
      }, failed)
    })
    sent.on('error', (error: NodeJS.ErrnoException) => {
      failed(
        sent.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
          ? new Stale(error.message, { cause: error })
          : error,
      )
    })
    sent.end(body)
  })
}

/** The beginning of an answer. What more there is, is not waited for. */
async function read(answer: IncomingMessage, bytesMax: number): Promise<Pick<Answer, 'body' | 'whole'>> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > bytesMax) break
  }
  return { body: Buffer.concat(chunks).subarray(0, bytesMax), whole: bytes <= bytesMax }
}

function unanswered(error: unknown, { origin }: URL, timeoutMs: number | null): Error {
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
