/** HEAD, OPTIONS and unknown methods on every path of the document. */
import { connect as dial } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createGateway, type Gateway, type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, stream } from '../../src/index.ts'

type Paths = Readonly<
  Record<string, Readonly<Record<string, { readonly responses: Readonly<Record<string, object>> }>>>
>

let broker: Broker
let gateway: Gateway
let paths: Paths

beforeEach(async () => {
  broker = await connect('memory:', { logger: false })
  await broker.declare(stream('some-channel'))
  await broker.publish('some-channel', { id: 'some-id', source: '/s', type: 'some-type', data: { n: 1 } })
  const running = await broker.start(consumer('some-consumer', 'some-channel').onAny(() => undefined))
  await running.stop()
  // One request at a time: one that is not released is noticed by the next.
  gateway = createGateway(broker, { drain: 0, console: true, limits: { open: 1 } })
  const document = await gateway.fetch(new Request('http://localhost/openapi.json'))
  paths = ((await document.json()) as { paths: Paths }).paths
})
afterEach(async () => {
  await gateway.close()
  await broker.close()
})

const concrete = (path: string): string =>
  path.replaceAll(/\{(\w+)\}/g, (_, name) => (name === 'offset' ? '0' : `some-${name}`))
const ask = (path: string, method: string, headers: Record<string, string> = {}): Promise<Response> =>
  gateway.fetch(new Request(`http://localhost${concrete(path)}`, { method, headers }))
/** An answer that goes on, or is made while it is read. */
const isStream = (path: string): boolean =>
  path === '/ws' || /text\/event-stream|ndjson/.test(JSON.stringify(paths[path]?.['get']?.responses ?? {}))

describe('every path of the document', () => {
  test('answers HEAD as GET without the body, and refuses it for endless streams', async () => {
    expect(Object.keys(paths).length).toBeGreaterThan(30)
    for (const [path, item] of Object.entries(paths)) {
      const head = await ask(path, 'HEAD')
      expect([path, await head.text()]).toEqual([path, ''])
      if (item['get'] === undefined || isStream(path)) {
        expect([path, head.status]).toEqual([path, head.status === 426 ? 426 : 405])
        expect(head.headers.get('allow') ?? 'HEAD', path).not.toContain('HEAD')
        continue
      }
      const get = await ask(path, 'GET')
      await get.text()
      expect([path, head.status, head.headers.get('content-type')]).toEqual([
        path,
        get.status,
        get.headers.get('content-type'),
      ])
    }
  })

  test('answers other methods with those that it has', async () => {
    for (const [path, item] of Object.entries(paths)) {
      const methods = Object.keys(item).map((method) => method.toUpperCase())
      const allowed = [...methods, ...(methods.includes('GET') && !isStream(path) ? ['HEAD'] : [])].sort().join(', ')
      for (const method of ['OPTIONS', 'PROPFIND', 'TRACK-NOT', 'PATCH', 'PUT', 'DELETE', 'POST', 'GET'].filter(
        (each) => !methods.includes(each),
      )) {
        const answer = await ask(path, method)
        const { code } = (await answer.json()) as { code: string }
        if (answer.status === 426) continue
        expect([path, method, answer.status, code, answer.headers.get('allow')]).toEqual([
          path,
          method,
          405,
          'INVALID_REQUEST',
          allowed,
        ])
      }
    }
  })

  test('answers a preflight of an allowed origin, before it asks for credentials', async () => {
    await gateway.close()
    gateway = createGateway(broker, {
      drain: 0,
      hosts: 'any',
      access: { anonymous: {} },
      cors: { origins: ['https://shop.example'] },
      limits: { open: 1 },
    })
    for (const [path, item] of Object.entries(paths))
      for (const method of Object.keys(item)) {
        const preflight = { 'access-control-request-method': method.toUpperCase() }
        const answer = await ask(path, 'OPTIONS', { origin: 'https://shop.example', ...preflight })
        expect([path, method, answer.status]).toEqual([path, method, 204])
        expect(answer.headers.get('access-control-allow-origin')).toBe('https://shop.example')
        if (method !== 'options')
          expect(answer.headers.get('access-control-allow-methods'), path).toContain(method.toUpperCase())
        expect((await ask(path, 'OPTIONS', { origin: 'https://evil.example', ...preflight })).status).toBe(403)
      }
  })
})

describe('on a real connection', () => {
  let server: ServingGateway
  beforeEach(async () => {
    server = await serveGateway(broker, { port: 0, drain: '100ms', console: true })
  })
  afterEach(() => server.close())

  test('the answer to HEAD has no body, so the next answer on the connection can be read', async () => {
    const asked = [...Object.keys(paths).filter((path) => !isStream(path) && path !== '/ws'), '/console/', '/nothing']
    const socket = dial(server.port, '127.0.0.1')
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    for (const path of asked) socket.write(`HEAD ${concrete(path)} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')
    await new Promise((resolve) => socket.once('close', resolve))
    const answers = text.split(/(?=^HTTP\/1\.1 )/m)
    expect(answers).toHaveLength(asked.length + 1)
    for (const [at, answer] of answers.slice(0, -1).entries())
      expect([asked[at], answer.slice(answer.indexOf('\r\n\r\n') + 4)]).toEqual([asked[at], ''])
    expect(answers.at(-1)).toContain('{"status":')
  })
})
