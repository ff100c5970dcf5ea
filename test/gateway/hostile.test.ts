/**
 * Hostile clients on real sockets: each is refused with a message if it can still read one, and the gateway continues.
 */
import { connect as connectSocket, type Socket } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ServeOptions, type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'

const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })

let broker: Broker
let server: ServingGateway
const sockets: Socket[] = []

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('orders', { maxEventBytes: '1MiB' }))
})
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await server.close()
  // Nothing that hostile clients sent is stored, only what the test itself published.
  await broker.close()
})

async function serve(options: ServeOptions = {}): Promise<void> {
  server = await serveGateway(broker, { port: 0, drain: '200ms', ...options })
}

function dial(): Socket {
  const socket = connectSocket(server.port, '127.0.0.1')
  socket.on('error', () => undefined)
  sockets.push(socket)
  return socket
}

/** Send bytes unchanged, and read until the server closes. */
function raw(...parts: (string | Uint8Array)[]): Promise<string> {
  return new Promise((resolve) => {
    const socket = dial()
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    socket.on('close', () => resolve(text))
    for (const part of parts) socket.write(part)
  })
}
const statuses = (answer: string): number[] =>
  [...answer.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status))
/** The codes of the problem documents in the received bytes. */
const codes = (answer: string): string[] =>
  [...answer.matchAll(/"code":"([A-Z_]+)"/g)].map(([, code]) => code as string)

const STRUCTURED = { 'content-type': 'application/cloudevents+json' }
interface Refusal {
  readonly status: number
  readonly type: string | null
  readonly code: string
}
async function post(
  body: string | Uint8Array<ArrayBuffer>,
  headers: Record<string, string> = STRUCTURED,
): Promise<Refusal> {
  const answer = await fetch(`${server.url}/channels/orders/events`, { method: 'POST', headers, body })
  const { code = '' } = (await answer.json()) as { code?: string }
  return { status: answer.status, type: answer.headers.get('content-type'), code }
}
const refused = (status: number, code: string): Refusal => ({ status, type: 'application/problem+json', code })
const eventText = (data: string): string => `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":${data}}`
async function stored(): Promise<number> {
  return (await broker.describe()).channels.find(({ name }) => name === 'orders')?.next ?? -1
}
const alive = async (): Promise<number> => (await fetch(`${server.url}/health`)).status

