/**
 * The interface of a sender's scheme: how its deliveries are signed, and what event each becomes. Each scheme has its
 * own file.
 */
import { isTime, timeMsOf } from '../../base/time-text.ts'
import type { SignedDelivery } from './signature.ts'

/** A delivery with a valid signature. */
export interface Verified {
  readonly headers: Headers
  readonly body: Uint8Array
  /** The endpoint's NAME in `/webhooks/NAME`. */
  readonly endpoint: string
}

/** The JSON of a delivery, parsed and as text. */
export interface Payload {
  readonly value: Readonly<Record<string, unknown>>
  readonly text: string
}

/** The attributes that a scheme gives its event. The endpoint fills in those that are `undefined`. */
export interface EventFacts {
  /** The sender's id of the delivery. A repeated delivery has the same id. */
  readonly id: string | undefined
  readonly type: string
  readonly source?: string | undefined
  readonly subject?: string | undefined
  /** In RFC 3339. */
  readonly time?: string | undefined
  /** Events with one key are handled in order. */
  readonly key?: string | undefined
}

export interface Scheme {
  /** A sender always sends at least one of these headers. Without any of them the body is not read. */
  readonly signedBy: readonly string[]
  /** The reason why a secret cannot belong to this scheme, or `null`. */
  faultOf(secret: string): string | null
  /** @throws INVALID_SIGNATURE */
  verify(delivery: SignedDelivery): void
  /** The JSON in the body. @throws INVALID_REQUEST */
  payload(verified: Verified): Payload
  event(verified: Verified, payload: Payload): EventFacts
  /** Whether the sender would show the response to a person. The response is then empty. */
  quiet?(verified: Verified): boolean
  /** The immediate response, if the delivery is a question of the sender's and not an event. */
  answer?(payload: Payload): object | null
}

/** A member of the payload, if it is a non-empty string. */
export function textIn(value: unknown, ...path: readonly string[]): string | undefined {
  const found = valueIn(value, path)
  return typeof found === 'string' && found !== '' ? found : undefined
}

function valueIn(value: unknown, path: readonly string[]): unknown {
  let found = value
  for (const name of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, name)) return undefined
    found = (found as Readonly<Record<string, unknown>>)[name]
  }
  return found
}

/** A number of seconds since the epoch, as RFC 3339. */
export function timeIn(value: unknown, ...path: readonly string[]): string | undefined {
  const seconds = valueIn(value, path)
  return typeof seconds === 'number' && seconds >= 0 && seconds < 1e11
    ? new Date(seconds * 1000).toISOString()
    : undefined
}

/** The text, if it is a valid time. */
export function timeText(text: string | null | undefined): string | undefined {
  return typeof text === 'string' && isTime(text) && timeMsOf(text) !== undefined ? text : undefined
}
