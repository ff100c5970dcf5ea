/**
 * What an emitted event says of the event that caused it: `causationid`, `correlationid` and the W3C trace context.
 * What the handler says itself is never changed.
 */

import type { Encodable } from '../event/encode.ts'
import { copyOf } from '../event/made-now.ts'
import { madeTraceparent, parseTraceparent, type TraceText } from '../event/trace-context.ts'

export interface Cause {
  readonly causationid: string
  readonly correlationid: string
  readonly traceparent: string
  readonly tracestate: string | undefined
}

type Attributes = { readonly [Name in keyof Cause]?: unknown }

/** The cause of an event's emissions, from the event's id and text. */
export function causeOf(id: string, text: string): Cause {
  // Most events begin a chain: their text is not parsed.
  const said = /correlationid|traceparent/.test(text) ? (JSON.parse(text) as Attributes) : {}
  const correlationid = textOf(said.correlationid) ?? id
  const traceparent = textOf(said.traceparent)
  if (traceparent !== undefined && parseTraceparent(traceparent) !== null)
    return { causationid: id, correlationid, traceparent, tracestate: textOf(said.tracestate) }
  return { causationid: id, correlationid, traceparent: madeTraceparent(correlationid, id), tracestate: undefined }
}

/** What the event lacks of its cause. An attribute that it has, or has as `null` for "none", stays as it is. */
export function causeAttributes(event: Encodable, cause: Cause): Partial<Cause> {
  const own = event as Attributes
  const more = (event.extensions ?? {}) as Attributes
  const has = (name: keyof Cause): boolean => own[name] !== undefined || more[name] !== undefined
  const added: { -readonly [Name in keyof Cause]?: Cause[Name] } = {}
  if (!has('causationid')) added.causationid = cause.causationid
  if (!has('correlationid')) added.correlationid = cause.correlationid
  // The two belong together.
  if (!has('traceparent') && !has('tracestate')) {
    added.traceparent = cause.traceparent
    if (cause.tracestate !== undefined) added.tracestate = cause.tracestate
  }
  return added
}

/** A copy of the event, with its cause. */
export function caused(event: Encodable, cause: Cause): Encodable {
  return copyOf(event, { ...event, ...causeAttributes(event, cause) })
}

/** The same cause, in the trace of a span that is recorded. */
export function traced(cause: Cause, { traceparent, tracestate }: TraceText): Cause {
  return { ...cause, traceparent, tracestate }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
