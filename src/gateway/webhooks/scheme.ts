/** What a sender's scheme is: how its deliveries are signed, and what event each becomes. Each scheme is in a file of its own. */
import { isTime, timeMsOf } from '../../base/time-text.ts'
import type { SignedDelivery } from './signature.ts'

/** A delivery whose signature holds. */
export interface Verified {
  readonly headers: Headers
  readonly body: Uint8Array
  /** The name of the endpoint: `/webhooks/NAME`. */
  readonly endpoint: string
}

/** The JSON that a delivery holds, and the text that it was made of. */
export interface Payload {
  readonly value: Readonly<Record<string, unknown>>
  readonly text: string
}

/** The attributes that a scheme gives its event. What is `undefined` is decided by the endpoint. */
export interface EventFacts {
  /** The sender's id of the delivery, by which a repeated one is known. */
  readonly id: string | undefined
  readonly type: string
  readonly source?: string | undefined
  readonly subject?: string | undefined
  /** RFC 3339. */
  readonly time?: string | undefined
  /** Events with one key are handled in order. */
  readonly key?: string | undefined
}

export interface Scheme {
  /** A sender always sends one of these: without it the body is not read. */
  readonly signedBy: readonly string[]
  /** Why a secret cannot be one of this scheme, or `null`. */
  faultOf(secret: string): string | null
  /** @throws INVALID_SIGNATURE */
  verify(delivery: SignedDelivery): void
  /** The JSON in the body. @throws INVALID_REQUEST */
  payload(verified: Verified): Payload
  event(verified: Verified, payload: Payload): EventFacts
  /** Whether the sender takes what is answered for something to show to a person: it is then answered nothing. */
  quiet?(verified: Verified): boolean
  /** What is answered at once, where the sender asks for something and tells nothing. */
  answer?(payload: Payload): object | null
}

/** A member that the payload itself has, if it is a text that is not empty. */
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

/** Seconds since the epoch as RFC 3339. */
export function timeIn(value: unknown, ...path: readonly string[]): string | undefined {
  const seconds = valueIn(value, path)
  return typeof seconds === 'number' && seconds >= 0 && seconds < 1e11
    ? new Date(seconds * 1000).toISOString()
    : undefined
}

/** The text, if it is a time. */
export function timeText(text: string | null | undefined): string | undefined {
  return typeof text === 'string' && isTime(text) && timeMsOf(text) !== undefined ? text : undefined
}
