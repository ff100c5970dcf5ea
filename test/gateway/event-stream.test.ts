import { request } from 'node:http'
import { connect as connectSocket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createGateway, type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { EventClient } from './event-client.ts'

/** Machines that build and test are busy, so this waits for up to 15 s. */
const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })

let broker: Broker
let server: ServingGateway

beforeEach(async () => {
  broker = await connect('memory:')
  await broker.declare(stream('carts'), stream('orders'))
  server = await serveGateway(broker, { port: 0, heartbeat: 50, stall: 300, maxStreams: 3 })
})
afterEach(async () => {
  await server.close()
  await broker.close()
})

const publish = (channel: string, id: string, data: unknown = null): Promise<unknown> =>
  broker.publish(channel, { id, source: '/s', type: `${channel}.x`, data })

class Client extends EventClient {
  constructor(path: string, headers: Record<string, string> = {}) {
    super(server, path, headers)
  }
}

describe('Server-Sent Events', () => {
  test('begin at the end, at the beginning or at an offset', async () => {
    await publish('carts', 'a')
    await publish('carts', 'b')
    const [end, all, one] = [
      new Client('/channels/carts/stream'),
      new Client('/channels/carts/stream?from=beginning'),
      new Client('/channels/carts/stream?from=1'),
    ]
    await eventually(() => [end.lastEventId, all.ids.length, one.ids.length]).toEqual(['1', 2, 1])
    await publish('carts', 'c')
    await eventually(() => [end.ids, all.ids, one.ids]).toEqual([['c'], ['a', 'b', 'c'], ['b', 'c']])
    expect(all.frames.filter((frame) => frame.data).map((frame) => [frame.id, frame.event])).toEqual([
      ['0', undefined],
      ['1', undefined],
      ['2', undefined],
    ])
    for (const client of [end, all, one]) client.close()
  })

  test('a client that reconnects misses nothing, not even events before its first one', async () => {
    await publish('carts', 'before')
    const first = new Client('/channels/carts/stream')
    await eventually(() => first.lastEventId).toBe('0')
    first.close()
    await publish('carts', 'while away')
    const second = new Client('/channels/carts/stream', { 'last-event-id': first.lastEventId })
    await eventually(() => second.ids).toEqual(['while away'])
    second.close()
  })

  test('carry several channels over one connection, with a position in each', async () => {
    await publish('carts', 'c0')
    const first = new Client('/channels/carts,orders/stream?from=beginning')
    await publish('orders', 'o0')
    await eventually(() => first.ids.length).toBe(2)
    expect(first.frames.filter((frame) => frame.data).map((frame) => frame.event)).toEqual(['carts', 'orders'])
    expect(first.lastEventId).toBe('carts=0,orders=0')
    first.close()
    await publish('carts', 'c1')
    await publish('orders', 'o1')
    const second = new Client('/channels/carts,orders/stream', { 'last-event-id': first.lastEventId })
    await eventually(() => second.ids.toSorted()).toEqual(['c1', 'o1'])
    second.close()
  })

  test('carry only events that match `where` and `filter`', async () => {
    const client = new Client(
      `/channels/carts/stream?from=beginning&where=${encodeURIComponent('{"data":{"n":[{"numeric":[">",1]}]}}')}`,
    )
    for (const n of [1, 2, 3]) await publish('carts', `n${n}`, { n })
    await eventually(() => client.ids).toEqual(['n2', 'n3'])
    client.close()
  })

  test('carry heartbeats while there are no events', async () => {
    const client = new Client('/channels/carts/stream')
    await eventually(() => client.comments.length).toBeGreaterThan(2)
    client.close()
  })

  test('are bounded by the limit, and a client that leaves frees its slot', async () => {
    const clients = [1, 2, 3].map(() => new Client('/channels/carts/stream'))
    await eventually(() => clients.map((client) => client.status)).toEqual([200, 200, 200])
    const refused = await fetch(`${server.url}/channels/carts/stream`)
    expect([
      refused.status,
      refused.headers.get('retry-after'),
      ((await refused.json()) as { code: string }).code,
    ]).toEqual([503, '1', 'BACKPRESSURE'])
    clients[0]?.close()
    await eventually(async () => {
      const next = new Client('/channels/carts/stream')
      await new Promise((resolve) => setTimeout(resolve, 30))
      next.close()
      return next.status
    }).toBe(200)
    for (const client of clients) client.close()
  })

  test('a client that reads nothing is disconnected, and its buffer stays within the bound', async () => {
    const socket = connectSocket(server.port, '127.0.0.1')
    socket.write('GET /channels/carts/stream?from=beginning HTTP/1.1\r\nHost: localhost\r\n\r\n')
    socket.pause()
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => {})
    for (let n = 0; n < 200; n++) await publish('carts', `n${n}`, 'x'.repeat(100_000))
    await new Promise((resolve) => setTimeout(resolve, 800))
    // The server has given up: the kernel's buffers remain, and then the end.
    let bytes = 0
    socket.on('data', (chunk) => {
      bytes += chunk.length
    })
    socket.resume()
    await closed
    expect(bytes).toBeLessThan(200 * 100_000)
  })

  test('end when the gateway closes', async () => {
    const client = new Client('/channels/carts/stream')
    await eventually(() => client.status).toBe(200)
    await server.close()
    await client.done
  })

  test('end when the broker closes', async () => {
    const client = new Client('/channels/carts/stream')
    await eventually(() => client.status).toBe(200)
    await broker.close()
    await client.done
  })
})

