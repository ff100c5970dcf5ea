import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { Agent, request as secureRequest } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { compilePermissions, covers, type Permissions } from '../../src/gateway/access/permissions.ts'
import { addToken, readTokens, removeTokens } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway, type GatewayOptions, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, stream } from '../../src/index.ts'

const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })

let broker: Broker
let folder: string
let tokens: string
const gateways: Gateway[] = []

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-access-'))
  tokens = join(folder, 'tokens.json')
  broker = await connect('memory:')
  await broker.declare(stream('orders.eu'), stream('orders.us'), stream('secrets'))
})
afterEach(async () => {
  for (const gateway of gateways.splice(0)) await gateway.close()
  await broker.close()
  rmSync(folder, { recursive: true })
})

function open(options: GatewayOptions): Gateway {
  const gateway = createGateway(broker, { drain: 0, ...options })
  gateways.push(gateway)
  return gateway
}
interface Answer {
  readonly status: number
  readonly code: string
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: answers are inspected freely
  readonly body: any
}
async function call(
  gateway: Gateway,
  path: string,
  token: string | null,
  method = 'GET',
  body?: object,
): Promise<Answer> {
  const headers: Record<string, string> = {
    'content-type': body !== undefined && 'specversion' in body ? 'application/cloudevents+json' : 'application/json',
  }
  if (token !== null) headers['authorization'] = `Bearer ${token}`
  const answer = await gateway.fetch(
    new Request(`http://events.example${path}`, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }),
  )
  const text = answer.headers.get('content-type')?.startsWith('text/event-stream') === true ? '' : await answer.text()
  const parsed = text === '' ? null : JSON.parse(text)
  return { status: answer.status, code: parsed?.code ?? '', headers: answer.headers, body: parsed }
}
const event = { specversion: '1.0', id: '1', source: '/s', type: 't' }
const make = (permissions: Permissions, rest: object = {}): string =>
  addToken(tokens, { name: 'shop', permissions, ...rest }).token

describe('permissions', () => {
  test.each<[string, string, boolean]>([
    ['orders', 'orders', true],
    ['orders', 'orders.eu', false],
    ['orders.*', 'orders.eu', true],
    ['orders.*', 'orders', false],
    ['orders.*', 'orders.eu.x', false],
    ['orders.*', 'orders.*', true],
    ['orders.*', 'orders.>', false],
    ['orders.>', 'orders.eu.x', true],
    ['orders.>', 'orders.*', true],
    ['orders.>', 'orders', false],
    ['>', 'anything.at.all', true],
    ['>', '>', true],
    ['*', '>', false],
    ['orders.eu', 'orders.*', false],
    ['*.eu', 'orders.eu', true],
    ['>', '$audit', false],
    ['*', '$audit', false],
    ['$audit', '$audit', true],
  ])('%s covers %s: %s', (granted, asked, is) => expect(covers(granted, asked)).toBe(is))
  test('malformed ones are refused when they are given', () => {
    expect(() => compilePermissions({ publish: ['a.>.b'] })).toThrow('not a channel wildcard')
    expect(() => compilePermissions({ publsh: ['a'] } as never)).toThrow('no option "publsh"')
    expect(() => compilePermissions({ publish: 'a' } as never)).toThrow('must be an array')
  })
})

