/**
 * An answer of Server-Sent Events at the client's pace: the next message is made after the client has taken the ones
 * before. It ends when the client disconnects or takes nothing for a time, when the source ends, and when the
 * credentials expire.
 */
import { isMillraceError } from '../base/errors.ts'
import type { GatewayHost } from './gateway-host.ts'
import { problemOf } from './problem.ts'
import type { GatewayRequest } from './route.ts'
import { StallGuard } from './stall-guard.ts'

/** One message; `event` names its kind, `data` is one line of JSON. */
export interface SseMessage {
  readonly event: string
  readonly data: string
}

const encoder = new TextEncoder()

/**
 * The signal of `source` aborts when the client has disconnected. An error of the source is sent as the message
 * `problem`, and ends the stream. `ended` is called once.
 */
export function sseAnswer(
  request: GatewayRequest,
  host: GatewayHost,
  source: (signal: AbortSignal) => AsyncIterator<SseMessage | null>,
  ended: () => void = () => undefined,
): Response {
  const ending = new AbortController()
  const messages = source(ending.signal)
  const release = request.holdOpen()
  let over = false
  const end = (): void => {
    if (over) return
    over = true
    guard.taken()
    unwatch()
    ending.abort()
    release()
    ended()
    void messages.return?.()
  }
  const guard = new StallGuard(host.stallMs, end)
  const unwatch = host.vigil.watch(request.principal, end)
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      guard.taken()
      const text = over ? null : await nextText(messages, host)
      if (text !== null && !over) {
        controller.enqueue(encoder.encode(text))
        return guard.offered()
      }
      end()
      controller.close()
    },
    cancel: end,
  })
  return new Response(body, {
    headers: {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    },
  })
}

const finished = new WeakSet<object>()

async function nextText(messages: AsyncIterator<SseMessage | null>, host: GatewayHost): Promise<string | null> {
  if (finished.has(messages)) return null
  try {
    const next = await messages.next()
    if (next.done === true) return null
    // Nothing to send: a comment shows proxies between that the stream is alive.
    return next.value === null ? ':\n\n' : `event: ${next.value.event}\ndata: ${next.value.data}\n\n`
  } catch (error) {
    if (!isMillraceError(error)) host.report(error)
    finished.add(messages)
    return `event: problem\ndata: ${problemOf(error).body}\n\n`
  }
}
