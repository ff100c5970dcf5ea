/**
 * Deliveries of each webhook scheme: one that its sender published, and a function that signs a body as the sender
 * does.
 */
import { createHmac } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import type { WebhookOptions } from '../../src/gateway/index.ts'

export type Scheme = WebhookOptions['scheme']

/** A delivery that a sender published, with the time of its signature. */
interface Vector {
  readonly secret: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly atSeconds: number
}

export const hex = (secret: string, text: string): string => createHmac('sha256', secret).update(text).digest('hex')
export const json = { 'content-type': 'application/json' }
export const form = { 'content-type': 'application/x-www-form-urlencoded' }
export const NOW = 1_700_000_000

export const VECTORS: Readonly<Record<Scheme, Vector>> = {
  // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
  github: {
    secret: "It's a Secret to Everybody",
    headers: { 'x-hub-signature-256': 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17' },
    body: 'Hello, World!',
    atSeconds: NOW,
  },
  // From the test of construct_event in async-stripe.
  stripe: {
    secret: 'webhook_secret',
    headers: {
      ...json,
      'stripe-signature':
        't=1533204620,v1=f0bdba6d4eacbd8ad8a3bbadd7248e633ec1477f7899c124c51b39405fa36613,v0=63f3a72374a733066c4be69ed7f8e5ac85c22c9f0a6a612ab9a025a9e4ee7eef',
    },
    body: `{
  "id": "evt_123",
  "object": "event",
  "account": "acct_123",
  "api_version": "2017-05-25",
  "created": 1533204620,
  "data": {
    "object": {
      "id": "ii_123",
      "object": "invoiceitem",
      "amount": 1000,
      "currency": "usd",
      "customer": "cus_123",
      "date": 1533204620,
      "description": "Test Invoice Item",
      "discountable": false,
      "invoice": "in_123",
      "livemode": false,
      "metadata": {},
      "period": {
        "start": 1533204620,
        "end": 1533204620
      },
      "plan": null,
      "proration": false,
      "quantity": null,
      "subscription": null
    }
  },
  "livemode": false,
  "pending_webhooks": 1,
  "request": {
    "id": "req_123",
    "idempotency_key": "idempotency-key-123"
  },
  "type": "invoiceitem.created"
}
`,
    atSeconds: 1_533_204_620,
  },
  // https://docs.slack.dev/authentication/verifying-requests-from-slack
  slack: {
    secret: '8f742231b10e8888abcd99yyyzzz85a5',
    headers: {
      ...form,
      'x-slack-request-timestamp': '1531420618',
      'x-slack-signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
    },
    body: 'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c',
    atSeconds: 1_531_420_618,
  },
  // SQLPage's documentation of sqlpage.hmac: "Test Shopify webhook HMAC validation".
  shopify: {
    secret: 'test-webhook-secret',
    headers: { ...json, 'x-shopify-hmac-sha256': 'QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw=' },
    body: '{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}',
    atSeconds: NOW,
  },
  // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
  standard: {
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    headers: {
      ...json,
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    },
    body: '{"test": 2432232314}',
    atSeconds: 1_614_265_330,
  },
}
export const SCHEMES = Object.keys(VECTORS) as Scheme[]

/** The headers with which the sender signs a body. */
export const SIGNED: Readonly<
  Record<Scheme, (secret: string, body: string, seconds: number) => Record<string, string>>
> = {
  github: (secret, body) => ({ 'x-hub-signature-256': `sha256=${hex(secret, body)}` }),
  stripe: (secret, body, seconds) => ({ 'stripe-signature': `t=${seconds},v1=${hex(secret, `${seconds}.${body}`)}` }),
  slack: (secret, body, seconds) => ({
    'x-slack-request-timestamp': String(seconds),
    'x-slack-signature': `v0=${hex(secret, `v0:${seconds}:${body}`)}`,
  }),
  shopify: (secret, body) => ({ 'x-shopify-hmac-sha256': createHmac('sha256', secret).update(body).digest('base64') }),
  standard: (secret, body, seconds) => ({
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(seconds),
    'webhook-signature': new Webhook(secret).sign('msg_1', new Date(seconds * 1000), body),
  }),
}
