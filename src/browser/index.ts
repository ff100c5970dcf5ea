/**
 * `millrace/browser`: publish and subscribe from a page, with `fetch` alone. No imports, nothing of Node: this file is
 * the whole library, and a test checks its size.
 */

/** A CloudEvent, as it comes from a channel. Extension attributes are members like the others. */
export interface PageEvent<Data = unknown> {
  readonly specversion: '1.0'
  readonly id: string
  readonly source: string
  readonly type: string
  readonly time?: string
  readonly subject?: string
  readonly data: Data
  readonly [attribute: string]: unknown
}

/** An event to publish. */
export interface NewPageEvent {
  readonly type: string
  /** @default a random UUID */
  readonly id?: string
  /** @default the client's `source` */
  readonly source?: string
  readonly data?: unknown
  readonly [attribute: string]: unknown
}

/** Where an event is. */
export interface PageReceipt {
  readonly channel: string
  readonly id: string
  /** Its offset in the channel; null if a delayed event has its id. */
  readonly offset: number | null
  /** The id was published before: nothing was stored, and the receipt says where the first one is. */
  readonly duplicate: boolean
  /** When the delayed event is due, in milliseconds since the epoch. */
  readonly dueAtMs?: number
}

export interface ClientOptions {
  /** The bearer token, or a function that returns it, called before each request. @default none */
  readonly token?: string | (() => string | Promise<string>)
  /** The `source` of events that have none of their own. @default the page's origin */
  readonly source?: string
  /** How often a publish is tried, if the connection breaks or the server asks for another try. @default 5 */
  readonly attempts?: number
  /** @default the global one */
  readonly fetch?: typeof fetch
}

export interface SubscribeOptions {
  /** Where to begin: 'beginning', 'end', `{ offset }`, RFC 3339 text or an age ('1h'). @default 'end' */
  readonly from?: string | { readonly offset: number }
  /** Continue after this position: the `position` of an event that was received. */
  readonly after?: string
  /** An event pattern: only events that match. */
  readonly where?: object
  /** A CloudEvents SQL expression: only events for which it is true. */
  readonly filter?: string
  /** Ends the subscription. */
  readonly signal?: AbortSignal
}

/** An event of a subscription. */
export interface Received<Data = unknown> {
  readonly channel: string
  /** The position of the subscription: pass it as `after` to continue, also after the page was loaded again. */
  readonly position: string
  readonly event: PageEvent<Data>
}

export interface Client {
  /**
   * Publish an event, or several, all or none. Resolves when they are durable. It is tried again when the connection
   * breaks, with the same ids, so that nothing is stored twice within the channel's window.
   *
   * @throws an error with `name` 'MillraceError' and the gateway's `code`, `status` and `details`: UNAVAILABLE when
   * there was no answer
   */
  publish(channel: string, event: NewPageEvent): Promise<PageReceipt>
  publish(channel: string, events: readonly NewPageEvent[]): Promise<PageReceipt[]>
  /**
   * Follow one channel, or several, by name or wildcard (`orders.*`), while the loop runs. A connection that breaks, or
   * is silent for too long, is made again and misses nothing. An error that another try cannot help (no such channel,
   * no permission) ends the loop.
   */
  subscribe<Data = unknown>(
    channels: string | readonly string[],
    options?: SubscribeOptions,
  ): AsyncGenerator<Received<Data>, void, void>
}

/** Silence after which a connection is given up. The gateway sends a heartbeat every 15 s. */
const SILENCE_MS = 45_000
const WAIT_MIN_MS = 500
const WAIT_MAX_MS = 30_000

/** A refusal, with the members of the library's own error. */
class GatewayError extends Error {
  override readonly name = 'MillraceError'
  readonly code: string
  readonly status: number
  readonly retryable: boolean
  readonly details: unknown
  readonly afterMs: number

  constructor(
    status: number,
    problem: { detail?: string; code?: string; retryable?: boolean; details?: unknown },
    afterMs: number,
    cause?: unknown,
  ) {
    super(problem.detail ?? `the gateway answered ${status}`, { cause })
    this.code = problem.code ?? 'UNAVAILABLE'
    this.status = status
    this.retryable = problem.retryable ?? status >= 500
    this.details = problem.details ?? {}
    this.afterMs = afterMs
  }
}

function unanswered(detail: string, cause: unknown): GatewayError {
  return new GatewayError(0, { detail, retryable: true }, 0, cause)
}

/**
 * A client of a gateway, for a page or any other program that has `fetch`.
 *
 * @param url where the gateway is: `https://events.example`, or `''` for the page's own origin
 * @example
 * ```ts no-run
 * import { createClient } from 'millrace/browser'
 *
 * const events = createClient('https://events.example', { token: 'millrace_…' })
 * await events.publish('carts', { type: 'cart.item.added', data: { sku: 'tea' } })
 * for await (const { event } of events.subscribe('carts', { from: '1h' })) console.log(event.type)
 * ```
 */
export function createClient(url: string, options: ClientOptions = {}): Client {
  return new PageClient(url, options)
}

class PageClient implements Client {
  readonly #url: string
  readonly #options: ClientOptions
  readonly #source: string

  constructor(url: string, options: ClientOptions) {
    this.#url = url.replace(/\/$/, '')
    this.#options = options
    this.#source = options.source ?? (globalThis as { location?: { origin?: string } }).location?.origin ?? '/browser'
  }

