/**
 * Which events are traced. Decided here, before the SDK is asked: to ask it costs more than to publish an event.
 *
 * Where no trace context decides, the id at the beginning of the event's chain does: all processes with the same rate decide alike, and nothing needs to be
 * written into events that are not traced.
 */
import { attribute, type CloudEvent } from '../event/cloud-event.ts'
import { parseTraceparent, type TraceContext, traceIdOf } from '../event/trace-context.ts'

/** What an event's own context says. */
export interface EventTrace {
  /** Null if it has none. */
  readonly context: TraceContext | null
  readonly tracestate: string | undefined
  readonly sampled: boolean
}

const HEX = /^[0-9a-f]{8}$/
const SPAN = 2 ** 32

/** Whether a chain of this id is traced, at a rate from 0 to 1. */
export function isChosen(id: string, rate: number): boolean {
  if (rate >= 1) return true
  if (rate <= 0) return false
  const end = id.slice(-8)
  return (HEX.test(end) ? Number.parseInt(end, 16) : hashOf(id)) < rate * SPAN
}

/** FNV-1a, mixed once more: ids that differ in their last letter only would be near each other. */
function hashOf(id: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < id.length; at++) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}

/** What an event says of its trace. `text` is its JSON, for one that is not decoded. */
export function traceOf(event: CloudEvent, id: string, rate: number, text: string): EventTrace {
  const source = event.type === undefined || !('source' in event) ? fromText(text) : event
  const { traceparent, tracestate } = source
  const chain = source.correlationid ?? id
  const context = typeof traceparent === 'string' ? parseTraceparent(traceparent) : null
  if (context === null) return { context, tracestate: undefined, sampled: isChosen(chain, rate) }
  // Made by an emission of a process without telemetry: nobody has decided.
  const undecided = !context.sampled && context.traceId === traceIdOf(chain)
  return { context, tracestate, sampled: undecided ? isChosen(chain, rate) : context.sampled }
}

function fromText(text: string): Pick<CloudEvent, 'traceparent' | 'tracestate' | 'correlationid'> {
  return /correlationid|traceparent/.test(text) ? (JSON.parse(text) as CloudEvent) : {}
}

/** The trace context that a publisher put into an event itself; null for none. */
export function ownContext(event: object): TraceContext | 'unreadable' | null {
  const own = event as { readonly traceparent?: unknown; readonly extensions?: object }
  const text = own.traceparent ?? attribute((own.extensions ?? {}) as CloudEvent, 'traceparent')
  if (text === undefined || text === null) return hasState(own) ? 'unreadable' : null
  return (typeof text === 'string' ? parseTraceparent(text) : null) ?? 'unreadable'
}

function hasState(event: { readonly extensions?: object }): boolean {
  return 'tracestate' in event || (event.extensions !== undefined && 'tracestate' in event.extensions)
}