describe('tokens', () => {
  test('each permits what it says, for the channels that it says', async () => {
    const writer = make({ publish: ['orders.*'] })
    const reader = make({ read: ['orders.eu'] })
    const gateway = open({ access: { tokens } })
    expect((await call(gateway, '/channels/orders.eu/events', writer, 'POST', event)).status).toBe(202)
    expect(await call(gateway, '/channels/secrets/events', writer, 'POST', event)).toMatchObject({
      status: 403,
      code: 'FORBIDDEN',
    })
    expect(await call(gateway, '/channels/orders.eu/events', writer)).toMatchObject({ status: 403, code: 'FORBIDDEN' })
    expect((await call(gateway, '/channels/orders.eu/events', reader)).status).toBe(200)
    expect((await call(gateway, '/channels/orders.us/events', reader)).status).toBe(403)
    expect((await call(gateway, '/channels/orders.eu,orders.us/stream', reader)).status).toBe(403)
    expect((await call(gateway, '/channels/orders.eu/stream', reader)).status).toBe(200)
  })
  test('who has none, a wrong one, or two, is asked for one', async () => {
    const good = make({ read: ['>'] })
    const gateway = open({ access: { tokens } })
    const none = await call(gateway, '/api/describe', null)
    expect(none).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' })
    expect(none.headers.get('www-authenticate')).toBe('Bearer realm="millrace"')
    expect((await call(gateway, '/api/describe', `${good}x`)).status).toBe(401)
    expect((await call(gateway, `/api/describe?access_token=${good}`, null)).status).toBe(200)
    expect((await call(gateway, `/api/describe?access_token=${good}`, good)).status).toBe(401)
    const basic = new Request('http://events.example/api/describe', { headers: { authorization: 'Basic eDp5' } })
    expect((await gateway.fetch(basic)).status).toBe(401)
    for (const path of ['/health', '/ready']) expect((await call(gateway, path, null)).status).toBe(200)
  })
  test('are kept hashed, in a file of its owner alone', () => {
    const token = make({ read: ['>'] })
    const text = readFileSync(tokens, 'utf8')
    expect(token).toMatch(/^millrace_[\w-]{43}$/)
    expect([text.includes(token), text.includes(token.slice(9)), statSync(tokens).mode & 0o777]).toEqual([
      false,
      false,
      0o600,
    ])
    expect(() => make({})).toThrow('a token without permissions has no use')
  })
  test('a folder that is made for them is its owner’s alone, as the data are that may follow', () => {
    const umask = process.umask(0)
    try {
      addToken(join(folder, 'data', '.tokens.json'), { name: 'shop', permissions: { read: ['>'] } })
    } finally {
      process.umask(umask)
    }
    expect(statSync(join(folder, 'data')).mode & 0o777).toBe(0o700)
  })
  test('to remove one that is not there makes no file, which would let nobody in', () => {
    expect(removeTokens(join(folder, 'data', '.tokens.json'), 'nobody')).toEqual([])
    expect(existsSync(join(folder, 'data'))).toBe(false)
  })
  test('one that has no name, or that would expire after all dates, is refused', () => {
    const permissions = { read: ['>'] }
    expect(() => addToken(tokens, { name: '', permissions })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: { option: 'name' } }),
    )
    for (const expiresAtMs of [1e16, Number.NaN])
      expect(() => addToken(tokens, { name: 'shop', permissions, expiresAtMs })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION', details: { option: 'expires' } }),
      )
    expect(readTokens(tokens)).toEqual([])
  })
  test.each([
    ['a limit that is no number', { limits: { requestsPerSecond: '5' } }],
    ['limits that are no object', { limits: null }],
    ['a limit of nothing', { limits: { open: 0 } }],
    ['an expiry that is no time', { expiresAt: 'tomorrow' }],
  ])('%s, written by hand, is refused: it would limit nothing', (_what, more) => {
    make({ read: ['>'] })
    const { format, tokens: entries } = JSON.parse(readFileSync(tokens, 'utf8')) as { format: number; tokens: object[] }
    writeFileSync(tokens, JSON.stringify({ format, tokens: entries.map((entry) => ({ ...entry, ...more })) }))
    expect(() => readTokens(tokens)).toThrow('is not a file of tokens')
  })
  test('one that is removed ends to hold while the gateway runs, and so does what it has open', async () => {
    const token = make({ read: ['>'] })
    const gateway = open({ access: { tokens }, heartbeat: 20 })
    const headers = { authorization: `Bearer ${token}` }
    const streaming = await gateway.fetch(new Request('http://events.example/channels/secrets/stream', { headers }))
    expect(removeTokens(tokens, 'shop')).toHaveLength(1)
    await eventually(async () => (await call(gateway, '/api/describe', token)).status).toBe(401)
    // The stream ends by itself: reading it comes to an end.
    expect(await streaming.text()).toContain('retry:')
    const next = make({ read: ['>'] })
    await eventually(async () => (await call(gateway, '/api/describe', next)).status).toBe(200)
  })
  test('one that has expired does not hold', async () => {
    const gateway = open({ access: { tokens } })
    const [old, young] = [
      make({ read: ['>'] }, { expiresAtMs: Date.now() - 1 }),
      make({ read: ['>'] }, { expiresAtMs: Date.now() + 60_000 }),
    ]
    await eventually(async () => (await call(gateway, '/api/describe', young)).status).toBe(200)
    expect((await call(gateway, '/api/describe', old)).status).toBe(401)
  })
  test('a file that is damaged permits nobody, at the start or later', async () => {
    const token = make({ read: ['>'] })
    const told: unknown[] = []
    const gateway = open({ access: { tokens }, onError: (error) => told.push(error) })
    writeFileSync(tokens, '{"format":1,"tokens":[{}]}')
    await eventually(async () => (await call(gateway, '/api/describe', token)).status).toBe(401)
    expect(told.length).toBeGreaterThan(0)
    expect(() => open({ access: { tokens } })).toThrow('is not a file of tokens')
  })
  test('what may be seen of the broker is what may be used', async () => {
    await broker.publish('secrets', event as never)
    const token = make({ consume: ['orders.eu'] })
    const gateway = open({ access: { tokens } })
    const { body } = await call(gateway, '/api/describe', token)
    expect(body.channels.map(({ name }: { name: string }) => name)).toEqual(['orders.eu'])
  })
  test('who asks for a channel that is not there is not told which there are', async () => {
    const token = make({ publish: ['mine.*'], read: ['mine.*'], consume: ['mine.*'] })
    const gateway = open({ access: { tokens } })
    for (const answer of [
      await call(gateway, '/channels/mine.x/events', token),
      await call(gateway, '/channels/mine.x/events', token, 'POST', event),
      await call(gateway, '/consumers/c/pull', token, 'POST', { channels: ['mine.x'] }),
    ]) {
      expect(answer).toMatchObject({ status: 404, code: 'UNKNOWN_CHANNEL' })
      expect(JSON.stringify(answer.body)).not.toContain('secrets')
    }
  })
  test('consuming asks for every channel and wildcard; a lease is settled with the permission for its channel', async () => {
    await broker.publish('orders.eu', event as never)
    const [mine, other] = [make({ consume: ['orders.*'] }), make({ consume: ['secrets'] })]
    const gateway = open({ access: { tokens } })
    const pull = (token: string, channels: string[]): Promise<Answer> =>
      call(gateway, '/consumers/stock/pull', token, 'POST', { channels })
    expect((await pull(mine, ['orders.*', 'secrets'])).status).toBe(403)
    expect((await pull(mine, ['>'])).status).toBe(403)
    const { body } = await pull(mine, ['orders.*'])
    const path = `/leases/${body.deliveries[0].lease}/complete`
    expect((await call(gateway, '/consumers/stock/pull', other, 'POST')).status).toBe(403)
    expect((await call(gateway, '/consumers/stock/leave', other, 'POST')).status).toBe(403)
    expect((await call(gateway, '/consumers/stock', other, 'PUT', { channels: ['secrets'] })).status).toBe(403)
    expect((await call(gateway, path, other, 'POST')).status).toBe(403)
    const emitted = { emit: [{ channel: 'secrets', event }] }
    expect((await call(gateway, path, mine, 'POST', emitted)).status).toBe(403)
    expect((await call(gateway, path, mine, 'POST')).status).toBe(200)
  })
  test('no wildcard consumes what Millrace itself writes: the trail, the rules, subscriptions and their secrets', async () => {
    const token = make({ consume: ['>'], read: ['>'], manage: ['>'] })
    const gateway = open({ access: { tokens } })
    await call(gateway, '/api/channels/later', token, 'PUT', {})
    await call(gateway, '/api/subscriptions/s', token, 'PUT', {
      channels: ['later'],
      url: 'https://subscriber.example/',
    })
    await broker.publish('orders.eu', event as never)
    const { body } = await call(gateway, '/consumers/c/pull', token, 'POST', { channels: ['>', '*'], max: 100 })
    expect(body.deliveries.map(({ channel }: { channel: string }) => channel)).toEqual(['orders.eu'])
    for (const channel of ['$audit', '$push'])
      for (const path of [`/channels/${channel}/events`, `/channels/${channel}/stream`])
        expect((await call(gateway, path, token)).status).toBe(403)
    expect((await call(gateway, '/consumers/d/pull', token, 'POST', { channels: ['$push'] })).status).toBe(403)
    expect((await call(gateway, '/consumers/d/pull', token, 'POST', { channels: ['$push.>'] })).status).toBe(403)
  })
  test('nobody publishes to channels that Millrace itself writes', async () => {
    const token = make({ publish: ['>', '$audit'] })
    for (const gateway of [open({ access: { tokens } }), open({ hosts: 'any' })]) {
      expect(
        await call(gateway, '/channels/$audit/events', gateway.guarded ? token : null, 'POST', event),
      ).toMatchObject({ status: 403 })
    }
  })
})

