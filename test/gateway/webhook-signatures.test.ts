/** Signatures of webhooks: the published test vector of each scheme, and what each scheme refuses. */
import { describe, expect, it } from 'vitest'
import { hex, json, NOW, SCHEMES, type Scheme, SIGNED, VECTORS } from './webhook-vectors.ts'
import { type WebhookAnswer, webhookWorld } from './webhook-world.ts'

const world = webhookWorld()

describe('the published vector', () => {
  it.each(SCHEMES.filter((scheme) => scheme !== 'github'))('of %s is accepted', async (scheme) => {
    const { headers, body, atSeconds } = VECTORS[scheme]
    world.open(scheme, {}, atSeconds)
    const answer = await world.send(headers, body)
    // Slack shows the answer to the person who gave the command, so it contains no receipt.
    const receipts = scheme === 'slack' ? undefined : [expect.objectContaining({ offset: 0, duplicate: false })]
    expect([answer.status, answer.body.receipts]).toEqual([200, receipts])
    expect(await world.stored()).toHaveLength(1)
  })
  it('of GitHub has a valid signature, and a body that is not JSON', async () => {
    world.open('github')
    expect(await world.send(VECTORS.github.headers, VECTORS.github.body)).toMatchObject({
      status: 415,
      body: { code: 'INVALID_REQUEST' },
    })
    expect(await world.send({ ...VECTORS.github.headers, ...json }, VECTORS.github.body)).toMatchObject({
      status: 400,
      body: { code: 'INVALID_REQUEST' },
    })
    expect(await world.send({ ...VECTORS.github.headers, ...json }, 'Hello, World?')).toMatchObject({
      status: 403,
      body: { code: 'INVALID_SIGNATURE' },
    })
  })
})

describe.each(SCHEMES)('%s refuses', (scheme) => {
  const refused = async (answer: Promise<WebhookAnswer>): Promise<void> => {
    expect(await answer).toMatchObject({ status: 403, body: { code: 'INVALID_SIGNATURE' } })
    expect(await world.stored()).toEqual([])
  }
  const body = '{"type":"a","id":"1"}'
  const good = SIGNED[scheme](VECTORS[scheme].secret, body, NOW)
  const [header = ''] = Object.keys(good).filter((name) => name.includes('signature') || name.includes('hmac'))

  it('an unsigned request, without reading its body', async () => {
    world.open(scheme)
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
    const answer = await world.gateway.fetch(
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
    world.open(scheme)
    await refused(world.send({ ...json, ...SIGNED[scheme]('whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', body, NOW) }, body))
    await refused(world.send({ ...json, ...good }, body.replace('1', '2')))
    await refused(world.send({ ...json, ...good }, ` ${body}`))
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
      await refused(world.send({ ...json, ...good, [header]: wrong }, body))
  })
  it('a signature without the other signed headers', async () => {
    world.open(scheme)
    for (const name of Object.keys(good)) {
      const { [name]: _, ...rest } = good
      await refused(world.send({ ...json, ...rest }, body))
    }
  })
  it('a signed body that is not a JSON object, or nested too deep', async () => {
    world.open(scheme)
    const own = async (text: string): Promise<number> => (await world.deliver(scheme, text)).status
    expect([
      await own('[1]'),
      await own('{'),
      await own(`{"a":${'['.repeat(200)}${']'.repeat(200)}}`),
      await own(''),
    ]).toEqual([400, 400, 400, 400])
    const deep = `{"a":${'['.repeat(130)}${']'.repeat(130)}}`
    expect(await world.deliver(scheme, deep)).toMatchObject({ status: 400, body: { code: 'INVALID_EVENT' } })
    expect(await world.stored()).toEqual([])
  })
})

describe.each<Scheme>(['stripe', 'slack', 'standard'])('the replay window of %s', (scheme) => {
  it('is five minutes in both directions, or as configured', async () => {
    world.open(scheme)
    const at = async (seconds: number): Promise<number> =>
      (await world.deliver(scheme, '{"id":"1","type":"t"}', {}, undefined, seconds)).status
    expect([await at(NOW - 300), await at(NOW + 300)]).toEqual([200, 200])
    expect([await at(NOW - 301), await at(NOW + 301)]).toEqual([403, 403])
    await world.close()
    world.open(scheme, { tolerance: '10s' })
    expect([await at(NOW - 10), await at(NOW - 11)]).toEqual([200, 403])
    expect(await world.deliver(scheme, '{}', {}, undefined, NOW - 3600)).toMatchObject({
      body: { detail: expect.stringContaining('3600 s ago') as string },
    })
  })
  it('refuses a malformed time', async () => {
    world.open(scheme)
    for (const time of ['', '-1', '1e9', '1700000000.5', ' 1', '99999999999999', 'now']) {
      const signed = SIGNED[scheme](VECTORS[scheme].secret, '{}', NOW)
      const headers = Object.fromEntries(
        Object.entries(signed).map(([name, value]) => [name, value.replace(String(NOW), time)]),
      )
      expect((await world.send({ ...json, ...headers }, '{}')).status).toBe(403)
    }
  })
})

describe('a secret that is replaced', () => {
  it.each(SCHEMES)('of %s: both secrets are accepted while both are configured', async (scheme) => {
    const next = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'
    world.open(scheme, { secret: [VECTORS[scheme].secret, next] })
    expect((await world.deliver(scheme, '{"id":"1"}')).status).toBe(200)
    expect((await world.deliver(scheme, '{"id":"2"}', {}, next)).status).toBe(200)
  })
  it('Stripe and Standard Webhooks send several signatures', async () => {
    world.open('stripe')
    const body = '{"id":"1"}'
    const two = `t=${NOW},v1=${hex('other', `${NOW}.${body}`)},v1=${hex('webhook_secret', `${NOW}.${body}`)}`
    expect((await world.send({ ...json, 'stripe-signature': two }, body)).status).toBe(200)
    // A signature of the test scheme, or a header with two times, is refused.
    const old = `t=${NOW},v0=${hex('webhook_secret', `${NOW}.${body}`)}`
    expect((await world.send({ ...json, 'stripe-signature': old }, body)).status).toBe(403)
    expect((await world.send({ ...json, 'stripe-signature': `t=1,${two}` }, body)).status).toBe(403)
  })
})