  /** The answer, if it is a good one. @throws GatewayError */
  async #call(path: string, init: RequestInit): Promise<Response> {
    const { token, fetch: ask = (...request: Parameters<typeof fetch>) => fetch(...request) } = this.#options
    const bearer = typeof token === 'function' ? await token() : token
    const headers = {
      ...(init.headers as Record<string, string>),
      ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }),
    }
    let answer: Response
    try {
      answer = await ask(this.#url + path, { ...init, headers, cache: 'no-store' } as RequestInit)
    } catch (cause) {
      throw unanswered('the gateway does not answer', cause)
    }
    if (answer.ok) return answer
    const problem = (await answer.json().catch(() => ({}))) as { detail?: string }
    throw new GatewayError(answer.status, problem, Number(answer.headers.get('retry-after')) * 1000 || 0)
  }

  async publish(channel: string, given: NewPageEvent | readonly NewPageEvent[]): Promise<never> {
    const source = this.#source
    const events = (Array.isArray(given) ? given : [given]).map((event: NewPageEvent) => ({
      specversion: '1.0',
      source,
      ...event,
      id: event.id ?? newId(),
    }))
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents-batch+json' },
      body: JSON.stringify(events),
    }
    for (let attempt = 1; ; attempt++) {
      try {
        const { receipts } = (await (await this.#call(`/channels/${channel}/events`, init)).json()) as {
          receipts: unknown[]
        }
        return (Array.isArray(given) ? receipts : receipts[0]) as never
      } catch (error) {
        // After an answer that breaks off the events may be stored. The next try has the same ids, so nothing is stored
        // twice.
        const known = error instanceof GatewayError ? error : unanswered('the answer ended early', error)
        if (!known.retryable || attempt >= (this.#options.attempts ?? 5)) throw known
        await pause(attempt, known.afterMs)
      }
    }
  }

  async *subscribe(
    channels: string | readonly string[],
    options: SubscribeOptions = {},
  ): AsyncGenerator<Received<never>, void, void> {
    const { signal } = options
    const names = [channels].flat().join(',')
    const at = { after: options.after ?? '', failures: 0 }
    while (!signal?.aborted) {
      let afterMs = 0
      try {
        yield* this.#connection(names, options, at)
      } catch (error) {
        if (signal?.aborted) return
        if (error instanceof GatewayError && !error.retryable) throw error
        afterMs = error instanceof GatewayError ? error.afterMs : 0
      }
      await pause(++at.failures, afterMs, signal)
    }
  }

  /** What comes over one connection, until it ends, breaks or is silent for too long. */
  async *#connection(
    names: string,
    { from, where, filter, signal }: SubscribeOptions,
    at: { after: string; failures: number },
  ): AsyncGenerator<Received<never>, void, void> {
    const query = new URLSearchParams()
    if (from !== undefined) query.set('from', typeof from === 'string' ? from : `${from.offset}`)
    if (where !== undefined) query.set('where', JSON.stringify(where))
    if (filter !== undefined) query.set('filter', filter)
    const connection = new AbortController()
    const end = (): void => connection.abort()
    signal?.addEventListener('abort', end)
    let silence: ReturnType<typeof setTimeout> | undefined
    const heard = (): void => {
      clearTimeout(silence)
      silence = setTimeout(end, SILENCE_MS)
    }
    heard()
    try {
      const headers = { accept: 'text/event-stream', ...(at.after === '' ? {} : { 'last-event-id': at.after }) }
      const { body } = await this.#call(`/channels/${names}/stream?${query}`, { headers, signal: connection.signal })
      for await (const { id, event, data } of framesOf(body as ReadableStream<Uint8Array>, heard)) {
        at.failures = 0
        at.after = id ?? at.after
        if (data === undefined) continue
        if (event === 'error') throw new GatewayError(0, { retryable: true, ...(JSON.parse(data) as object) }, 0)
        yield { channel: event ?? names, position: at.after, event: JSON.parse(data) as PageEvent<never> }
      }
    } finally {
      clearTimeout(silence)
      signal?.removeEventListener('abort', end)
      end()
    }
  }
}

/** 128 random bits. Pages that came by plain http have no `crypto.randomUUID`. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Wait before the next attempt, longer each time, each client for a time of its own. */
function pause(attempt: number, atLeastMs: number, signal?: AbortSignal): Promise<void> {
  const ms = Math.max(atLeastMs, Math.random() * Math.min(WAIT_MAX_MS, WAIT_MIN_MS * 2 ** attempt))
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done)
  })
}

interface Frame {
  id?: string
  event?: string
  data?: string
}

/** The frames of an event stream. `heard` is called whenever bytes arrive. */
async function* framesOf(body: ReadableStream<Uint8Array>, heard: () => void): AsyncGenerator<Frame, void, void> {
  const reader = body.getReader()
  const utf8 = new TextDecoder()
  let text = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    heard()
    text += utf8.decode(value, { stream: true })
    const frames = text.split('\n\n')
    text = frames.pop() as string
    for (const lines of frames) {
      const frame: Frame = {}
      for (const line of lines.split('\n')) {
        const [, name, rest] = /^(id|event|data): ?(.*)$/.exec(line) ?? []
        if (name) frame[name as keyof Frame] = rest as string
      }
      yield frame
    }
  }
}