describe('the audit trail', () => {
  test('has an entry for each management call, done or refused, and none for others', async () => {
    const [manager, clerk] = [make({ manage: ['>'] }), make({ read: ['>'] })]
    const gateway = open({ access: { tokens } })
    const running = await broker.start(
      consumer('stock', 'secrets', { retry: { attempts: 1 } }).onAny(() => {
        throw new Error('no')
      }),
    )
    await broker.publish('secrets', event as never)
    await eventually(async () => (await broker.deadLetters('stock').list()).length).toBe(1)
    const path = '/api/consumers/stock/dead-letters'
    expect((await call(gateway, `${path}?id=1&access_token=${manager}`, null, 'DELETE')).status).toBe(200)
    expect((await call(gateway, `${path}?all=true`, clerk, 'DELETE')).status).toBe(403)
    expect((await call(gateway, `${path}/redrive`, manager, 'POST')).status).toBe(400)
    expect((await call(gateway, path, clerk)).status).toBe(200)
    await running.stop()
    const entries = []
    for await (const entry of broker.read('$audit')) entries.push(entry)
    const by = (token: string): object => ({ kind: 'token', name: readTokens(tokens)[token === manager ? 0 : 1]?.id })
    expect(entries.map(({ type, data }) => [type, data])).toEqual([
      [
        'millrace.audit.deleteDeadLetters',
        {
          action: 'deleteDeadLetters',
          by: by(manager),
          target: { id: '1', consumer: 'stock' },
          outcome: 'done',
          status: 200,
        },
      ],
      [
        'millrace.audit.deleteDeadLetters',
        {
          action: 'deleteDeadLetters',
          by: by(clerk),
          target: { all: 'true', consumer: 'stock' },
          outcome: 'refused',
          status: 403,
          code: 'FORBIDDEN',
        },
      ],
      [
        'millrace.audit.redriveDeadLetters',
        {
          action: 'redriveDeadLetters',
          by: by(manager),
          target: { consumer: 'stock' },
          outcome: 'refused',
          status: 400,
          code: 'INVALID_REQUEST',
        },
      ],
    ])
    expect((await call(gateway, '/channels/$audit/events', manager)).status).toBe(403)
    const auditor = make({ read: ['$audit'] })
    expect((await call(open({ access: { tokens } }), '/channels/$audit/events', auditor)).status).toBe(200)
  })
})

