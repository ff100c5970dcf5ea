/** Events made of webhooks: type, id, key, source and time from each scheme, and GitHub's recorded payloads. */
import { generateKeyPairSync, sign } from 'node:crypto'
import { createRequire } from 'node:module'
import { describe, expect, it, test } from 'vitest'
import type { UntypedEvent } from '../../src/index.ts'
import { form, json, NOW, SIGNED, VECTORS } from './webhook-vectors.ts'
import { webhookWorld } from './webhook-world.ts'

const world = webhookWorld()

describe('Standard Webhooks', () => {
  it('are verified by ed25519, with a public key', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const secret = `whpk_${Buffer.from((publicKey.export({ format: 'jwk' }) as { x: string }).x, 'base64url').toString('base64')}`
    world.open('standard', { secret })
    const body = '{"type":"user.created"}'
    const of = (text: string): string => `v1a,${sign(null, Buffer.from(text), privateKey).toString('base64')}`
    const headers = { ...json, 'webhook-id': 'msg_1', 'webhook-timestamp': String(NOW) }
    expect((await world.send({ ...headers, 'webhook-signature': of(`msg_2.${NOW}.${body}`) }, body)).status).toBe(403)
    expect(
      (await world.send({ ...headers, 'webhook-signature': `v1,AAAA ${of(`msg_1.${NOW}.${body}`)}` }, body)).status,
    ).toBe(200)
    expect(await world.stored()).toMatchObject([{ id: 'msg_1', type: 'user.created' }])
  })
  it('are accepted under the older header names, and the event takes its time from the payload', async () => {
    world.open('standard')
    const body = '{"type":"invoice.paid","timestamp":"2022-11-03T20:26:10.344522Z","data":{"id":1}}'
    const renamed = Object.fromEntries(
      Object.entries(SIGNED.standard(VECTORS.standard.secret, body, NOW)).map(([name, value]) => [
        name.replace('webhook', 'svix'),
        value,
      ]),
    )
    expect((await world.send({ ...json, ...renamed }, body)).status).toBe(200)
    expect(await world.stored()).toMatchObject([
      {
        id: 'msg_1',
        type: 'invoice.paid',
        source: '/webhooks/in',
        time: '2022-11-03T20:26:10.344522Z',
        data: { type: 'invoice.paid', data: { id: 1 } },
      },
    ])
  })
  it('with a CloudEvent as the payload publish that event, unchanged', async () => {
    world.open('standard')
    const body =
      '{"specversion":"1.0","id":"e-1","source":"/shop","type":"order.placed","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","data":{"n":9007199254740993}}'
    for (const duplicate of [false, true])
      expect(
        (await world.deliver('standard', body, { 'content-type': 'application/cloudevents+json' })).body.receipts,
      ).toMatchObject([{ id: 'e-1', duplicate }])
    const page = await world.gateway.fetch(new Request('http://localhost/channels/hooks/events'))
    expect(await page.text()).toContain('"data":{"n":9007199254740993}')
    expect(
      (await world.deliver('standard', '{"specversion":"1.0"}', { 'content-type': 'application/cloudevents+json' }))
        .body.code,
    ).toBe('INVALID_EVENT')
    // Headers are not signed, so CloudEvents attributes in headers are ignored.
    await world.deliver('standard', '{"type":"b"}', {
      'ce-id': 'x',
      'ce-type': 'y',
      'ce-source': 'z',
      'ce-specversion': '1.0',
      'webhook-id': 'msg_1',
    })
    expect((await world.stored()).map(({ type }) => type)).toEqual(['order.placed', 'b'])
  })
})

