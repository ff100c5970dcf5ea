/**
 * Checks of a server's answers before they are used. A value of the wrong kind would otherwise fail later, in a handler
 * or a loop that cannot say where the value came from.
 *
 * An error thrown here ends the connection and fails the call.
 */
import type { ChannelState, ConsumerDescription, EngineDescription } from '../../broker/description.ts'
import type { Bounds, EventAttempt, StoredText } from '../../broker/engine.ts'
import type { Failure } from '../../broker/failure.ts'
import type { Inspection } from '../../broker/inspection.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { malformed } from '../frame.ts'
import { isFailure } from '../settle-frame.ts'

/** For calls whose answer has no content, or is checked by the caller. */
export function anything<Answer>(value: unknown): Answer {
  return value as Answer
}

/** A number from the server. @throws INVALID_REQUEST when it is not one */
export function numberOf(value: unknown): number {
  if (Number.isSafeInteger(value)) return value as number
  throw malformed('an answer is not a number')
}

/** A boolean from the server. @throws INVALID_REQUEST when it is not one */
export function truthOf(value: unknown): boolean {
  if (typeof value === 'boolean') return value
  throw malformed('an answer is neither true nor false')
}

/** A list of objects or strings. @throws INVALID_REQUEST */
export function listOf<Item>(value: unknown): Item[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string' || isObject(item))) return value as Item[]
  throw malformed('an answer is not a list')
}

/** An object from the server. Its members are not checked. @throws INVALID_REQUEST when it is not an object */
export function objectOf<Answer extends object>(value: unknown): Answer {
  if (isObject(value)) return value as Answer
  throw malformed('an answer is not an object')
}

/**
 * A channel's declaration and end from the server; null if there is no such channel.
 * @throws INVALID_REQUEST when it is malformed
 */
export function channelOf(value: unknown): { readonly spec: ChannelSpec; readonly end: number } | null {
  if (value === null) return null
  const { spec, end } = objectOf<{ readonly spec?: unknown; readonly end?: unknown }>(value)
  const { kind, types, retain, eventBytesMax } = objectOf<Partial<Record<keyof ChannelSpec, unknown>>>(spec)
  if ((kind !== 'stream' && kind !== 'queue') || (types !== null && !Array.isArray(types)) || !isObject(retain))
    throw malformed('an answer is not a channel')
  numberOf(eventBytesMax)
  return { spec: spec as ChannelSpec, end: numberOf(end) }
}

/** A stored event from the server; null if there is none. @throws INVALID_REQUEST when it is malformed */
export function storedOf(value: unknown): StoredText | null {
  if (value === null) return null
  const { id, type, text, offset } = objectOf<Partial<Record<keyof StoredText, unknown>>>(value)
  if ([id, type, text].every((each) => typeof each === 'string') && Number.isSafeInteger(offset))
    return value as StoredText
  throw malformed('an answer is not an event')
}

/**
 * The state of a delivery's key, with the key; `state` is null if the key has none. Null: the server does not know the
 * delivery.
 */
export type SentState = readonly [key: string, state: { readonly type: string; readonly text: string } | null] | null

/** The states of the keys of deliveries. @throws INVALID_REQUEST when the answer is malformed */
export function statesOf(value: unknown, count: number): readonly SentState[] {
  const isState = (each: unknown): boolean => {
    if (each === null) return true
    if (!Array.isArray(each) || typeof each[0] !== 'string') return false
    const state = each[1] as { readonly type?: unknown; readonly text?: unknown } | null
    return state === null || (isObject(state) && typeof state.type === 'string' && typeof state.text === 'string')
  }
  if (Array.isArray(value) && value.length === count && value.every(isState)) return value as SentState[]
  throw malformed('an answer is not a list of states')
}

/** What the server reports about an event that it dead-lettered. @throws INVALID_REQUEST */
export function buriedOf(value: unknown): { readonly event: EventAttempt; readonly failure: Failure } {
  const { event, failure } = objectOf<{ readonly event?: unknown; readonly failure?: unknown }>(value)
  const { channel, offset, key, id, type, attempt } = objectOf<Partial<Record<keyof EventAttempt, unknown>>>(event)
  const named = [channel, id, type, key ?? ''].every((text) => typeof text === 'string')
  if (!named || !isFailure(failure)) throw malformed('an answer has an invalid dead letter')
  numberOf(offset)
  numberOf(attempt)
  return { event: event as EventAttempt, failure }
}

/** A channel's bounds from the server. @throws INVALID_REQUEST when they are malformed */
export function boundsOf(value: unknown): Bounds {
  const { first, next } = objectOf<Partial<Record<keyof Bounds, unknown>>>(value)
  return { first: numberOf(first), next: numberOf(next) }
}

/** A channel's description from the server. @throws INVALID_REQUEST when it is malformed */
export function channelStateOf(value: unknown): ChannelState {
  boundsOf(value)
  return value as ChannelState
}

/**
 * A consumer's description from the server; null if there is no such consumer.
 * @throws INVALID_REQUEST when it is malformed
 */
export function consumerOf(value: unknown): ConsumerDescription | null {
  if (value === null) return null
  listOf(objectOf<{ readonly channels?: unknown }>(value).channels)
  return value as ConsumerDescription
}

/** What the server found about an event and a consumer. @throws INVALID_REQUEST when it is malformed */
export function inspectionOf(value: unknown): Inspection {
  const { delivery, instances } = objectOf<Partial<Record<keyof Inspection, unknown>>>(value)
  listOf(instances)
  if (delivery !== null && typeof objectOf<{ readonly state?: unknown }>(delivery).state !== 'string')
    throw malformed('an answer does not say where a delivery stands')
  return value as Inspection
}

type Described = EngineDescription

/** The description of everything from the server. @throws INVALID_REQUEST when it is malformed */
export function descriptionOf(value: unknown): Described {
  const { channels, consumers, alarms } = objectOf<Partial<Record<keyof Described, unknown>>>(value)
  for (const list of [channels, consumers, alarms]) listOf(list)
  return value as Described
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
