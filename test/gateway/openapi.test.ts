/** The OpenAPI document: it is valid, it is made from the served routes, and every documented answer occurs. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, connect as dial } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { createGateway, type Gateway, type GatewayOptions } from '../../src/gateway/index.ts'
import { type Broker, connect } from '../../src/index.ts'
import { type Provocation, type ProvocationWorld, provocations } from './provocations.ts'

interface Operation {
  readonly operationId: string
  readonly security?: readonly object[]
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: object
  readonly responses: Readonly<Record<string, { readonly content?: object }>>
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

let folder: string
let tokens: string
let all: string
let nothing: string
let document: Document

async function withGateway<Result>(
  options: GatewayOptions,
  act: (gateway: Gateway, broker: Broker) => Promise<Result>,
  over = (broker: Broker): Broker => broker,
): Promise<Result> {
  const broker = await connect('memory:')
  const gateway = createGateway(over(broker), { hosts: 'any', drain: 0, ...options })
  try {
    return await act(gateway, broker)
  } finally {
    await gateway.close()
    await broker.close()
  }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-openapi-'))
  tokens = join(folder, 'tokens.json')
  const every = ['>']
  all = addToken(tokens, {
    name: 'all',
    permissions: { publish: every, consume: every, read: every, manage: every, rules: every },
  }).token
  nothing = addToken(tokens, { name: 'nothing', permissions: { read: ['nowhere.at.all'] } }).token
  document = (await withGateway({}, async (gateway) =>
    (await gateway.fetch(new Request('http://g/openapi.json'))).json(),
  )) as Document
})
afterAll(() => rmSync(folder, { recursive: true }))

const concrete = (path: string): string => path.replaceAll(/\{(\w+)\}/g, 'some-$1')
const operations = (): { path: string; method: string; operation: Operation }[] =>
  Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
  )

/** Refusals that the gateway makes in the same way for every route. */
const COMMON: Readonly<Record<string, (path: string, method: string, init: RequestInit) => Promise<Response>>> = {
  400: (path, method, init) =>
    withGateway({}, (gateway) =>
      gateway.fetch(new Request(`http://g${path}?no-such-parameter=1`, { ...init, method })),
    ),
  401: (path, method, init) =>
    withGateway({ access: { tokens } }, (gateway) =>
      gateway.fetch(new Request(`http://g${path}`, { ...init, method })),
    ),
  403: (path, method, init) =>
    withGateway({}, (gateway) =>
      gateway.fetch(
        new Request(`http://g${path}`, {
          ...init,
          method,
          headers: { ...init.headers, origin: 'https://evil.example' },
        }),
      ),
    ),
  413: (path, method) =>
    withGateway({ maxBodyBytes: 10 }, async (gateway, broker) => {
      const headers = {
        'content-type':
          method === 'POST' && path.endsWith('/events') ? 'application/cloudevents+json' : 'application/json',
      }
      await broker.describe()
      return gateway.fetch(new Request(`http://g${path}`, { method, headers, body: '{"a":"xxxxxxxxxxxxxxxx"}' }))
    }),
  415: (path, method) =>
    withGateway({}, (gateway) =>
      gateway.fetch(
        new Request(`http://g${path}`, {
          method,
          headers: { 'content-type': 'application/json', 'content-encoding': 'gzip', 'ce-id': '1' },
          body: 'x',
        }),
      ),
    ),
  429: (path, method, init) =>
    withGateway({ limits: { requestsPerSecond: 1 } }, async (gateway) => {
      await (await gateway.fetch(new Request('http://g/openapi.json'))).text()
      return gateway.fetch(new Request(`http://g${path}`, { ...init, method }))
    }),
}

