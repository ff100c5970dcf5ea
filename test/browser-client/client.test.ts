import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { connect as dial } from 'node:net'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import ts from 'typescript'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createClient, type Received } from '../../src/browser/index.ts'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, isMillraceError, stream } from '../../src/index.ts'

const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })
const FILE = fileURLToPath(new URL('../../src/browser/index.ts', import.meta.url))

describe('what a page loads', () => {
  test('is small', () => {
    const { outputText } = ts.transpileModule(readFileSync(FILE, 'utf8'), {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, removeComments: true },
    })
    const bytes = { plain: Buffer.byteLength(outputText), gzip: gzipSync(outputText).length }
    console.log(`millrace/browser: ${bytes.plain} bytes without comments, ${bytes.gzip} gzipped`)
    expect(bytes.plain).toBeLessThan(6_500)
    expect(bytes.gzip).toBeLessThan(2_300)
  })
  test('has nothing of Node: it compiles with the DOM alone', () => {
    const program = ts.createProgram([FILE], {
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.asynciterable.d.ts'],
      types: [],
      strict: true,
      noEmit: true,
      module: ts.ModuleKind.ESNext,
    })
    const complaints = ts
      .getPreEmitDiagnostics(program)
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'))
    expect(complaints).toEqual([])
    expect(readFileSync(FILE, 'utf8')).not.toMatch(/^import /m)
  })
})

describe('the client', () => {
  let broker: Broker
  let gateway: ServingGateway
  /** A proxy between client and gateway, so that the test can cut the connection. */
  let proxy: Server
  const through = new Set<Socket>()
  let url: string

  beforeEach(async () => {
    broker = await connect('memory:')
    await broker.declare(stream('carts'), stream('orders'))
    gateway = await serveGateway(broker, { port: 0, drain: '100ms', hosts: 'any' })
    proxy = createServer()
    proxy.on('connection', (socket: Socket) => {
      const onward = dial(gateway.port, '127.0.0.1')
      for (const side of [socket, onward]) {
        through.add(side)
        side.on('error', () => side.destroy())
        side.on('close', () => {
          through.delete(side)
          socket.destroy()
          onward.destroy()
        })
      }
      socket.removeAllListeners('data')
      socket.pipe(onward).pipe(socket)
    })
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  })
  afterEach(async () => {
    cut()
    proxy.close()
    await gateway.close()
    await broker.close()
  })
  function cut(): void {
    for (const socket of through) socket.destroy()
    through.clear()
  }

  test('publishes one, and several; says where they went', async () => {
    const client = createClient(url, { source: '/page' })
    expect(await client.publish('carts', { type: 'a', data: 1 })).toMatchObject({
      channel: 'carts',
      offset: 0,
      duplicate: false,
    })
    expect(
      await client.publish('carts', [
        { type: 'b', id: 'x' },
        { type: 'c', mark: 'm' },
      ]),
    ).toMatchObject([{ offset: 1, id: 'x' }, { offset: 2 }])
    const read = []
    for await (const event of broker.read('carts')) read.push(event)
    expect(read).toMatchObject([{ type: 'a', data: 1, source: '/page' }, { id: 'x' }, { mark: 'm' }])
  })
  test('a refusal is an error with the gateway’s code, and is not tried again', async () => {
    const client = createClient(url)
    const error: unknown = await client.publish('nowhere', { type: 'a' }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ name: 'MillraceError', code: 'UNKNOWN_CHANNEL', status: 404, retryable: false })
    expect(isMillraceError(error, 'UNKNOWN_CHANNEL')).toBe(true)
  })
  test('an answer that is lost is asked for again, and the event is stored once', async () => {
    let lost = 0
    const losing: typeof fetch = async (...request) => {
      const answer = await fetch(...request)
      if (lost++ < 2) throw new TypeError('the connection broke')
      return answer
    }
    const receipt = await createClient(url, { fetch: losing }).publish('carts', { type: 'a' })
    expect([lost, receipt]).toEqual([3, expect.objectContaining({ offset: 0, duplicate: true })])
    const gone = createClient(url, { attempts: 2, fetch: () => Promise.reject(new TypeError('no')) })
    await expect(gone.publish('carts', { type: 'a' })).rejects.toMatchObject({ code: 'UNAVAILABLE', status: 0 })
  })
  test('follows through connections that are cut, and misses nothing and gets nothing twice', async () => {
    const client = createClient(url)
    const leaving = new AbortController()
    const got: Received[] = []
    const following = (async () => {
      for await (const received of client.subscribe('carts', { from: 'beginning', signal: leaving.signal }))
        got.push(received)
    })()
    for (let index = 0; index < 60; index++) {
      await broker.publish('carts', { id: `${index}`, source: '/s', type: 't', data: { index } })
      if (index % 20 === 10) {
        await eventually(() => got.length).toBeGreaterThan(index / 2)
        cut()
      }
    }
    await eventually(() => got.length).toBe(60)
    expect(got.map(({ event }) => event.id)).toEqual(Array.from({ length: 60 }, (_, index) => `${index}`))
    leaving.abort()
    await following
    const [next] = await client
      .subscribe('carts', { after: got[30]?.position ?? '' })
      .next()
      .then(({ value }) => [value as Received])
    expect(next?.event.id).toBe('31')
  })
  test('several channels, filters, and a loop that is left', async () => {
    const client = createClient(url)
    const following = client.subscribe<{ n: number }>(['carts', 'orders'], {
      from: 'beginning',
      where: { data: { n: [{ numeric: ['>', 1] }] } },
      filter: "type <> 'skip'",
    })
    await broker.publish('carts', { id: 'a', source: '/s', type: 't', data: { n: 1 } })
    await broker.publish('carts', { id: 'b', source: '/s', type: 'skip', data: { n: 2 } })
    await broker.publish('orders', { id: 'c', source: '/s', type: 't', data: { n: 2 } })
    for await (const { channel, event } of following) {
      expect([channel, event.id, event.data.n]).toEqual(['orders', 'c', 2])
      break
    }
    await eventually(() => through.size).toBe(0)
  })
  test('what cannot be mended ends the loop with the error', async () => {
    await expect(createClient(url).subscribe('nowhere').next()).rejects.toMatchObject({ code: 'UNKNOWN_CHANNEL' })
  })
  test('the token is asked for before each request', async () => {
    const seen: (string | null)[] = []
    let turn = 0
    const client = createClient('http://g', {
      token: async () => `t${++turn}`,
      fetch: async (_, init) => {
        seen.push(new Headers(init?.headers as Record<string, string>).get('authorization'))
        return Response.json({ receipts: [{}] })
      },
    })
    await client.publish('carts', { type: 'a' })
    await client.publish('carts', { type: 'a' })
    expect(seen).toEqual(['Bearer t1', 'Bearer t2'])
  })
})
