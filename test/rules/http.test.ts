/** The `http` action against a real server: signatures, retries, refusals, and addresses that it must not reach. */
import { Webhook } from 'standardwebhooks'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, connect, stream } from '../../src/index.ts'
import { type RuleDefinition, type RunningRules, type StartRulesOptions, startRules } from '../../src/rules/index.ts'
import { type Received, Receiver, SECRET } from '../outbound/receiver.ts'
import { eventually } from './support.ts'

const OLD_SECRET = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'

let receiver: Receiver
let broker: Broker

beforeEach(async () => {
  receiver = new Receiver()
  await receiver.start('')
  broker = await connect('memory:')
  await broker.declare(stream('carts'))
})

afterEach(async () => {
  await broker.close()
  await receiver.stop()
})

const rule = (http: object | string): RuleDefinition => ({ name: 'hook', on: 'carts', then: { http } })
const start = (options: StartRulesOptions = {}): Promise<RunningRules> =>
  startRules(broker, {
    http: { allow: ['127.0.0.0/8'], secret: (name) => ({ 'env:NEW': SECRET, 'env:OLD': OLD_SECRET })[name] },
    ...options,
  })
const deadLetters = () => broker.deadLetters('rule.hook.http').list()

describe('the http action', () => {
  it('sends the CloudEvent, signed as Standard Webhooks specifies, with both secrets while one is replaced', async () => {
    const rules = await start()
    await rules.put(rule({ url: `${receiver.url}/hook`, secret: ['env:NEW', 'env:OLD'] }))
    await broker.publish('carts', {
      type: 'added',
      id: 'e-1',
      source: '/shop',
      time: '2026-01-01T00:00:00Z',
      data: { key: 'c-1', note: 'tea ☕' },
    })
    await eventually(() => expect(receiver.received).toHaveLength(1))
    const [{ headers, body, path, method }] = receiver.received as [Received]
    expect([method, path, headers['content-type']]).toEqual([
      'POST',
      '/hook',
      'application/cloudevents+json; charset=utf-8',
    ])
    expect(JSON.parse(body)).toEqual({
      specversion: '1.0',
      type: 'added',
      id: 'e-1',
      source: '/shop',
      time: '2026-01-01T00:00:00Z',
      data: { key: 'c-1', note: 'tea ☕' },
    })
    for (const secret of [SECRET, OLD_SECRET])
      expect(new Webhook(secret).verify(body, headers as Record<string, string>)).toEqual(JSON.parse(body))
    expect(() => new Webhook(SECRET).verify(`${body} `, headers as Record<string, string>)).toThrow(
      'No matching signature',
    )
    expect(headers['webhook-id']).toMatch(/^msg_[\w-]{27}$/)
  })

  it('carries the trace of the event, unless the rule says another, and none that decides nothing', async () => {
    const sampled = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const rules = await start()
    await rules.put(rule(`${receiver.url}/plain`))
    const own = { url: `${receiver.url}/own`, headers: { Traceparent: 'own' } }
    await rules.put({ ...rule(own), name: 'own' })
    await rules.put({
      name: 'emitting',
      on: 'carts',
      then: { emit: { channel: 'more', type: 'more', create: 'stream' } },
    })
    await rules.put({ ...rule(`${receiver.url}/emitted`), name: 'emitted', on: 'more' })
    await broker.publish('carts', { type: 'added', traceparent: sampled, tracestate: 'vendor=1' })
    await eventually(() => expect(receiver.received).toHaveLength(3))
    await broker.publish('carts', { type: 'added' })
    await eventually(() => expect(receiver.received).toHaveLength(6))
    const told = receiver.received.map(({ path, headers }) =>
      [path.split('/').at(-1), headers['traceparent'], headers['tracestate']].join(' '),
    )
    expect(told.slice(0, 3).sort()).toEqual([
      `emitted ${sampled} vendor=1`,
      'own own vendor=1',
      `plain ${sampled} vendor=1`,
    ])
    expect(told.slice(3).sort()).toEqual(['emitted  ', 'own own ', 'plain  '])
  })

  it('fills in path, query, headers and body from the event, and nothing else', async () => {
    const rules = await start()
    const http = {
      url: `${receiver.url}/carts/{{ data.key }}?who={{ data.who }}`,
      method: 'PUT',
      headers: { 'X-Type': '{{ type }}' },
      body: { text: 'cart {{ data.key }}', n: '{{ data.n }}' },
    }
    await rules.put(rule(http))
    await broker.publish('carts', { type: 'added', data: { key: '../x@evil.example/?#', who: 'a&b=c', n: 2 } })
    await eventually(() => expect(receiver.received).toHaveLength(1))
    expect(receiver.received[0]).toMatchObject({
      method: 'PUT',
      path: '/carts/..%2Fx%40evil.example%2F%3F%23?who=a%26b%3Dc',
      headers: { 'x-type': 'added', 'content-type': 'application/json' },
    })
    expect(JSON.parse(receiver.received[0]?.body ?? '')).toEqual({ text: 'cart ../x@evil.example/?#', n: 2 })
  })

  it.each(['..', '.', '%2e%2e', '../admin', '..%2fadmin', 'a/../../admin'])(
    'sends no event to another path: %s',
    async (cart) => {
      const rules = await start()
      await rules.put(rule({ url: `${receiver.url}/carts/{{ data.cart }}/hook` }))
      await broker.publish('carts', { type: 'added', data: { cart } })
      await eventually(async () => expect(receiver.received.length + (await deadLetters()).length).toBe(1))
      for (const { path } of receiver.received) expect(path).toMatch(/^\/carts\/[^/]+\/hook$/)
      for (const { failure } of await deadLetters()) expect(failure.message).toContain('path')
    },
  )

  it('sends numbers with the digits that were published', async () => {
    const rules = await start()
    await rules.put(rule(`${receiver.url}/`))
    const { decodeForPublish } = await import('../../src/event/http/decode-for-publish.ts')
    const text = '{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"big":9007199254740993,"f":1.0}}'
    const [event] = decodeForPublish({ 'content-type': 'application/cloudevents+json' }, Buffer.from(text))
    await broker.publish('carts', event as never)
    await eventually(() => expect(receiver.received).toHaveLength(1))
    expect(receiver.received[0]?.body).toContain('"data":{"big":9007199254740993,"f":1.0}')
    expect(receiver.received[0]?.body).not.toContain('time')
  })

  it('tries again with the same id, and then makes a dead letter', async () => {
    receiver.answer = (response, count) => response.writeHead(count === 3 ? 200 : 500).end('out of order')
    const rules = await start()
    await rules.put(rule({ url: receiver.url, secret: 'env:NEW', retry: { attempts: 2, min: '1ms', max: '1ms' } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(async () => expect(await deadLetters()).toHaveLength(1))
    expect((await deadLetters())[0]?.failure).toMatchObject({
      code: 'UNAVAILABLE',
      message: `${receiver.url} answered 500: out of order`,
    })
    await broker.deadLetters('rule.hook.http').redrive()
    await eventually(() => expect(receiver.received).toHaveLength(3))
    expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    await eventually(async () => expect(await deadLetters()).toEqual([]))
  })

  it('waits for the time that the receiver asks for', async () => {
    receiver.answer = (response, count) =>
      count === 1 ? response.writeHead(429, { 'retry-after': '0' }).end() : response.writeHead(200).end()
    const rules = await start()
    await rules.put(rule({ url: receiver.url, retry: { attempts: 3, min: '1h', max: '1h' } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(() => expect(receiver.received).toHaveLength(2))
  })

  it('does not follow redirects', async () => {
    receiver.answer = (response) => response.writeHead(302, { location: `${receiver.url}/elsewhere` }).end()
    const rules = await start()
    await rules.put(rule({ url: receiver.url, retry: { attempts: 1 } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(async () =>
      expect((await deadLetters())[0]?.failure.message).toContain('redirects are not followed'),
    )
    expect(receiver.received.map(({ path }) => path)).toEqual(['/'])
  })

  it('disables the rule if the receiver answers 410', async () => {
    receiver.answer = (response) => response.writeHead(410).end()
    const rules = await start()
    await rules.put(rule({ url: receiver.url }))
    await broker.publish('carts', { type: 'added' })
    await eventually(async () => expect(await rules.get('hook')).toMatchObject({ enabled: false, author: 'millrace' }))
    expect((await rules.history('hook')).at(-1)?.reason).toBe(`${receiver.url} answered 410`)
    await eventually(async () => expect(await deadLetters()).toHaveLength(1))
  })

  it('ends at its timeout, and does not read an endless answer', async () => {
    receiver.answer = (response, count) => {
      if (count === 1) return
      response.writeHead(200)
      // An endless answer.
      const more = (): void =>
        void (response.write('x'.repeat(65_536)) ? setImmediate(more) : response.once('drain', more))
      response.on('error', () => undefined)
      more()
    }
    const rules = await start()
    await rules.put(rule({ url: receiver.url, timeout: '50ms', retry: { attempts: 2, min: '1ms', max: '1ms' } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(() => expect(receiver.received).toHaveLength(2))
    await eventually(async () =>
      expect((await broker.describe()).consumers.find(({ name }) => name === 'rule.hook.http')?.channels[0]?.lag).toBe(
        0,
      ),
    )
    expect(await deadLetters()).toEqual([])
  })

  it('sends no more requests at once than its concurrency', async () => {
    let open = 0
    let most = 0
    receiver.answer = (response) => {
      most = Math.max(most, ++open)
      setTimeout(() => {
        open--
        response.writeHead(200).end()
      }, 10)
    }
    const rules = await start()
    await rules.put(rule({ url: receiver.url, concurrency: 3 }))
    await Promise.all(Array.from({ length: 20 }, () => broker.publish('carts', { type: 'added' })))
    await eventually(() => expect(receiver.received).toHaveLength(20))
    expect(most).toBe(3)
  })

  it('fails and sends nothing if its secret is not set', async () => {
    const rules = await start()
    await rules.put(rule({ url: receiver.url, secret: 'env:NOT_THERE', retry: { attempts: 1 } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(async () => expect((await deadLetters())[0]?.failure).toMatchObject({ code: 'FORBIDDEN' }))
    expect(receiver.received).toEqual([])
  })

  it('does not reach private addresses unless they are allowed', async () => {
    const rules = await start({ http: {} })
    await rules.put(rule({ url: receiver.url, retry: { attempts: 1 } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(async () =>
      expect((await deadLetters())[0]?.failure).toMatchObject({
        code: 'FORBIDDEN',
        message: expect.stringContaining('not a public address'),
      }),
    )
    expect(receiver.received).toEqual([])
  })
})
