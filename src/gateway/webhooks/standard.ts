/**
 * Standard Webhooks: `webhook-id`, `webhook-timestamp` and `webhook-signature`.
 *
 * The signature is a list: `v1,` with an HMAC in base64 (secrets `whsec_…`), or `v1a,` with an ed25519 signature
 * (public keys `whpk_…`), over id, time and body joined by dots. `svix-` headers are older names of the same.
 *
 * This code verifies the received bytes. The official library would decode them to text first.
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { createPublicKey, type KeyObject, verify as verifyKey } from 'node:crypto'
import { jsonPayload } from './payload.ts'
import { type Scheme, textIn, timeText } from './scheme.ts'
import { badSignature, freshSeconds, hmac, type SignedDelivery, sameDigest, signedHeader } from './signature.ts'

const PUBLIC = 'whpk_'
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/
/** A sender that rotates its secrets never sends more signatures than this. */
const SIGNATURES_MAX = 16

export const standard: Scheme = {
  signedBy: ['webhook-signature', 'svix-signature'],
  faultOf: (secret) => {
    const encoded = secret.replace(/^(?:whsec|whpk)_/, '')
    if (!BASE64.test(encoded)) return 'is not base64, with or without "whsec_" or "whpk_" before it'
    if (secret.startsWith(PUBLIC) && Buffer.from(encoded, 'base64').length !== 32)
      return 'is not an ed25519 public key, which has 32 bytes'
    return null
  },
  verify: (delivery) => {
    const { headers, secrets } = delivery
    const seconds = signedHeader(headers, 'webhook-timestamp', 'svix-timestamp')
    const id = idOf(headers)
    const given = signedHeader(headers, ...standard.signedBy)
      .split(' ')
      .slice(0, SIGNATURES_MAX)
    freshSeconds(seconds, delivery)
    const head = `${id}.${seconds}.`
    if (!secrets.some((secret) => holds(secret, head, given, delivery)))
      throw badSignature('its signature does not match the secret, the id, the time and the body')
  },
  payload: jsonPayload,
  event: ({ headers }, { value }) => ({
    id: idOf(headers),
    type: textIn(value, 'type') ?? 'webhook',
    time: timeText(textIn(value, 'timestamp')),
  }),
}

function idOf(headers: Headers): string {
  return signedHeader(headers, 'webhook-id', 'svix-id')
}

function holds(secret: string, head: string, given: readonly string[], { body }: SignedDelivery): boolean {
  const of = (version: string): Buffer[] =>
    given
      .filter((each) => each.startsWith(`${version},`) && BASE64.test(each.slice(version.length + 1)))
      .map((each) => Buffer.from(each.slice(version.length + 1), 'base64'))
  if (secret.startsWith(PUBLIC)) {
    const [signed, key] = [Buffer.concat([Buffer.from(head), body]), publicKey(secret)]
    return of('v1a').some((signature) => verifyKey(null, signed, key, signature))
  }
  const digest = hmac(Buffer.from(secret.replace(/^whsec_/, ''), 'base64'), head, body)
  return of('v1').some((each) => sameDigest(digest, each))
}

function publicKey(secret: string): KeyObject {
  const x = Buffer.from(secret.slice(PUBLIC.length), 'base64').toString('base64url')
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
}
