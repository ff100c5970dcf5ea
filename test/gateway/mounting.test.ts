/** The gateway inside other servers, and a server that closes cleanly. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import { type AddressInfo, connect as dial } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { getRequestListener } from '@hono/node-server'
import { Hono } from 'hono'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createGateway, type Gateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'

const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })
const event = '{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"n":1}}'
const STRUCTURED = { 'content-type': 'application/cloudevents+json' }

let broker: Broker
let gateway: Gateway
let server: Server | undefined

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('orders'))
  gateway = createGateway(broker, { drain: '100ms' })
})
afterEach(async () => {
  await gateway.close()
  server?.closeAllConnections()
  server?.close()
  server = undefined
  await broker.close()
})
async function listen(listening: Server): Promise<string> {
  server = listening
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(listening.address() as AddressInfo).port}`
}

/** Publish, read, follow and pull, below `url`. */
async function use(url: string): Promise<void> {
  const published = await fetch(`${url}/channels/orders/events`, { method: 'POST', headers: STRUCTURED, body: event })
  expect([published.status, await published.json()]).toMatchObject([202, { receipts: [{ offset: 0 }] }])
  expect(await (await fetch(`${url}/channels/orders/events`)).json()).toMatchObject([{ id: '1' }])
  const leaving = new AbortController()
  const following = await fetch(`${url}/channels/orders/stream?from=beginning`, { signal: leaving.signal })
  let text = ''
  for await (const chunk of following.body as unknown as AsyncIterable<Uint8Array>) {
    text += new TextDecoder().decode(chunk)
    if (text.includes('"id":"1"')) break
  }
  leaving.abort()
  const pulled = await fetch(`${url}/consumers/c/pull`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"channels":["orders"],"wait":"5s"}',
  })
  const { deliveries } = (await pulled.json()) as { deliveries: { lease: string }[] }
  expect((await fetch(`${url}/leases/${deliveries[0]?.lease}/complete`, { method: 'POST' })).status).toBe(200)
  const refused = await fetch(`${url}/channels/orders/events`, { method: 'POST', headers: STRUCTURED, body: '{' })
  expect([refused.status, refused.headers.get('content-type')]).toEqual([400, 'application/problem+json'])
}

describe('a mounted gateway works', () => {
  test('in a Hono application, below a path', async () => {
    const app = new Hono().get('/', (c) => c.text('shop')).mount('/events', gateway.fetch)
    const url = await listen(createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false })))
    expect(await (await fetch(url)).text()).toBe('shop')
    await use(`${url}/events`)
  })
  test('in a plain Node server, beside other routes, as in Express', async () => {
    const url = await listen(
      createServer((request, response) => {
        // Like app.use('/events', listener): the prefix is removed.
        if (request.url?.startsWith('/events/') !== true) return void response.end('shop')
        request.url = request.url.slice('/events'.length)
        gateway.listener(request, response)
      }),
    )
    expect(await (await fetch(url)).text()).toBe('shop')
    await use(`${url}/events`)
  })
  test('in a plain Node server, with nothing else', async () => {
    await use(await listen(createServer(gateway.listener)))
  })
  test('without any server, from a Request to a Response', async () => {
    const answer = await gateway.fetch(
      new Request('http://localhost/channels/orders/events', { method: 'POST', headers: STRUCTURED, body: event }),
    )
    expect(answer.status).toBe(202)
  })
})

describe('a body that other code of the server has read', () => {
  const BINARY = {
    'content-type': 'application/json',
    ...{ 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 't' },
  }
  const stored = async (): Promise<unknown[]> => {
    const answer = await gateway.fetch(new Request('http://localhost/channels/orders/events'))
    return ((await answer.json()) as { data?: unknown }[]).map(({ data }) => data)
  }
  /** As a body parser does. `keep` has its bytes. */
  const parsed = (keep: (request: IncomingMessage, bytes: Buffer) => void) =>
    createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      keep(request, Buffer.concat(chunks))
      gateway.listener(request, response)
    })

  test.each([
    ['in binary mode', BINARY, '{"n":1}'],
    ['in structured mode', STRUCTURED, event],
  ])('is refused as a fault of the server, and nothing is stored: %s', async (_, headers, body) => {
    const url = await listen(parsed(() => undefined))
    for (const chunked of [false, true]) {
      const sent = chunked ? new Blob([body]).stream() : body
      const answer = await fetch(`${url}/channels/orders/events`, {
        method: 'POST',
        headers,
        body: sent,
        ...(chunked && { duplex: 'half' }),
      } as RequestInit)
      expect([answer.status, await answer.json()]).toMatchObject([
        500,
        { code: 'INVALID_REQUEST', detail: expect.stringContaining('before body parsers') },
      ])
    }
    expect(await stored()).toEqual([])
  })
  test('is taken from rawBody, where that code has kept it', async () => {
    const keep = (request: IncomingMessage, rawBody: Buffer): void => void Object.assign(request, { rawBody })
    const url = await listen(parsed(keep))
    const answer = await fetch(`${url}/channels/orders/events`, { method: 'POST', headers: BINARY, body: '{"n":1}' })
    expect(answer.status).toBe(202)
    expect(await stored()).toEqual([{ n: 1 }])
  })
  test('is refused in a Request whose body was used', async () => {
    const request = new Request('http://localhost/channels/orders/events', {
      method: 'POST',
      headers: BINARY,
      body: '{"n":1}',
    })
    await request.text()
    expect((await gateway.fetch(request)).status).toBe(500)
    const app = new Hono()
    app.use(async (c, next) => {
      await c.req.text()
      await next()
    })
    app.mount('/events', gateway.fetch)
    const url = await listen(createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false })))
    const answer = await fetch(`${url}/events/channels/orders/events`, {
      method: 'POST',
      headers: BINARY,
      body: '{"n":1}',
    })
    expect(answer.status).toBe(500)
    expect(await stored()).toEqual([])
  })
  test('may be absent', async () => {
    const url = await listen(parsed(() => undefined))
    const answer = await fetch(`${url}/channels/orders/events`, { method: 'POST', headers: BINARY })
    expect(answer.status).toBe(202)
    expect(await stored()).toEqual([undefined])
  })
})

