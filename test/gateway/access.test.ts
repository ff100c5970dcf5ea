import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { Agent, request as secureRequest } from 'node:https'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compilePermissions, covers } from '../../src/gateway/access/permissions.ts'
import { addToken, readTokens, removeTokens } from '../../src/gateway/access/token-file.ts'
import { serveGateway } from '../../src/gateway/index.ts'
import { consumer } from '../../src/index.ts'

import { type Answer, accessWorld, call, event, eventually } from './access-world.ts'

const world = accessWorld()

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
  test('malformed permissions are refused when they are given', () => {
    expect(() => compilePermissions({ publish: ['a.>.b'] })).toThrow('not a channel wildcard')
    expect(() => compilePermissions({ publsh: ['a'] } as never)).toThrow('no option "publsh"')
    expect(() => compilePermissions({ publish: 'a' } as never)).toThrow('must be an array')
  })
})

describe('tokens', () => {
  test('each token permits its actions on its channels', async () => {
    const writer = world.make({ publish: ['orders.*'] })
    const reader = world.make({ read: ['orders.eu'] })
    const gateway = world.open({ access: { tokens: world.tokens } })
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
  test('a caller with no token, a wrong one, or two is asked for a token', async () => {
    const good = world.make({ read: ['>'] })
    const gateway = world.open({ access: { tokens: world.tokens } })
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
  test('tokens are stored as hashes, in a file that only its owner can read', () => {
    const token = world.make({ read: ['>'] })
    const text = readFileSync(world.tokens, 'utf8')
    expect(token).toMatch(/^millrace_[\w-]{43}$/)
    expect([text.includes(token), text.includes(token.slice(9)), statSync(world.tokens).mode & 0o777]).toEqual([
      false,
      false,
      0o600,
    ])
    expect(() => world.make({})).toThrow('a token without permissions has no use')
  })
  test('a folder that is created for the tokens belongs only to its owner', () => {
    const umask = process.umask(0)
    try {
      addToken(join(world.folder, 'data', '.tokens.json'), { name: 'shop', permissions: { read: ['>'] } })
    } finally {
      process.umask(umask)
    }
    expect(statSync(join(world.folder, 'data')).mode & 0o777).toBe(0o700)
  })
  test('removing an unknown token creates no file, because an empty file would refuse all callers', () => {
    expect(removeTokens(join(world.folder, 'data', '.tokens.json'), 'nobody')).toEqual([])
    expect(existsSync(join(world.folder, 'data'))).toBe(false)
  })
  test('a token without a name, or with an expiry beyond all dates, is refused', () => {
    const permissions = { read: ['>'] }
    expect(() => addToken(world.tokens, { name: '', permissions })).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: { option: 'name' } }),
    )
    for (const expiresAtMs of [1e16, Number.NaN])
      expect(() => addToken(world.tokens, { name: 'shop', permissions, expiresAtMs })).toThrow(
        expect.objectContaining({ code: 'INVALID_OPTION', details: { option: 'expires' } }),
      )
    expect(readTokens(world.tokens)).toEqual([])
  })
  test.each([
    ['a limit that is no number', { limits: { requestsPerSecond: '5' } }],
    ['limits that are no object', { limits: null }],
    ['a limit of nothing', { limits: { open: 0 } }],
    ['an expiry that is no time', { expiresAt: 'tomorrow' }],
  ])('%s, written by hand, is refused, because it would limit nothing', (_what, more) => {
    world.make({ read: ['>'] })
    const { format, tokens: entries } = JSON.parse(readFileSync(world.tokens, 'utf8')) as {
      format: number
      tokens: object[]
    }
    writeFileSync(world.tokens, JSON.stringify({ format, tokens: entries.map((entry) => ({ ...entry, ...more })) }))
    expect(() => readTokens(world.tokens)).toThrow('is not a file of tokens')
  })
  test('a removed token stops working while the gateway runs, and its open requests end', async () => {
    const token = world.make({ read: ['>'] })
    const gateway = world.open({ access: { tokens: world.tokens }, heartbeat: 20 })
    const headers = { authorization: `Bearer ${token}` }
    const streaming = await gateway.fetch(new Request('http://events.example/channels/secrets/stream', { headers }))
    expect(removeTokens(world.tokens, 'shop')).toHaveLength(1)
    await eventually(async () => (await call(gateway, '/api/describe', token)).status).toBe(401)
    // The stream ends by itself, so reading it ends.
    expect(await streaming.text()).toContain('retry:')
    const next = world.make({ read: ['>'] })
    await eventually(async () => (await call(gateway, '/api/describe', next)).status).toBe(200)
  })
  test('an expired token is refused', async () => {
    const gateway = world.open({ access: { tokens: world.tokens } })
    const [old, young] = [
      world.make({ read: ['>'] }, { expiresAtMs: Date.now() - 1 }),
      world.make({ read: ['>'] }, { expiresAtMs: Date.now() + 60_000 }),
    ]
    await eventually(async () => (await call(gateway, '/api/describe', young)).status).toBe(200)
    expect((await call(gateway, '/api/describe', old)).status).toBe(401)
  })
  test('a damaged file permits no caller, at the start or later', async () => {
    const token = world.make({ read: ['>'] })
    const told: unknown[] = []
    const gateway = world.open({ access: { tokens: world.tokens }, onError: (error) => told.push(error) })
    writeFileSync(world.tokens, '{"format":1,"tokens":[{}]}')
    await eventually(async () => (await call(gateway, '/api/describe', token)).status).toBe(401)
    expect(told.length).toBeGreaterThan(0)
    expect(() => world.open({ access: { tokens: world.tokens } })).toThrow('is not a file of tokens')
  })
  test('a caller sees only the channels and consumers that it may use', async () => {
    await world.broker.publish('secrets', event as never)
    const token = world.make({ consume: ['orders.eu'] })
    const gateway = world.open({ access: { tokens: world.tokens } })
    const { body } = await call(gateway, '/api/describe', token)
    expect(body.channels.map(({ name }: { name: string }) => name)).toEqual(['orders.eu'])
  })
  test('an answer about an unknown channel does not list the existing ones', async () => {
    const token = world.make({ publish: ['mine.*'], read: ['mine.*'], consume: ['mine.*'] })
    const gateway = world.open({ access: { tokens: world.tokens } })
    for (const answer of [
      await call(gateway, '/channels/mine.x/events', token),
      await call(gateway, '/channels/mine.x/events', token, 'POST', event),
      await call(gateway, '/consumers/c/pull', token, 'POST', { channels: ['mine.x'] }),
    ]) {
      expect(answer).toMatchObject({ status: 404, code: 'UNKNOWN_CHANNEL' })
      expect(JSON.stringify(answer.body)).not.toContain('secrets')
    }
  })
  test('consuming needs the permission for every channel and wildcard; settling a lease needs that for its channel', async () => {
    await world.broker.publish('orders.eu', event as never)
    const [mine, other] = [world.make({ consume: ['orders.*'] }), world.make({ consume: ['secrets'] })]
    const gateway = world.open({ access: { tokens: world.tokens } })
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
  test("no wildcard includes Millrace's own channels: the audit trail, the rules, subscriptions and their secrets", async () => {
    const token = world.make({ consume: ['>'], read: ['>'], manage: ['>'] })
    const gateway = world.open({ access: { tokens: world.tokens } })
    await call(gateway, '/api/channels/later', token, 'PUT', {})
    await call(gateway, '/api/subscriptions/s', token, 'PUT', {
      channels: ['later'],
      url: 'https://subscriber.example/',
    })
    await world.broker.publish('orders.eu', event as never)
    const { body } = await call(gateway, '/consumers/c/pull', token, 'POST', { channels: ['>', '*'], max: 100 })
    expect(body.deliveries.map(({ channel }: { channel: string }) => channel)).toEqual(['orders.eu'])
    for (const channel of ['$audit', '$push'])
      for (const path of [`/channels/${channel}/events`, `/channels/${channel}/stream`])
        expect((await call(gateway, path, token)).status).toBe(403)
    expect((await call(gateway, '/consumers/d/pull', token, 'POST', { channels: ['$push'] })).status).toBe(403)
    expect((await call(gateway, '/consumers/d/pull', token, 'POST', { channels: ['$push.>'] })).status).toBe(403)
  })
  test("no caller can publish to Millrace's own channels", async () => {
    const token = world.make({ publish: ['>', '$audit'] })
    for (const gateway of [world.open({ access: { tokens: world.tokens } }), world.open({ hosts: 'any' })]) {
      expect(
        await call(gateway, '/channels/$audit/events', gateway.guarded ? token : null, 'POST', event),
      ).toMatchObject({ status: 403 })
    }
  })
})

describe('the audit trail', () => {
  test('has an entry for each management call, done or refused, and no other entries', async () => {
    const [manager, clerk] = [world.make({ manage: ['>'] }), world.make({ read: ['>'] })]
    const gateway = world.open({ access: { tokens: world.tokens } })
    const running = await world.broker.start(
      consumer('stock', 'secrets', { retry: { attempts: 1 } }).onAny(() => {
        throw new Error('no')
      }),
    )
    await world.broker.publish('secrets', event as never)
    await eventually(async () => (await world.broker.deadLetters('stock').list()).length).toBe(1)
    const path = '/api/consumers/stock/dead-letters'
    expect((await call(gateway, `${path}?id=1&reason=old&access_token=${manager}`, null, 'DELETE')).status).toBe(200)
    expect((await call(gateway, `${path}?all=true`, clerk, 'DELETE')).status).toBe(403)
    expect((await call(gateway, `${path}/redrive`, manager, 'POST')).status).toBe(400)
    expect((await call(gateway, path, clerk)).status).toBe(200)
    await running.stop()
    const entries = []
    for await (const entry of world.broker.read('$audit')) entries.push(entry)
    const by = (token: string): object => ({
      kind: 'token',
      name: readTokens(world.tokens)[token === manager ? 0 : 1]?.id,
    })
    expect(entries.map(({ type, data }) => [type, data])).toEqual([
      [
        'millrace.audit.deleteDeadLetters',
        {
          action: 'deleteDeadLetters',
          by: by(manager),
          target: { id: '1', reason: 'old', consumer: 'stock' },
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
    const auditor = world.make({ read: ['$audit'] })
    expect(
      (await call(world.open({ access: { tokens: world.tokens } }), '/channels/$audit/events', auditor)).status,
    ).toBe(200)
  })
})

test('the audit trail has the reasons of a pause and of a resume', async () => {
  const gateway = world.open({ hosts: 'any' })
  await (await world.broker.start(consumer('stock', 'secrets').onAny(() => undefined))).stop()
  const post = async (verb: string, body: object): Promise<number> =>
    (await call(gateway, `/api/consumers/stock/${verb}`, null, 'POST', body)).status
  expect(await post('pause', { reason: 'the bank is down' })).toBe(204)
  expect(await post('resume', { reason: 'it is back' })).toBe(204)
  expect(await post('resume', {})).toBe(204)
  expect(await post('resume', { reason: 7 })).toBe(400)
  expect(await post('resume', { reason: 'x'.repeat(1001) })).toBe(400)
  const entries = []
  for await (const { data } of world.broker.read('$audit')) entries.push(data)
  expect(entries).toMatchObject([
    { action: 'pauseConsumer', target: { consumer: 'stock', reason: 'the bank is down' }, outcome: 'done' },
    { action: 'resumeConsumer', target: { consumer: 'stock', reason: 'it is back' }, outcome: 'done' },
    { action: 'resumeConsumer', target: { consumer: 'stock' }, outcome: 'done' },
    { action: 'resumeConsumer', outcome: 'refused', code: 'INVALID_OPTION' },
    { action: 'resumeConsumer', outcome: 'refused', code: 'INVALID_OPTION' },
  ])
})

describe('without access control', () => {
  test('a request through a proxy does not count as one of this machine', async () => {
    const gateway = world.open({})
    const get = async (headers: Record<string, string>): Promise<number> =>
      (await gateway.fetch(new Request('http://localhost/api/describe', { headers }))).status
    expect(await get({})).toBe(200)
    for (const name of ['x-forwarded-for', 'forwarded', 'via', 'x-real-ip', 'x-forwarded-host'])
      expect(await get({ [name]: '203.0.113.7' })).toBe(403)
  })
  test('a connection from another machine is refused, whatever its headers say', async () => {
    const incoming = { socket: { remoteAddress: '203.0.113.7' } }
    const answer = await world.open({}).fetch(new Request('http://localhost/api/describe'), { incoming })
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([403, 'FORBIDDEN'])
    for (const remoteAddress of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
      expect(
        (
          await world.open({}).fetch(new Request('http://localhost/api/describe'), {
            incoming: { socket: { remoteAddress } },
          })
        ).status,
      ).toBe(200)
    }
  })
  test('the notice says that there is no access control', async () => {
    const server = await serveGateway(world.broker, { port: 0 })
    expect(server.notice).toContain('loopback only: there is no access control')
    await server.close()
  })
})

describe('access control by configuration', () => {
  test('anonymous callers have the configured permissions', async () => {
    const gateway = world.open({ access: { tokens: world.tokens, anonymous: { read: ['orders.eu'] } } })
    expect((await call(gateway, '/channels/orders.eu/events', null)).status).toBe(200)
    expect((await call(gateway, '/channels/secrets/events', null)).status).toBe(403)
    expect((await call(world.open({ access: {} }), '/api/describe', null)).status).toBe(401)
  })
  test('the gateway serves HTTPS, on any address with access control', async (context) => {
    const [key, cert] = [join(world.folder, 'key.pem'), join(world.folder, 'cert.pem')]
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
    const token = world.make({ read: ['>'] })
    const server = await serveGateway(world.broker, {
      port: 0,
      host: '0.0.0.0',
      access: { tokens: world.tokens },
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
  test('bound the requests a second, of one caller and of all', async () => {
    const slow = world.make({ read: ['>'] }, { limits: { requestsPerSecond: 2 } })
    const free = world.make({ read: ['>'] })
    const gateway = world.open({ access: { tokens: world.tokens } })
    const statuses = await Promise.all(
      [1, 2, 3, 4].map(async () => (await call(gateway, '/api/describe', slow)).status),
    )
    expect(statuses.sort()).toEqual([200, 200, 429, 429])
    const refused = await call(gateway, '/api/describe', slow)
    expect([refused.code, Number(refused.headers.get('retry-after'))]).toEqual(['RATE_LIMITED', 1])
    expect((await call(gateway, '/api/describe', free)).status).toBe(200)
    await eventually(async () => (await call(gateway, '/api/describe', slow)).status).toBe(200)
    const few = world.open({ hosts: 'any', limits: { requestsPerSecond: 2 } })
    const all = await Promise.all([1, 2, 3].map(async () => (await call(few, '/api/describe', null)).status))
    expect(all.sort()).toEqual([200, 200, 429])
    expect((await call(few, '/health', null)).status).toBe(200)
  })
  test('bound the requests, streams and waiting pulls open at once', async () => {
    const token = world.make({ read: ['>'], consume: ['>'] }, { limits: { open: 2 } })
    const gateway = world.open({ access: { tokens: world.tokens } })
    const headers = { authorization: `Bearer ${token}` }
    const streams = await Promise.all(
      [1, 2].map(() => gateway.fetch(new Request('http://events.example/channels/secrets/stream', { headers }))),
    )
    expect(await call(gateway, '/api/describe', token)).toMatchObject({ status: 429, code: 'RATE_LIMITED' })
    await streams[0]?.body?.cancel()
    expect((await call(gateway, '/api/describe', token)).status).toBe(200)
    await streams[1]?.body?.cancel()
  })
  test('bound the bytes of bodies that arrive', async () => {
    const gateway = world.open({ hosts: 'any', limits: { caller: { bytes: '64KiB' } } })
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
