/** Webhooks in: each scheme by its published vector, by what may not hold, and GitHub's recorded payloads as they would arrive. */
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { createRequire } from 'node:module'
import { Webhook } from 'standardwebhooks'
import { afterEach, describe, expect, it, test } from 'vitest'
import {
  createGateway,
  type Gateway,
  type GatewayOptions,
  serveGateway,
  type WebhookOptions,
} from '../../src/gateway/index.ts'
import { connect, type LooseEvent, type StoredEvent, stream } from '../../src/index.ts'
import { type TestBroker, testBroker } from '../../src/testing/index.ts'

type Scheme = WebhookOptions['scheme']

/** A delivery that a sender has published, with the time at which it was signed. */
interface Vector {
  readonly secret: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly atSeconds: number
}

const hex = (secret: string, text: string): string => createHmac('sha256', secret).update(text).digest('hex')
const json = { 'content-type': 'application/json' }
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const NOW = 1_700_000_000

const VECTORS: Readonly<Record<Scheme, Vector>> = {
  // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries#testing-the-webhook-payload-validation
  github: {
    secret: "It's a Secret to Everybody",
    headers: { 'x-hub-signature-256': 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17' },
    body: 'Hello, World!',
    atSeconds: NOW,
  },
  // The test of construct_event in async-stripe.
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
const SCHEMES = Object.keys(VECTORS) as Scheme[]

/** A delivery as the sender makes it, of any body. */
const SIGNED: Readonly<Record<Scheme, (secret: string, body: string, seconds: number) => Record<string, string>>> = {
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

let broker: TestBroker
let gateway: Gateway

afterEach(async () => {
  await gateway.close()
  await broker.close()
})

function open(scheme: Scheme, options: Partial<WebhookOptions> = {}, atSeconds = NOW, more: GatewayOptions = {}): void {
  broker = testBroker({ start: new Date(atSeconds * 1000) })
  gateway = createGateway(broker, {
    webhooks: { in: { scheme, secret: VECTORS[scheme].secret, channel: 'hooks', ...options } },
    ...more,
  })
}

interface Answer {
  readonly status: number
  readonly body: {
    readonly code?: string
    readonly detail?: string
    readonly challenge?: string
    readonly receipts?: readonly { readonly id: string; readonly duplicate: boolean }[]
  }
}

async function send(headers: Record<string, string>, body: string, path = '/webhooks/in'): Promise<Answer> {
  const answer = await gateway.fetch(new Request(`http://localhost${path}`, { method: 'POST', headers, body }))
  const text = await answer.text()
  return { status: answer.status, body: (text === '' ? {} : JSON.parse(text)) as Answer['body'] }
}

/** Sign and send. */
function deliver(
  scheme: Scheme,
  body: string,
  headers: Record<string, string> = {},
  secret = VECTORS[scheme].secret,
  seconds = NOW,
): Promise<Answer> {
  return send({ ...json, ...SIGNED[scheme](secret, body, seconds), ...headers }, body)
}

const stored = (): Promise<StoredEvent[]> => broker.published('hooks')

describe('the published vector', () => {
  it.each(SCHEMES.filter((scheme) => scheme !== 'github'))('of %s is taken', async (scheme) => {
    const { headers, body, atSeconds } = VECTORS[scheme]
    open(scheme, {}, atSeconds)
    const answer = await send(headers, body)
    // Slack would show the receipt of a command to whoever gave it.
    const receipts = scheme === 'slack' ? undefined : [expect.objectContaining({ offset: 0, duplicate: false })]
    expect([answer.status, answer.body.receipts]).toEqual([200, receipts])
    expect(await stored()).toHaveLength(1)
  })
  it('of GitHub holds, and what it signs is no JSON', async () => {
    open('github')
    expect(await send(VECTORS.github.headers, VECTORS.github.body)).toMatchObject({
      status: 415,
      body: { code: 'INVALID_REQUEST' },
    })
    expect(await send({ ...VECTORS.github.headers, ...json }, VECTORS.github.body)).toMatchObject({
      status: 400,
      body: { code: 'INVALID_REQUEST' },
    })
    expect(await send({ ...VECTORS.github.headers, ...json }, 'Hello, World?')).toMatchObject({
      status: 403,
      body: { code: 'INVALID_SIGNATURE' },
    })
  })
})

describe.each(SCHEMES)('%s refuses', (scheme) => {
  const refused = async (answer: Promise<Answer>): Promise<void> => {
    expect(await answer).toMatchObject({ status: 403, body: { code: 'INVALID_SIGNATURE' } })
    expect(await stored()).toEqual([])
  }
  const body = '{"type":"a","id":"1"}'
  const good = SIGNED[scheme](VECTORS[scheme].secret, body, NOW)
  const [header = ''] = Object.keys(good).filter((name) => name.includes('signature') || name.includes('hmac'))

  it('what is unsigned, and does not read it', async () => {
    open(scheme)
    let read = false
    const endless = new ReadableStream(
      {
        pull: (controller) => {
          read = true
          controller.enqueue(new Uint8Array(1))
        },
      },
      { highWaterMark: 0 },
    )
    const answer = await gateway.fetch(
      new Request('http://localhost/webhooks/in', {
        method: 'POST',
        headers: json,
        body: endless,
        duplex: 'half',
      } as RequestInit),
    )
    expect([answer.status, read]).toEqual([403, false])
    await answer.text()
  })
  it('another secret, another body, another signature', async () => {
    open(scheme)
    await refused(send({ ...json, ...SIGNED[scheme]('whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', body, NOW) }, body))
    await refused(send({ ...json, ...good }, body.replace('1', '2')))
    await refused(send({ ...json, ...good }, ` ${body}`))
    const value = good[header] ?? ''
    for (const wrong of [
      '',
      'x',
      value.slice(0, -3),
      `${value}ff`,
      value.replace(/.{4}$/, 'AAAA'),
      'v1,',
      'sha256=',
      't=,v1=',
      '\u00e9',
    ])
      await refused(send({ ...json, ...good, [header]: wrong }, body))
  })
  it('a signature without the other headers that are signed', async () => {
    open(scheme)
    for (const name of Object.keys(good)) {
      const { [name]: _, ...rest } = good
      await refused(send({ ...json, ...rest }, body))
    }
  })
  it('what is signed, and is no JSON object, not UTF-8, or too deep', async () => {
    open(scheme)
    const own = async (text: string): Promise<number> => (await deliver(scheme, text)).status
    expect([
      await own('[1]'),
      await own('{'),
      await own(`{"a":${'['.repeat(200)}${']'.repeat(200)}}`),
      await own(''),
    ]).toEqual([400, 400, 400, 400])
    const deep = `{"a":${'['.repeat(130)}${']'.repeat(130)}}`
    expect(await deliver(scheme, deep)).toMatchObject({ status: 400, body: { code: 'INVALID_EVENT' } })
    expect(await stored()).toEqual([])
  })
})

describe.each<Scheme>(['stripe', 'slack', 'standard'])('the replay window of %s', (scheme) => {
  it('is five minutes both ways, or what is configured', async () => {
    open(scheme)
    const at = async (seconds: number): Promise<number> =>
      (await deliver(scheme, '{"id":"1","type":"t"}', {}, undefined, seconds)).status
    expect([await at(NOW - 300), await at(NOW + 300)]).toEqual([200, 200])
    expect([await at(NOW - 301), await at(NOW + 301)]).toEqual([403, 403])
    await gateway.close()
    await broker.close()
    open(scheme, { tolerance: '10s' })
    expect([await at(NOW - 10), await at(NOW - 11)]).toEqual([200, 403])
    expect(await deliver(scheme, '{}', {}, undefined, NOW - 3600)).toMatchObject({
      body: { detail: expect.stringContaining('3600 s ago') as string },
    })
  })
  it('does not take a time that is none', async () => {
    open(scheme)
    for (const time of ['', '-1', '1e9', '1700000000.5', ' 1', '99999999999999', 'now']) {
      const signed = SIGNED[scheme](VECTORS[scheme].secret, '{}', NOW)
      const headers = Object.fromEntries(
        Object.entries(signed).map(([name, value]) => [name, value.replace(String(NOW), time)]),
      )
      expect((await send({ ...json, ...headers }, '{}')).status).toBe(403)
    }
  })
})

describe('a secret that is replaced', () => {
  it.each(SCHEMES)('of %s: both hold while both are there', async (scheme) => {
    const next = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'
    open(scheme, { secret: [VECTORS[scheme].secret, next] })
    expect((await deliver(scheme, '{"id":"1"}')).status).toBe(200)
    expect((await deliver(scheme, '{"id":"2"}', {}, next)).status).toBe(200)
  })
  it('Stripe and Standard Webhooks send several signatures', async () => {
    open('stripe')
    const body = '{"id":"1"}'
    const two = `t=${NOW},v1=${hex('other', `${NOW}.${body}`)},v1=${hex('webhook_secret', `${NOW}.${body}`)}`
    expect((await send({ ...json, 'stripe-signature': two }, body)).status).toBe(200)
    // A signature of the scheme for tests, or two times, is none.
    const old = `t=${NOW},v0=${hex('webhook_secret', `${NOW}.${body}`)}`
    expect((await send({ ...json, 'stripe-signature': old }, body)).status).toBe(403)
    expect((await send({ ...json, 'stripe-signature': `t=1,${two}` }, body)).status).toBe(403)
  })
})

describe('Standard Webhooks', () => {
  it('by ed25519, with a public key', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const secret = `whpk_${Buffer.from((publicKey.export({ format: 'jwk' }) as { x: string }).x, 'base64url').toString('base64')}`
    open('standard', { secret })
    const body = '{"type":"user.created"}'
    const of = (text: string): string => `v1a,${sign(null, Buffer.from(text), privateKey).toString('base64')}`
    const headers = { ...json, 'webhook-id': 'msg_1', 'webhook-timestamp': String(NOW) }
    expect((await send({ ...headers, 'webhook-signature': of(`msg_2.${NOW}.${body}`) }, body)).status).toBe(403)
    expect(
      (await send({ ...headers, 'webhook-signature': `v1,AAAA ${of(`msg_1.${NOW}.${body}`)}` }, body)).status,
    ).toBe(200)
    expect(await stored()).toMatchObject([{ id: 'msg_1', type: 'user.created' }])
  })
  it('under the older header names, and takes its time from the payload', async () => {
    open('standard')
    const body = '{"type":"invoice.paid","timestamp":"2022-11-03T20:26:10.344522Z","data":{"id":1}}'
    const renamed = Object.fromEntries(
      Object.entries(SIGNED.standard(VECTORS.standard.secret, body, NOW)).map(([name, value]) => [
        name.replace('webhook', 'svix'),
        value,
      ]),
    )
    expect((await send({ ...json, ...renamed }, body)).status).toBe(200)
    expect(await stored()).toMatchObject([
      {
        id: 'msg_1',
        type: 'invoice.paid',
        source: '/webhooks/in',
        time: '2022-11-03T20:26:10.344522Z',
        data: { type: 'invoice.paid', data: { id: 1 } },
      },
    ])
  })
  it('whose payload is a CloudEvent: that is the event, unchanged', async () => {
    open('standard')
    const body =
      '{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.placed","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{"n":9007199254740993}}'
    for (const duplicate of [false, true])
      expect(
        (await deliver('standard', body, { 'content-type': 'application/cloudevents+json' })).body.receipts,
      ).toMatchObject([{ id: 'e-1', duplicate }])
    const page = await gateway.fetch(new Request('http://localhost/channels/hooks/events'))
    expect(await page.text()).toContain('"data":{"n":9007199254740993}')
    expect(
      (await deliver('standard', '{"specversion":"1.0"}', { 'content-type': 'application/cloudevents+json' })).body
        .code,
    ).toBe('INVALID_EVENT')
    // Headers are not signed: what they say of an event is not believed.
    await deliver('standard', '{"type":"b"}', {
      'ce-id': 'x',
      'ce-type': 'y',
      'ce-source': 'z',
      'ce-specversion': '1.0',
      'webhook-id': 'msg_1',
    })
    expect((await stored()).map(({ type }) => type)).toEqual(['order.placed', 'b'])
  })
})

describe('Slack', () => {
  it('is answered its challenge, when it is signed, and nothing is published', async () => {
    open('slack')
    const body =
      '{"token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}'
    expect(await deliver('slack', body)).toEqual({
      status: 200,
      body: { challenge: '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P' },
    })
    expect((await send(json, body)).status).toBe(403)
    expect((await deliver('slack', '{"type":"url_verification"}')).body.receipts).toHaveLength(1)
  })
  it('events, interactions and commands become events; one that is sent again is stored once', async () => {
    open('slack')
    const body =
      '{"type":"event_callback","team_id":"T1","event_id":"Ev1","event_time":1699999999,"event":{"type":"app_mention","channel":"C1"}}'
    expect((await deliver('slack', body)).body.receipts).toMatchObject([{ id: 'Ev1', duplicate: false }])
    expect(
      (await deliver('slack', body, { 'x-slack-retry-num': '1' }, undefined, NOW + 3)).body.receipts,
    ).toMatchObject([{ id: 'Ev1', duplicate: true }])
    await deliver(
      'slack',
      `payload=${encodeURIComponent('{"type":"block_actions","trigger_id":"t-2","channel":{"id":"C2"}}')}`,
      form,
    )
    await deliver('slack', 'command=%2Fdeploy&text=now+%C3%A9&channel_id=C3&trigger_id=t-3', form)
    expect(await stored()).toMatchObject([
      { id: 'Ev1', type: 'com.slack.app_mention', partitionkey: 'C1', time: '2023-11-14T22:13:19.000Z' },
      { id: 't-2', type: 'com.slack.block_actions', partitionkey: 'C2' },
      {
        id: 't-3',
        type: 'com.slack.command',
        subject: '/deploy',
        partitionkey: 'C3',
        data: { command: '/deploy', text: 'now é' },
      },
    ] satisfies Partial<LooseEvent>[])
  })
})

test('Stripe: id, type, time and the object as the key', async () => {
  const { headers, body, atSeconds } = VECTORS.stripe
  open('stripe', {}, atSeconds)
  await send(headers, body)
  expect((await send(headers, body)).body.receipts).toMatchObject([{ id: 'evt_123', duplicate: true }])
  expect(await stored()).toMatchObject([
    {
      id: 'evt_123',
      type: 'com.stripe.invoiceitem.created',
      source: '/webhooks/in',
      time: '2018-08-02T10:10:20.000Z',
      partitionkey: 'ii_123',
      data: JSON.parse(body) as object,
    },
  ])
})

test('Shopify: topic, shop and time are of its headers; the delivery’s id makes it known again', async () => {
  open('shopify')
  const headers = {
    'x-shopify-topic': 'orders/create',
    'x-shopify-shop-domain': 'tea.myshopify.com',
    'x-shopify-webhook-id': 'b54557e4-bdd9-4b37-8a5f-bf7d70bcd043',
    'x-shopify-triggered-at': '2023-03-29T18:00:27.877041743Z',
  }
  const body = '{"id":820982911946154508,"admin_graphql_api_id":"gid://shopify/Order/820982911946154508"}'
  for (const duplicate of [false, true])
    expect((await deliver('shopify', body, headers)).body.receipts).toMatchObject([{ duplicate }])
  expect(await stored()).toMatchObject([
    {
      id: 'b54557e4-bdd9-4b37-8a5f-bf7d70bcd043',
      type: 'com.shopify.orders.create',
      source: 'https://tea.myshopify.com',
      time: '2023-03-29T18:00:27.877041743Z',
      partitionkey: 'gid://shopify/Order/820982911946154508',
    },
  ])
  const page = await gateway.fetch(new Request('http://localhost/channels/hooks/events'))
  expect(await page.text()).toContain('"id":820982911946154508,')
  // A domain that is none, and times that are none, are not believed.
  await deliver('shopify', '{"n":2}', {
    'x-shopify-shop-domain': 'evil.example/x?y',
    'x-shopify-triggered-at': 'today',
  })
  expect((await stored())[1]).toMatchObject({
    source: '/webhooks/in',
    type: 'com.shopify.event',
    id: expect.stringMatching(/^sha256-/) as string,
  })
})

interface Recorded {
  readonly name: string
  readonly examples: readonly Readonly<
    Record<string, { readonly full_name?: string; readonly url?: string } | string | undefined>
  >[]
}

test('GitHub: all recorded payloads become events, each once, as JSON and as a form', { timeout: 60_000 }, async () => {
  open('github')
  const kinds = createRequire(import.meta.url)('@octokit/webhooks-examples') as readonly Recorded[]
  const all = kinds.flatMap(({ name, examples }) =>
    examples.map((payload) => ({ name, payload, text: JSON.stringify(payload) })),
  )
  expect(all.length).toBeGreaterThan(300)
  for (const [index, { name, text }] of all.entries()) {
    const body = index % 2 === 0 ? text : `payload=${encodeURIComponent(text)}`
    const headers = { ...(index % 2 === 0 ? json : form), 'x-github-event': name, 'x-github-delivery': `d-${index}` }
    expect((await deliver('github', body, headers)).body.receipts).toMatchObject([
      { id: `d-${index}`, duplicate: false },
    ])
  }
  expect(
    (await deliver('github', all[0]?.text ?? '', { 'x-github-event': all[0]?.name ?? '', 'x-github-delivery': 'd-0' }))
      .body.receipts,
  ).toMatchObject([{ id: 'd-0', duplicate: true }])
  const events = await stored()
  expect(events.map(({ data }) => data)).toEqual(all.map(({ payload }) => payload))
  for (const [index, event] of events.entries()) {
    const { name, payload } = all[index] as (typeof all)[number]
    const { action, repository } = payload
    expect(event).toMatchObject({
      id: `d-${index}`,
      type: typeof action === 'string' ? `com.github.${name}.${action}` : `com.github.${name}`,
    })
    if (typeof repository === 'object' && repository.url !== undefined) {
      expect(event).toMatchObject({ source: repository.url, partitionkey: repository.full_name })
    }
  }
})

describe('an endpoint', () => {
  const github = (channel: string): WebhookOptions => ({ scheme: 'github', secret: 's', channel })

  test('takes no token, where all else asks for one, and is found by its name alone', async () => {
    open('github', {}, NOW, { access: {} })
    expect((await deliver('github', '{}')).status).toBe(200)
    expect(
      (await send({ ...json, ...SIGNED.github(VECTORS.github.secret, '{}', NOW) }, '{}', '/channels/hooks/events'))
        .status,
    ).toBe(401)
    for (const path of [
      '/webhooks/out',
      '/webhooks/',
      '/webhooks/__proto__',
      '/webhooks/constructor',
      '/webhooks/in%2f..',
      '/webhooks/in/x',
    ])
      expect([
        path,
        (await send({ ...json, ...SIGNED.github(VECTORS.github.secret, '{}', NOW) }, '{}', path)).status,
      ]).toEqual([path, 404])
  })
  test('makes its channel, which knows an id again for a week, and leaves one that is there as it is', async () => {
    broker = testBroker()
    await broker.declare(stream('mine', { dedupe: { age: '1m' } }))
    gateway = createGateway(broker, { webhooks: { a: github('mine'), b: github('made') } })
    await gateway.started
    let known: unknown[] = []
    await broker.start({
      start: async ({ engine }) => {
        known = [(await engine.channel('mine'))?.dedupe?.ageMs, (await engine.channel('made'))?.dedupe?.ageMs]
        return { stop: async () => undefined, done: Promise.resolve() }
      },
    })
    expect(known).toEqual([60_000, 7 * 86_400_000])
  })
  test('takes no more than a body may have, and no compressed one', async () => {
    open('github', {}, NOW, { maxBodyBytes: 100 })
    const large = `{"a":"${'x'.repeat(200)}"}`
    expect(await deliver('github', large)).toMatchObject({ status: 413, body: { code: 'REQUEST_TOO_LARGE' } })
    expect((await deliver('github', '{}', { 'content-encoding': 'gzip' })).status).toBe(415)
  })
  test('keeps prototype keys as data', async () => {
    open('standard')
    const body =
      '{"__proto__":{"type":"evil","timestamp":"2020-01-01T00:00:00Z"},"constructor":{"prototype":{"polluted":true}}}'
    expect((await deliver('standard', body)).status).toBe(200)
    expect((await stored())[0]).toMatchObject({ type: 'webhook' })
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })
  test.each<[string, object]>([
    ['no scheme', { secret: 's', channel: 'c' }],
    ['an unknown scheme', { scheme: 'gitlab', secret: 's', channel: 'c' }],
    ['a scheme of the prototype', { scheme: 'constructor', secret: 's', channel: 'c' }],
    ['no secret', { scheme: 'github', channel: 'c' }],
    ['an empty secret', { scheme: 'github', secret: '', channel: 'c' }],
    ['no secrets', { scheme: 'github', secret: [], channel: 'c' }],
    ['a secret that is not base64', { scheme: 'standard', secret: 'whsec_!', channel: 'c' }],
    ['a public key that is none', { scheme: 'standard', secret: 'whpk_AAAA', channel: 'c' }],
    ['a channel of ours', { scheme: 'github', secret: 's', channel: '$audit' }],
    ['an unknown option', { scheme: 'github', secret: 's', channel: 'c', secrets: 's' }],
  ])('with %s is refused at start', async (_, options) => {
    open('github')
    expect(() => createGateway(broker, { webhooks: { x: options as WebhookOptions } })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    )
    expect(() => createGateway(broker, { webhooks: { 'a/b': github('c') } })).toThrow(
      'cannot be the name of an endpoint',
    )
  })
  test('over a socket, with the bytes as they came, a body of many chunks included', async () => {
    open('github')
    const real = await connect('memory:')
    const server = await serveGateway(real, {
      port: 0,
      webhooks: { in: { scheme: 'github', secret: 's', channel: 'hooks' } },
    })
    try {
      const body = `{"text":"${'é☕'.repeat(100_000)}",\r\n  "n": 1.0 }\n`
      const chunks = Buffer.from(body)
      const parts = new ReadableStream({
        start: (controller) => {
          for (let at = 0; at < chunks.length; at += 65_537) controller.enqueue(chunks.subarray(at, at + 65_537))
          controller.close()
        },
      })
      const headers = {
        ...json,
        ...SIGNED.github('s', body, NOW),
        'x-github-event': 'push',
        'x-github-delivery': 'big',
      }
      const answer = await fetch(`${server.url}/webhooks/in`, {
        method: 'POST',
        headers,
        body: parts,
        duplex: 'half',
      } as RequestInit)
      expect(await answer.json()).toMatchObject({ receipts: [{ id: 'big', offset: 0 }] })
    } finally {
      await server.close()
      await real.close()
    }
  })
})
