/**
 * Shopify: `X-Shopify-Hmac-Sha256`, the HMAC of the body in base64. Neither a time nor the other headers are signed.
 * @see https://shopify.dev/docs/apps/build/webhooks/subscribe/https
 */
import { jsonPayload } from './payload.ts'
import { type Scheme, textIn, timeText } from './scheme.ts'
import { badSignature, hmac, sameDigest, signedHeader } from './signature.ts'

const HEADER = 'x-shopify-hmac-sha256'
const DOMAIN = /^[a-z0-9][a-z0-9.-]{0,252}$/i

export const shopify: Scheme = {
  signedBy: [HEADER],
  faultOf: () => null,
  verify: ({ headers, body, secrets }) => {
    const given = Buffer.from(/^[A-Za-z0-9+/]{43}=$/.exec(signedHeader(headers, HEADER))?.[0] ?? '', 'base64')
    if (!secrets.some((secret) => sameDigest(hmac(secret, body), given)))
      throw badSignature('its signature does not match the secret and the body')
  },
  payload: jsonPayload,
  event: ({ headers }, { value }) => {
    const shop = headers.get('x-shopify-shop-domain')
    return {
      id: headers.get('x-shopify-webhook-id') ?? undefined,
      type: `com.shopify.${(headers.get('x-shopify-topic') ?? 'event').replaceAll('/', '.')}`,
      source: shop !== null && DOMAIN.test(shop) ? `https://${shop}` : undefined,
      time: timeText(headers.get('x-shopify-triggered-at')),
      key: textIn(value, 'admin_graphql_api_id'),
    }
  },
}