describe('paths', () => {
  test.each([
    '/channels/../../etc/passwd/events',
    '/channels/..%2f..%2fetc%2fpasswd/events',
    '/channels/%2e%2e/events',
    '/channels/..%5c..%5cwindows/events',
    '/channels/%252e%252e%252f/events',
    '/channels/orders%00.txt/events',
    '/channels/%ff%fe/events',
    '/channels/orders/events/../../../api/describe/x',
    '//channels/orders/events/x',
    '/channels/__proto__/events',
    '/channels/constructor/events',
    '/channels/.hidden/events',
  ])('%s leads nowhere', async (path) => {
    await serve()
    const answer = await raw(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
    expect([400, 404]).toContain(statuses(answer)[0])
    expect(codes(answer)).toHaveLength(1)
    expect(answer).not.toContain('root:')
  })
})

describe('HTTP itself', () => {
  const chunked = '0\r\n\r\n'
  const smuggled = 'GET /api/describe HTTP/1.1\r\nHost: localhost\r\n\r\n'
  test.each<[string, string]>([
    [
      'a length and chunks',
      `POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}${smuggled}`,
    ],
    [
      'two lengths',
      `POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n${smuggled}`,
    ],
    [
      'a length that is none',
      `POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\n${smuggled}`,
    ],
    [
      'an encoding that hides chunks',
      `POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n${smuggled}`,
    ],
    [
      'chunks twice',
      `POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, identity\r\n\r\n${chunked}${smuggled}`,
    ],
    [
      'space before the colon',
      `POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nContent-Length : 5\r\n\r\n${smuggled}`,
    ],
    [
      'a folded header',
      `POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nX: a\r\n\tTransfer-Encoding: chunked\r\n\r\n${smuggled}`,
    ],
    [
      'a bare line feed in a header',
      `GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\nAuthorization: Bearer x\r\n\r\n${smuggled}`,
    ],
    [
      'a chunk size that is none',
      `POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\n\r\nxxxxx\r\n0\r\n\r\n${smuggled}`,
    ],
    ['no host', `GET /health HTTP/1.1\r\n\r\n${smuggled}`],
    ['two hosts', `GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n`],
    ['no HTTP at all', `\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n`],
  ])('%s: no second request comes out of one', async (name, bytes) => {
    await serve()
    const answer = await raw(`${bytes.replace('Connection: close', '')}`)
    // To Node a folded header is one header. The request then has no body, and what follows is another request.
    expect(answer.includes('"capabilities"') && name !== 'a folded header').toBe(false)
    if (name !== 'a folded header') expect(statuses(answer).every((status) => status >= 400)).toBe(true)
    expect([await stored(), await alive()]).toEqual([0, 200])
  })
  test('a header that is too large is refused with a problem document', async () => {
    await serve()
    const answer = await raw(`GET /health HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`)
    expect([statuses(answer), codes(answer)]).toEqual([[431], ['INVALID_REQUEST']])
  })
  test('a request that Node cannot parse gets a problem document, too', async () => {
    await serve()
    const answer = await raw('GET /health HTTP/9.9\r\n\r\n')
    expect([statuses(answer), codes(answer), answer.includes('application/problem+json')]).toEqual([
      [400],
      ['INVALID_REQUEST'],
      true,
    ])
  })
  test('header values that would split an answer are not repeated in it', async () => {
    await serve()
    const answer = await raw(
      'GET /channels/x%0d%0aSet-Cookie:%20a=b/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    )
    expect(answer.toLowerCase()).not.toContain('\r\nset-cookie')
  })
})

describe('bodies', () => {
  test('oversized JSON is refused by its length, and while it arrives', async () => {
    await serve({ maxBodyBytes: '64KiB' })
    const big = eventText(`"${'x'.repeat(100_000)}"`)
    expect(await post(big)).toEqual(refused(413, 'REQUEST_TOO_LARGE'))
    const head =
      'POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/cloudevents+json\r\nTransfer-Encoding: chunked\r\n\r\n'
    const chunk = `8000\r\n${'x'.repeat(0x8000)}\r\n`
    const answer = await raw(head, chunk, chunk, chunk, '0\r\n\r\n')
    expect([statuses(answer), codes(answer)]).toEqual([[413], ['REQUEST_TOO_LARGE']])
  })
  test('an event that is larger than its channel allows is refused', async () => {
    await serve()
    expect(await post(eventText(`"${'x'.repeat(1_100_000)}"`))).toEqual(refused(413, 'EVENT_TOO_LARGE'))
  })
  test.each<[string, string]>([
    ['arrays', `${'['.repeat(200_000)}${']'.repeat(200_000)}`],
    ['objects', `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`],
    ['arrays that do not end', '['.repeat(1_000_000)],
  ])('deep JSON (%s) is refused before it is built', async (_, data) => {
    await serve()
    expect(await post(eventText(data))).toEqual(refused(400, 'INVALID_EVENT'))
    expect(await post(`[${data}]`, { 'content-type': 'application/cloudevents-batch+json' })).toEqual(
      refused(400, 'INVALID_EVENT'),
    )
    const pulled = await fetch(`${server.url}/consumers/x/pull`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: data,
    })
    expect(pulled.status).toBe(400)
  })
  test('prototype keys are refused as attributes, stored as data, and change no prototype', async () => {
    await serve()
    for (const name of ['__proto__', 'constructor', 'prototype']) {
      const text = `{"specversion":"1.0","id":"1","source":"/s","type":"t","${name}":{"polluted":true}}`
      expect(await post(text)).toEqual(refused(400, 'INVALID_EVENT'))
    }
    const data = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'
    expect((await post(eventText(data))).status).toBe(202)
    expect(await (await fetch(`${server.url}/channels/orders/events`)).text()).toContain(data)
    const pulled = await fetch(`${server.url}/consumers/x/pull`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"__proto__":{"channels":["orders"]}}',
    })
    expect(pulled.status).toBe(400)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
  test.each<[string, Uint8Array<ArrayBuffer>]>([
    ['a stray byte', new Uint8Array([0x22, 0xff, 0x22])],
    ['an overlong slash', new Uint8Array([0x22, 0xc0, 0xaf, 0x22])],
    ['half a surrogate pair', new Uint8Array([0x22, 0xed, 0xa0, 0x80, 0x22])],
    ['a text that ends early', new Uint8Array([0x22, 0xe2, 0x82])],
  ])('malformed UTF-8 (%s) is refused', async (_, bytes) => {
    await serve()
    const body = Buffer.concat([
      Buffer.from('{"specversion":"1.0","id":"1","source":"/s","type":"t","data":'),
      bytes,
      Buffer.from('}'),
    ])
    expect(await post(new Uint8Array(body))).toEqual(refused(400, 'INVALID_EVENT'))
    const pulled = await fetch(`${server.url}/consumers/x/pull`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: bytes,
    })
    expect(pulled.status).toBe(400)
  })
  test('malformed UTF-8 in percent-encoded headers is refused', async () => {
    await serve()
    const headers = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/s', 'ce-type': 't', 'ce-subject': '%C0%AF' }
    expect(await post('x', { ...headers, 'content-type': 'text/plain' })).toEqual(refused(400, 'INVALID_EVENT'))
  })
  test.each(['gzip', 'deflate', 'br', 'zstd', 'gzip, gzip'])(
    'a compression bomb (%s) is not decompressed',
    async (encoding) => {
      await serve()
      const bomb = new Uint8Array(gzipSync(Buffer.alloc(64 * 1024 * 1024)))
      const before = process.memoryUsage().arrayBuffers
      expect(await post(bomb, { ...STRUCTURED, 'content-encoding': encoding })).toEqual(refused(415, 'INVALID_REQUEST'))
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(32 * 1024 * 1024)
    },
  )
})

