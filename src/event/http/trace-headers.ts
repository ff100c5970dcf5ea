/**
 * The headers `traceparent` and `tracestate` of an HTTP request: the trace of its sender. Events that come with it and
 * have no trace context of their own get it.
 * @see https://www.w3.org/TR/trace-context/
 */
import type { Encodable } from '../encode.ts'
import { parseTraceparent, type TraceText, traceText } from '../trace-context.ts'

/** The trace context in the headers; null if there is none, or a malformed one, which W3C says to ignore. */
export function traceOfHeaders(headers: Headers): TraceText | null {
  const traceparent = headers.get('traceparent')
  if (traceparent === null || parseTraceparent(traceparent) === null) return null
  return traceText(traceparent, headers.get('tracestate'))
}

/** Gives the events a trace context, except those that have one. */
export function putTrace(events: readonly Encodable[], trace: TraceText): void {
  for (const event of events as readonly (Encodable & Partial<TraceText>)[])
    if (event.traceparent === undefined && event.tracestate === undefined) Object.assign(event, trace)
}