describe('serveGateway', () => {
  test.each(['0.0.0.0', '::', '192.168.1.2', 'example.com', '127.0.0.1.evil.example'])(
    'refuses to listen on %s, and says why',
    async (host) => {
      await expect(serveGateway(broker, { port: 0, host })).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining('no access control'),
      })
    },
  )
  test('rejects with UNAVAILABLE if the port is taken', async () => {
    await expect(serveGateway(broker, { port: server.port })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('in use'),
    })
  })
  test('publishes over a real socket, and refuses a foreign Host header', async () => {
    const body = JSON.stringify({ specversion: '1.0', id: '1', source: '/s', type: 't', data: 1 })
    const answer = await fetch(`${server.url}/channels/carts/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body,
    })
    expect(await answer.json()).toEqual({ receipts: [{ channel: 'carts', id: '1', offset: 0, duplicate: false }] })
    const status = await new Promise((resolve) => {
      request(
        { port: server.port, host: '127.0.0.1', path: '/health', headers: { host: 'evil.example' } },
        (response) => resolve(response.resume().statusCode),
      ).end()
    })
    expect(status).toBe(403)
  })
  test('answers over a real socket have the same headers as others, also those for pages of other origins', async () => {
    const open = await serveGateway(broker, { port: 0, cors: { origins: ['https://app.example'] } })
    const body = JSON.stringify({ specversion: '1.0', id: '1', source: '/s', type: 't', data: 'ü' })
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json', origin: 'https://app.example' },
      body,
    }
    const direct = await fetch(`${open.url}/channels/carts/events`, init)
    const elsewhere = await createGateway(broker, { cors: { origins: ['https://app.example'] } }).fetch(
      new Request('http://localhost/channels/carts/events', init),
    )
    const shown = async (answer: Response): Promise<object> => {
      const {
        date,
        connection,
        'keep-alive': _,
        'content-length': length,
        ...headers
      } = Object.fromEntries(answer.headers)
      return { status: answer.status, headers, body: await answer.json() }
    }
    const [one, other] = [await shown(direct), await shown(elsewhere)] as { body: { receipts: object[] } }[]
    expect(one).toEqual({ ...other, body: { receipts: [{ ...other?.body.receipts[0], duplicate: false }] } })
    await open.close()
  })
  test('a body without a length that becomes too large is refused with a problem document, and nothing of it is stored', async () => {
    let left = 40
    const body = new ReadableStream({
      pull: (controller) => (left-- > 0 ? controller.enqueue(new Uint8Array(1024 * 1024)) : controller.close()),
    })
    const init = {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body,
      duplex: 'half',
    } as RequestInit
    const answer = await fetch(`${server.url}/channels/carts/events`, init)
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([413, 'REQUEST_TOO_LARGE'])
    expect((await fetch(`${server.url}/health`)).status).toBe(200)
  })
  test('a sender that leaves in the middle of its body changes nothing', async () => {
    const socket = connectSocket(server.port, '127.0.0.1')
    socket.write(
      'POST /channels/carts/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cloudevents+json\r\nContent-Length: 1000\r\n\r\n{"spec',
    )
    await new Promise((resolve) => setTimeout(resolve, 50))
    socket.destroy()
    await publish('carts', 'after')
    expect(await (await fetch(`${server.url}/channels/carts/events`)).json()).toHaveLength(1)
  })
  test('does not change the globals of the application', async () => {
    const before = globalThis.Request
    await (await serveGateway(broker, { port: 0 })).close()
    expect(globalThis.Request).toBe(before)
  })
  test('createGateway works without a server', async () => {
    const gateway = createGateway(broker)
    expect((await gateway.fetch(new Request('http://localhost/health'))).status).toBe(200)
  })
})
