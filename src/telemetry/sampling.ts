/**
 * Decides which events are traced, before the SDK is called: a call of the SDK costs more than publishing an event.
 *
 * Without a trace context, the id of the first event of the chain decides. So all processes with the same rate decide
 * in the same way, and nothing is written into events that are not traced.
 */
import { attribute, type CloudEvent } from '../event/cloud-event.ts'
import { isUndecided, parseTraceparent, type TraceContext } from '../event/trace-context.ts'

/** What a traced event says about its trace. */
export interface EventTrace {
  /** Null if the event has no trace context. */
  readonly context: TraceContext | null
  readonly tracestate: string | undefined
}

/** Whether the chain with this id is traced, at a rate from 0 to 1. */
export function isChosen(id: string, rate: number): boolean {
  if (rate >= 1) return true
  if (rate <= 0) return false
  return isRandomUuid(id) ? isPartBelow(id, rate) : hashed(id) < rate
}

const DASH = 0x2d
const [FOUR, SEVEN] = [0x34, 0x37]
/** How many hexadecimal digits of the end of a random UUID decide: enough for a rate of one in a million. */
const DIGITS = 6

function isRandomUuid(id: string): boolean {
  const version = id.charCodeAt(14)
  return (version === SEVEN || version === FOUR) && id.length === 36 && id.charCodeAt(23) === DASH
}

/**
 * Whether the last digits of the id, read as a part of one, are below the rate. It ends at the first digit that
 * decides: at a rate of 1 % that is the first one, for 15 of 16 ids.
 */
function isPartBelow(id: string, rate: number): boolean {
  let part = 0
  let unit = 1
  for (let at = 36 - DIGITS; at < 36; at++) {
    const code = id.charCodeAt(at)
    unit /= 16
    // The lowest four bits of "0" to "9" are their value, those of "a" to "f" are 9 less.
    part += ((code & 15) + (code > 0x40 ? 9 : 0)) * unit
    if (part >= rate) return false
    if (part + unit <= rate) return true
  }
  return true
}

/**
 * FNV-1a with one more step of mixing: without it, ids that differ only in their last character would have similar
 * hashes.
 */
function hashed(id: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < id.length; at++) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return ((hash ^ (hash >>> 13)) >>> 0) / 2 ** 32
}

const NO_CONTEXT: EventTrace = { context: null, tracestate: undefined }

/** What an event says about its trace; null if it is not traced. `text` is its JSON text, used if it is not decoded. */
export function traceOf(event: CloudEvent, id: string, rate: number, text: string): EventTrace | null {
  const source = 'source' in event ? event : fromText(text)
  const { traceparent, tracestate, correlationid } = source
  const context = typeof traceparent === 'string' ? parseTraceparent(traceparent) : null
  const chain = correlationid ?? id
  if (context === null) return isChosen(chain, rate) ? NO_CONTEXT : null
  if (context.sampled) return { context, tracestate }
  return isUndecided(context, chain) && isChosen(chain, rate) ? { context, tracestate } : null
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
