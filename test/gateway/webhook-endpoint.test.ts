/** A webhook endpoint: its path, its channel, its limits and its options. */
import { describe, expect, test } from 'vitest'
import { createGateway, serveGateway, type WebhookOptions } from '../../src/gateway/index.ts'
import { connect, stream } from '../../src/index.ts'
import { testBroker } from '../../src/testing/index.ts'
import { json, NOW, SIGNED, VECTORS } from './webhook-vectors.ts'
import { webhookWorld } from './webhook-world.ts'

const world = webhookWorld()

describe('an endpoint', () => {
  const github = (channel: string): WebhookOptions => ({ scheme: 'github', secret: 's', channel })

  test('needs no token, unlike other routes, and is found only by its exact name', async () => {
    world.open('github', {}, NOW, { access: {} })
    expect((await world.deliver('github', '{}')).status).toBe(200)
    expect(
      (
        await world.send(
          { ...json, ...SIGNED.github(VECTORS.github.secret, '{}', NOW) },
          '{}',
          '/channels/hooks/events',
        )
      ).status,
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
        (await world.send({ ...json, ...SIGNED.github(VECTORS.github.secret, '{}', NOW) }, '{}', path)).status,
      ]).toEqual([path, 404])
  })
  test('creates its channel, which deduplicates for a week, and does not change an existing one', async () => {
    world.broker = testBroker()
    await world.broker.declare(stream('mine', { dedupe: { age: '1m' } }))
    world.gateway = createGateway(world.broker, { webhooks: { a: github('mine'), b: github('made') } })
    await world.gateway.started
    let known: unknown[] = []
    await world.broker.start({
      start: async ({ engine }) => {
        known = [(await engine.channel('mine'))?.dedupe?.ageMs, (await engine.channel('made'))?.dedupe?.ageMs]
        return { stop: async () => undefined, done: Promise.resolve() }
      },
    })
    expect(known).toEqual([60_000, 7 * 86_400_000])
  })
  test('refuses a body that is too large or compressed', async () => {
    world.open('github', {}, NOW, { maxBodyBytes: 100 })
    const large = `{"a":"${'x'.repeat(200)}"}`
    expect(await world.deliver('github', large)).toMatchObject({ status: 413, body: { code: 'REQUEST_TOO_LARGE' } })
    expect((await world.deliver('github', '{}', { 'content-encoding': 'gzip' })).status).toBe(415)
  })
  test('keeps prototype keys as data', async () => {
    world.open('standard')
    const body =
      '{"__proto__":{"type":"evil","timestamp":"2020-01-01T00:00:00Z"},"constructor":{"prototype":{"polluted":true}}}'
    expect((await world.deliver('standard', body)).status).toBe(200)
    expect((await world.stored())[0]).toMatchObject({ type: 'webhook' })
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
    world.open('github')
    expect(() => createGateway(world.broker, { webhooks: { x: options as WebhookOptions } })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION' }),
    )
    expect(() => createGateway(world.broker, { webhooks: { 'a/b': github('c') } })).toThrow(
      'cannot be the name of an endpoint',
    )
  })
  test('verifies the exact bytes over a socket, also for a body of many chunks', async () => {
    world.open('github')
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
