/** The `http` action against a real server: signatures, retries, what is refused, and addresses that must not be reached. */
import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Broker, connect, stream } from '../../src/index.ts'
import { guardedRequest, KeptConnections, type Resolver } from '../../src/rules/action/guarded-request.ts'
import { addressGuard } from '../../src/rules/action/public-address.ts'
import { type RuleDefinition, type RunningRules, type StartRulesOptions, startRules } from '../../src/rules/index.ts'
import { eventually } from './support.ts'

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const OLD_SECRET = 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD'

interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

let server: Server
let broker: Broker
let received: Received[]
let answer: (response: ServerResponse, count: number) => void
let url: string

beforeEach(async () => {
  received = []
  answer = (response) => response.writeHead(204).end()
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      received.push({
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      })
      answer(response, received.length)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  broker = await connect('memory:')
  await broker.declare(stream('carts'))
})

afterEach(async () => {
  await broker.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

const rule = (http: object | string): RuleDefinition => ({ name: 'hook', on: 'carts', then: { http } })
const start = (options: StartRulesOptions = {}): Promise<RunningRules> =>
  startRules(broker, {
    http: { allow: ['127.0.0.0/8'], secret: (name) => ({ 'env:NEW': SECRET, 'env:OLD': OLD_SECRET })[name] },
    ...options,
  })
const deadLetters = () => broker.deadLetters('rule.hook.http').list()

describe('the http action', () => {
  it('sends the CloudEvent, signed as Standard Webhooks has it, by both secrets while one takes over from the other', async () => {
    const rules = await start()
    await rules.put(rule({ url: `${url}/hook`, secret: ['env:NEW', 'env:OLD'] }))
    await broker.publish('carts', {
      type: 'added',
      id: 'e-1',
      source: '/shop',
      time: '2026-01-01T00:00:00Z',
      data: { key: 'c-1', note: 'tea ☕' },
    })
    await eventually(() => expect(received).toHaveLength(1))
    const [{ headers, body, path, method }] = received as [Received]
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

  it('fills path, query, headers and body from the event, and lets it choose nothing else', async () => {
    const rules = await start()
    const http = {
      url: `${url}/carts/{{ data.key }}?who={{ data.who }}`,
      method: 'PUT',
      headers: { 'X-Type': '{{ type }}' },
      body: { text: 'cart {{ data.key }}', n: '{{ data.n }}' },
    }
    await rules.put(rule(http))
    await broker.publish('carts', { type: 'added', data: { key: '../x@evil.example/?#', who: 'a&b=c', n: 2 } })
    await eventually(() => expect(received).toHaveLength(1))
    expect(received[0]).toMatchObject({
      method: 'PUT',
      path: '/carts/..%2Fx%40evil.example%2F%3F%23?who=a%26b%3Dc',
      headers: { 'x-type': 'added', 'content-type': 'application/json' },
    })
    expect(JSON.parse(received[0]?.body ?? '')).toEqual({ text: 'cart ../x@evil.example/?#', n: 2 })
  })

  it.each(['..', '.', '%2e%2e', '../admin', '..%2fadmin', 'a/../../admin'])(
    'lets no event lead to another path: %s',
    async (cart) => {
      const rules = await start()
      await rules.put(rule({ url: `${url}/carts/{{ data.cart }}/hook` }))
      await broker.publish('carts', { type: 'added', data: { cart } })
      await eventually(async () => expect(received.length + (await deadLetters()).length).toBe(1))
      for (const { path } of received) expect(path).toMatch(/^\/carts\/[^/]+\/hook$/)
      for (const { failure } of await deadLetters()) expect(failure.message).toContain('path')
    },
  )

  it('sends numbers as they were written', async () => {
    const rules = await start()
    await rules.put(rule(`${url}/`))
    const { decodeForPublish } = await import('../../src/event/http/decode-for-publish.ts')
    const text = '{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"big":9007199254740993,"f":1.0}}'
    const [event] = decodeForPublish({ 'content-type': 'application/cloudevents+json' }, Buffer.from(text))
    await broker.publish('carts', event as never)
    await eventually(() => expect(received).toHaveLength(1))
    expect(received[0]?.body).toContain('"data":{"big":9007199254740993,"f":1.0}')
    expect(received[0]?.body).not.toContain('time')
  })

  it('tries again with the same id, and gives up to the dead letters', async () => {
    answer = (response, count) => response.writeHead(count === 3 ? 200 : 500).end('out of order')
    const rules = await start()
    await rules.put(rule({ url, secret: 'env:NEW', retry: { attempts: 2, min: '1ms', max: '1ms' } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(async () => expect(await deadLetters()).toHaveLength(1))
    expect((await deadLetters())[0]?.failure).toMatchObject({
      code: 'UNAVAILABLE',
      message: `${url} answered 500: out of order`,
    })
    await broker.deadLetters('rule.hook.http').redrive()
    await eventually(() => expect(received).toHaveLength(3))
    expect(new Set(received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    await eventually(async () => expect(await deadLetters()).toEqual([]))
  })

  it('waits as long as the receiver asks', async () => {
    answer = (response, count) =>
      count === 1 ? response.writeHead(429, { 'retry-after': '0' }).end() : response.writeHead(200).end()
    const rules = await start()
    await rules.put(rule({ url, retry: { attempts: 3, min: '1h', max: '1h' } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(() => expect(received).toHaveLength(2))
  })

  it('does not follow redirects', async () => {
    answer = (response) => response.writeHead(302, { location: `${url}/elsewhere` }).end()
    const rules = await start()
    await rules.put(rule({ url, retry: { attempts: 1 } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(async () =>
      expect((await deadLetters())[0]?.failure.message).toContain('redirects are not followed'),
    )
    expect(received.map(({ path }) => path)).toEqual(['/'])
  })

  it('switches the rule off when the receiver is gone', async () => {
    answer = (response) => response.writeHead(410).end()
    const rules = await start()
    await rules.put(rule({ url }))
    await broker.publish('carts', { type: 'added' })
    await eventually(async () => expect(await rules.get('hook')).toMatchObject({ enabled: false, author: 'millrace' }))
    expect((await rules.history('hook')).at(-1)?.reason).toBe(`${url} answered 410`)
    await eventually(async () => expect(await deadLetters()).toHaveLength(1))
  })

  it('takes no longer than its timeout, and reads no more than it needs', async () => {
    answer = (response, count) => {
      if (count === 1) return
      response.writeHead(200)
      // An answer without end.
      const more = (): void =>
        void (response.write('x'.repeat(65_536)) ? setImmediate(more) : response.once('drain', more))
      response.on('error', () => undefined)
      more()
    }
    const rules = await start()
    await rules.put(rule({ url, timeout: '50ms', retry: { attempts: 2, min: '1ms', max: '1ms' } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(() => expect(received).toHaveLength(2))
    await eventually(async () =>
      expect((await broker.describe()).consumers.find(({ name }) => name === 'rule.hook.http')?.channels[0]?.lag).toBe(
        0,
      ),
    )
    expect(await deadLetters()).toEqual([])
  })

  it('holds to its concurrency', async () => {
    let open = 0
    let most = 0
    answer = (response) => {
      most = Math.max(most, ++open)
      setTimeout(() => {
        open--
        response.writeHead(200).end()
      }, 10)
    }
    const rules = await start()
    await rules.put(rule({ url, concurrency: 3 }))
    await Promise.all(Array.from({ length: 20 }, () => broker.publish('carts', { type: 'added' })))
    await eventually(() => expect(received).toHaveLength(20))
    expect(most).toBe(3)
  })

  it('fails without its secret, and sends nothing', async () => {
    const rules = await start()
    await rules.put(rule({ url, secret: 'env:NOT_THERE', retry: { attempts: 1 } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(async () => expect((await deadLetters())[0]?.failure).toMatchObject({ code: 'FORBIDDEN' }))
    expect(received).toEqual([])
  })

  it('does not reach private addresses unless it is allowed to', async () => {
    const rules = await start({ http: {} })
    await rules.put(rule({ url, retry: { attempts: 1 } }))
    await broker.publish('carts', { type: 'added' })
    await eventually(async () =>
      expect((await deadLetters())[0]?.failure).toMatchObject({
        code: 'FORBIDDEN',
        message: expect.stringContaining('not a public address'),
      }),
    )
    expect(received).toEqual([])
  })
})

describe('a guarded request', () => {
  const request = (to: string) => ({
    url: to,
    method: 'POST',
    headers: {},
    body: '{}',
    timeoutMs: 2000,
    signal: new AbortController().signal,
  })
  const port = (): string => url.slice(url.lastIndexOf(':') + 1)

  it('connects to the address that was checked, whatever the name leads to the next time', async () => {
    const answers = [['127.0.0.1'], ['10.0.0.1']]
    let asked = 0
    const resolver: Resolver = (_hostname, found) =>
      found(
        null,
        (answers[asked++] ?? []).map((address) => ({ address, family: 4 })),
      )
    const { status } = await guardedRequest(
      request(`http://rebinding.example:${port()}/`),
      addressGuard(['127.0.0.1']),
      resolver,
    )
    expect([status, asked, received[0]?.headers.host]).toEqual([204, 1, `rebinding.example:${port()}`])
    await expect(
      guardedRequest(request(`http://rebinding.example:${port()}/`), addressGuard(['127.0.0.1']), resolver),
    ).rejects.toMatchObject({
      code: 'FORBIDDEN',
    })
  })

  it('keeps connections, and goes once more, on one of its own, where a kept one was closed as it was used again', async () => {
    const connections = new KeptConnections(1)
    const used = new Map<unknown, number>()
    answer = (response) => {
      const { socket } = response
      used.set(socket, (used.get(socket) ?? 0) + 1)
      if (used.get(socket) === 3) socket?.destroy()
      else response.writeHead(200).end('hello')
    }
    for (let n = 0; n < 3; n++) {
      const { status, body, whole } = await guardedRequest(
        { ...request(url), connections },
        addressGuard(['127.0.0.1']),
      )
      expect([status, String(body), whole]).toEqual([200, 'hello', true])
    }
    expect([...used.values()]).toEqual([3, 1])
    // A fresh one that is closed is an answer that did not come.
    answer = (response) => response.socket?.destroy()
    await expect(guardedRequest({ ...request(url), connections }, addressGuard(['127.0.0.1']))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
    connections.close()
  })

  it('trusts no name that also leads inside', async () => {
    const resolver: Resolver = (_hostname, found) =>
      found(null, [
        { address: '127.0.0.1', family: 4 },
        { address: '169.254.169.254', family: 4 },
      ])
    await expect(
      guardedRequest(request(`http://half.example:${port()}/`), addressGuard(['127.0.0.1']), resolver),
    ).rejects.toMatchObject({
      code: 'FORBIDDEN',
      details: { addresses: ['169.254.169.254'] },
    })
    expect(received).toEqual([])
  })

  it.each([
    'http://127.1/',
    'http://0x7f000001/',
    'http://2130706433/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::1]/',
    'http://localhost/',
    'http://169.254.169.254/latest',
  ])('refuses %s', async (to) => {
    await expect(guardedRequest(request(to), addressGuard([]))).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })

  it('says that a name has no address', async () => {
    const resolver: Resolver = (_hostname, found) => found(null, [])
    await expect(guardedRequest(request('http://nowhere.example/'), addressGuard([]), resolver)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
  })
})

describe('public addresses', () => {
  const isPublic = addressGuard([])
  it.each([
    '1.1.1.1',
    '8.8.8.8',
    '172.15.0.1',
    '172.32.0.1',
    '192.167.1.1',
    '2606:4700::1111',
    '2a00:1450:4001:800::200e',
    '::ffff:8.8.8.8',
    '64:ff9b::808:808',
  ])('%s is one', (address) => expect(isPublic(address)).toBe(true))
  it.each([
    ...[
      '0.0.0.0',
      '10.0.0.1',
      '100.64.0.1',
      '127.0.0.1',
      '127.255.255.255',
      '169.254.169.254',
      '172.16.0.1',
      '172.31.255.255',
      '192.168.1.1',
      '192.0.2.1',
    ],
    ...['198.18.0.1', '198.51.100.7', '203.0.113.9', '224.0.0.1', '239.1.1.1', '240.0.0.1', '255.255.255.255'],
    ...[
      '::',
      '::1',
      'fe80::1',
      'fe80::1%eth0',
      'fc00::1',
      'fd12:3456::1',
      'ff02::1',
      '2001:db8::1',
      '2002:7f00:1::',
      '2001::1',
      '::127.0.0.1',
      '100::1',
    ],
    ...[
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '::ffff:10.0.0.1',
      '64:ff9b::7f00:1',
      '64:ff9b::10.0.0.1',
      '64:ff9b:1::1',
      '0:0:0:0:0:ffff:a00:1',
      'nonsense',
      '',
    ],
  ])('%s is none', (address) => expect(isPublic(address)).toBe(false))

  it('may be widened by configuration', () => {
    const guard = addressGuard(['10.1.0.0/16', 'fd00::/8', '127.0.0.1'])
    expect(['10.1.2.3', 'fd00::7', '127.0.0.1', '::ffff:10.1.2.3', '8.8.8.8'].map(guard)).toEqual([
      true,
      true,
      true,
      true,
      true,
    ])
    expect(['10.2.0.1', '127.0.0.2', 'fc00::1', '::ffff:10.2.0.1'].map(guard)).toEqual([false, false, false, false])
    for (const wrong of ['10.1.0.0/33', 'example.com', '10.1/16', '::1/129'])
      expect(() => addressGuard([wrong])).toThrow('http.allow')
  })
})
