/**
 * What all schemes of signed webhooks share: constant-time comparison of digests, and the allowed age of a delivery.
 */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { MillraceError } from '../../base/errors.ts'

/** A received delivery, and what its signature is checked with. */
export interface SignedDelivery {
  readonly headers: Headers
  /** The signed bytes, exactly as received. A parser may not reproduce them. */
  readonly body: Uint8Array
  /** Several secrets are valid while one replaces another. */
  readonly secrets: readonly string[]
  readonly nowMs: number
  readonly toleranceMs: number
}

export function badSignature(why: string): MillraceError {
  return new MillraceError('INVALID_SIGNATURE', `the webhook is refused: ${why}`, {})
}

/** The first of these headers that is present. @throws INVALID_SIGNATURE */
export function signedHeader(headers: Headers, ...names: readonly string[]): string {
  for (const name of names) {
    const value = headers.get(name)
    if (value !== null && value !== '') return value
  }
  throw badSignature(`it has no ${names[0]} header`)
}

export function hmac(secret: string | Uint8Array, ...parts: readonly (string | Uint8Array)[]): Buffer {
  const digest = createHmac('sha256', secret)
  for (const part of parts) digest.update(part)
  return digest.digest()
}

/** Constant-time comparison. The length is not secret. */
export function sameDigest(one: Uint8Array, other: Uint8Array): boolean {
  return one.byteLength === other.byteLength && timingSafeEqual(one, other)
}

/** Seconds since the epoch, within the tolerance before or after now. @throws INVALID_SIGNATURE */
export function freshSeconds(
  text: string,
  { nowMs, toleranceMs }: Pick<SignedDelivery, 'nowMs' | 'toleranceMs'>,
): number {
  const seconds = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(seconds)) throw badSignature('its timestamp is not a number of seconds')
  const ageMs = nowMs - seconds * 1000
  if (Math.abs(ageMs) <= toleranceMs) return seconds
  throw badSignature(
    ageMs > 0
      ? `it was signed ${Math.round(ageMs / 1000)} s ago, which is more than ${toleranceMs / 1000} s: it may be a replay, or a clock is wrong`
      : `it was signed ${Math.round(-ageMs / 1000)} s in the future: a clock is wrong`,
  )
}
