/**
 * Slack: `X-Slack-Signature: v0=HEX`, the HMAC of `v0:SECONDS:BODY`, with the seconds in `X-Slack-Request-Timestamp`.
 *
 * Events are sent as JSON, interactions as a form with JSON in it, commands as a form. Slack sends `url_verification`
 * once, when the endpoint is entered there; it is answered and not published.
 * @see https://docs.slack.dev/authentication/verifying-requests-from-slack ·
 * https://docs.slack.dev/reference/events/url_verification
 */
import { formOrJsonPayload, isForm } from './payload.ts'
import { type Scheme, textIn, timeIn } from './scheme.ts'
import { badSignature, freshSeconds, hmac, sameDigest, signedHeader } from './signature.ts'

const HEADER = 'x-slack-signature'

export const slack: Scheme = {
  signedBy: [HEADER],
  faultOf: () => null,
  verify: (delivery) => {
    const { headers, body, secrets } = delivery
    const hex = /^v0=([0-9a-f]{64})$/i.exec(signedHeader(headers, HEADER))?.[1]
    if (hex === undefined) throw badSignature(`${HEADER} is not "v0=" and 64 hexadecimal digits`)
    const seconds = signedHeader(headers, 'x-slack-request-timestamp')
    freshSeconds(seconds, delivery)
    const given = Buffer.from(hex, 'hex')
    if (!secrets.some((secret) => sameDigest(hmac(secret, `v0:${seconds}:`, body), given))) {
      throw badSignature('its signature does not match the secret, the time and the body')
    }
  },
  payload: (verified) => formOrJsonPayload(verified, true),
  event: (_, { value }) => {
    const command = textIn(value, 'command')
    return {
      id: textIn(value, 'event_id') ?? textIn(value, 'trigger_id'),
      type: `com.slack.${textIn(value, 'event', 'type') ?? (command === undefined ? (textIn(value, 'type') ?? 'event') : 'command')}`,
      subject: command,
      time: timeIn(value, 'event_time'),
      key: textIn(value, 'event', 'channel') ?? textIn(value, 'channel', 'id') ?? textIn(value, 'channel_id'),
    }
  },
  // Slack shows the response to an interaction or a command to its user.
  quiet: ({ headers }) => isForm(headers),
  answer: ({ value }) => {
    const challenge = textIn(value, 'challenge')
    return textIn(value, 'type') === 'url_verification' && challenge !== undefined ? { challenge } : null
  },
}
