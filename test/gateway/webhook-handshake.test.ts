import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { requestHandshake } from '../../src/gateway/webhook-handshake.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { addressGuard } from '../../src/outbound/public-address.ts'

let folder: string
let broker: Broker
let server: ServingGateway
let token: string

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-handshake-'))
  const tokens = join(folder, 'tokens.json')
  token = addToken(tokens, {
    name: 'sender',
    permissions: { publish: ['hooks'] },
    limits: { requestsPerSecond: 2 },
  }).token
  broker = await connect('memory:')
  await broker.declare(stream('hooks'), stream('secrets'))
  server = await serveGateway(broker, { port: 0, access: { tokens }, cors: { origins: ['https://app.example'] } })
})
afterEach(async () => {
  await server.close()
  await broker.close()
  rmSync(folder, { recursive: true })
})

const handshake = (headers: Record<string, string>, channel = 'hooks'): Promise<Response> =>
  fetch(`${server.url}/channels/${channel}/events`, {
    method: 'OPTIONS',
    headers: { authorization: `Bearer ${token}`, ...headers },
  })

describe('answering', () => {
  test('grants the requesting origin, at no more than the caller’s rate', async () => {
    const answer = await handshake({ 'webhook-request-origin': 'sender.example', 'webhook-request-rate': '1000' })
    expect([
      answer.status,
      answer.headers.get('webhook-allowed-origin'),
      answer.headers.get('webhook-allowed-rate'),
    ]).toEqual([200, 'sender.example', '120'])
    expect(answer.headers.get('allow')).toContain('POST')
    const less = await handshake({ 'webhook-request-origin': 'sender.example', 'webhook-request-rate': '7' })
    expect(less.headers.get('webhook-allowed-rate')).toBe('7')
  })
  test.each([
    ['no origin', {}],
    ['an origin that is no name', { 'webhook-request-origin': 'https://x y' }],
    ['a rate that is none', { 'webhook-request-origin': 'a.example', 'webhook-request-rate': 'fast' }],
  ])('refuses %s', async (_, headers) => {
    const answer = await handshake(headers as Record<string, string>)
    expect([answer.status, answer.headers.get('webhook-allowed-origin')]).toEqual([400, null])
  })
  test('grants nothing without the permission to publish', async () => {
    expect((await handshake({ 'webhook-request-origin': 'sender.example' }, 'secrets')).status).toBe(403)
    expect((await handshake({ 'webhook-request-origin': 'sender.example', authorization: 'Bearer x' })).status).toBe(
      401,
    )
  })
  test('answers the preflight of a browser with the headers of CORS', async () => {
    const headers = {
      origin: 'https://app.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'ce-id',
    }
    const answer = await fetch(`${server.url}/channels/hooks/events`, { method: 'OPTIONS', headers })
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([204, 'https://app.example'])
  })
})

const guard = addressGuard(['127.0.0.0/8'])

describe('asking', () => {
  const target = (answer: RequestListener): Promise<{ url: string; close: () => Server }> =>
    new Promise((resolve) => {
      const listening = createServer(answer).listen(0, '127.0.0.1', () =>
        resolve({
          url: `http://127.0.0.1:${(listening.address() as AddressInfo).port}/hook`,
          close: () => listening.close(),
        }),
      )
    })
  const ask = async (answer: RequestListener): Promise<Awaited<ReturnType<typeof requestHandshake>>> => {
    const { url, close } = await target(answer)
    try {
      return await requestHandshake(url, {
        origin: 'millrace.example',
        ratePerMinute: 600,
        headers: { authorization: 'Bearer t' },
        guard,
      })
    } finally {
      close()
    }
  }

  test('a Millrace gateway grants the request of a Millrace sender', async () => {
    const granted = await requestHandshake(`${server.url}/channels/hooks/events`, {
      origin: 'millrace.example',
      ratePerMinute: 60,
      headers: { authorization: `Bearer ${token}` },
      guard,
    })
    expect(granted).toEqual({ allowed: true, ratePerMinute: 60, status: 200 })
    expect(
      await requestHandshake(`${server.url}/channels/secrets/events`, {
        origin: 'millrace.example',
        headers: { authorization: `Bearer ${token}` },
        guard,
      }),
    ).toMatchObject({
      allowed: false,
      status: 403,
    })
  })
  test('the request has the origin, the rate and the token', async () => {
    let asked: Record<string, unknown> = {}
    const granted = await ask((request, response) => {
      asked = { method: request.method, ...request.headers }
      response.writeHead(204, { 'WebHook-Allowed-Origin': '*', 'WebHook-Allowed-Rate': '*' }).end()
    })
    expect(asked).toMatchObject({
      method: 'OPTIONS',
      'webhook-request-origin': 'millrace.example',
      'webhook-request-rate': '600',
      authorization: 'Bearer t',
    })
    expect(granted).toEqual({ allowed: true, ratePerMinute: null, status: 204 })
  })
  test.each<[string, RequestListener]>([
    ['no grant', (_, response) => response.end()],
    ['another origin', (_, response) => response.writeHead(200, { 'WebHook-Allowed-Origin': 'other.example' }).end()],
    [
      'a rate that is none',
      (_, response) => response.writeHead(200, { 'WebHook-Allowed-Origin': '*', 'WebHook-Allowed-Rate': 'some' }).end(),
    ],
    ['a refusal', (_, response) => response.writeHead(405, { 'WebHook-Allowed-Origin': '*' }).end()],
    [
      'a redirect, which is not followed',
      (_, response) => response.writeHead(307, { location: '/elsewhere', 'WebHook-Allowed-Origin': '*' }).end(),
    ],
  ])('%s is no permission', async (_, answer) => {
    expect((await ask(answer)).allowed).toBe(false)
  })
  test('a target that does not answer fails the handshake', async () => {
    const { url, close } = await target((request) => request.socket.destroy())
    await expect(requestHandshake(url, { origin: 'millrace.example', guard })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
    close()
  })
  test('a private address is not asked unless it is allowed', async () => {
    await expect(
      requestHandshake(server.url, { origin: 'millrace.example', guard: addressGuard([]) }),
    ).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })
})
