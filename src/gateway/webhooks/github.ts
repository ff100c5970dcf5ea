/**
 * GitHub: `X-Hub-Signature-256: sha256=` and the HMAC of the body, in hexadecimal. No time is signed, so only the
 * delivery's id reveals a replayed delivery.
 * @see https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
 * @see https://github.com/cloudevents/spec/blob/main/cloudevents/adapters/github.md
 */
import { formOrJsonPayload } from './payload.ts'
import { type Scheme, textIn } from './scheme.ts'
import { badSignature, hmac, sameDigest, signedHeader } from './signature.ts'

const HEADER = 'x-hub-signature-256'

export const github: Scheme = {
  signedBy: [HEADER],
  faultOf: () => null,
  verify: ({ headers, body, secrets }) => {
    const hex = /^sha256=([0-9a-f]{64})$/i.exec(signedHeader(headers, HEADER))?.[1]
    if (hex === undefined) throw badSignature(`${HEADER} is not "sha256=" and 64 hexadecimal digits`)
    const given = Buffer.from(hex, 'hex')
    if (!secrets.some((secret) => sameDigest(hmac(secret, body), given)))
      throw badSignature('its signature does not match the secret and the body')
  },
  payload: formOrJsonPayload,
  event: ({ headers }, { value }) => {
    const action = textIn(value, 'action')
    const origin = ['repository', 'organization', 'sender'].find((name) => textIn(value, name, 'url') !== undefined)
    return {
      id: headers.get('x-github-delivery') ?? undefined,
      type: `com.github.${headers.get('x-github-event') ?? 'event'}${action === undefined ? '' : `.${action}`}`,
      source: origin === undefined ? undefined : textIn(value, origin, 'url'),
      key: textIn(value, 'repository', 'full_name') ?? textIn(value, 'organization', 'login'),
    }
  },
}