/** Refusals of an upgrade. */
const UPGRADE: Readonly<Record<string, { readonly options: () => GatewayOptions; readonly headers?: string }>> = {
  401: { options: () => ({ access: { tokens } }) },
  403: { options: () => ({}), headers: 'Origin: https://evil.example\r\n' },
  429: { options: () => ({ limits: { requestsPerSecond: 1 } }) },
}
function upgrade(path: string, status: string): Promise<Response> {
  const how = UPGRADE[status]
  if (how === undefined) return withGateway({}, (gateway) => gateway.fetch(new Request(`http://g${path}`)))
  return withGateway(how.options(), async (gateway) => {
    if (status === '429') await (await gateway.fetch(new Request('http://g/openapi.json'))).text()
    const server = createServer().on('upgrade', gateway.upgrade)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const socket = dial((server.address() as AddressInfo).port, '127.0.0.1')
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: g\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${how.headers ?? ''}\r\n`,
    )
    let text = ''
    for await (const chunk of socket) text += String(chunk)
    server.close()
    const [head = '', body = ''] = text.split('\r\n\r\n')
    return new Response(body, {
      status: Number(head.split(' ')[1]),
      headers: { 'content-type': /content-type: (.*)/.exec(head)?.[1] ?? '' },
    })
  })
}

describe('the document', () => {
  test('is valid OpenAPI 3.1, by its official schema', async () => {
    const validator = new Validator()
    const { valid, errors } = await validator.validate(structuredClone(document) as never)
    expect(errors ?? []).toEqual([])
    expect([valid, validator.version]).toEqual([true, '3.1'])
    const broken = structuredClone(document) as { paths: Record<string, unknown> }
    broken.paths['/channels/{channel}/events'] = { get: { responses: 7 } }
    expect((await new Validator().validate(broken as never)).valid).toBe(false)
    expect(() => validator.resolveRefs()).not.toThrow()
  })
  test('has every operation once, with its permission and the parameters of its path', () => {
    const ids = operations().map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { path, operation } of operations()) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      expect(
        (operation.parameters ?? []).filter((parameter) => parameter.in === 'path').map(({ name }) => name),
        path,
      ).toEqual(inPath)
    }
  })
  test('agrees with the gateway: every path answers each documented method, and no other', async () => {
    const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
    await withGateway({}, async (gateway) => {
      for (const [path, item] of Object.entries(document.paths)) {
        for (const method of methods) {
          const { status } = await gateway.fetch(
            new Request(`http://g${concrete(path)}?no-such-parameter=1`, { method }),
          )
          expect([path, method, status === 405], `${method} ${path}`).toEqual([
            path,
            method,
            item[method.toLowerCase()] === undefined,
          ])
        }
      }
    })
  })
  test('is right about permissions: every route that is not open refuses a token without its permission', async () => {
    await withGateway({ access: { tokens } }, async (gateway) => {
      for (const { path, method, operation } of operations()) {
        // Routes that list what the caller may see never refuse.
        const lists = [
          'describe',
          'describeCaller',
          'listSchedules',
          'listSubscriptions',
          'showFlow',
          'followFlow',
          'showCatalogue',
          'asyncApi',
        ].includes(operation.operationId)
        if (operation.security?.length === 0 || lists || operation.responses['101'] !== undefined) continue
        const example =
          provocations[`${operation.operationId} 200`] ??
          provocations[`${operation.operationId} 202`] ??
          provocations[`${operation.operationId} 201`]
        const body = operation.requestBody === undefined ? {} : { body: example?.body ?? '{"channels":["x"]}' }
        const headers = { authorization: `Bearer ${nothing}`, 'content-type': 'application/json', ...example?.headers }
        const { status } = await gateway.fetch(new Request(`http://g${concrete(path)}`, { method, headers, ...body }))
        // A lease is refused by its token: an unknown lease is lost for every caller.
        expect([operation.operationId, status]).toEqual([
          operation.operationId,
          operation.operationId.endsWith('Lease') ? 409 : operation.operationId === 'settleLeases' ? 200 : 403,
        ])
      }
    })
  })
})

describe('every documented answer', () => {
  async function provoke(path: string, method: string, status: string, operation: Operation): Promise<Response> {
    if (operation.responses['101'] !== undefined) return upgrade(path, status)
    const own: Provocation | undefined = provocations[`${operation.operationId} ${status}`]
    if (own !== undefined) {
      return withGateway(
        { ...(own.guarded === true && { access: { tokens } }), ...own.options },
        async (gateway, broker) => {
          const world: ProvocationWorld = { gateway, broker, token: all }
          const filled = (await own.prepare?.(world)) ?? {}
          const target = (own.path ?? path).replaceAll(
            /\{(\w+)\}/g,
            (_, name: string) => filled[name] ?? own.fill?.[name] ?? `some-${name}`,
          )
          const request = new Request(`http://g${target}${own.query ?? ''}`, {
            method,
            ...(own.headers !== undefined && { headers: own.headers }),
            ...(own.body !== undefined && { body: own.body }),
          })
          return gateway.fetch(request)
        },
        own.broker,
      )
    }
    const common = COMMON[status]
    if (common === undefined)
      throw new Error(`nothing provokes ${operation.operationId} ${status}: add it to test/gateway/provocations.ts`)
    const init =
      operation.requestBody === undefined ? {} : { body: '{}', headers: { 'content-type': 'application/json' } }
    return common(concrete(path), method, init)
  }

  test('occurs, with a documented content type', async () => {
    const seen: string[] = []
    for (const { path, method, operation } of operations()) {
      for (const [status, { content }] of Object.entries(operation.responses)) {
        if (status === 'default' || status === '101') continue
        const answer = await provoke(path, method, status, operation)
        const what = `${operation.operationId} ${status}`
        expect([what, answer.status, await bodyStart(answer)]).toEqual([what, Number(status), expect.anything()])
        const type = answer.headers.get('content-type')?.split(';')[0]
        expect([what, Object.keys(content ?? {})]).toEqual([
          what,
          type === undefined ? [] : expect.arrayContaining([type]),
        ])
        seen.push(what)
      }
    }
    expect(seen.length).toBeGreaterThan(90)
    expect(Object.keys(provocations).filter((name) => !seen.includes(name))).toEqual([])
  }, 120_000)

  async function bodyStart(answer: Response): Promise<string> {
    if (answer.headers.get('content-type')?.startsWith('text/event-stream') !== true) return answer.text()
    await answer.body?.cancel()
    return 'a stream'
  }
})