describe('Slack', () => {
  it('receives its challenge if the request is signed, and nothing is published', async () => {
    world.open('slack')
    const body =
      '{"token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}'
    expect(await world.deliver('slack', body)).toEqual({
      status: 200,
      body: { challenge: '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P' },
    })
    expect((await world.send(json, body)).status).toBe(403)
    expect((await world.deliver('slack', '{"type":"url_verification"}')).body.receipts).toHaveLength(1)
  })
  it('events, interactions and commands become events, and a repeated one is stored once', async () => {
    world.open('slack')
    const body =
      '{"type":"event_callback","team_id":"T1","event_id":"Ev1","event_time":1699999999,"event":{"type":"app_mention","channel":"C1"}}'
    expect((await world.deliver('slack', body)).body.receipts).toMatchObject([{ id: 'Ev1', duplicate: false }])
    expect(
      (await world.deliver('slack', body, { 'x-slack-retry-num': '1' }, undefined, NOW + 3)).body.receipts,
    ).toMatchObject([{ id: 'Ev1', duplicate: true }])
    await world.deliver(
      'slack',
      `payload=${encodeURIComponent('{"type":"block_actions","trigger_id":"t-2","channel":{"id":"C2"}}')}`,
      form,
    )
    await world.deliver('slack', 'command=%2Fdeploy&text=now+%C3%A9&channel_id=C3&trigger_id=t-3', form)
    expect(await world.stored()).toMatchObject([
      { id: 'Ev1', type: 'com.slack.app_mention', partitionkey: 'C1', time: '2023-11-14T22:13:19.000Z' },
      { id: 't-2', type: 'com.slack.block_actions', partitionkey: 'C2' },
      {
        id: 't-3',
        type: 'com.slack.command',
        subject: '/deploy',
        partitionkey: 'C3',
        data: { command: '/deploy', text: 'now é' },
      },
    ] satisfies Partial<UntypedEvent>[])
  })
})

test('Stripe: id, type, time and the object as the key', async () => {
  const { headers, body, atSeconds } = VECTORS.stripe
  world.open('stripe', {}, atSeconds)
  await world.send(headers, body)
  expect((await world.send(headers, body)).body.receipts).toMatchObject([{ id: 'evt_123', duplicate: true }])
  expect(await world.stored()).toMatchObject([
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

test('Shopify: topic, shop and time come from headers, and the id of the delivery detects a repeated one', async () => {
  world.open('shopify')
  const headers = {
    'x-shopify-topic': 'orders/create',
    'x-shopify-shop-domain': 'tea.myshopify.com',
    'x-shopify-webhook-id': 'b54557e4-bdd9-4b37-8a5f-bf7d70bcd043',
    'x-shopify-triggered-at': '2023-03-29T18:00:27.877041743Z',
  }
  const body = '{"id":820982911946154508,"admin_graphql_api_id":"gid://shopify/Order/820982911946154508"}'
  for (const duplicate of [false, true])
    expect((await world.deliver('shopify', body, headers)).body.receipts).toMatchObject([{ duplicate }])
  expect(await world.stored()).toMatchObject([
    {
      id: 'b54557e4-bdd9-4b37-8a5f-bf7d70bcd043',
      type: 'com.shopify.orders.create',
      source: 'https://tea.myshopify.com',
      time: '2023-03-29T18:00:27.877041743Z',
      partitionkey: 'gid://shopify/Order/820982911946154508',
    },
  ])
  const page = await world.gateway.fetch(new Request('http://localhost/channels/hooks/events'))
  expect(await page.text()).toContain('"id":820982911946154508,')
  // A malformed domain and a malformed time are ignored.
  await world.deliver('shopify', '{"n":2}', {
    'x-shopify-shop-domain': 'evil.example/x?y',
    'x-shopify-triggered-at': 'today',
  })
  expect((await world.stored())[1]).toMatchObject({
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
  world.open('github')
  const kinds = createRequire(import.meta.url)('@octokit/webhooks-examples') as readonly Recorded[]
  const all = kinds.flatMap(({ name, examples }) =>
    examples.map((payload) => ({ name, payload, text: JSON.stringify(payload) })),
  )
  expect(all.length).toBeGreaterThan(300)
  for (const [index, { name, text }] of all.entries()) {
    const body = index % 2 === 0 ? text : `payload=${encodeURIComponent(text)}`
    const headers = { ...(index % 2 === 0 ? json : form), 'x-github-event': name, 'x-github-delivery': `d-${index}` }
    expect((await world.deliver('github', body, headers)).body.receipts).toMatchObject([
      { id: `d-${index}`, duplicate: false },
    ])
  }
  expect(
    (
      await world.deliver('github', all[0]?.text ?? '', {
        'x-github-event': all[0]?.name ?? '',
        'x-github-delivery': 'd-0',
      })
    ).body.receipts,
  ).toMatchObject([{ id: 'd-0', duplicate: true }])
  const events = await world.stored()
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
