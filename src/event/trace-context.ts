/**
 * W3C trace context in events (the CloudEvents extension "distributed tracing"): parsed, checked, and made for a chain
 * that has none.
 *
 * A made context belongs to no span. Its trace id comes from the id of the first event of the chain, so all events of a
 * chain have the same one in every process, and nothing is stored for it. Its flags say "not sampled".
 * @see https://www.w3.org/TR/trace-context/
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md
 */
import { createHash } from 'node:crypto'

/** `00-TRACE-PARENT-FLAGS`. Later versions may have more text after it. */
const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const NIL = '00000000-0000-0000-0000-000000000000'
const SAMPLED = 1
const HEADER_TEXT = /^[\x20-\x7e]{1,4096}$/

export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** 16 hexadecimal digits. */
  readonly spanId: string
  readonly sampled: boolean
}

/** The context of a `traceparent` text; null if the text is not valid. */
export function parseTraceparent(text: string): TraceContext | null {
  const found = TRACEPARENT.exec(text)
  if (found === null) return null
  const [, version, traceId = '', spanId = '', flags = '', more] = found
  if (version === '00' && more !== undefined) return null
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 }
}

/** The trace id of a chain of events, from the id of its first event: the digits of a UUID, a hash of any other id. */
export function traceIdOf(correlationId: string): string {
  return isUuid(correlationId) ? correlationId.replaceAll('-', '') : hashOf(correlationId, 32)
}

/** The trace context for the effects of an event whose chain has none. */
export function madeTraceparent(correlationId: string, causeId: string): string {
  const spanId = isUuid(causeId) ? causeId.slice(19, 23) + causeId.slice(24) : hashOf(causeId, 16)
  return `00-${traceIdOf(correlationId)}-${spanId === '0'.repeat(16) ? hashOf(causeId, 16) : spanId}-00`
}

/**
 * Whether Millrace made the context for an emission of the chain, without telemetry. Its "not sampled" is no decision.
 */
export function isUndecided(context: TraceContext, correlationId: string): boolean {
  return !context.sampled && context.traceId === traceIdOf(correlationId)
}

/**
 * The trace context for a request to another system about an event, from the event's JSON text; null if the event has
 * none, or one that says nothing: a receiver would read its "not sampled" as a decision.
 */
export function carriedTrace(text: string): TraceText | null {
  if (!text.includes('"traceparent"')) return null
  const event = JSON.parse(text) as { readonly id: string } & Partial<Record<string, unknown>>
  const { id, correlationid, traceparent, tracestate } = event
  const context = typeof traceparent === 'string' ? parseTraceparent(traceparent) : null
  if (context === null || isUndecided(context, typeof correlationid === 'string' ? correlationid : id)) return null
  return traceText(traceparent as string, tracestate)
}

/** A trace context as text. A `tracestate` that no header can carry is left out. */
export function traceText(traceparent: string, tracestate: unknown): TraceText {
  return { traceparent, ...(typeof tracestate === 'string' && HEADER_TEXT.test(tracestate) && { tracestate }) }
}

function isUuid(id: string): boolean {
  return id.length === 36 && UUID.test(id) && id !== NIL
}

function hashOf(id: string, digits: number): string {
  return createHash('sha256').update(id).digest('hex').slice(0, digits)
}

/** The trace context as attributes of an event. */
export interface TraceText {
  readonly traceparent: string
  readonly tracestate?: string
}