describe('a closing gateway', () => {
  test('finishes running requests, refuses new ones, and is not ready', async () => {
    const serving = await serveGateway(broker, { port: 0, drain: '5s' })
    const socket = dial(serving.port, '127.0.0.1')
    let heard = ''
    socket.on('data', (chunk: Buffer) => {
      heard += chunk.toString()
    })
    // The response 100 Continue shows that the server has the request.
    socket.write(
      `POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: application/cloudevents+json\r\nContent-Length: ${event.length}\r\n\r\n`,
    )
    await eventually(() => heard).toContain('100 Continue')
    socket.write(event.slice(0, 20))
    const closed = serving.close()
    await eventually(() =>
      fetch(`${serving.url}/health`).then(
        () => 'answers',
        () => 'refuses',
      ),
    ).toBe('refuses')
    socket.write(event.slice(20))
    await closed
    await eventually(() => heard).toContain('HTTP/1.1 202')
  })
  test('answers that it is not ready, while leased events can still be settled', async () => {
    const serving = await serveGateway(broker, { port: 0, drain: '5s' })
    await broker.publish('orders', { id: '1', source: '/s', type: 't' })
    const init = { method: 'POST', headers: { 'content-type': 'application/json' } }
    const pulled = await fetch(`${serving.url}/consumers/c/pull`, { ...init, body: '{"channels":["orders"]}' })
    const { deliveries } = (await pulled.json()) as { deliveries: { lease: string }[] }
    const closed = serving.close()
    const ready = await fetch(`${serving.url}/ready`)
    expect([ready.status, await ready.json()]).toMatchObject([
      503,
      { status: 'not ready', alarms: [{ code: 'CLOSED' }] },
    ])
    expect((await fetch(`${serving.url}/leases/${deliveries[0]?.lease}/complete`, init)).status).toBe(200)
    await closed
  })

  const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
  test.skipIf(!existsSync(cli))(
    'millrace serve ends on SIGTERM with nothing acknowledged lost, and starts again',
    { timeout: 60_000 },
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'millrace-serve-'))
      const data = join(folder, 'data')
      execFileSync('node', [
        cli,
        'publish',
        'orders',
        '--type',
        'first',
        '--payload',
        '{}',
        '--create',
        '--data',
        data,
        '--json',
      ])
      const start = async (): Promise<{ child: ChildProcess; url: string; ended: Promise<number | null> }> => {
        const child = spawn('node', [cli, 'serve', '--data', data, '--port', '0', '--json'], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
        const line = await new Promise<string>((resolve) =>
          child.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())),
        )
        return { child, ended, url: (JSON.parse(line) as { url: string }).url }
      }
      const first = await start()
      const acknowledged: string[] = []
      const publishing = (async () => {
        for (let index = 0; ; index++) {
          const body = event.replace('"id":"1"', `"id":"e-${index}"`)
          const answer = await fetch(`${first.url}/channels/orders/events`, {
            method: 'POST',
            headers: STRUCTURED,
            body,
          }).catch(() => null)
          if (answer?.status !== 202) return
          await answer.text()
          acknowledged.push(`e-${index}`)
        }
      })()
      await eventually(() => acknowledged.length).toBeGreaterThan(20)
      first.child.kill('SIGTERM')
      expect(await first.ended).toBe(0)
      await publishing
      const second = await start()
      const ids = new Set<string>()
      for (let path: string | undefined = '/channels/orders/events?limit=1000'; path !== undefined; ) {
        const answer: Response = await fetch(`${second.url}${path}`)
        for (const { id } of (await answer.json()) as { id: string }[]) ids.add(id)
        path = /<(.+)>/.exec(answer.headers.get('link') ?? '')?.[1]
      }
      expect(acknowledged.filter((id) => !ids.has(id))).toEqual([])
      second.child.kill('SIGTERM')
      await second.ended
      rmSync(folder, { recursive: true })
    },
  )
})

describe('a thousand idle event streams', () => {
  test('each get every event once and in order, and need little memory while they wait', {
    timeout: 60_000,
  }, async () => {
    const many = createGateway(broker, { drain: 0 })
    const before = process.memoryUsage().rss
    const got = await Promise.all(
      Array.from({ length: 1000 }, async () => {
        const answer = await many.fetch(new Request('http://localhost/channels/orders/stream'))
        const ids: string[] = []
        const reading = (async () => {
          for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
            for (const [, id] of new TextDecoder().decode(chunk).matchAll(/"id":"(e\d+)"/g)) ids.push(id as string)
          }
        })()
        return { ids, reading }
      }),
    )
    expect((process.memoryUsage().rss - before) / 1000).toBeLessThan(200_000)
    const expected = Array.from({ length: 20 }, (_, index) => `e${index}`)
    for (const id of expected) await broker.publish('orders', { id, source: '/s', type: 't' })
    await eventually(() => got.filter(({ ids }) => ids.length === expected.length).length).toBe(1000)
    expect(new Set(got.map(({ ids }) => ids.join()))).toEqual(new Set([expected.join()]))
    await many.close()
    await Promise.all(got.map(({ reading }) => reading))
  })
})
