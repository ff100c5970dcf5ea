/**
 * Calls the gateway's API. A refusal throws an `ApiProblem` with the reason: no failure becomes an empty answer.
 *
 * The token is kept in this tab. It is sent in a header, and is never part of a URL.
 */
const TOKEN = 'millrace.token'

function rootOf(): URL {
  const written = document.querySelector('meta[name="millrace-root"]')?.getAttribute('content') ?? './'
  return new URL(written, document.baseURI)
}

/** The URL of the gateway's root. The console may be at any path below it. */
export const ROOT: URL = rootOf()

/** The address of a trace, with `{traceId}` in it; empty if the gateway was given none. */
const TRACE_URL = document.querySelector('meta[name="millrace-trace"]')?.getAttribute('content') ?? ''

/** Where the trace of a W3C `traceparent` is shown; null if there is no such place. */
export function traceUrlOf(traceparent: unknown): string | null {
  const [, id] = /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(String(traceparent)) ?? []
  return id === undefined || TRACE_URL === '' ? null : TRACE_URL.replaceAll('{traceId}', id)
}

export class ApiProblem extends Error {
  readonly status: number
  readonly code: string
  readonly details: Readonly<Record<string, unknown>>

  constructor(status: number, code: string, detail: string, details: Readonly<Record<string, unknown>> = {}) {
    super(detail)
    this.name = 'ApiProblem'
    this.status = status
    this.code = code
    this.details = details
  }
}

export interface Call {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** The path below the gateway's root, without a leading slash. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | null | undefined>>
  readonly body?: unknown
  readonly type?: string
}

export function urlOf({ path, query = {} }: Call): URL {
  const url = new URL(path, ROOT)
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== undefined && value !== '') url.searchParams.set(name, String(value))
  return url
}

export const token = {
  get: (): string | null => sessionStorage.getItem(TOKEN),
  set: (value: string | null): void => {
    if (value === null) sessionStorage.removeItem(TOKEN)
    else sessionStorage.setItem(TOKEN, value)
    for (const listener of listeners) listener()
  },
}

/** Called when the gateway asks for a token, and when one is given. */
const listeners = new Set<() => void>()
let asked = false

export const access = {
  subscribe: (listener: () => void): (() => void) => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  },
  /** Whether the gateway refused a call because there was no valid token. */
  isAsked: (): boolean => asked,
}

function tell(now: boolean): void {
  if (asked === now) return
  asked = now
  for (const listener of listeners) listener()
}

async function send(call: Call, signal: AbortSignal | null): Promise<Response> {
  const credential = token.get()
  const headers: Record<string, string> = {
    ...(credential !== null && { authorization: `Bearer ${credential}` }),
    ...(call.body !== undefined && { 'content-type': call.type ?? 'application/json' }),
    accept: 'application/json',
  }
  const body =
    call.body === undefined ? {} : { body: typeof call.body === 'string' ? call.body : JSON.stringify(call.body) }
  const response = await fetch(urlOf(call), { method: call.method ?? 'GET', headers, signal, ...body }).catch(
    (error: unknown) => {
      if (signal?.aborted === true) throw error
      throw new ApiProblem(0, 'UNREACHABLE', 'the gateway does not answer: it was stopped, or the network is down')
    },
  )
  if (response.status === 401) tell(true)
  else if (response.ok) tell(false)
  if (!response.ok) throw await problemOf(response)
  return response
}

async function problemOf(response: Response): Promise<ApiProblem> {
  const text = await response.text()
  try {
    const { detail, code, details } = JSON.parse(text) as {
      detail?: string
      code?: string
      details?: Record<string, unknown>
    }
    return new ApiProblem(response.status, code ?? 'FAILED', detail ?? response.statusText, details)
  } catch {
    return new ApiProblem(response.status, 'FAILED', `the answer was ${response.status} ${response.statusText}`)
  }
}

export async function api<T>(call: Call, signal: AbortSignal | null = null): Promise<T> {
  const response = await send(call, signal)
  return (response.status === 204 ? undefined : await response.json()) as T
}

export interface Message {
  readonly event: string
  readonly data: unknown
}

/**
 * Server-Sent Events over fetch, which can send the token in a header. Ends when the server ends the stream.
 * @throws ApiProblem
 */
export async function* messages(call: Call, signal: AbortSignal): AsyncGenerator<Message, void, undefined> {
  for await (const block of pieces(call, signal, '\n\n')) {
    const message = messageOf(block)
    if (message?.event === 'problem') {
      const { status, code, detail } = message.data as { status: number; code?: string; detail: string }
      throw new ApiProblem(status, code ?? 'FAILED', detail)
    }
    if (message !== null) yield message
  }
}

function messageOf(block: string): Message | null {
  let event = 'message'
  let data = ''
  let id: string | undefined
  for (const line of block.split('\n')) {
    if (line.startsWith('event: ')) event = line.slice(7)
    else if (line.startsWith('data: ')) data += line.slice(6)
    else if (line.startsWith('id: ')) id = line.slice(4)
  }
  if (data === '') return null
  const value = JSON.parse(data) as unknown
  return { event, data: id === undefined ? value : { id, value } }
}

/**
 * JSON lines as they arrive.
 * @throws ApiProblem
 */
export async function* lines(call: Call, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
  for await (const line of pieces(call, signal, '\n')) if (line !== '') yield JSON.parse(line) as unknown
}

/**
 * The text of an answer, in pieces that end with the separator. What follows the last separator is left out.
 * @throws ApiProblem
 */
async function* pieces(call: Call, signal: AbortSignal, separator: string): AsyncGenerator<string, void, undefined> {
  const response = await send(call, signal)
  const bytes = response.body as ReadableStream<Uint8Array>
  const reader = bytes.pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>).getReader()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      rest += value
      const whole = rest.split(separator)
      rest = whole.pop() ?? ''
      yield* whole
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}
