/**
 * W3C trace context as events carry it (the CloudEvents extension "distributed tracing"): read, checked, and made where a chain has none.
 *
 * A made context belongs to no span. Its trace id comes from the id at the beginning of the chain, so all events of a chain share it in every
 * process, without anything kept; its flags say "not sampled".
 * @see https://www.w3.org/TR/trace-context/
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md
 */
import { createHash } from 'node:crypto'

/** `00-TRACE-PARENT-FLAGS`. Later versions may have more behind it. */
const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const NIL = '00000000-0000-0000-0000-000000000000'
const SAMPLED = 1

export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string
  /** 16 hexadecimal digits. */
  readonly spanId: string
  readonly sampled: boolean
}

/** What a `traceparent` says; null for text that is none. */
export function parseTraceparent(text: string): TraceContext | null {
  const found = TRACEPARENT.exec(text)
  if (found === null) return null
  const [, version, traceId = '', spanId = '', flags = '', more] = found
  if (version === '00' && more !== undefined) return null
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0 }
}

/** The trace id of a chain of events, from the id at its beginning: the digits of a UUID, of other ids a hash. */
export function traceIdOf(correlationId: string): string {
  return isUuid(correlationId) ? correlationId.replaceAll('-', '') : hashOf(correlationId, 32)
}

/** The context for what an event of a chain causes, where nobody has made one. */
export function madeTraceparent(correlationId: string, causeId: string): string {
  const spanId = isUuid(causeId) ? causeId.slice(19, 23) + causeId.slice(24) : hashOf(causeId, 16)
  return `00-${traceIdOf(correlationId)}-${spanId === '0'.repeat(16) ? hashOf(causeId, 16) : spanId}-00`
}

function isUuid(id: string): boolean {
  return id.length === 36 && UUID.test(id) && id !== NIL
}

function hashOf(id: string, digits: number): string {
  return createHash('sha256').update(id).digest('hex').slice(0, digits)
}

/** As events have it. */
export interface TraceText {
  readonly traceparent: string
  readonly tracestate?: string | undefined
}
