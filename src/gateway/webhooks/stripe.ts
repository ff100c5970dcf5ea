/**
 * Stripe: `Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX…]`, the HMAC of the time, a dot and the body. Schemes other than
 * v1 are ignored.
 * @see https://docs.stripe.com/webhooks#verify-manually
 */
import { jsonPayload } from './payload.ts'
import { type Scheme, textIn, timeIn } from './scheme.ts'
import { badSignature, freshSeconds, hmac, sameDigest, signedHeader } from './signature.ts'

const HEADER = 'stripe-signature'

export const stripe: Scheme = {
  signedBy: [HEADER],
  faultOf: () => null,
  verify: (delivery) => {
    const { headers, body, secrets } = delivery
    const parts = signedHeader(headers, HEADER)
      .split(',')
      .map((part) => part.trim())
    const times = parts.filter((part) => part.startsWith('t='))
    const given = parts
      .filter((part) => /^v1=[0-9a-f]{64}$/i.test(part))
      .map((part) => Buffer.from(part.slice(3), 'hex'))
    const [time] = times
    if (time === undefined || times.length > 1 || given.length === 0)
      throw badSignature(`${HEADER} is not one t= and a v1=`)
    const seconds = time.slice(2)
    freshSeconds(seconds, delivery)
    const wanted = secrets.map((secret) => hmac(secret, `${seconds}.`, body))
    if (!wanted.some((digest) => given.some((each) => sameDigest(digest, each)))) {
      throw badSignature('its signature does not match the secret, the time and the body')
    }
  },
  payload: jsonPayload,
  event: (_, { value }) => ({
    id: textIn(value, 'id'),
    type: `com.stripe.${textIn(value, 'type') ?? 'event'}`,
    time: timeIn(value, 'created'),
    key: textIn(value, 'data', 'object', 'id'),
  }),
}