describe('JSON Web Tokens', () => {
  const claims = { millrace: { read: ['orders.*'] } }
  let keys: Awaited<ReturnType<typeof generateKeyPair>>
  let jwksServer: Server
  let jwks: string
  let asked = 0

  beforeEach(async () => {
    keys = await generateKeyPair('ES256', { extractable: true })
    asked = 0
    const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'ES256' }
    jwksServer = createServer((_, response) => {
      asked++
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [jwk] }))
    })
    await new Promise<void>((resolve) => jwksServer.listen(0, '127.0.0.1', resolve))
    jwks = `http://127.0.0.1:${(jwksServer.address() as AddressInfo).port}/jwks`
  })
  afterEach(() => {
    jwksServer.close()
  })

  const sign = (
    payload: object = claims,
    changes: {
      issuer?: string
      audience?: string
      expires?: string
      subject?: string | null
      key?: typeof keys.privateKey
    } = {},
  ): Promise<string> => {
    const jwt = new SignJWT({ ...payload }).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).setIssuedAt()
    jwt.setIssuer(changes.issuer ?? 'https://id.example').setAudience(changes.audience ?? 'millrace')
    if (changes.subject !== null) jwt.setSubject(changes.subject ?? 'worker-7')
    if (changes.expires !== '') jwt.setExpirationTime(changes.expires ?? '5m')
    return jwt.sign(changes.key ?? keys.privateKey)
  }
  const jwtGateway = (): Gateway =>
    open({ access: { jwt: { jwks, issuer: 'https://id.example', audience: 'millrace' } } })
  const read = async (gateway: Gateway, token: string, channel = 'orders.eu'): Promise<number> =>
    (await call(gateway, `/channels/${channel}/events`, token)).status

  test('permissions by claim and by scope', async () => {
    const gateway = jwtGateway()
    expect(await read(gateway, await sign())).toBe(200)
    expect(await read(gateway, await sign(), 'secrets')).toBe(403)
    const scoped = await sign({ scope: 'openid read:secrets publish:orders.*' })
    expect([await read(gateway, scoped, 'secrets'), await read(gateway, scoped)]).toEqual([200, 403])
    expect(await read(gateway, await sign({}))).toBe(403)
    expect(asked).toBe(1)
  })
  test('another issuer, audience, key or algorithm, no subject, no expiry, an old one: none holds', async () => {
    const gateway = jwtGateway()
    const stranger = await generateKeyPair('ES256')
    const [header, payload] = (await sign()).split('.') as [string, string]
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`
    const mac = await new SignJWT({ ...claims, iss: 'https://id.example', aud: 'millrace', sub: 'x', exp: 9e9 })
      .setProtectedHeader({ alg: 'HS256', kid: 'k1' })
      .sign(new TextEncoder().encode(JSON.stringify(await exportJWK(keys.publicKey))))
    const bad = [
      await sign(claims, { issuer: 'https://evil.example' }),
      await sign(claims, { audience: 'other' }),
      await sign(claims, { key: stranger.privateKey }),
      await sign(claims, { expires: '' }),
      await sign(claims, { expires: '-1m' }),
      await sign(claims, { subject: null }),
      await sign({ millrace: { read: 'all' } }),
      await sign({ millrace: { read: ['a.>.b'] } }),
      `${header}.${payload}.AAAA`,
      mac,
    ]
    for (const token of bad) expect(await read(gateway, token)).toBe(401)
    expect(await read(gateway, none)).toBe(401)
  })
  test('keys that cannot be had are not the caller’s fault', async () => {
    jwksServer.close()
    jwksServer.closeAllConnections()
    expect(await call(jwtGateway(), '/api/describe', await sign())).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
  })
  test('tokens and JWTs side by side; options that would be unsafe are refused', async () => {
    const both = open({ access: { tokens, jwt: { jwks, issuer: 'https://id.example', audience: 'millrace' } } })
    expect(await read(both, await sign())).toBe(200)
    const jwt = { jwks, issuer: 'https://id.example', audience: 'millrace' }
    expect(() => open({ access: { jwt: { ...jwt, jwks: 'http://id.example/jwks' } } })).toThrow('https')
    expect(() => open({ access: { jwt: { ...jwt, algorithms: ['HS256'] } } })).toThrow('HS256')
    expect(() => open({ access: { jwt: { ...jwt, audience: '' } } })).toThrow('audience')
  })
})

describe('without access control', () => {
  test('what came through a proxy is not of this machine', async () => {
    const gateway = open({})
    const get = async (headers: Record<string, string>): Promise<number> =>
      (await gateway.fetch(new Request('http://localhost/api/describe', { headers }))).status
    expect(await get({})).toBe(200)
    for (const name of ['x-forwarded-for', 'forwarded', 'via', 'x-real-ip', 'x-forwarded-host'])
      expect(await get({ [name]: '203.0.113.7' })).toBe(403)
  })
  test('a connection from elsewhere is refused, whatever it says', async () => {
    const incoming = { socket: { remoteAddress: '203.0.113.7' } }
    const answer = await open({}).fetch(new Request('http://localhost/api/describe'), { incoming })
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([403, 'FORBIDDEN'])
    for (const remoteAddress of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
      expect(
        (
          await open({}).fetch(new Request('http://localhost/api/describe'), {
            incoming: { socket: { remoteAddress } },
          })
        ).status,
      ).toBe(200)
    }
  })
  test('the notice says so', async () => {
    const server = await serveGateway(broker, { port: 0 })
    expect(server.notice).toContain('loopback only: there is no access control')
    await server.close()
  })
})

describe('access control by configuration', () => {
  test('anonymous callers may do what they are given', async () => {
    const gateway = open({ access: { tokens, anonymous: { read: ['orders.eu'] } } })
    expect((await call(gateway, '/channels/orders.eu/events', null)).status).toBe(200)
    expect((await call(gateway, '/channels/secrets/events', null)).status).toBe(403)
    expect((await call(open({ access: {} }), '/api/describe', null)).status).toBe(401)
  })
  test('TLS: serves HTTPS, on any address with access control', async (context) => {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    try {
      execFileSync(
        'openssl',
        [
          'req',
          '-x509',
          '-newkey',
          'ec',
          '-pkeyopt',
          'ec_paramgen_curve:prime256v1',
          '-nodes',
          '-keyout',
          key,
          '-out',
          cert,
          '-days',
          '1',
          '-subj',
          '/CN=localhost',
          '-addext',
          'subjectAltName=DNS:localhost',
        ],
        { stdio: 'ignore' },
      )
    } catch {
      return context.skip()
    }
    const token = make({ read: ['>'] })
    const server = await serveGateway(broker, {
      port: 0,
      host: '0.0.0.0',
      access: { tokens },
      tls: { cert: readFileSync(cert), key: readFileSync(key) },
    })
    expect([server.url.startsWith('https://'), server.notice]).toEqual([true, 'with access control, over TLS'])
    const status = await new Promise((resolve, reject) => {
      const agent = new Agent({ ca: readFileSync(cert) })
      const options = {
        host: '127.0.0.1',
        servername: 'localhost',
        port: server.port,
        path: '/api/describe',
        agent,
        headers: { authorization: `Bearer ${token}` },
      }
      secureRequest(options, (response) => resolve(response.resume().statusCode))
        .on('error', reject)
        .end()
    })
    expect(status).toBe(200)
    await server.close()
  })
})

describe('limits', () => {
  test('requests a second, of one caller and of all', async () => {
    const slow = make({ read: ['>'] }, { limits: { requestsPerSecond: 2 } })
    const free = make({ read: ['>'] })
    const gateway = open({ access: { tokens } })
    const statuses = await Promise.all(
      [1, 2, 3, 4].map(async () => (await call(gateway, '/api/describe', slow)).status),
    )
    expect(statuses.sort()).toEqual([200, 200, 429, 429])
    const refused = await call(gateway, '/api/describe', slow)
    expect([refused.code, Number(refused.headers.get('retry-after'))]).toEqual(['RATE_LIMITED', 1])
    expect((await call(gateway, '/api/describe', free)).status).toBe(200)
    await eventually(async () => (await call(gateway, '/api/describe', slow)).status).toBe(200)
    const few = open({ hosts: 'any', limits: { requestsPerSecond: 2 } })
    const all = await Promise.all([1, 2, 3].map(async () => (await call(few, '/api/describe', null)).status))
    expect(all.sort()).toEqual([200, 200, 429])
    expect((await call(few, '/health', null)).status).toBe(200)
  })
  test('requests, streams and waiting pulls open at once', async () => {
    const token = make({ read: ['>'], consume: ['>'] }, { limits: { open: 2 } })
    const gateway = open({ access: { tokens } })
    const headers = { authorization: `Bearer ${token}` }
    const streams = await Promise.all(
      [1, 2].map(() => gateway.fetch(new Request('http://events.example/channels/secrets/stream', { headers }))),
    )
    expect(await call(gateway, '/api/describe', token)).toMatchObject({ status: 429, code: 'RATE_LIMITED' })
    await streams[0]?.body?.cancel()
    expect((await call(gateway, '/api/describe', token)).status).toBe(200)
    await streams[1]?.body?.cancel()
  })
  test('bytes of bodies that are on their way', async () => {
    const gateway = open({ hosts: 'any', limits: { caller: { bytes: '64KiB' } } })
    const chunk = new Uint8Array(40_000)
    let finish: () => void = () => undefined
    const body = new ReadableStream({
      start: (controller) => {
        controller.enqueue(chunk)
        finish = () => controller.close()
      },
    })
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      duplex: 'half',
    } as RequestInit
    const first = gateway.fetch(new Request('http://events.example/channels/secrets/events', { ...init, body }))
    const second = (): Promise<Answer> =>
      call(gateway, '/channels/secrets/events', null, 'POST', { ...event, data: 'x'.repeat(40_000) })
    await eventually(async () => (await second()).code).toBe('BACKPRESSURE')
    finish()
    expect((await first).status).toBe(400)
    expect((await second()).status).toBe(202)
  })
})
