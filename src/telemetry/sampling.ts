/**
 * Decides which events are traced, before the SDK is called: a call of the SDK costs more than publishing an event.
 *
 * Without a trace context, the id of the first event of the chain decides. So all processes with the same rate decide
 * in the same way, and nothing is written into events that are not traced.
 */
import { attribute, type CloudEvent } from '../event/cloud-event.ts'
import { parseTraceparent, type TraceContext, traceIdOf } from '../event/trace-context.ts'

/** What an event's own trace context says. */
export interface EventTrace {
  /** Null if the event has none. */
  readonly context: TraceContext | null
  readonly tracestate: string | undefined
  readonly sampled: boolean
}

const HEX = /^[0-9a-f]{8}$/
const SPAN = 2 ** 32

/** Whether the chain with this id is traced, at a rate from 0 to 1. */
export function isChosen(id: string, rate: number): boolean {
  if (rate >= 1) return true
  if (rate <= 0) return false
  const end = id.slice(-8)
  return (HEX.test(end) ? Number.parseInt(end, 16) : hashOf(id)) < rate * SPAN
}

/**
 * FNV-1a with one more step of mixing: without it, ids that differ only in their last character would have similar
 * hashes.
 */
function hashOf(id: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < id.length; at++) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}

/** What an event says about its trace. `text` is the JSON text of the event, for events that are not decoded. */
export function traceOf(event: CloudEvent, id: string, rate: number, text: string): EventTrace {
  const source = event.type === undefined || !('source' in event) ? fromText(text) : event
  const { traceparent, tracestate } = source
  const chain = source.correlationid ?? id
  const context = typeof traceparent === 'string' ? parseTraceparent(traceparent) : null
  if (context === null) return { context, tracestate: undefined, sampled: isChosen(chain, rate) }
  // A process without telemetry made this context for an emission, so no sampling was decided yet.
  const undecided = !context.sampled && context.traceId === traceIdOf(chain)
  return { context, tracestate, sampled: undecided ? isChosen(chain, rate) : context.sampled }
}

function fromText(text: string): Pick<CloudEvent, 'traceparent' | 'tracestate' | 'correlationid'> {
  return /correlationid|traceparent/.test(text) ? (JSON.parse(text) as CloudEvent) : {}
}

/** The trace context that a publisher has put into an event; null if there is none. */
export function ownContext(event: object): TraceContext | 'unreadable' | null {
  const own = event as { readonly traceparent?: unknown; readonly extensions?: object }
  const text = own.traceparent ?? attribute((own.extensions ?? {}) as CloudEvent, 'traceparent')
  if (text === undefined || text === null) return hasState(own) ? 'unreadable' : null
  return (typeof text === 'string' ? parseTraceparent(text) : null) ?? 'unreadable'
}

function hasState(event: { readonly extensions?: object }): boolean {
  return 'tracestate' in event || (event.extensions !== undefined && 'tracestate' in event.extensions)
}