describe('slow clients', () => {
  test('headers that never end are refused with a problem document, and other clients are served meanwhile', async () => {
    await serve({ requestTimeout: 200 })
    const slow = raw('GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ')
    expect(await alive()).toBe(200)
    const answer = await slow
    expect([statuses(answer), codes(answer)]).toEqual([[408], ['INVALID_REQUEST']])
  })
  test('a body that never ends is cut off, and frees its memory', async () => {
    await serve({ requestTimeout: 200, limits: { bytes: '64KiB' } })
    const head =
      'POST /channels/orders/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 60000\r\n\r\n'
    const slow = raw(head, 'x'.repeat(50_000))
    await eventually(async () => (await post(eventText(`"${'y'.repeat(20_000)}"`))).code).toBe('BACKPRESSURE')
    await slow
    await eventually(async () => (await post(eventText(`"${'y'.repeat(20_000)}"`))).status).toBe(202)
  })
  test('idle connections are bounded by the limit, and are closed after a time', async () => {
    await serve({ maxConnections: 20, requestTimeout: 300 })
    const flood = Array.from({ length: 60 }, () => raw('GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: '))
    await Promise.all(flood)
    await eventually(alive).toBe(200)
  })
  test('a client that does not read its answers is disconnected', async () => {
    await serve({ idle: 300 })
    for (let index = 0; index < 10; index++)
      await broker.publish('orders', { id: `${index}`, source: '/s', type: 't', data: 'x'.repeat(900_000) })
    const socket = dial()
    socket.pause()
    for (let index = 0; index < 20; index++)
      socket.write('GET /channels/orders/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
    let closed = false
    socket.once('close', () => {
      closed = true
    })
    // It never reads. It continues to write, to notice that the server has closed the connection.
    await eventually(() => {
      if (!socket.destroyed) socket.write('\r\n')
      return closed
    }).toBe(true)
    expect(await alive()).toBe(200)
  })
})

describe('floods', () => {
  test('event streams are bounded for one caller and for all, and clients that leave free their slots', async () => {
    await serve({ maxStreams: 50, limits: { caller: { open: 40 } } })
    const flood = Array.from({ length: 120 }, () => {
      const socket = dial()
      const first = new Promise<number>((resolve) => {
        socket.once('data', (chunk: Buffer) => resolve(statuses(chunk.toString('latin1'))[0] ?? 0))
        socket.once('close', () => resolve(0))
      })
      socket.write('GET /channels/orders/stream HTTP/1.1\r\nHost: localhost\r\n\r\n')
      return first
    })
    const answers = await Promise.all(flood)
    expect(answers.filter((status) => status === 200).length).toBe(40)
    expect(answers.filter((status) => status === 429).length).toBe(80)
    expect(await alive()).toBe(200)
    for (const socket of sockets.splice(0)) socket.destroy()
    await eventually(async () => {
      const answer = await fetch(`${server.url}/channels/orders/stream`)
      await answer.body?.cancel()
      return answer.status
    }).toBe(200)
  })
  test('waiting pulls are bounded in the same way', async () => {
    await serve({ limits: { caller: { open: 10 } } })
    const body = '{"channels":["orders"],"wait":"2s"}'
    const pull = (): Promise<number> =>
      fetch(`${server.url}/consumers/x/pull`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      }).then(async (answer) => {
        await answer.text()
        return answer.status
      })
    const answers = await Promise.all(Array.from({ length: 30 }, pull))
    expect([
      answers.filter((status) => status === 200).length,
      answers.filter((status) => status === 429).length,
    ]).toEqual([10, 20])
  })
  test('WebSockets are bounded, and free their slots when they close', async () => {
    await serve({ limits: { caller: { open: 10 } } })
    const upgrade =
      'GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
    const flood = Array.from({ length: 40 }, () => {
      const socket = dial()
      const first = new Promise<number>((resolve) => {
        socket.once('data', (chunk: Buffer) => resolve(statuses(chunk.toString('latin1'))[0] ?? 0))
        socket.once('close', () => resolve(0))
      })
      socket.write(upgrade)
      return first
    })
    const answers = await Promise.all(flood)
    expect([
      answers.filter((status) => status === 101).length,
      answers.filter((status) => status === 429).length,
    ]).toEqual([10, 30])
    for (const socket of sockets.splice(0)) socket.destroy()
    await eventually(async () => {
      const answer = await fetch(`${server.url}/channels/orders/events`)
      await answer.text()
      return answer.status
    }).toBe(200)
  })
  test('upgrades of unknown paths are refused with a problem document', async () => {
    await serve()
    const answer = await raw(
      'GET /no/such/socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n',
    )
    expect([statuses(answer), codes(answer)]).toEqual([[404], ['INVALID_REQUEST']])
    const foreign = await raw(
      'GET /x HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    )
    expect([statuses(foreign), codes(foreign)]).toEqual([[403], ['FORBIDDEN']])
  })
})
